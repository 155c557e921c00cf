"""``check-plugins``: hold installed plugins against their contract."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from artifact_torch.cli.output import print_json, print_loading
from artifact_torch.errors import PluginError
from artifact_torch.plugin.discovery import PluginEntry, discover
from artifact_torch.plugin.loading import PluginStatus, statuses
from artifact_torch.plugin.selection import PluginSelection

if TYPE_CHECKING:
    from artifact_torch.testing.contracts import CheckOutcome

_BACK_AND_CLEAR = "\r\x1b[K"


@click.command("check-plugins")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def check_plugins(ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Try out the installed plugins, or those of each NAME: a plugin, a distribution, or distribution:name.

    Each is imported and checked: that it keeps the contract of its kind, can be built, called and pickled, that its
    state survives in a checkpoint, that it takes little time in the loop and, unless it says that it changes training,
    that a tiny training with it gives the same bits as without it. What needs parameters that only its author knows is
    "not judged". The exit code is 4 if there is a problem.
    """
    entries = discover()
    selection = PluginSelection(only=names)
    if unknown := selection.unknown(names, entries):
        raise click.UsageError(" ".join(unknown))
    chosen = tuple(filter(selection.means, entries)) if names else entries
    if chosen:
        print_loading()
    found = _checked(statuses(chosen, PluginSelection()), show=not as_json)
    if as_json:
        print_json({"plugins": found})
    else:
        _print_end(found)
    if any(each["status"] == "problem" for each in found):
        ctx.exit(PluginError.exit_code)


def _checked(found: Sequence[PluginStatus], *, show: bool) -> list[dict[str, Any]]:
    """What is found out about each plugin, shown as it goes."""
    rows: list[dict[str, Any]] = []
    for number, each in enumerate(found, start=1):
        outcomes: list[CheckOutcome] = []
        if each.status != "disabled":
            with _progress(f"{number}/{len(found)} {_name(each.entry)}") as told:
                outcomes = list(_outcomes(each.entry, told))
        row = _row(each, outcomes)
        rows.append(row)
        if show:
            _print_row(each, row)
    return rows


def _outcomes(entry: PluginEntry, told: _Progress) -> Iterator[CheckOutcome]:
    from artifact_torch.testing.contracts import checks_of, outcome_of

    for check in checks_of(entry):
        told.doing(check)
        with _hushed():
            outcome = outcome_of(entry, check)
        yield outcome


class _Progress:
    """Says on a terminal what is being done, on one line that is cleared afterwards."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = sys.stderr.isatty()

    def doing(self, check: str) -> None:
        if self._shown:
            click.echo(f"{_BACK_AND_CLEAR}{self._what}: {check} ...", nl=False, err=True)

    def end(self) -> None:
        if self._shown:
            click.echo(_BACK_AND_CLEAR, nl=False, err=True)


@contextlib.contextmanager
def _progress(what: str) -> Generator[_Progress]:
    progress = _Progress(what)
    try:
        yield progress
    finally:
        progress.end()


@contextlib.contextmanager
def _hushed() -> Generator[None]:
    """Keep what plugins print, and what is logged of tiny trainings, out of the list of results."""
    logger = logging.getLogger("artifact_torch")
    handlers, propagate = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [], False
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate


def _name(entry: PluginEntry) -> str:
    return f"{entry.kind} {entry.name} ({entry.source})"


def _row(each: PluginStatus, outcomes: Sequence[CheckOutcome]) -> dict[str, Any]:
    failed = any(outcome.outcome == "failed" for outcome in outcomes)
    return {
        "name": each.entry.name,
        "kind": each.entry.kind,
        "distribution": each.entry.distribution,
        "version": each.entry.version,
        "status": each.status if each.status == "disabled" else "problem" if failed else "ok",
        "checks": [
            {"check": outcome.check, "outcome": outcome.outcome, "reason": outcome.reason} for outcome in outcomes
        ],
    }


def _print_row(each: PluginStatus, row: dict[str, Any]) -> None:
    """One line for a plugin, and one more for each further problem."""
    checks: list[dict[str, str]] = row["checks"]
    if each.status == "disabled":
        click.echo(f"{_name(each.entry)} ... disabled: {each.reason}")
        return
    problems = [
        f"PROBLEM {check['check']}: {line}"
        for check in checks
        if check["outcome"] == "failed"
        for line in check["reason"].splitlines()
    ]
    summary = _summary(checks)
    first, *rest = [*problems, summary] if problems else [f"ok, {summary}"]
    click.echo(f"{_name(each.entry)} ... {first}")
    for line in rest:
        click.echo(f"    {line}")


def _summary(checks: Sequence[dict[str, str]]) -> str:
    """How many checks passed, and of the others that have not failed how many and why."""
    passed = sum(check["outcome"] == "passed" for check in checks)
    parts = [f"{passed} {'check' if passed == 1 else 'checks'} passed"]
    for outcome in ("not judged", "not applicable"):
        reasons = [check["reason"] for check in checks if check["outcome"] == outcome]
        for reason in dict.fromkeys(reasons):
            parts.append(f"{reasons.count(reason)} {outcome}: {reason.removesuffix('.')}")
    return "; ".join(parts)


def _print_end(found: Sequence[dict[str, Any]]) -> None:
    if not found:
        click.echo("No plugin is installed. `pip install 'artifact-torch[standard]'` brings the standard ones.")
        return
    wordings = {"ok": "ok", "problem": "with a problem", "disabled": "disabled"}
    counts = {status: sum(each["status"] == status for each in found) for status in wordings}
    parts = [f"{count} {wordings[status]}" for status, count in counts.items() if count]
    click.echo(f"{len(found)} {'plugin' if len(found) == 1 else 'plugins'}: {', '.join(parts)}.")
