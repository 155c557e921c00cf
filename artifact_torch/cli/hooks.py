"""``list-hooks``: every hook, its documentation, and who implements it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from artifact_torch.cli.output import print_json, print_loading
from artifact_torch.plugin.documentation import HookDocumentation, document_hooks, subject_of, subject_text
from artifact_torch.plugin.specs import SPECIFICATIONS

if TYPE_CHECKING:
    from artifact_torch.plugin.hooks import Implementation

_UNLIMITED = 10_000
_TWO_COLUMNS = 140
_LONGEST_CALL = 60
_COMPONENTS = "Components chosen in a configuration take part too: see `artifact-torch explain CONFIG`."


@click.command("list-hooks")
@click.argument("hook", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_hooks(hook: str | None, as_json: bool) -> None:
    """Show the hooks that a plugin may implement; with HOOK, all about that one and who implements it.

    Without HOOK nothing is imported. With HOOK, the plugins that act because they are installed are.
    """
    hooks = document_hooks()
    if hook is None:
        if as_json:
            print_json({"hooks": [_row(each, None) for each in hooks]})
        else:
            _print_table(hooks)
        return
    documentation = _find(hooks, hook)
    implementations = _implementations(hook)
    if as_json:
        print_json({"hooks": [_row(documentation, implementations)]})
    else:
        _print_documentation(documentation, implementations)


def _find(hooks: Sequence[HookDocumentation], name: str) -> HookDocumentation:
    for hook in hooks:
        if hook.name == name:
            return hook
    from artifact_torch.plugin.inspection import did_you_mean

    hint = did_you_mean(name, [hook.name for hook in hooks], "`artifact-torch list-hooks` shows them all.")
    raise click.UsageError(f"There is no hook {name!r}: {hint}")


def _implementations(hook: str) -> Sequence[Implementation]:
    from artifact_torch.plugin.discovery import discover
    from artifact_torch.plugin.manager import Plugins

    if discover("plugins"):
        print_loading()
    plugins = Plugins()
    plugins.load_installed()
    return plugins.hooks.implementations(hook)


def _row(hook: HookDocumentation, implementations: Sequence[Implementation] | None) -> dict[str, Any]:
    """What JSON says of a hook, JSON values; ``implementations`` is null if the plugins were not loaded."""
    row = asdict(hook)
    row["arguments"] = [argument._asdict() for argument in hook.arguments]
    row["implementations"] = None if implementations is None else [asdict(each) for each in implementations]
    return row


def _print_table(hooks: Sequence[HookDocumentation]) -> None:
    formatter = _formatter()
    # A summary that has no room beside the longest call stands below it.
    column = _LONGEST_CALL if formatter.width >= _TWO_COLUMNS else 0
    for specification in SPECIFICATIONS:
        subject = subject_of(specification)
        about = subject_text(specification).splitlines()[0]
        formatter.write_text(f"{subject.capitalize()} hooks. {about}")
        formatter.indent()
        formatter.write_dl([(hook.call, hook.summary) for hook in hooks if hook.subject == subject], col_max=column)
        formatter.dedent()
        formatter.write_paragraph()
    formatter.write_text("`artifact-torch list-hooks HOOK` shows all about one of them.")
    click.echo(formatter.getvalue(), nl=False)


def _print_documentation(hook: HookDocumentation, implementations: Sequence[Implementation]) -> None:
    formatter = _formatter()
    formatter.write_text(hook.signature)
    for text in filter(None, (hook.summary, hook.text)):
        formatter.write_paragraph()
        formatter.write_text(text)
    with formatter.section("Order"):
        formatter.write_text(hook.order)
    with formatter.section("Arguments"):
        formatter.write_dl([(f"{name}: {kind}", description) for name, kind, description in hook.arguments])
    with formatter.section("Returns"):
        formatter.write_text(hook.returns)
    with formatter.section(f"Example, since version {hook.version_added}"):
        for line in hook.example.splitlines():
            formatter.write(f"  {line}".rstrip() + "\n")
    if implementations:
        with formatter.section("Implemented by, in calling order"):
            formatter.write_dl([(each.plugin, _source(each)) for each in implementations])
    else:
        formatter.write_paragraph()
        formatter.write_text("No installed plugin implements it.")
    formatter.write_paragraph()
    formatter.write_text(_COMPONENTS)
    click.echo(formatter.getvalue(), nl=False)


def _source(implementation: Implementation) -> str:
    position = f"({implementation.position})" if implementation.position else ""
    return " ".join(filter(None, [implementation.distribution, implementation.version, position]))


def _formatter() -> click.HelpFormatter:
    """Wraps at the terminal's width; not at all where the output goes to a file or another program."""
    return click.HelpFormatter(width=shutil.get_terminal_size().columns if sys.stdout.isatty() else _UNLIMITED)
