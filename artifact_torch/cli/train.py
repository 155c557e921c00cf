"""``train``: an experiment from a configuration file, or straight from a CSV file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from artifact_torch.cli.options import no_plugin_option, override_option, without_plugins
from artifact_torch.cli.output import print_loading, print_result
from artifact_torch.core.record import checked_tags


@click.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("--data", type=click.Path(path_type=Path), help="A CSV file to learn, in place of CONFIG.")
@click.option(
    "--target-rows", type=click.IntRange(min=1), help="Synthetic rows to write; as many as trained on if left out."
)
@click.option("--drop", multiple=True, metavar="COLUMN", help="Leave a column of --data out. May be repeated.")
@click.option("--renumber", multiple=True, metavar="COLUMN", help="Number a column of --data anew. May be repeated.")
@override_option
@no_plugin_option
@click.option(
    "--runs", type=click.Path(path_type=Path), help="Where runs are kept (default: $ARTIFACT_TORCH_HOME or ./runs)."
)
@click.option("--tag", "tags", multiple=True, metavar="TEXT", help="Tag the run, if it is a new one. May be repeated.")
@click.option(
    "--resume",
    type=click.Choice(["never", "auto"]),
    default="never",
    show_default=True,
    help="auto: go on with the newest unfinished run of the same description, if there is one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def train(
    config: Path | None,
    data: Path | None,
    target_rows: int | None,
    drop: tuple[str, ...],
    renumber: tuple[str, ...],
    overrides: tuple[str, ...],
    no_plugin: tuple[str, ...],
    runs: Path | None,
    tags: tuple[str, ...],
    resume: str,
    as_json: bool,
) -> None:
    """Train a model, validate it on schedule, and write samples of it.

    CONFIG is a TOML file with the sections [experiment], [data], [model], [training], [validation], [generation],
    [callbacks.<name>], [stoppers.<name>], [trackers.<name>] and [plugins], all of them optional but [data].
    """
    if (config is None) == (data is None):
        raise click.UsageError("Give either a configuration file or --data FILE.csv.")
    if config is not None and (drop or renumber):
        raise click.UsageError("--drop and --renumber go with --data; in a configuration, write them in [data].")
    checked_tags(tags)
    print_loading()
    from artifact_torch.config import load_config, parse_config
    from artifact_torch.continuation import resume_or_run_experiment, unfinished_run
    from artifact_torch.experiment import run_experiment

    extra = [f"generation.num_samples={target_rows}"] if target_rows else []
    if config is not None:
        description, folder = load_config(config, [*overrides, *extra])
        source = str(config)
    else:
        given = {"file": str(data), "drop": list(drop), "renumber": list(renumber)}
        content: dict[str, Any] = {"data": {name: value for name, value in given.items() if value}}
        folder, source = Path(), "--data and --set"
        description = parse_config(content, [*overrides, *extra], source=source)
    description = without_plugins(description, no_plugin)
    if resume == "auto" and unfinished_run(description, folder=folder, root=runs) is not None:
        result = resume_or_run_experiment(description, folder=folder, root=runs, source=source)
    else:
        result = run_experiment(description, folder=folder, root=runs, tags=tags, source=source)
    print_result(result, as_json=as_json)
