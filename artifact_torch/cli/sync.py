"""``sync``: bring what a run has recorded to its trackers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from artifact_torch.cli.output import print_json, print_loading


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--tracker", "names", multiple=True, metavar="NAME", help="Only to this tracker; may be given again.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A parameter of the trackers that are given by name."
)
@click.option("--seconds", type=click.FloatRange(min=0), default=600.0, show_default=True, help="How long to try.")
@click.option("--json", "as_json", is_flag=True, help="Print how many results are left as one JSON object.")
def sync(run: Path, names: Sequence[str], overrides: Sequence[str], seconds: float, as_json: bool) -> None:
    """Bring what RUN, a run directory, has recorded to its trackers, or to others.

    What they have already is not sent again. It ends with exit code 1 if something did not arrive.
    """
    print_loading()
    from artifact_torch.synchronization import sync_run

    left = sync_run(run, names, overrides=overrides, seconds=seconds)
    if as_json:
        print_json({"left": left})
    else:
        for name, count in left.items():
            click.echo(f"{name}: {'everything is there' if not count else f'{count} results are left'}")
    if any(left.values()):
        raise click.exceptions.Exit(1)
