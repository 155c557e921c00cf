"""Which installed plugins take part, decided before any of them is imported."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass

from artifact_torch.errors import UsageError
from artifact_torch.plugin.discovery import PluginEntry, normalized

__all__ = ["PluginSelection", "conflicting"]

DISABLE_VARIABLE = "ARTIFACT_TORCH_DISABLE"
STRICT_VARIABLE = "ARTIFACT_TORCH_STRICT_PLUGINS"


@dataclass(frozen=True, slots=True)
class PluginSelection:
    """Which plugins take part, and in which order.

    A plugin is meant by the name of its entry, by ``distribution:name``, or by the name of its distribution, which
    means all that this distribution provides. What is disabled is not imported, and cannot be chosen by name either.

    Attributes:
        disable: what to leave out.
        only: of the plugins that act because they are installed, the ones to let act; all of them if None. Components
            that are chosen by name are not concerned.
        order: plugins that run before all others at each hook, in this order, whatever they say of themselves.
    """

    disable: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    order: tuple[str, ...] = ()

    def disabled(self, entry: PluginEntry) -> bool:
        """Whether an entry is switched off, here or by the environment variable ``ARTIFACT_TORCH_DISABLE``."""
        return any(_means(name, entry) for name in (*self.disable, *disabled_by_environment()))

    def acts(self, entry: PluginEntry) -> bool:
        """Whether an entry of kind ``plugins`` takes part."""
        return not self.disabled(entry) and (self.only is None or self.means(entry))

    def means(self, entry: PluginEntry) -> bool:
        """Whether an entry is one of those that ``only`` names."""
        return any(_means(name, entry) for name in self.only or ())

    def unknown(self, names: Iterable[str], entries: Iterable[PluginEntry]) -> list[str]:
        """A sentence for each name that no installed plugin or distribution has."""
        entries = tuple(entries)
        known = {each for entry in entries for each in (entry.name, entry.distribution, entry.qualified_name)}
        sentences: list[str] = []
        for name in names:
            if not any(_means(name, entry) for entry in entries):
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else "see `artifact-torch list-plugins`."
                sentences.append(f"No installed plugin or distribution is named {name!r}: {hint}")
        return sentences

    def check(self, entries: Iterable[PluginEntry]) -> list[str]:
        """Refuse a selection that cannot be meant.

        Returns:
            Warnings: what is disabled or ordered and not installed. A description may be shared with somebody who has
            fewer plugins.

        Raises:
            UsageError: ``only`` names what is not installed.
        """
        entries = tuple(entries)
        if missing := self.unknown(self.only or (), entries):
            raise UsageError(" ".join(missing))
        return self.unknown(dict.fromkeys((*self.disable, *disabled_by_environment())), entries)


def conflicting(entries: Iterable[PluginEntry], selection: PluginSelection | None = None) -> frozenset[PluginEntry]:
    """The entries whose kind and name are declared a second time by something else that is not switched off."""
    claims: dict[tuple[str, str], list[PluginEntry]] = {}
    for entry in entries:
        if selection is None or not selection.disabled(entry):
            claims.setdefault((entry.kind, entry.name), []).append(entry)
    return frozenset(entry for claim in claims.values() if len(claim) > 1 for entry in claim)


def disabled_by_environment() -> tuple[str, ...]:
    """What ``ARTIFACT_TORCH_DISABLE`` names, separated by commas."""
    return tuple(name for part in os.environ.get(DISABLE_VARIABLE, "").split(",") if (name := part.strip()))


def is_strict() -> bool:
    """Whether a broken plugin that is merely installed is an error: ``ARTIFACT_TORCH_STRICT_PLUGINS=1``."""
    return os.environ.get(STRICT_VARIABLE, "") not in ("", "0")


def is_meant(name: str, distribution: str, entry_name: str) -> bool:
    """Whether a name that a user wrote is that of an entry, of its distribution, or ``distribution:name``."""
    first, colon, second = name.rpartition(":")
    if colon:
        return second == entry_name and normalized(first) == normalized(distribution)
    return name == entry_name or normalized(name) == normalized(distribution)


def _means(name: str, entry: PluginEntry) -> bool:
    return is_meant(name, entry.distribution, entry.name)
