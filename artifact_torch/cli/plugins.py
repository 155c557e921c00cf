"""``list-plugins``, ``show-plugin`` and ``list-components``: what is installed and what it can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from artifact_torch.cli.output import print_json, print_loading, print_table
from artifact_torch.plugin.discovery import GROUPS, PluginEntry, discover, distribution_info
from artifact_torch.plugin.selection import PluginSelection

if TYPE_CHECKING:
    from artifact_torch.parameters import Parameter
    from artifact_torch.plugin.loading import PluginStatus

_NONE_INSTALLED = "No plugin is installed. `pip install 'artifact-torch[standard]'` brings the standard ones."
_COMPONENTS = ("artifact_groups", "callbacks", "models", "stoppers", "trackers")


@click.command("list-plugins")
@click.option("--kind", type=click.Choice(sorted(GROUPS)), help="Only plugins of this kind.")
@click.option("--load", is_flag=True, help="Import each, to see whether it can be used.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_plugins(kind: str | None, load: bool, as_json: bool) -> None:
    """Show the installed plugins: name, kind, distribution, version, status and what each provides.

    Nothing is imported without --load. The status is "installed", or with --load "loaded"; or "disabled" (by
    ARTIFACT_TORCH_DISABLE), "conflict" (another distribution uses the same name: write distribution:name),
    "incompatible" (made for another version of artifact-torch), or with --load "broken". The reason stands below.
    """
    found = _statuses(discover(kind), load=load)
    if as_json:
        print_json({"plugins": [_row(each) for each in found]})
    elif found:
        header = ("NAME", "KIND", "DISTRIBUTION", "VERSION", "STATUS", "PROVIDES")
        rows = [
            (
                each.entry.name,
                each.entry.kind,
                each.entry.distribution,
                f"{each.entry.version} (editable)" if each.entry.editable else each.entry.version,
                each.status,
                each.entry.value,
            )
            for each in found
        ]
        print_table([header, *rows])
        for each in found:
            if each.reason:
                click.echo(f"{each.entry.qualified_name}: {each.reason}")
            if each.entry.unmet:
                click.echo(f"{each.entry.qualified_name}: needs {', '.join(each.entry.unmet)}, not installed here.")
    else:
        click.echo(_NONE_INSTALLED)


@click.command("show-plugin")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show_plugin(name: str, as_json: bool) -> None:
    """Show all that is known about NAME: a plugin, a distribution, or distribution:name.

    It is imported, for its hooks and parameters.
    """
    selection = PluginSelection(only=(name,))
    entries = discover()
    if unknown := selection.unknown((name,), entries):
        raise click.UsageError(unknown[0])
    print_loading()
    found = [_details(each) for each in _statuses(tuple(filter(selection.means, entries)), load=True)]
    if as_json:
        print_json({"plugins": found})
    else:
        _print_apart(found, _print_details)


@click.command("list-components")
@click.argument("kind", type=click.Choice(_COMPONENTS), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_components(kind: str | None, as_json: bool) -> None:
    """Show what can be chosen by name, of one KIND or of all, with the parameters of each.

    The parameters are the keys of its section in a configuration, as in [callbacks.checkpoint]. Each is imported.
    """
    entries = [entry for entry in discover(kind) if entry.kind in _COMPONENTS]
    if entries:
        print_loading()
    found = [_details(each) for each in _statuses(tuple(entries), load=True)]
    if as_json:
        print_json({"components": found})
    elif found:
        _print_apart(found, _print_component)
    else:
        click.echo(_NONE_INSTALLED)


def _statuses(entries: tuple[PluginEntry, ...], *, load: bool) -> list[PluginStatus]:
    from artifact_torch.plugin.loading import statuses

    return statuses(entries, PluginSelection(), _loader() if load else None)


def _loader() -> Callable[[PluginEntry], object]:
    # The contracts of the kinds are stated where their base classes are defined.
    import artifact_torch.core.artifact_group as _  # noqa: F401
    from artifact_torch.plugin.loading import load_entry, load_plugin
    from artifact_torch.plugin.registry import registry

    def load(entry: PluginEntry) -> object:
        if entry.kind == "plugins":
            return load_plugin(entry)
        return load_entry(entry) if entry.kind in ("artifacts", "commands") else registry.load_class(entry)

    return load


def _row(each: PluginStatus) -> dict[str, Any]:
    row = asdict(each.entry)
    row["provides"] = row.pop("value")
    row["unmet"] = list(each.entry.unmet)
    del row["incompatible"]
    return {**row, "status": each.status, "reason": each.reason}


def _details(each: PluginStatus) -> dict[str, Any]:
    """What a status says, and what is known once it is imported: its summary, hooks and parameters."""
    info = distribution_info(each.entry.distribution)
    details = {
        **_row(each),
        "distribution_summary": "" if info is None else info.summary,
        "requires": [] if info is None else list(info.requires),
        "summary": "",
        "hooks": [],
        "parameters": None,
    }
    if each.status in ("broken", "disabled", "incompatible"):
        return details
    component = _loader()(each.entry)
    details["summary"] = _first_line(component)
    from artifact_torch.plugin.inspection import HOOKS, marked_functions

    if each.entry.kind != "commands":
        details["hooks"] = [hook for hook in HOOKS if hook in {marked.hook for marked in marked_functions(component)}]
    if isinstance(component, type) and each.entry.kind in ("callbacks", "stoppers", "trackers", "models"):
        from artifact_torch.parameters import parameters_of

        details["parameters"] = [_parameter(parameter) for parameter in parameters_of(component)]
    return details


def _parameter(parameter: Parameter) -> dict[str, Any]:
    described = asdict(parameter)
    described["description"] = _plain(parameter.description)
    if not isinstance(parameter.default, str | int | float | bool | list | dict | type(None)):
        described["default"] = str(parameter.default)
    return described


def _plain(text: str) -> str:
    """Text of a docstring as a terminal shows it."""
    return text.replace("``", "")


def _first_line(component: object) -> str:
    import inspect

    text = (component.help or "") if isinstance(component, click.Command) else inspect.getdoc(component) or ""
    return _plain(" ".join(text.strip().partition("\n\n")[0].split()))


def _print_apart(found: list[dict[str, Any]], show: Callable[[dict[str, Any]], None]) -> None:
    for number, details in enumerate(found):
        if number:
            click.echo()
        show(details)


def _print_details(details: dict[str, Any]) -> None:
    click.echo(f"{details['name']} ({details['kind']})")
    _print_text(details["summary"])
    rows = [
        ("distribution", f"{details['distribution']} {details['version']}"),
        ("about it", details["distribution_summary"]),
        ("developed in", details["editable"] or ""),
        ("requires", ", ".join(details["requires"])),
        ("not installed", ", ".join(details["unmet"])),
        ("provides", details["provides"]),
        ("status", details["status"]),
        ("reason", details["reason"]),
        ("hooks", ", ".join(details["hooks"])),
    ]
    print_table([row for row in rows if row[1]], indent="  ")
    _print_parameters(details)


def _print_component(details: dict[str, Any]) -> None:
    click.echo(f"{details['kind']} {details['name']}  ({details['distribution']} {details['version']})")
    _print_text(details["reason"] or details["summary"])
    _print_parameters(details)


def _print_parameters(details: dict[str, Any]) -> None:
    if details["parameters"] is None:
        return
    if not details["parameters"]:
        click.echo("  no parameters")
    for parameter in details["parameters"]:
        default = "required" if parameter["required"] else f"default {parameter['default']!r}"
        click.echo(f"  {parameter['name']}: {parameter['type']}, {default}")
        if parameter["description"]:
            _print_text(parameter["description"], indent="      ")


def _print_text(text: str, indent: str = "  ") -> None:
    if text:
        click.echo(click.wrap_text(text, width=100, initial_indent=indent, subsequent_indent=indent))
