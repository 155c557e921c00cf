"""How runs are shown: in a row, in full, side by side, as JSON."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import click

from artifact_torch.cli.output import print_table
from artifact_torch.core import wording
from artifact_torch.runs import Run, best_of

History = Mapping[str, Mapping[int, float]]

_LOWER = {"loss", "distance", "difference", "divergence", "error", "perplexity", "mae", "mse", "rmse", "fpr", "fnr"}
_HIGHER = {"accuracy", "precision", "recall", "auc", "f1", "mcc", "npv", "tpr", "tnr", "r2"}
_CHECKPOINT = re.compile(r"\d{4,}-step-\d{9,}")
_PLACES = {
    "model": "model",
    "best models": "best",
    "samples": "synthetic.csv",
    "plots and arrays": "artifacts",
    "validation": "validation",
    "checkpoints": "checkpoints",
    "scores": "metrics.jsonl",
    "log": "log.txt",
    "record": "run.json",
    "everything": "",
}
_PLUGIN_KEYS = ("name", "version", "distribution", "source", "reason")
_NOTHING = "-"


def direction(name: str) -> Literal["min", "max"] | None:
    """Whether lower or higher values of a score are better, as far as its name tells."""
    segments = name.split("/")
    artifact = segments[1] if len(segments) > 1 else segments[0]
    for text in (artifact, segments[-1]):  # the item of a collection comes second
        words = set(re.split(r"[^a-z0-9]+", text.lower()))
        if bool(words & _LOWER) != bool(words & _HIGHER):
            return "min" if words & _LOWER else "max"
    return None


def number(value: float | None) -> str:
    """A number in a few characters; a dash if there is none."""
    return _NOTHING if value is None else wording.number(value)


def duration(seconds: float | None) -> str:
    """A time in the units that suit it; a dash if it is not known."""
    return _NOTHING if seconds is None or not math.isfinite(seconds) else wording.duration(seconds)


def is_main(name: str) -> bool:
    """Whether a score is none of the items of a collection, of which there may be many."""
    return name.count("/") < 2


def last_of(run: Run, history: History, name: str) -> float | None:
    """The newest value of a score of an epoch, or a final score."""
    if name in run.scores:
        return run.scores[name]
    values = history.get(name)
    return None if not values else values[max(values)]


def summary(values: Mapping[int, float], mode: str | None) -> dict[str, Any]:
    """The last and the best value of a score, with their epochs; without a mode the lowest and the highest."""
    last = max(values)
    told: dict[str, Any] = {"last": values[last], "last_epoch": last}
    for key, which in (("best", mode),) if mode else (("lowest", "min"), ("highest", "max")):
        best = best_of(values, str(which))
        told |= {key: None if best is None else best.value, f"{key}_epoch": None if best is None else best.epoch}
    return told


def print_runs(found: Sequence[Run], histories: Sequence[History], names: Sequence[str]) -> None:
    """A table with a row for each run; its score columns have the last value, and the best one in parentheses."""
    several = len({run.experiment for run in found}) > 1
    columns: list[tuple[str, list[str]]] = [("RUN", [run.name if several else run.id for run in found])]
    columns.append(("STATUS", [run.status for run in found]))
    columns.append(right("EPOCHS", [_NOTHING if run.status == "unreadable" else str(run.epochs) for run in found]))
    for name in names:
        columns.append(_score_column(name, found, histories))
    columns.append(right("TIME", [duration(run.seconds) for run in found]))
    columns.append(("TAGS", [", ".join(run.tags) for run in found]))
    header = [title for title, _ in columns]
    print_table([header, *zip(*(cells for _, cells in columns), strict=True)])
    for run in found:
        if run.status == "unreadable":
            click.echo(f"{run.name}: {run.reason}.")


def main_scores(found: Sequence[Run], histories: Sequence[History]) -> list[str]:
    """At most two scores for a list of runs: the loss, and what most of them are judged by."""
    count = Counter(name for history in histories for name in history if is_main(name))
    losses = sorted(
        (name for name in count if name.endswith("/loss")), key=lambda name: (-count[name], _is_train(name))
    )
    final = [name for run in found for name in run.scores]

    def rank(name: str) -> tuple[int, int, str]:
        plain = name.partition("/")[2]
        return -count[name], final.index(plain) if plain in final else len(final), name

    others = sorted((name for name in count if not (_is_train(name) or name.endswith("/loss"))), key=rank)
    return [*sorted(losses, key=lambda name: (-count[name], _is_train(name)))[:1], *others[:1]]


def right(title: str, cells: Sequence[str]) -> tuple[str, list[str]]:
    """A column that is aligned on the right."""
    width = max(map(len, (title, *cells)))
    return title.rjust(width), [cell.rjust(width) for cell in cells]


def print_run(run: Run, history: History) -> None:
    """Everything that a person may want to know about a run."""
    record = run.record
    click.echo(f"{run.name}: {run.status}")
    environment = cast("dict[str, Any]", record.get("environment", {}))
    libraries = cast("dict[str, Any]", environment.get("libraries") or {})
    rows = [
        ("reason", run.reason),
        ("created", "" if run.created is None else f"{run.created:%Y-%m-%d %H:%M:%S} UTC"),
        ("trained", f"{count(run.epochs, 'epoch')}, {count(run.steps, 'step')}, {duration(run.seconds)}"),
        ("tags", ", ".join(run.tags)),
        ("seed", text_of(record.get("seed", ""))),
        ("revision", text_of(record.get("revision") or "")),
        ("made with", ", ".join(f"{name} {version}" for name, version in libraries.items())),
    ]
    print_table([row for row in rows if row[1]], indent="  ")
    _section("Parameters", [(name, text_of(value)) for name, value in run.params.items()])
    _section("How good it is", [(name, number(value)) for name, value in run.scores.items()])
    _section("Scores", _score_rows(history))
    items = sum(not is_main(name) for name in history)
    if items:
        click.echo(f"  and {items} items of collections, which --json and `runs export` have")
    _section("Checkpoints", [(path.name,) for path in checkpoints_of(run)])
    _section("Best models", [_best_model(each) for each in _mappings(record, "best_models")])
    _section("Artifacts", [(kind, name, count(files, "file")) for kind, name, files in artifacts_of(run)])
    plugins = _mappings(record, "plugins")
    _section("Plugins", [tuple(str(each.get(key) or "") for key in _PLUGIN_KEYS) for each in plugins])
    _section("What was warned of", [(text_of(each),) for each in _listed(record, "warnings")])
    _section("What could not be computed", [(text_of(each),) for each in failures_of(run)])
    _section("Where it is", list(places_of(run).items()))


def run_as_json(run: Run, history: History) -> dict[str, Any]:
    """What ``list`` says of a run, as JSON values."""
    return {
        "run": run.id,
        "experiment": run.experiment,
        "path": str(run.path),
        "status": run.status,
        "reason": run.reason,
        "created": None if run.created is None else run.created.isoformat(),
        "ended": None if run.ended is None else run.ended.isoformat(),
        "seconds": plain(run.seconds),
        "epochs": run.epochs,
        "steps": run.steps,
        "tags": list(run.tags),
        "scores": plain(run.scores),
        "epoch_scores": {name: plain(summary(values, direction(name))) for name, values in history.items()},
    }


def details_as_json(run: Run, history: History) -> dict[str, Any]:
    """What ``show`` says of a run, as JSON values."""
    record = run.record
    return {
        **run_as_json(run, history),
        "params": plain(run.params),
        **{name: plain(record.get(name)) for name in ("seed", "revision", "environment", "plugins", "warnings")},
        "checkpoints": [path.name for path in checkpoints_of(run)],
        "artifacts": [{"kind": kind, "name": name, "files": files} for kind, name, files in artifacts_of(run)],
        "failed_artifacts": failures_of(run),
        "files": places_of(run),
    }


def count(number: int, what: str) -> str:
    """How many, in words: ``1 run``, ``2 runs``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def plain(value: Any) -> Any:
    """JSON values without NaN and infinity, which JSON lacks: they are null."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in cast("Sequence[Any]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def text_of(value: Any) -> str:
    """A JSON value on one line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(text, ensure_ascii=False)


