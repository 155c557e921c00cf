"""Finds installed plugins from entry-point metadata, importing none of them.

The only module that reads package metadata.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import urlparse
from urllib.request import url2pathname

import importlib_metadata

logger = logging.getLogger("artifact_torch")

CORE = "artifact-torch"

GROUPS = {
    "plugins": "artifact_torch.plugins",
    "callbacks": "artifact_torch.callbacks",
    "stoppers": "artifact_torch.stoppers",
    "trackers": "artifact_torch.trackers",
    "models": "artifact_torch.models",
    "artifact_groups": "artifact_torch.artifact_groups",
    "artifacts": "artifact_torch.artifacts",
    "commands": "artifact_torch.commands",
}
"""Kind of plugin -> entry-point group.

``plugins`` act once installed; ``artifacts`` are modules, imported when artifacts are looked up; the others are chosen
by name.
"""

SINGULAR = {
    "callbacks": "callback",
    "stoppers": "stopper",
    "trackers": "tracker",
    "models": "model",
    "artifact_groups": "artifact group",
    "artifacts": "module of artifacts",
    "commands": "command",
    "plugins": "plugin",
}
"""Kind of plugin -> what one of it is called."""

_KIND_OF_GROUP = {group: kind for kind, group in GROUPS.items()}


@dataclass(frozen=True, slots=True)
class PluginEntry:
    """One declared entry point of an installed distribution.

    Attributes:
        distribution: the distribution's name, as ``pip`` shows it.
        kind: a key of ``GROUPS``.
        name: the name that a user writes to choose it.
        version: the distribution's version; empty if its metadata cannot be read.
        value: what it provides, as ``module:attribute``; nothing of it has been imported.
        editable: the folder that the distribution is developed in, if it was installed from one (``pip install -e``).
        incompatible: why it cannot be used with this version of the core, a sentence's end; empty if it can.
        unmet: requirements of the distribution that are not installed; importing it may fail.
    """

    distribution: str
    kind: str
    name: str
    version: str
    value: str
    editable: str | None = None
    incompatible: str = ""
    unmet: tuple[str, ...] = ()

    @property
    def qualified_name(self) -> str:
        """``distribution:name``, which settles a conflict of two distributions that use one name."""
        return f"{self.distribution}:{self.name}"

    @property
    def source(self) -> str:
        """The distribution and its version, for messages."""
        return f"{self.distribution} {self.version}".rstrip()

    @property
    def module(self) -> str:
        """The top-level package or module that provides it."""
        return self.value.partition(":")[0].partition(".")[0].strip()

    def load(self) -> object:
        """Import the module and return the attribute; whatever the import raises comes through."""
        return importlib_metadata.EntryPoint(self.name, self.value, GROUPS[self.kind]).load()


@dataclass(frozen=True, slots=True)
class DistributionInfo:
    """What the metadata of an installed distribution says.

    Attributes:
        name: as ``pip`` shows it.
        version: empty if the metadata cannot be read.
        summary: one line about it, or empty.
        requires: its requirements as written.
        editable: the folder it is developed in, or None.
    """

    name: str
    version: str
    summary: str
    requires: tuple[str, ...]
    editable: str | None


def discover(kind: str | None = None) -> tuple[PluginEntry, ...]:
    """All declared plugins, or those of one kind, sorted by distribution, kind and name.

    Of a distribution that is found twice on the path, and of a name that it declares twice, the first counts. Metadata
    is read again when a folder of the path has changed.
    """
    return tuple(entry for entry in _installed(_path_state()) if kind in (None, entry.kind))


def normalized(name: str) -> str:
    """A distribution's name in the one spelling that all its spellings have in common (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _path_state() -> tuple[tuple[str, int], ...]:
    """The folders of the path, with the time at which something was last added to or removed from each."""
    state: list[tuple[str, int]] = []
    for folder in sys.path:
        try:
            state.append((folder, Path(folder or ".").stat().st_mtime_ns))
        except OSError:
            continue
    return tuple(state)


@functools.lru_cache(maxsize=1)  # reading takes tens of milliseconds, and each trainer asks
def _installed(_state: tuple[tuple[str, int], ...]) -> tuple[PluginEntry, ...]:
    found: dict[tuple[str, str, str], PluginEntry] = {}
    described: dict[importlib_metadata.Distribution, tuple[DistributionInfo, str, tuple[str, ...]]] = {}
    known: dict[str, _Unmet | None] = {}
    for entry_point in _entry_points():
        entry_kind = _KIND_OF_GROUP.get(entry_point.group)
        distribution = entry_point.dist
        if entry_kind is None or distribution is None:
            continue
        if distribution not in described:
            info = _described(distribution)
            described[distribution] = (info, *_requirements(info.requires, known))
        info, incompatible, unmet = described[distribution]
        entry = PluginEntry(
            info.name,
            entry_kind,
            entry_point.name,
            info.version,
            entry_point.value,
            info.editable,
            incompatible,
            unmet,
        )
        found.setdefault((normalized(entry.distribution), entry.kind, entry.name), entry)
    return tuple(found[key] for key in sorted(found))


