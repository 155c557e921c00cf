"""``resume``: go on with a run that was interrupted or failed."""

from __future__ import annotations

from pathlib import Path

import click

from artifact_torch.cli.output import print_loading, print_result


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--allow-plugin-drift",
    is_flag=True,
    help="Go on although a plugin that has state in the checkpoint is not installed or chosen any more.",
)
@click.option(
    "--epochs", type=click.IntRange(min=1), help="How many epochs to train for in all; as was meant if left out."
)
@click.option("--force", is_flag=True, help="Go on although data or settings have changed since the checkpoint.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def resume(run: Path, allow_plugin_drift: bool, epochs: int | None, force: bool, as_json: bool) -> None:
    """Go on with RUN, a run directory, from its newest undamaged checkpoint.

    The description, the data and the plugins are those of the run. If data or settings have changed since, so that
    training would not go on as it would have gone on, that is named and refused.
    """
    print_loading()
    from artifact_torch.continuation import resume_experiment

    result = resume_experiment(run, epochs=epochs, allow_plugin_drift=allow_plugin_drift, allow_changes=force)
    print_result(result, as_json=as_json)
