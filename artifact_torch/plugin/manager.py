"""The plugins of one trainer: what is installed, what was chosen, and the hooks they implement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pluggy

from artifact_torch.errors import PluginError
from artifact_torch.plugin.discovery import PluginEntry, conflicting, discover
from artifact_torch.plugin.markers import PROJECT
from artifact_torch.plugin.specs import SPECIFICATIONS


@dataclass(frozen=True, slots=True)
class Implementation:
    """One plugin's implementation of one hook.

    Attributes:
        plugin: the name under which the plugin is registered.
        call: takes the specification's arguments by position, in its order.
    """

    plugin: str
    call: Callable[..., Any]


class Plugins:
    """The plugins of one trainer. Each trainer has its own, so that two in one process do not meet.

    Attributes:
        warnings: one sentence for each installed plugin that could not be loaded.
        loaded: the installed plugins that were loaded, by the name they are registered under.
    """

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        for specification in SPECIFICATIONS:
            self._manager.add_hookspecs(specification)
        self.warnings: list[str] = []
        self.loaded: dict[str, PluginEntry] = {}

    def load_installed(self) -> None:
        """Import and register every plugin that acts because it is installed.

        One that cannot be imported or registered is left out, with a sentence in ``warnings``.
        """
        entries = discover("plugins")
        ambiguous = conflicting(entries)
        # pluggy calls the last registered first, and the documented order is by distribution and name.
        for entry in reversed(entries):
            name = entry.qualified_name if entry in ambiguous else entry.name
            try:
                registered = self.register(entry.load(), name)
            except Exception as error:
                self.warnings.append(
                    f"The plugin {entry.name!r} of {entry.distribution} {entry.version} was left out: "
                    f"{type(error).__name__}: {error}"
                )
            else:
                self.loaded[registered] = entry

    def register(self, plugin: object, name: str | None = None) -> str:
        """Register an object whose methods, or a module whose functions, are marked with ``hookimpl``.

        Returns:
            The name it is registered under: its own, or its class's name with a number if that is taken.

        Raises:
            PluginError: it implements a hook that does not exist, or names an argument that the hook does not have.
        """
        wanted = name or _class_name(plugin)
        taken = {known for known, _ in self._manager.list_name_plugin()}
        chosen, number = wanted, 2
        while chosen in taken:
            chosen, number = f"{wanted}_{number}", number + 1
        try:
            self._manager.register(plugin, chosen)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._manager.has_plugin(chosen):
                self._manager.unregister(name=chosen)
            reason = " ".join(str(error).split())
            raise PluginError(f"The plugin {chosen!r} cannot be used: {reason}") from error
        return chosen

    def name_of(self, plugin: object) -> str | None:
        """The name under which an object is registered here, or None."""
        return self._manager.get_name(plugin)

    def names(self) -> list[str]:
        """The names of all registered plugins, in the order in which they are called."""
        return [name for name, plugin in reversed(self._manager.list_name_plugin()) if plugin is not None]

    def first_result(self, hook: str, **arguments: object) -> Any:
        """Call a hook of which the first answer counts; None if nobody answers."""
        return self._caller(hook)(**arguments)

    def call(self, hook: str, **arguments: object) -> list[Any]:
        """Call a hook and return all answers that are not None, in the order of the plugins."""
        return cast("list[Any]", self._caller(hook)(**arguments))

    def call_each(self, hook: str, **arguments: object) -> list[tuple[str, Any]]:
        """Call a hook and return ``(plugin, answer)`` for every answer that is not None."""
        positional = self._by_position(hook, arguments)
        answers = [(each.plugin, each.call(*positional)) for each in self.implementations(hook)]
        return [(plugin, answer) for plugin, answer in answers if answer is not None]

    def call_all(self, hook: str, **arguments: object) -> list[BaseException]:
        """Call every implementation of a hook, whatever the others raise; return what they raised."""
        positional = self._by_position(hook, arguments)
        errors: list[BaseException] = []
        for each in self.implementations(hook):
            try:
                each.call(*positional)
            except BaseException as error:
                errors.append(error)
        return errors

    def implementations(self, hook: str) -> tuple[Implementation, ...]:
        """Who implements a hook, in calling order; wrappers are around each of them."""
        found = [each for each in reversed(self._caller(hook).get_hookimpls()) if not _wraps(each)]
        if not self.has_wrappers(hook):
            names = self._argument_names(hook)
            return tuple(
                Implementation(each.plugin_name, _positional(each.function, each.argnames, names)) for each in found
            )
        everyone = [each.plugin for each in found]
        return tuple(Implementation(each.plugin_name, self._alone(hook, each.plugin, everyone)) for each in found)

    def has_wrappers(self, hook: str) -> bool:
        """Whether a plugin wraps the implementations of a hook."""
        return any(_wraps(each) for each in self._caller(hook).get_hookimpls())

    def positional_caller(self, hook: str) -> Callable[..., Any]:
        """The whole hook, wrappers included, as one function of the specification's arguments by position."""
        return _by_name(self._caller(hook), self._argument_names(hook))

    def _alone(self, hook: str, plugin: object, everyone: Sequence[object]) -> Callable[..., Any]:
        caller = self._manager.subset_hook_caller(hook, [other for other in everyone if other is not plugin])
        call = _by_name(caller, self._argument_names(hook))

        def call_alone(*arguments: object) -> Any:
            answers = call(*arguments)
            return (answers[0] if answers else None) if isinstance(answers, list) else answers

        return call_alone

    def _caller(self, hook: str) -> pluggy.HookCaller:
        return cast("pluggy.HookCaller", getattr(self._manager.hook, hook))

    def _by_position(self, hook: str, arguments: Mapping[str, object]) -> tuple[object, ...]:
        return tuple(arguments[name] for name in self._argument_names(hook))

    def _argument_names(self, hook: str) -> tuple[str, ...]:
        specification = self._caller(hook).spec
        assert specification is not None  # every hook has one: check_pending refuses the others
        return tuple(specification.argnames)


def _class_name(plugin: object) -> str:
    return str(getattr(plugin, "__name__", type(plugin).__name__))


def _positional(function: Callable[..., Any], wanted: Sequence[str], given: Sequence[str]) -> Callable[..., Any]:
    if tuple(wanted) == tuple(given):
        return function
    positions = tuple(given.index(name) for name in wanted)
    if len(positions) == 1:
        only = positions[0]
        return lambda *arguments: function(arguments[only])
    return lambda *arguments: function(*(arguments[position] for position in positions))


def _by_name(caller: pluggy.HookCaller, names: Sequence[str]) -> Callable[..., Any]:
    return lambda *arguments: caller(**dict(zip(names, arguments, strict=True)))


def _wraps(implementation: pluggy.HookImpl) -> bool:
    return implementation.wrapper or implementation.hookwrapper
