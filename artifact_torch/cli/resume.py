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
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def resume(run: Path, allow_plugin_drift: bool, as_json: bool) -> None:
    """Go on with RUN, a run directory, from its newest undamaged checkpoint.

    The description, the data and the plugins are those of the run; plugins that have changed since are named.
    """
    print_loading()
    from artifact_torch.experiment import resume_experiment

    print_result(resume_experiment(run, allow_plugin_drift=allow_plugin_drift), as_json=as_json)