def checkpoints_of(run: Run) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    found = [path for path in (run.path / "checkpoints").glob("*") if _CHECKPOINT.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.partition("-")[0]))


def artifacts_of(run: Run) -> list[tuple[str, str, int]]:
    """Kind, name and number of files of each artifact of a run."""
    folders = sorted(path for path in (run.path / "artifacts").glob("*/*") if path.is_dir())
    return [(folder.parent.name, folder.name, sum(path.is_file() for path in folder.rglob("*"))) for folder in folders]


def failures_of(run: Run) -> list[str]:
    """What could not be computed, and why."""
    return [f"{each.get('artifact')}: {each.get('error')}" for each in _mappings(run.record, "failed_artifacts")]


def places_of(run: Run) -> dict[str, str]:
    """Where the parts of a run are that it has."""
    return {what: str(path) for what, name in _PLACES.items() if (path := run.path / name).exists()}


def _listed(record: Mapping[str, Any], name: str) -> list[Any]:
    found = record.get(name)
    return cast("list[Any]", found) if isinstance(found, list) else []


def _mappings(record: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    return [cast("dict[str, Any]", each) for each in _listed(record, name) if isinstance(each, dict)]


def _best_model(model: Mapping[str, Any]) -> tuple[str, str, str]:
    score = model.get("score")
    return (
        f"epoch {model.get('epoch')}",
        f"step {model.get('step')}",
        f"score {number(score) if isinstance(score, int | float) else _NOTHING}",
    )


def _section(title: str, rows: Sequence[Sequence[str]]) -> None:
    if rows:
        click.echo(f"{title}:")
        print_table(rows, indent="  ")


def _score_column(name: str, found: Sequence[Run], histories: Sequence[History]) -> tuple[str, list[str]]:
    lasts = [last_of(run, history, name) for run, history in zip(found, histories, strict=True)]
    texts = [number(last) for last in lasts]
    width = max(map(len, texts))
    cells: list[str] = []
    mode = direction(name)
    for text, last, history in zip(texts, lasts, histories, strict=True):
        best = best_of(history.get(name, {}), mode) if mode else None
        more = "" if best is None or best.value == last else f" ({number(best.value)})"
        cells.append(f"{text:>{width}}{more}")
    return name, cells


def _score_rows(history: History) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    for name, values in history.items():
        if not is_main(name):
            continue
        told = summary(values, direction(name))
        others = [
            f"{key} {number(told[key])} in epoch {told[f'{key}_epoch']}"
            for key in ("best", "lowest", "highest")
            if told.get(key) is not None
        ]
        rows.append((name, f"{number(told['last'])} in epoch {told['last_epoch']}", ", ".join(others)))
    return rows


def _is_train(name: str) -> bool:
    return name.startswith("train/")
