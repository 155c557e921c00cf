"""Imports plugins so that a broken one is a sentence, and says how each of those that are installed stands."""

from __future__ import annotations

import contextlib
import itertools
import logging
import sys
import traceback
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path

from artifact_torch.errors import PluginError
from artifact_torch.plugin.discovery import CORE, SINGULAR, PluginEntry
from artifact_torch.plugin.inspection import marked_functions, problems_of, refusal, refuse
from artifact_torch.plugin.selection import PluginSelection, conflicting

logger = logging.getLogger("artifact_torch")

_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """How an installed plugin stands.

    Attributes:
        entry: what is declared.
        status: ``installed`` (nothing was imported), ``loaded``, ``disabled``, ``conflict``, ``incompatible`` or
            ``broken``.
        reason: why, in words; empty for ``installed`` and ``loaded``.
    """

    entry: PluginEntry
    status: str
    reason: str = ""


def load_entry(entry: PluginEntry, warn: Callable[[str], None] = logger.warning) -> object:
    """Import what an entry names.

    What a plugin prints meanwhile goes to stderr, and a default dtype of torch that it changes is put back.

    Args:
        entry: what to import.
        warn: takes a sentence for what is not as it should be and does no harm.

    Raises:
        PluginError: the distribution is not made for this version of the core, or the import fails, be it by
            ``SystemExit``; one sentence says why and where.
    """
    what = f"The {SINGULAR[entry.kind]} {entry.name!r} of {entry.source}"
    if entry.incompatible:
        raise PluginError(
            f"{what} {entry.incompatible}: install the version of {CORE} that it needs, or another version of "
            f"{entry.distribution}."
        )
    with _default_dtype_kept(f"{what} changes torch's default dtype to {{}} when it is imported", warn):
        try:
            with contextlib.redirect_stdout(sys.stderr):
                return entry.load()
        except (Exception, SystemExit) as error:
            remedy = f"Repair or uninstall {entry.distribution}."
            if entry.unmet:
                wanted = " ".join(f"'{each}'" for each in entry.unmet)
                remedy = f"It needs what is not installed: pip install {wanted}."
            raise PluginError(
                f"{what} cannot be imported from {entry.value}: {reason_of(error)}{place_of(error)}. {remedy}"
            ) from error


def load_plugin(entry: PluginEntry, warn: Callable[[str], None] = logger.warning) -> object:
    """Import a plugin that acts because it is installed, and check its hooks.

    Raises:
        PluginError: as for ``load_entry``; or it cannot be used, with a line for each problem.
    """
    plugin = load_entry(entry, warn)
    problems = problems_of(plugin)
    refuse([refusal(entry.name, entry.source, problems)] if problems else [])
    if next(marked_functions(plugin), None) is None:
        warn(
            f"The plugin {entry.name!r} of {entry.source} implements no hook, and does nothing: mark its functions "
            "with @artifact_torch.hookimpl."
        )
    return plugin


def statuses(
    entries: Iterable[PluginEntry], selection: PluginSelection, load: Callable[[PluginEntry], object] | None = None
) -> list[PluginStatus]:
    """How each entry stands, in the order given; with ``load``, those that may be imported are imported by it."""
    entries = tuple(entries)
    ambiguous = conflicting(entries, selection)
    return [_status(entry, entry in ambiguous, selection, load) for entry in entries]


def reason_of(error: BaseException) -> str:
    """What was raised, in one line that is not too long and without a full stop."""
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception:  # whoever raised it wrote __str__ too
        text = "its message cannot be shown"
    text = " ".join(text.split()).removesuffix(".")
    if len(text) > _LONGEST_REASON:
        text = f"{text[:_LONGEST_REASON]} ... ({len(text):,} characters)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _status(
    entry: PluginEntry, ambiguous: bool, selection: PluginSelection, load: Callable[[PluginEntry], object] | None
) -> PluginStatus:
    if selection.disabled(entry):
        return PluginStatus(entry, "disabled", "switched off by ARTIFACT_TORCH_DISABLE")
    if entry.incompatible:
        return PluginStatus(entry, "incompatible", entry.incompatible)
    if load is not None:
        try:
            load(entry)
        except PluginError as error:
            return PluginStatus(entry, "broken", str(error))
    if ambiguous:
        return PluginStatus(entry, "conflict", f"write {entry.qualified_name!r} to choose this one, or disable another")
    return PluginStatus(entry, "installed" if load is None else "loaded")


@contextlib.contextmanager
def _default_dtype_kept(message: str, warn: Callable[[str], None]) -> Generator[None]:
    torch = sys.modules.get("torch")  # whoever has not imported it has no tensor to spoil either
    before = None if torch is None else torch.get_default_dtype()
    try:
        yield
    finally:
        torch = sys.modules.get("torch")
        if torch is not None:
            expected = torch.float32 if before is None else before
            if (found := torch.get_default_dtype()) != expected:
                torch.set_default_dtype(expected)
                warn(f"{message.format(found)}: it was put back to {expected}.")


def place_of(error: BaseException) -> str:
    """`` (file:line)`` of the line of a plugin's own that failed, whatever it called there; empty if none did."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    system = str(Path(__file__).parent)
    core = str(Path(__file__).parent.parent)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    called = max((number for number, frame in enumerate(frames) if frame.filename.startswith(system)), default=-1)
    theirs = [frame for frame in frames[called + 1 :] if not frame.filename.startswith(core)]
    # What stands before a module's own line belongs to whoever imports it: test runners put their own machinery there.
    theirs = list(itertools.dropwhile(lambda frame: frame.name == "exec_module", theirs))
    own = [frame for frame in theirs if frame.filename == theirs[0].filename]
    return f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
