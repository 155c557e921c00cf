"""Finds installed plugins from entry-point metadata, importing none of them."""

from __future__ import annotations

from dataclasses import dataclass

import importlib_metadata

GROUPS = {
    "plugins": "artifact_torch.plugins",
    "callbacks": "artifact_torch.callbacks",
    "stoppers": "artifact_torch.stoppers",
    "trackers": "artifact_torch.trackers",
    "models": "artifact_torch.models",
    "artifact_groups": "artifact_torch.artifact_groups",
    "commands": "artifact_torch.commands",
}
"""Kind of plugin -> entry-point group. ``plugins`` act once installed; the others are chosen by name."""

_KIND_OF_GROUP = {group: kind for kind, group in GROUPS.items()}


@dataclass(frozen=True, slots=True, order=True)
class PluginEntry:
    """One declared entry point of an installed distribution.

    Attributes:
        distribution: the distribution's name, as ``pip`` shows it.
        kind: a key of ``GROUPS``.
        name: the name that a user writes to choose it.
        version: the distribution's version.
        value: what it provides, as ``module:attribute``; nothing of it has been imported.
    """

    distribution: str
    kind: str
    name: str
    version: str
    value: str

    @property
    def qualified_name(self) -> str:
        """``distribution:name``, which settles a conflict of two distributions that use one name."""
        return f"{self.distribution}:{self.name}"

    def load(self) -> object:
        """Import the module and return the attribute; whatever the import raises comes through."""
        return importlib_metadata.EntryPoint(self.name, self.value, GROUPS[self.kind]).load()


def discover(kind: str | None = None) -> tuple[PluginEntry, ...]:
    """All declared plugins, or those of one kind, sorted by distribution, kind and name."""
    found: set[PluginEntry] = set()
    for entry_point in importlib_metadata.entry_points():
        entry_kind = _KIND_OF_GROUP.get(entry_point.group)
        if entry_kind is None or kind not in (None, entry_kind) or entry_point.dist is None:
            continue
        distribution = entry_point.dist
        found.add(PluginEntry(distribution.name, entry_kind, entry_point.name, distribution.version, entry_point.value))
    return tuple(sorted(found))


def conflicting(entries: tuple[PluginEntry, ...]) -> frozenset[PluginEntry]:
    """The entries whose kind and name are also declared by another distribution."""
    claims: dict[tuple[str, str], list[PluginEntry]] = {}
    for entry in entries:
        claims.setdefault((entry.kind, entry.name), []).append(entry)
    return frozenset(entry for claim in claims.values() if len(claim) > 1 for entry in claim)
