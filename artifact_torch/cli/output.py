"""How commands say what an experiment has made."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from artifact_torch.experiment import ExperimentResult

SCHEMA = 1
"""Version of the JSON that commands print; raised when a key changes its meaning or goes."""


def print_loading() -> None:
    """Tell a person at a terminal why nothing happens for some seconds; to be called before the heavy imports."""
    if sys.stderr.isatty():
        click.echo("Loading torch and the plugins ...", err=True)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object to stdout."""
    click.echo(json.dumps({"schema": SCHEMA, **value}, indent=2, ensure_ascii=False, allow_nan=False))


def print_table(rows: Sequence[Sequence[str]], *, indent: str = "") -> None:
    """Print rows of as many cells each, in columns that are as wide as their widest cell."""
    if not rows:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo(indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_scores(scores: Mapping[str, float], meaning: str) -> None:
    """Say how good something is."""
    if not scores:
        return
    width = max(len(name) for name in scores)
    click.echo(f"How good it is ({meaning}):" if meaning else "How good it is:")
    for name, score in scores.items():
        click.echo(f"  {name:<{width}}  {score:.4f}")


def print_result(result: ExperimentResult, *, as_json: bool) -> None:
    """Say what was made, where it is and how good it is."""
    if as_json:
        from artifact_torch.core.storage import json_number

        print_json(
            {
                "run_dir": str(result.run_directory),
                "epochs": result.epochs,
                "seconds": round(result.seconds, 2),
                "reason": result.reason,
                "scores": {name: json_number(score) for name, score in result.scores.items()},
                "synthetic": None if result.samples is None else str(result.samples),
                "files": {name: str(path) for name, path in result.files.items()},
                "plots": [str(path) for path in result.plots],
                "warnings": list(result.warnings),
            }
        )
        return
    click.echo(f"Trained {result.epochs} epochs in {result.seconds:.1f} s: {result.reason}.")
    print_scores(result.scores, result.meaning)
    click.echo("What was made:")
    made = [("samples", result.samples), *result.files.items(), ("model", result.run_directory / "model")]
    if result.plots:
        made.append(("plots", result.run_directory / "artifacts"))
    made.append(("everything", result.run_directory))
    for name, path in made:
        if path is not None:
            click.echo(f"  {name:<10}  {path}")
