"""The run directory: the local record of a run, always written, whatever trackers are chosen.

``<root>/<experiment>/<run id>/`` holds ``run.json`` (status, parameters, seed, environment, plugins), ``metrics.jsonl``
(one number a line: name, split, epoch, step, value), ``plugin_times.jsonl`` (plugin, hook, epoch, calls, seconds; lines
of one plugin, hook and epoch add up), ``artifacts/<kind>/<name>/epoch-N-step-N-<split>.*``,
``validation/`` (a folder for each round, with its ``results.json``), ``checkpoints/``, ``model/`` and ``log.txt``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import secrets
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from artifact_torch.core.artifacts import Artifact, ArtifactKind, Plot
from artifact_torch.core.checkpoint import CheckpointStore
from artifact_torch.core.environment import describe_environment, source_revision
from artifact_torch.core.journal import ARTIFACTS, METRICS
from artifact_torch.core.mirror_state import rewind_mirrors
from artifact_torch.core.record import (
    RECORD_FORMAT,
    checked_tags,
    file_name,
    format_problem,
    is_in_progress,
    locked,
    runs_root,
    this_process,
)
from artifact_torch.core.split import DataSplit
from artifact_torch.core.storage import JsonDict, write_json
from artifact_torch.core.temporary import sweep
from artifact_torch.core.tracker import TrackedKind
from artifact_torch.errors import DataError, UsageError
from artifact_torch.plugin.ledger import PluginTime
from artifact_torch.plugin.markers import hookimpl

if TYPE_CHECKING:
    from artifact_torch.core.data import DataSplit

__all__ = ["RunDirectory", "runs_root"]

_EXPERIMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_APPENDED = (METRICS, ARTIFACTS, "plugin_times.jsonl")
logger = logging.getLogger("artifact_torch")


class RunDirectory:
    """One run's directory, and the first implementation of every tracking hook.

    Use ``RunDirectory.create`` for a new run and ``RunDirectory.open`` for one that exists.
    """

    def __init__(self, path: Path, record: JsonDict) -> None:
        self.path = path
        self.checkpoints = CheckpointStore(path / "checkpoints")
        self._record = record
        self._log: logging.Handler | None = None
        self._usual_level = logging.NOTSET
        self._position: JsonDict | None = None

    @classmethod
    def create(cls, experiment: str = "default", *, root: Path | str | None = None, tags: Iterable[str] = ()) -> Self:
        """Make the directory of a new run.

        Args:
            experiment: name of the experiment the run belongs to: letters, digits, ``.``, ``_`` and ``-``.
            root: where experiments are kept; by default ``$ARTIFACT_TORCH_HOME``, else ``runs`` in the working
                directory.
            tags: short texts to find the run by later.

        Raises:
            UsageError: the name or a tag is not allowed, or the directory cannot be made.
        """
        if not _EXPERIMENT_NAME.fullmatch(experiment):
            raise UsageError(
                f"{experiment!r} cannot name an experiment: use up to 100 letters, digits, '.', '_' and '-', "
                "starting with a letter or a digit."
            )
        tags = checked_tags(tags)
        started = datetime.now(UTC)
        run_id = f"{started:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        path = runs_root(root) / experiment / run_id
        record: JsonDict = {
            "format": RECORD_FORMAT,
            "run_id": run_id,
            "experiment": experiment,
            "status": "created",
            "created": started.isoformat(timespec="milliseconds"),
            "tags": tags,
            "revision": source_revision(),
            "environment": describe_environment(),
        }
        try:
            path.mkdir(parents=True)
            write_json(path / "run.json", record)
        except OSError as error:
            raise UsageError(
                f"The run directory {path} cannot be made ({error.strerror}): choose another place (--runs, "
                "root, or ARTIFACT_TORCH_HOME)."
            ) from error
        return cls(path, record)

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open the directory of an earlier run.

        Raises:
            DataError: it is not one.
        """
        path = Path(path)
        try:
            record = json.loads((path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path} is not a run directory: it has no readable run.json. Give a folder of the form "
                "runs/<experiment>/<run id>."
            ) from error
        if problem := format_problem(record):
            raise DataError(f"The run {path} cannot be read: {problem}.")
        sweep(path)
        return cls(path, cast("JsonDict", record))

    @property
    def record(self) -> JsonDict:
        """What ``run.json`` says, a copy; its values are JSON values."""
        return dict(self._record)

    @property
    def model_path(self) -> Path:
        """Where the trained model is saved."""
        return self.path / "model"

    def update(self, **fields: Any) -> None:
        """Set fields of ``run.json``, JSON values, and write it."""
        self._change(lambda _: fields)

    def tag(self, *tags: str) -> None:
        """Add tags; another process may be training in the run.

        Raises:
            UsageError: a tag is not allowed.
        """
        given = checked_tags(tags)
        self._change(lambda record: {"tags": checked_tags([*record.get("tags", []), *given])})

    def untag(self, *tags: str) -> None:
        """Take tags away; those that the run does not have are no matter."""
        self._change(lambda record: {"tags": [tag for tag in record.get("tags", []) if tag not in tags]})

    def begin(self, plugins: Iterable[Mapping[str, Any]], *, seed: int, warnings: Iterable[str] = ()) -> None:
        """Mark the run as running and send the log of this process to ``log.txt`` too.

        Args:
            plugins: who takes part.
            seed: the run's seed.
            warnings: what was logged before there was a ``log.txt``.
        """
        self._log = logging.FileHandler(self.path / "log.txt", encoding="utf-8")
        self._log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._log.setLevel(logging.INFO)
        for warning in warnings:
            self._log.handle(logger.makeRecord(logger.name, logging.WARNING, __file__, 0, warning, (), None))
        logger.addHandler(self._log)
        self._usual_level = logger.level
        if logger.getEffectiveLevel() > logging.INFO:
            logger.setLevel(logging.INFO)  # the handlers of others keep their own levels
        if self._position is not None:
            self._take_out(self._position)
            self._position = None
        self.update(status="running", process=this_process(), seed=seed, plugins=[dict(plugin) for plugin in plugins])

    def finish(self, status: str, reason: str, error: BaseException | None = None, **fields: Any) -> None:
        """Mark the run as ended.

        Args:
            status: ``finished``, ``stopped`` (by a stopper, within an epoch), ``failed`` or ``interrupted``.
            reason: why, in words.
            error: what was raised; its traceback is recorded.
            fields: what else to record.
        """
        if error is not None:
            fields["traceback"] = "".join(traceback.format_exception(error))
        ended = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            self.update(status=status, reason=reason, ended=ended, **fields)
        finally:
            if self._log is not None:
                logger.removeHandler(self._log)
                logger.setLevel(self._usual_level)
                self._log.close()
                self._log = None

    @property
    def is_in_progress(self) -> bool:
        """Whether a process of this machine is training in it now; of another machine that is not known."""
        return is_in_progress(self._record)

    def position(self) -> JsonDict:
        """How far the records that are appended to go, in bytes."""
        return {"run_id": self._record.get("run_id"), "bytes": {name: self._size_of(name) for name in _APPENDED}}

    def go_back(self, position: JsonDict) -> None:
        """When training begins, take out of the records what came after a position: it will be recorded again.

        It is moved to files that are named ``*.superseded.jsonl``. A position in another run's records is left alone.
        """
        if position["run_id"] == self._record.get("run_id"):
            self._position = position

    def _take_out(self, position: JsonDict) -> None:
        for name, size in position["bytes"].items():
            if self._size_of(name) <= size:
                continue
            path = self.path / name
            with path.open("rb") as file:
                file.seek(size)
                later = file.read()
            with path.with_suffix(f".superseded{path.suffix}").open("ab") as file:
                file.write(later if later.endswith(b"\n") else later + b"\n")  # a killed process may leave half a line
                file.flush()
                os.fsync(file.fileno())
            rewind_mirrors(self.path, name, size, later)  # first: killed in between, it finds the same again
            os.truncate(path, size)

    def record_plugin_times(self, rows: Iterable[PluginTime]) -> None:
        """Append what plugins took in an epoch to ``plugin_times.jsonl``, a line for each plugin and hook."""
        self._append("plugin_times.jsonl", [row._asdict() for row in rows])

    def plot_paths(self) -> list[Path]:
        """The plots of this run, oldest first."""
        paths = [*self.path.glob("artifacts/plot*/**/*.png")]
        return sorted(paths, key=lambda path: (_step_of(path.relative_to(self.path)), path))

    @hookimpl(tryfirst=True)
    def track_params(self, params: Mapping[str, Any]) -> None:
        self.update(params=dict(params))

    @hookimpl(tryfirst=True)
    def track_score(self, name: str, value: float, split: DataSplit, epoch: int, step: int) -> None:
        self._append(METRICS, [_line(name, value, split, epoch, step)])

    @hookimpl(tryfirst=True)
    def track_score_collection(
        self, name: str, value: Mapping[str, float], split: DataSplit, epoch: int, step: int
    ) -> None:
        lines = [_line(f"{name}/{item}", number, split, epoch, step) for item, number in value.items()]
        self._append(METRICS, lines)

    @hookimpl(tryfirst=True)
    def track_array(self, name: str, value: np.ndarray, split: DataSplit, epoch: int, step: int) -> None:
        path = self._artifact(ArtifactKind.ARRAY, name, split, epoch, step)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, value, allow_pickle=False)
        self._note(TrackedKind.ARRAY, name, path, split, epoch, step)

    @hookimpl(tryfirst=True)
    def track_array_collection(
        self, name: str, value: Mapping[str, np.ndarray], split: DataSplit, epoch: int, step: int
    ) -> None:
        for item, array in value.items():
            path = self._artifact(ArtifactKind.ARRAY_COLLECTION, name, split, epoch, step, item)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, array, allow_pickle=False)
            self._note(TrackedKind.ARRAY, f"{name}/{item}", path, split, epoch, step)

    @hookimpl(tryfirst=True)
    def track_plot(self, name: str, value: Plot, split: DataSplit, epoch: int, step: int) -> None:
        path = self._artifact(ArtifactKind.PLOT, name, split, epoch, step)
        value.move(path)
        self._note(TrackedKind.PLOT, name, path, split, epoch, step)

    @hookimpl(tryfirst=True)
    def track_plot_collection(
        self, name: str, value: Mapping[str, Plot], split: DataSplit, epoch: int, step: int
    ) -> None:
        for item, plot in value.items():
            path = self._artifact(ArtifactKind.PLOT_COLLECTION, name, split, epoch, step, item)
            plot.move(path)
            self._note(TrackedKind.PLOT, f"{name}/{item}", path, split, epoch, step)

    @hookimpl(tryfirst=True)
    def track_file(self, name: str, path: Path, split: DataSplit, epoch: int, step: int) -> None:
        self._note(TrackedKind.FILE, name, path, split, epoch, step)

    def note_checkpoint(self, path: Path, *, epoch: int, step: int) -> None:
        """Tell trackers of a checkpoint that was written; if that is not possible, it is no less written."""
        try:
            self._note(TrackedKind.CHECKPOINT, path.name, path, DataSplit.TRAIN, epoch, step)
        except OSError as error:
            logger.warning("Trackers are not told of the checkpoint %s: %s.", path, error.strerror or error)

    def stored(self, artifact: Artifact, value: Any, split: DataSplit, *, epoch: int, step: int) -> Any:
        """A tracked artifact as JSON: a number, or where its file is, from the run's directory; or these by item."""
        if artifact.kind is ArtifactKind.SCORE:
            return float(value)
        if artifact.kind is ArtifactKind.SCORE_COLLECTION:
            return {item: float(number) for item, number in value.items()}

        def path(item: str = "") -> str:
            place = self._artifact(artifact.kind, artifact.name, split, epoch, step, item)
            return place.relative_to(self.path).as_posix()

        if artifact.kind in (ArtifactKind.ARRAY, ArtifactKind.PLOT):
            return path()
        return {item: path(item) for item in value}

    def _change(self, fields: Callable[[JsonDict], JsonDict]) -> None:
        """Set fields of ``run.json`` as it stands there now: another process may have tagged the run."""
        with locked(self.path):
            with contextlib.suppress(OSError, ValueError):  # damaged meanwhile: it is written anew
                found = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
                self._record = self._record if format_problem(found) else cast("JsonDict", found)
            self._record |= fields(self._record)
            write_json(self.path / "run.json", self._record)

    def _size_of(self, name: str) -> int:
        try:
            return (self.path / name).stat().st_size
        except FileNotFoundError:
            return 0

    def _append(self, name: str, lines: list[JsonDict]) -> None:
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))

    def _note(self, kind: TrackedKind, name: str, path: Path, split: DataSplit, epoch: int, step: int) -> None:
        inside = path.resolve().is_relative_to(self.path.resolve())
        place = path.resolve().relative_to(self.path.resolve()) if inside else path.resolve()
        line = {"kind": str(kind), "name": name, "split": str(split), "epoch": epoch, "step": step, "time": _now()}
        self._append(ARTIFACTS, [{**line, "path": place.as_posix()}])

    def _artifact(self, kind: ArtifactKind, name: str, split: DataSplit, epoch: int, step: int, item: str = "") -> Path:
        stem = f"epoch-{epoch}-step-{step}-{split}"
        suffix = ".png" if kind in (ArtifactKind.PLOT, ArtifactKind.PLOT_COLLECTION) else ".npy"
        folder = self.path / "artifacts" / kind / file_name(name)
        return folder / stem / f"{file_name(item)}{suffix}" if item else folder / f"{stem}{suffix}"


def _step_of(artifact: Path) -> int:
    _, _, _, stem, *_ = artifact.parts
    return int(stem.split("-")[3])


def _line(name: str, value: float, split: DataSplit, epoch: int, step: int) -> JsonDict:
    number = float(value)
    # JSON has no NaN and no infinity; their names can be read back by every language's float parser.
    stored = number if math.isfinite(number) else str(number)
    return {"name": name, "split": str(split), "epoch": epoch, "step": step, "value": stored, "time": _now()}


def _now() -> float:
    """Seconds since 1970, to the millisecond that services keep."""
    return round(time.time(), 3)
