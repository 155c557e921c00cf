"""The runs that there are: found, read and ranked, from the files of their directories alone.

Nothing here writes, and nothing imports torch or pandas unless a frame is asked for. A run can be read while a process
writes it: ``run.json`` is replaced whole, and of ``metrics.jsonl`` a last line that is not complete yet is ignored.
What a resumed run did again was moved out of ``metrics.jsonl``, so that nothing counts twice.
"""

from __future__ import annotations

import difflib
import json
import math
import platform
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from artifact_torch.core.record import format_problem, is_in_progress, recorded_scores, runs_root
from artifact_torch.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["STATUSES", "Best", "Run", "best_of", "find_run", "flattened", "runs"]

STATUSES = ("created", "running", "killed", "interrupted", "stopped", "failed", "finished", "unreadable")

_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("status", "created", "ended", "reason"), (str,)),
    **dict.fromkeys(("epochs", "steps"), (int,)),
    "seconds": (int, float),
    **dict.fromkeys(("tags", "plugins"), (list,)),
    **dict.fromkeys(("params", "scores", "process", "description", "environment"), (dict,)),
}
_SHOWN = 5


class Best(NamedTuple):
    """The best value of a score, and the epoch that it is of."""

    epoch: int
    value: float


@dataclass(frozen=True, slots=True)
class Run:
    """One run as its directory tells it at the moment of reading.

    Attributes:
        id: the name of its directory.
        experiment: the name of the folder that the directory is in.
        path: the directory.
        status: ``"created"``, ``"running"``, ``"interrupted"``, ``"stopped"`` (within an epoch), ``"failed"`` or
            ``"finished"``; ``"killed"`` if it was running on this machine and its process is gone; ``"unreadable"`` if
            ``run.json`` is damaged or of a newer version, and then ``reason`` says so and the rest is empty.
        created: when it was made.
        ended: when it ended.
        seconds: training time, validation included; if it has not ended, up to now or to the last thing it wrote.
        epochs: epochs completed.
        steps: optimizer steps done.
        reason: why it ended, in words.
        tags: what it was tagged with.
        params: its parameters, by dotted name.
        scores: how good the result is, by name; empty if nothing was concluded.
        record: all that ``run.json`` says.
    """

    id: str
    experiment: str
    path: Path
    status: str
    created: datetime | None = None
    ended: datetime | None = None
    seconds: float | None = None
    epochs: int = 0
    steps: int = 0
    reason: str = ""
    tags: tuple[str, ...] = ()
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    scores: dict[str, float] = field(default_factory=dict[str, float])
    record: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)

    @property
    def name(self) -> str:
        """What ``find_run`` finds it by: ``experiment/run id``."""
        return f"{self.experiment}/{self.id}"

    def history(self) -> dict[str, dict[int, float]]:
        """Every score by epoch, ascending: the columns of ``trainer.epoch_scores``, the training loss first."""
        found: dict[str, dict[int, float]] = {}
        for each in recorded_scores(self.path):
            if not each.name.startswith("batch/"):  # those are of single steps
                found.setdefault(f"{each.split}/{each.name}", {})[each.epoch] = each.value
        names = sorted(found, key=lambda name: (name != "train/loss", name))
        return {name: dict(sorted(found[name].items())) for name in names}

    def metrics(self) -> pd.DataFrame:
        """All scores by epoch, as ``trainer.epoch_scores`` has them: index ``epoch``, NaN where one is missing."""
        import pandas as pd

        history = self.history()
        epochs = sorted({epoch for values in history.values() for epoch in values})
        columns = {name: pd.Series(values, dtype="float64") for name, values in history.items()}
        return pd.DataFrame(columns, index=pd.Index(epochs, dtype="int64", name="epoch"), dtype="float64")

    def best(self, metric: str, mode: Literal["min", "max"]) -> Best | None:
        """The best finite value of a score, and its epoch; of equal ones the earliest. None if there is no such value.

        Args:
            metric: a column of ``metrics``, or one of ``scores``, which are of the last epoch.
            mode: whether the lowest (``"min"``) or the highest (``"max"``) value is best.

        Raises:
            UsageError: the mode is another one.
        """
        values = {self.epochs: self.scores[metric]} if metric in self.scores else self.history().get(metric, {})
        return best_of(values, mode)


def best_of(values: Mapping[int, float], mode: str) -> Best | None:
    """The best finite one of the values of a score by epoch; see ``Run.best``."""
    if mode not in ("min", "max"):
        raise UsageError(f"The best score is the 'min' or the 'max', not {mode!r}.")
    finite = [Best(epoch, value) for epoch, value in values.items() if math.isfinite(value)]
    sign = 1 if mode == "min" else -1
    return min(finite, key=lambda each: (sign * each.value, each.epoch), default=None)


def runs(root: Path | str | None = None, experiment: str | None = None, tags: Collection[str] | str = ()) -> list[Run]:
    """The runs that are kept in a folder, newest first, damaged ones included.

    Args:
        root: the folder; by default ``$ARTIFACT_TORCH_HOME``, else ``runs`` in the working directory.
        experiment: only the runs of this experiment.
        tags: only runs that have all of these tags.
    """
    wanted = {tags} if isinstance(tags, str) else set(tags)
    found: list[Run] = []
    for record in runs_root(root).glob("*/*/run.json"):
        path = record.parent
        if not path.name.startswith(".") and experiment in (None, path.parent.name):
            run = _read(path)
            if run is not None and wanted <= set(run.tags):
                found.append(run)
    return sorted(found, key=lambda run: (run.created or datetime.min.replace(tzinfo=UTC), run.id), reverse=True)


