"""Runs side by side: what differs in how they were made, and whose scores are better."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from artifact_torch.cli.output import print_table
from artifact_torch.cli.runs_output import History, direction, is_main, last_of, number, plain, text_of
from artifact_torch.errors import UsageError
from artifact_torch.runs import Best, Run, best_of, flattened

_LONGEST_CELL = 40
_NOTHING = "-"


@dataclass(frozen=True, slots=True)
class ComparedScore:
    """One score of several runs.

    Attributes:
        name: a final score, or a column of ``epoch_scores``.
        mode: whether the lowest or the highest value is better; None if that is not known.
        last: the newest value of each run.
        best: the best value of each run; None for final scores, and where the mode is not known.
    """

    name: str
    mode: str | None
    last: list[float | None]
    best: list[Best | None]

    @property
    def better(self) -> list[int]:
        """The places of the runs with the best last value; none if they are all the same."""
        return _better(self.last, self.mode)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between runs: by name, a value for each run, None where it has none; and all of their scores."""

    runs: Sequence[Run]
    params: dict[str, list[Any]]
    made_with: dict[str, list[Any]]
    scores: list[ComparedScore]


def compare_runs(found: Sequence[Run], mode: str | None) -> Comparison:
    """Compare runs; ``mode`` is that of scores whose names do not tell it."""
    histories = [run.history() for run in found]
    names = dict.fromkeys(name for run in found for name in run.scores)
    names |= dict.fromkeys(name for history in histories for name in history)
    scores = [_compared(name, found, histories, direction(name) or mode) for name in names]
    params, made_with = _differing([run.params for run in found]), _differing([_made_with(run) for run in found])
    if made_with.get("seed") == params.get("experiment.seed"):
        made_with.pop("seed", None)  # it is told already
    return Comparison(found, params, made_with, scores)


def comparison_as_json(comparison: Comparison) -> dict[str, Any]:
    """The whole comparison, as JSON values."""
    return {
        "runs": [{"run": run.id, "experiment": run.experiment, "path": str(run.path)} for run in comparison.runs],
        "params": plain(comparison.params),
        "made_with": plain(comparison.made_with),
        "scores": [
            {
                "name": each.name,
                "mode": each.mode,
                "last": plain(each.last),
                "best": [None if best is None else best._asdict() for best in each.best],
                "better": [comparison.runs[place].id for place in each.better],
            }
            for each in comparison.scores
        ],
    }


def print_comparison(comparison: Comparison) -> None:
    """What differs, in tables; items of collections are left out."""
    heads = _heads(comparison.runs)
    for title, differing in (("Parameters", comparison.params), ("Made with", comparison.made_with)):
        if differing:
            rows = [[name, *map(_cell, values)] for name, values in differing.items()]
            print_table([[title.upper(), *heads], *rows])
        else:
            click.echo(f"{title}: the same.")
        click.echo()
    shown = [each for each in comparison.scores if is_main(each.name)]
    if not shown:
        click.echo("Scores: none yet.")
        return
    rows = [["SCORES", *heads]]
    for each in shown:
        rows.append([each.name, *_marked([number(value) for value in each.last], each.better)])
        values = [None if best is None else best.value for best in each.best]
        if any(value is not None for value in values) and values != each.last:
            cells = [_NOTHING if best is None else f"{number(best.value)} in {best.epoch}" for best in each.best]
            rows.append(["  best, in epoch", *_marked(cells, _better(values, each.mode))])
    print_table(rows)
    left_out = len(comparison.scores) - len(shown)
    more = f" {left_out} items of collections are left out; --json and --csv have them." if left_out else ""
    click.echo(f"* is better, of the scores whose name tells or that --mode is given for.{more}", err=True)


def write_comparison(comparison: Comparison, file: Path) -> None:
    """Write a CSV file: a row for each parameter, library and score, and a column for each run.

    Raises:
        UsageError: the file cannot be written.
    """
    rows: list[list[Any]] = [["what", "name", *(run.name for run in comparison.runs)]]
    rows += [["parameter", name, *_texts(values)] for name, values in comparison.params.items()]
    rows += [["made with", name, *_texts(values)] for name, values in comparison.made_with.items()]
    for each in comparison.scores:
        rows.append(["last score", each.name, *each.last])
        if any(each.best):
            rows.append(["best score", each.name, *(None if best is None else best.value for best in each.best)])
    write_csv(rows, file)


def write_csv(rows: Sequence[Sequence[Any]], file: Path) -> None:
    """Write rows to a CSV file, or to stdout if it is ``-``.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        with click.open_file(str(file), "w", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows(rows)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise UsageError(f"{file} cannot be written ({error.strerror}): name another file.") from error


def _compared(name: str, found: Sequence[Run], histories: Sequence[History], mode: str | None) -> ComparedScore:
    last = [last_of(run, history, name) for run, history in zip(found, histories, strict=True)]
    best = [best_of(history.get(name, {}), mode) if mode else None for history in histories]
    return ComparedScore(name, mode, last, best)


def _better(values: Sequence[float | None], mode: str | None) -> list[int]:
    finite = {place: value for place, value in enumerate(values) if value is not None and math.isfinite(value)}
    if mode is None or len(set(finite.values())) < 2:
        return []
    best = (min if mode == "min" else max)(finite.values())
    return [place for place, value in finite.items() if value == best]


def _differing(mappings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for mapping in mappings for name in mapping)
    rows = {name: [mapping.get(name) for mapping in mappings] for name in names}
    return {name: values for name, values in rows.items() if any(value != values[0] for value in values)}


def _made_with(run: Run) -> dict[str, Any]:
    record = run.record
    plugins = [each for each in record.get("plugins", []) if isinstance(each, dict)]
    versions = {f"plugins.{each.get('name')}": each.get("version") for each in plugins}
    return {
        "seed": record.get("seed"),
        "revision": record.get("revision"),
        **flattened(record.get("environment", {})),
        **versions,
    }


def _heads(found: Sequence[Run]) -> list[str]:
    return [run.id if len({each.experiment for each in found}) == 1 else run.name for run in found]


def _marked(cells: Sequence[str], better: Sequence[int]) -> list[str]:
    return [f"{cell} *" if place in better else cell for place, cell in enumerate(cells)]


def _cell(value: Any) -> str:
    text = _NOTHING if value is None else text_of(value)
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 3]}..."


def _texts(values: Sequence[Any]) -> list[str]:
    return ["" if value is None else text_of(value) for value in values]