def distribution_info(name: str) -> DistributionInfo | None:
    """What the metadata of a distribution says, or None if it is not installed."""
    try:
        return _described(importlib_metadata.distribution(name))
    except importlib_metadata.PackageNotFoundError:
        return None


def _entry_points() -> Iterator[importlib_metadata.EntryPoint]:
    try:
        yield from importlib_metadata.entry_points()
    except Exception:
        # One distribution's entry_points.txt cannot be parsed: leave that one out, and only that one.
        seen: set[str] = set()
        for distribution in importlib_metadata.distributions():
            name = normalized(_described(distribution).name)
            if name not in seen:
                seen.add(name)
                yield from _entry_points_of(distribution)


def _entry_points_of(distribution: importlib_metadata.Distribution) -> tuple[importlib_metadata.EntryPoint, ...]:
    try:
        return tuple(distribution.entry_points)
    except Exception:
        with contextlib.suppress(Exception):  # a file that is not even text is none of ours
            text = distribution.read_text("entry_points.txt") or ""
            if "[artifact_torch." in text:
                _warn_of_entry_points(_described(distribution).name, _malformed_line(text))
        return ()


def _malformed_line(text: str) -> int:
    """The number of the first line of an ``entry_points.txt`` that is neither a section nor an entry; 0 if none."""
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            try:
                importlib_metadata.EntryPoint(name, value.strip(), "")
            except ValueError:
                return number
    return 0


@functools.cache  # once a process: plugins are looked for again and again
def _warn_of_entry_points(distribution: str, line: int) -> None:
    logger.warning(
        "The plugins of %s are not found, because line %d of its entry_points.txt is not name = module:attribute: "
        "repair or uninstall %s.",
        distribution,
        line,
        distribution,
    )


def _described(distribution: importlib_metadata.Distribution) -> DistributionInfo:
    try:
        metadata = distribution.metadata
        assert metadata is not None
        name, version, summary = metadata.get("Name"), metadata.get("Version"), metadata.get("Summary")
        requires = tuple(metadata.get_all("Requires-Dist") or ())
    except Exception:  # no METADATA, or one that cannot be decoded
        name = version = summary = None
        requires = ()
    folder = getattr(distribution, "_path", None)  # its public API has no name for a distribution without metadata
    stem = Path(str(folder)).stem.partition("-")[0] if folder is not None else "unknown"
    return DistributionInfo(name or stem, version or "", summary or "", requires, _editable_folder(distribution))


def _editable_folder(distribution: importlib_metadata.Distribution) -> str | None:
    try:
        origin = cast("dict[str, Any]", json.loads(distribution.read_text("direct_url.json") or "{}"))
        if origin.get("dir_info", {}).get("editable"):
            return url2pathname(urlparse(origin["url"]).path)
    except Exception:  # written by an installer that follows another specification
        return None
    return None


class _Unmet(NamedTuple):
    """A requirement that is not met: the normalized name, its text, and the version that is here."""

    name: str
    text: str
    found: str | None


def _requirements(requires: Iterable[str], known: dict[str, _Unmet | None]) -> tuple[str, tuple[str, ...]]:
    """Why the core is not the one that is required, and which other requirements are not installed.

    ``known`` remembers each line that was looked up: many plugins require the same.
    """
    incompatible, unmet = "", list[str]()
    for line in requires:
        if line not in known:
            known[line] = _unmet(line)
        if (lacking := known[line]) is None:
            continue
        if lacking.name != CORE:
            unmet.append(lacking.text)
        elif lacking.found is not None:  # else a checkout on the path, whose version nobody knows
            incompatible = f"requires {lacking.text}, and {lacking.found} is installed"
    return incompatible, tuple(unmet)


def _unmet(line: str) -> _Unmet | None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return None
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return None
    found = _version(requirement.name)
    if found is not None and requirement.specifier.contains(found, prereleases=True):
        return None
    name = normalized(requirement.name)
    return _Unmet(name, f"{CORE if name == CORE else requirement.name}{requirement.specifier}", found)


def _version(name: str) -> str | None:
    try:
        return importlib_metadata.version(name)
    except importlib_metadata.PackageNotFoundError:
        return None
