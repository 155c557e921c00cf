"""``validate``: files judged by the artifacts of a group, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from artifact_torch.cli.options import override_option
from artifact_torch.cli.output import print_json, print_loading, print_scores


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option("--group", help="The artifact group (default: table_comparison).")
@click.option(
    "--config", type=click.Path(path_type=Path), help="A TOML file whose section [validation] names the artifacts."
)
@override_option
@click.option("--output", type=click.Path(path_type=Path), help="The folder to make (default: ./validation-<time>).")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.pass_context
def validate(
    ctx: click.Context,
    group: str | None,
    config: Path | None,
    overrides: tuple[str, ...],
    output: Path | None,
    as_json: bool,
) -> None:
    """Compute scores and plots of files, without a model.

    Which files, and what else is needed, depends on the group: every further --NAME VALUE is one of its options.

    \b
    artifact-torch validate --real a.csv --synthetic b.csv
    artifact-torch validate --group binary_classification --predictions p.csv --label y --probability p

    Which artifacts are computed is said as in a configuration, for example --set validation.plots=all.
    """
    files = _named(ctx.args)
    print_loading()
    from artifact_torch.config import load_config, parse_config
    from artifact_torch.core.storage import json_number
    from artifact_torch.judgement import judge_files

    extra = [] if group is None else [f"experiment.group={group}"]
    if config is not None:
        description, _ = load_config(config, [*overrides, *extra])
    else:
        description = parse_config({}, [*overrides, *extra], source="--set")
    folder = output or Path(f"validation-{datetime.now():%Y%m%d-%H%M%S}")
    found = judge_files(description, files, folder, source="artifact-torch validate")
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "scores": {name: json_number(score) for name, score in found.scores.items()},
                "plots": {name: str(path) for name, path in found.plots.items()},
            }
        )
        return
    print_scores(found.scores, found.meaning)
    click.echo(
        f"What was made: {folder}, with {len(found.plots)} plots." if found.plots else f"What was made: {folder}"
    )


def _named(arguments: Sequence[str]) -> dict[str, Any]:
    """The options that the command does not know itself; one that is given several times is a list.

    Raises:
        click.UsageError: something is no option with a value.
    """
    found: dict[str, Any] = {}
    left = iter(arguments)
    for argument in left:
        name, equals, value = argument.partition("=")
        if not name.startswith("--"):
            raise click.UsageError(f"{argument!r} belongs to no option: write --NAME VALUE.")
        if not equals:
            value = next(left, "")
            if not value or value.startswith("--"):
                raise click.UsageError(f"{name} needs a value: write {name} VALUE.")
        key = name.removeprefix("--").replace("-", "_")
        found[key] = [*(found[key] if isinstance(found[key], list) else [found[key]]), value] if key in found else value
    return found