def find_run(text: Path | str, root: Path | str | None = None, *, damaged: bool = False) -> Run:
    """The run that somebody means.

    Args:
        text: the path of a run's directory, ``experiment/run id``, a run id, the beginning of one of these or the last
            part of a run id if no other run has it, ``latest``, or ``experiment/latest``.
        root: where runs are kept, as for ``runs``.
        damaged: whether a run whose record cannot be read may be meant.

    Raises:
        DataError: there is no such run, or several are meant, or its record cannot be read.
    """
    run = _at(Path(text)) if str(text) else None
    if run is None:
        run = _named(str(text), runs_root(root))
    if run.status == "unreadable" and not damaged:
        raise DataError(f"The run {run.path} cannot be read: {run.reason}.")
    return run


def flattened(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flattened(cast("Mapping[str, Any]", value), f"{name}.")
        else:
            flat[name] = value
    return flat


def _at(path: Path) -> Run | None:
    """The run whose directory, or whose ``run.json``, a path is."""
    folder = path.parent if path.name == "run.json" else path
    try:
        return _read(folder) if (folder / "run.json").exists() else None
    except (OSError, ValueError):  # what cannot be a path: too long, or with a null character
        return None


def _named(text: str, root: Path) -> Run:
    known = runs(root)
    if not known:
        raise DataError(f"There are no runs in {root}: name another folder with --runs (root), or train one.")
    text = text.rstrip("/")
    experiment, _, name = text.rpartition("/")
    if name == "latest":
        found = [run for run in known if experiment in ("", run.experiment)][:1]
    else:
        found = [run for run in known if text in (run.id, run.name)]
        found = found or [run for run in known if _may_mean(text, run)]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{text!r} may mean {len(found)} runs ({_some(found)}): give more of the name.")
    close = difflib.get_close_matches(text, [name for run in known for name in (run.id, run.name)], n=_SHOWN)
    near = [run for run in known if run.id in close or run.name in close]
    hint = f"the nearest are {_some(near)}" if near else f"the newest are {_some(known)}"
    raise DataError(f"There is no run {text!r} in {root}: {hint}.")


def _may_mean(text: str, run: Run) -> bool:
    return run.id.startswith(text) or run.name.startswith(text) or run.id.endswith(f"-{text}")


def _some(found: list[Run]) -> str:
    return ", ".join([run.name for run in found[:_SHOWN]] + (["..."] if len(found) > _SHOWN else []))


def _read(path: Path) -> Run | None:
    """The run of a directory; None if it has no ``run.json``."""
    place = path.resolve() if ".." in path.parts else path.absolute()
    try:
        record = json.loads((path / "run.json").read_bytes())
        problem = _problem_of(record)
        if not problem:
            return _run_of(cast("dict[str, Any]", record), path, place)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        problem = f"run.json is damaged ({error})"
    return Run(place.name, place.parent.name, path, "unreadable", created=_time_in(place.name), reason=problem)


def _problem_of(record: object) -> str:
    """Why a record cannot be understood; empty if it can."""
    if problem := format_problem(record):
        return problem
    record = cast("dict[str, Any]", record)
    for name, types in _TYPES.items():
        if name in record and not isinstance(record[name], types):
            return f"run.json is damaged ({name!r} is a {type(record[name]).__name__})"
    try:
        _time(record["created"])
        _time(record.get("ended", record["created"]))
    except (KeyError, ValueError):
        return "run.json is damaged (a time is missing or wrong)"
    return "" if record.get("status") else "run.json is damaged (it has no status)"


def _run_of(record: dict[str, Any], path: Path, place: Path) -> Run:
    status, process = str(record["status"]), record.get("process", {})
    if status == "running" and process.get("host") == platform.node() and not is_in_progress(record):
        status = "killed"
    run = Run(
        id=place.name,
        experiment=place.parent.name,
        path=path,
        status=status,
        created=_time(record["created"]),
        tags=tuple(str(tag) for tag in record.get("tags", ())),
        params=flattened(record.get("params") or record.get("description") or {}),
        record=record,
    )
    if status in ("created", "running", "killed"):  # what the record says of an end is of an earlier one
        found = list(recorded_scores(path))
        return replace(
            run,
            seconds=None if status == "created" else _seconds_so_far(record, path, alive=status == "running"),
            epochs=max((each.epoch for each in found if (each.split, each.name) == ("train", "loss")), default=0),
            steps=max((each.step for each in found), default=0),
        )
    return replace(
        run,
        ended=_time(record["ended"]) if "ended" in record else None,
        seconds=record.get("seconds"),
        epochs=record.get("epochs", 0),
        steps=record.get("steps", 0),
        reason=record.get("reason", ""),
        scores={name: _number(value) for name, value in record.get("scores", {}).items()},
    )


def _seconds_so_far(record: Mapping[str, Any], path: Path, *, alive: bool) -> float:
    """Training time of a run that has not ended: that of earlier processes, and that of the last one."""
    until = datetime.now(UTC).timestamp()
    if not alive:
        until = max(_written(path / name) for name in ("run.json", "metrics.jsonl", "plugin_times.jsonl", "log.txt"))
    try:
        since = _time(record["process"]["since"])
    except (KeyError, ValueError):
        since = _time(record["created"])
    return float(record.get("seconds", 0.0)) + max(until - since.timestamp(), 0.0)


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _number(value: object) -> float:
    """A number of the record; null stands for one that is not finite."""
    return float(value) if isinstance(value, int | float) else math.nan


def _time(text: object) -> datetime:
    time = datetime.fromisoformat(str(text))
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _time_in(run_id: str) -> datetime | None:
    try:
        return datetime.strptime(run_id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
