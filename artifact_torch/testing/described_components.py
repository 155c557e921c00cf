"""Which components a README describes, and where in it; known from metadata alone, without torch."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from artifact_torch.errors import UsageError
from artifact_torch.plugin.discovery import GROUPS, PluginEntry, discover, normalized

__all__ = ["BEGIN", "COMMAND", "END", "KINDS", "entries_of", "label_of"]

KINDS = ("callbacks", "models", "stoppers", "trackers")
"""The kinds of components that are described: those that are built from parameters."""

BEGIN = "<!-- components: begin -->"
END = "<!-- components: end -->"
"""The lines of a README between which its components are described."""

COMMAND = "python -m artifact_torch.testing.component_reference"
"""What writes them there, followed by the README."""


def label_of(entry: PluginEntry) -> str:
    """A component for messages and as a section of a configuration, such as ``callbacks.ema``."""
    return f"{entry.kind}.{entry.name}"


def entries_of(readme: Path) -> tuple[PluginEntry, ...]:
    """The installed components of the distribution that a README belongs to; none is imported.

    Raises:
        UsageError: the ``pyproject.toml`` beside it cannot be read, or declares other components than are installed.
    """
    declaration = readme.parent / "pyproject.toml"
    try:
        project: dict[str, Any] = tomllib.loads(declaration.read_text(encoding="utf-8"))["project"]
        name: str = project["name"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise UsageError(
            f"The distribution of {readme} is not known, because [project] name cannot be read from {declaration} "
            f"({type(error).__name__}: {error})."
        ) from None
    groups: dict[str, dict[str, str]] = project.get("entry-points", {})
    declared = {(kind, entry, value) for kind in KINDS for entry, value in groups.get(GROUPS[kind], {}).items()}
    installed = tuple(
        entry for entry in discover() if entry.kind in KINDS and normalized(entry.distribution) == normalized(name)
    )
    differing = declared ^ {(entry.kind, entry.name, entry.value) for entry in installed}
    if differing:
        names = ", ".join(sorted({f"{kind}.{entry}" for kind, entry, _ in differing}))
        raise UsageError(
            f"What {declaration} declares is not what is installed of {name} ({names}): run `pip install -e .` in its "
            "folder again."
        )
    if not installed:
        raise UsageError(f"{name} has no {', '.join(KINDS[:-1])} or {KINDS[-1]} to describe: declare entry points.")
    return installed
