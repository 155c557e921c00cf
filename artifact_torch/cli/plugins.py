"""``list-plugins``: what is installed, read from metadata alone."""

from __future__ import annotations

from dataclasses import asdict

import click

from artifact_torch.cli.output import print_json
from artifact_torch.plugin.discovery import GROUPS, PluginEntry, conflicting, discover


@click.command("list-plugins")
@click.option("--kind", type=click.Choice(sorted(GROUPS)), help="Only plugins of this kind.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_plugins(kind: str | None, as_json: bool) -> None:
    """Show the installed plugins: name, kind, distribution, version, status and what each provides.

    Nothing is imported. The status is "installed", or "conflict" if another distribution uses the same name: write
    distribution:name to choose one of them.
    """
    entries = discover(kind)
    ambiguous = conflicting(entries)
    status = {entry: "conflict" if entry in ambiguous else "installed" for entry in entries}
    if as_json:
        rows = [{**asdict(entry), "status": status[entry]} for entry in entries]
        for row in rows:
            row["provides"] = row.pop("value")
        print_json({"plugins": rows})
    elif entries:
        _print_table(entries, status)
    else:
        click.echo("No plugin is installed. `pip install 'artifact-torch[standard]'` brings the standard ones.")


def _print_table(entries: tuple[PluginEntry, ...], status: dict[PluginEntry, str]) -> None:
    header = ("NAME", "KIND", "DISTRIBUTION", "VERSION", "STATUS", "PROVIDES")
    rows = [
        (entry.name, entry.kind, entry.distribution, entry.version, status[entry], entry.value) for entry in entries
    ]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
