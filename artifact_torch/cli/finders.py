"""``find-learning-rate`` and ``find-batch-size``: train for a moment, and say what to write in a configuration."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from artifact_torch.cli.options import no_plugin_option, override_option, without_plugins
from artifact_torch.cli.output import print_json, print_loading, print_table

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer

_SHOWN_RATES = 15
_MEBIBYTE = 2**20


def _experiment_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What both commands take."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        no_plugin_option,
        override_option,
        click.option("--data", type=click.Path(path_type=Path), help="A CSV file to learn, in place of CONFIG."),
        click.argument("config", type=click.Path(path_type=Path), required=False),
    ):
        command = option(command)
    return command


@click.command()
@_experiment_options
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the loss over the rate to this file.")
def find_learning_rate(
    config: Path | None,
    data: Path | None,
    overrides: tuple[str, ...],
    no_plugin: tuple[str, ...],
    as_json: bool,
    plot: Path | None,
) -> None:
    """Find a learning rate for CONFIG, or for a CSV file, by training for a moment with ever higher ones.

    Nothing is written but the plot, if it is asked for.
    """
    if plot is not None and not plot.parent.is_dir():
        raise click.UsageError(f"--plot: there is no folder {plot.parent}.")
    with _prepared(config, data, overrides, no_plugin) as trainer:
        from artifact_torch.core import learning_rate

        curve = learning_rate.find_learning_rate(trainer)
    if plot is not None:
        _save(plot, lambda path: curve.plot().savefig(path))
    if as_json:
        print_json(
            {
                "learning_rate": curve.suggestion,
                "curve": [
                    {"learning_rate": rate, "loss": loss} for rate, loss in zip(curve.rates, curve.losses, strict=True)
                ],
            }
        )
        return
    rows = list(zip(curve.rates, curve.losses, strict=True))
    shown = rows[:: max(1, len(rows) // _SHOWN_RATES)]
    print_table([("learning rate", "loss"), *((f"{rate:.2e}", f"{loss:.4g}") for rate, loss in shown)])
    if curve.suggestion is None:
        click.echo("\nThe loss did not fall with any of them: is there anything to learn?")
    else:
        _suggest("learning_rate", f"{curve.suggestion:.3g}", "The loss falls fastest there")


@click.command()
@_experiment_options
def find_batch_size(
    config: Path | None,
    data: Path | None,
    overrides: tuple[str, ...],
    no_plugin: tuple[str, ...],
    as_json: bool,
) -> None:
    """Find a batch size for CONFIG, or for a CSV file, by training for a moment with ever larger ones.

    Nothing is written.
    """
    with _prepared(config, data, overrides, no_plugin) as trainer:
        from artifact_torch.core import batch_size

        table = batch_size.find_batch_size(trainer)
    if as_json:
        sizes = [dataclasses.asdict(row) for row in table.rows]
        found = {"batch_size": table.suggestion, "largest": table.largest, "too_large": table.too_large}
        print_json({**found, "sizes": sizes})
        return
    rows: list[Sequence[str]] = [("batch size", "ms a step", "samples a second", "peak memory")]
    for row in table.rows:
        memory = "" if row.peak_memory is None else f"{row.peak_memory / _MEBIBYTE:,.0f} MiB"
        cells = (str(row.batch_size), f"{1000 * row.seconds_per_step:.2f}", f"{row.samples_per_second:,.0f}", memory)
        rows.append(cells)
    if table.too_large is not None:
        rows.append((str(table.too_large), "out of memory", "", ""))
    print_table(rows)
    _suggest("batch_size", str(table.suggestion), "The smallest size that is nearly as fast as the fastest")


@contextmanager
def _prepared(
    config: Path | None, data: Path | None, overrides: tuple[str, ...], no_plugin: tuple[str, ...]
) -> Generator[Trainer]:
    """The trainer that ``train`` would use; its run directory is a temporary one, and goes."""
    if (config is None) == (data is None):
        raise click.UsageError("Give either a configuration file or --data FILE.csv.")
    print_loading()
    from artifact_torch.config import load_config, parse_config
    from artifact_torch.experiment import prepare_experiment

    if config is not None:
        description, folder = load_config(config, overrides)
        source = str(config)
    else:
        folder, source = Path(), "--data and --set"
        description = parse_config({"data": {"file": str(data)}}, overrides, source=source)
    description = without_plugins(description, no_plugin)
    with tempfile.TemporaryDirectory() as root:
        yield prepare_experiment(description, folder=folder, root=Path(root), source=source).trainer


def _save(path: Path, save: Callable[[Path], None]) -> None:
    from artifact_torch.errors import UsageError

    try:
        save(path)
    except (OSError, ValueError) as error:  # matplotlib raises ValueError for a format that it does not know
        raise UsageError(f"{path} cannot be written ({error}): choose another place or ending.") from error


def _suggest(key: str, value: str, reason: str) -> None:
    click.echo(f"\n{reason}. For the configuration, under [training]:\n\n{key} = {value}")
