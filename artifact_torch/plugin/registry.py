"""Components by name: what is installed (entry points) and what a program adds for itself.

A component is imported when it is chosen, never before.
"""

from __future__ import annotations

import difflib
import logging

from artifact_torch.errors import PluginError
from artifact_torch.plugin.discovery import GROUPS, SINGULAR, PluginEntry, discover
from artifact_torch.plugin.loading import load_entry
from artifact_torch.plugin.selection import PluginSelection

logger = logging.getLogger("artifact_torch")


class Registry:
    """Maps ``(kind, name)`` to a component class; the kinds are the keys of ``plugin.discovery.GROUPS``."""

    def __init__(self) -> None:
        self._added: dict[str, dict[str, type]] = {kind: {} for kind in GROUPS}
        self._contracts: dict[str, type] = {}

    def require(self, kind: str, contract: type) -> None:
        """State what every component of a kind must be a subclass of. The core calls it for the kinds it defines."""
        self._contracts[kind] = contract

    def add(self, kind: str, name: str, component: type) -> None:
        """Register a class under a name in this process, ahead of installed plugins; for notebooks and scripts.

        Raises:
            PluginError: the class does not keep the contract of its kind.
        """
        self._check(kind, name, component, "registry.add")
        self._added[kind][name] = component

    def get(self, kind: str, name: str, selection: PluginSelection | None = None) -> type:
        """Import and return the component of a kind by its name, or by ``distribution:name``.

        Args:
            kind: a key of ``plugin.discovery.GROUPS``.
            name: the component's name.
            selection: what is switched off, besides what ``ARTIFACT_TORCH_DISABLE`` names.

        Raises:
            PluginError: nothing of that name is installed, several distributions use the name, it is switched off, the
                import fails, or what is imported does not keep the contract of its kind.
        """
        if name in self._added[kind]:
            return self._added[kind][name]
        return self.load_class(self._find(kind, name, selection))

    def load(self, kind: str, name: str) -> object:
        """Import what is installed under a name, whatever it is; for kinds that are not classes.

        Raises:
            PluginError: nothing of that name is installed, several distributions use it, it is switched off, or the
                import fails.
        """
        return load_entry(self._find(kind, name, None))

    def import_all(self, kind: str, selection: PluginSelection | None = None) -> None:
        """Import everything of a kind that is not switched off; what cannot be imported is a warning."""
        selection = selection or PluginSelection()
        for entry in discover(kind):
            if not selection.disabled(entry):
                try:
                    load_entry(entry)
                except PluginError as error:
                    logger.warning("%s", error)

    def load_class(self, entry: PluginEntry) -> type:
        """Import a component that was found already, and hold it against the contract of its kind.

        Raises:
            PluginError: the import fails, or it does not keep the contract.
        """
        return self._check(entry.kind, entry.name, load_entry(entry), f"{entry.source} ({entry.value})")

    def names(self, kind: str) -> list[str]:
        """The names that can be chosen, sorted; nothing is imported."""
        return sorted({entry.name for entry in discover(kind)} | self._added[kind].keys())

    def name_of(self, kind: str, component: type) -> str | None:
        """The name under which a class is registered, or None; no plugin is imported to find out."""
        for name, added in self._added[kind].items():
            if added is component:
                return name
        entry = self.entry_of(kind, component)
        return None if entry is None else entry.name

    def entry_of(self, kind: str, component: type) -> PluginEntry | None:
        """The installed entry that provides a class, or None; no plugin is imported to find out."""
        value = f"{component.__module__}:{component.__qualname__}"
        return next((entry for entry in discover(kind) if entry.value == value or _same(entry, component)), None)

    def _find(self, kind: str, name: str, selection: PluginSelection | None) -> PluginEntry:
        selection = selection or PluginSelection()
        matches = [entry for entry in discover(kind) if name in (entry.name, entry.qualified_name)]
        enabled = [entry for entry in matches if not selection.disabled(entry)]
        singular = SINGULAR[kind]
        if len(enabled) == 1:
            return enabled[0]
        if enabled:
            choices = " or ".join(entry.qualified_name for entry in enabled)
            raise PluginError(
                f"Several distributions provide the {singular} {name!r}: write {choices}, or disable one of them."
            )
        if matches:
            raise PluginError(
                f"The {singular} {name!r} of {matches[0].source} is switched off: choose another one, or take it "
                "out of [plugins] disable, --no-plugin and ARTIFACT_TORCH_DISABLE."
            )
        known = self.names(kind)
        close = difflib.get_close_matches(name, known, n=1)
        if close:
            hint = f"did you mean {close[0]!r}?"
        elif known:
            hint = f"installed are {', '.join(known)}."
        else:
            hint = "no installed plugin provides one."
        raise PluginError(f"There is no {singular} named {name!r}: {hint} See `artifact-torch list-plugins`.")

    def _check(self, kind: str, name: str, component: object, source: str) -> type:
        contract = self._contracts.get(kind, object)
        if not isinstance(component, type) or not issubclass(component, contract):
            raise PluginError(
                f"The {SINGULAR[kind]} {name!r} from {source} is not a subclass of "
                f"{contract.__module__}.{contract.__qualname__}: derive it from that class."
            )
        return component


def _same(entry: PluginEntry, component: type) -> bool:
    # The entry point may name a package that re-exports the class; the class's own package is then loaded already.
    module, _, attribute = entry.value.partition(":")
    same_package = component.__module__.partition(".")[0] == module.partition(".")[0]
    return attribute == component.__qualname__ and same_package and entry.load() is component


registry = Registry()
"""The registry of this process."""
