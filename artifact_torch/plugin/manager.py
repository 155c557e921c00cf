"""The plugins of one trainer: what is installed, what was chosen, and calls of the hooks they implement."""

from __future__ import annotations

import functools
import logging
import types
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import pluggy

from artifact_torch.errors import PluginError
from artifact_torch.plugin.audit import Audit
from artifact_torch.plugin.calling import Calls, HookFunction, Plugin, Source, position_of, positional
from artifact_torch.plugin.discovery import CORE, PluginEntry, discover, distribution_info
from artifact_torch.plugin.hooks import Hooks
from artifact_torch.plugin.inspection import (
    BATCH_HOOKS,
    HOOKS,
    SPECIFIED,
    MarkedFunction,
    marked_functions,
    problems_of,
    problems_of_attributes,
    refusal,
)
from artifact_torch.plugin.ledger import DEFAULT_TIME_SHARE, PluginTime, TimeLedger
from artifact_torch.plugin.loading import load_plugin
from artifact_torch.plugin.markers import PROJECT, hookimpl
from artifact_torch.plugin.period import Period
from artifact_torch.plugin.selection import PluginSelection, conflicting, is_meant, is_strict
from artifact_torch.plugin.specs import SPECIFICATIONS

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer

logger = logging.getLogger("artifact_torch")


class Plugins:
    """The plugins of one trainer. Each trainer has its own, so that two in one process do not meet.

    Args:
        selection: which installed plugins take part, and which run first.
        trainer: whose plugins these are; they are watched, and failures say where training stood.
        time_share: the share of an epoch's time above which a plugin is warned about.

    Attributes:
        hooks: calls what the plugins implement.
        warnings: one sentence for each thing that is not as it should be and does not end training.
        left_out: the installed plugins that are not used because they are broken, with the reason.
    """

    def __init__(
        self,
        selection: PluginSelection | None = None,
        trainer: Trainer | None = None,
        *,
        time_share: float = DEFAULT_TIME_SHARE,
    ) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        for specification in SPECIFICATIONS:
            self._manager.add_hookspecs(specification)
        self.selection = selection or PluginSelection()
        self.warnings: list[str] = []
        self.left_out: list[tuple[PluginEntry, str]] = []
        self.on_change: list[Callable[[], None]] = []
        self.ledger = TimeLedger(time_share)
        self._trainer = trainer
        self._plugins: dict[str, Plugin] = {}
        self._entries: tuple[PluginEntry, ...] | None = None
        audit = None if trainer is None else Audit(lambda: trainer.model, self.warn, self.changed)
        self.calls = Calls(audit, self._place)
        self.hooks = Hooks(self._manager, self.calls)

    # Registration.

    def set_up(self, chosen: Iterable[tuple[object, str | None]] = (), *, installed: bool = True) -> None:
        """Register what was chosen, in that order, and after it what acts because it is installed.

        All that is wrong with what was chosen is told at once. An installed plugin that is broken is left out, with a
        warning, unless ``ARTIFACT_TORCH_STRICT_PLUGINS`` is set.

        Args:
            chosen: objects, each with the name of its entry if it was chosen by name.
            installed: whether installed plugins take part.

        Raises:
            PluginError: something that was chosen cannot be used; or something installed, and that is to be an error.
            UsageError: ``[plugins] only`` names what is not installed.
        """
        plugins, refused = self._described(chosen)
        if installed:
            loaded, reasons = self._load_installed(plugins)
            plugins += loaded
            refused += reasons
        if refused:
            raise PluginError("\n".join(refused))
        ordered = {name: number for number, name in enumerate(reversed(self.selection.order), start=1)}
        plugins.reverse()  # pluggy calls the last registered first
        plugins.sort(key=lambda plugin: (self._rank(plugin, ordered), plugin.priority))
        for plugin in plugins:
            self._register(plugin, first=self._rank(plugin, ordered) > 0)
        for name in self.selection.order:
            if not any(self._is_meant(name, plugin) for plugin in plugins):
                self.warn(f"[plugins] order names {name!r}, which takes no part in this training.")

    def load_installed(self) -> None:
        """Register every plugin that acts because it is installed; see ``set_up``."""
        self.set_up()

    def register(self, plugin: object, name: str | None = None, *, source: Source = "chosen") -> str:
        """Register an object whose methods, or a module whose functions, are marked with ``hookimpl``.

        It takes part from the next call of a hook on, before those that were registered earlier.

        Returns:
            The name it is registered under: its own, or its class's name with a number if that is taken.

        Raises:
            PluginError: it is registered already, or its hooks are not as they should be, with a line for each problem.
        """
        described = self._describe(plugin, name, source)
        if problems := problems_of(plugin):
            raise PluginError(refusal(described.name, _source_of(described), problems))
        if (known := self.name_of(plugin)) is not None:
            raise PluginError(f"The plugin {described.name!r} cannot be used: it is registered already, as {known!r}.")
        self._register(described)
        return described.name

    def name_of(self, plugin: object) -> str | None:
        """The name under which an object is registered here, or None."""
        return next((name for name, known in self._plugins.items() if known.implementation is plugin), None)

    def names(self) -> list[str]:
        """The names of all registered plugins, in the order in which they are called."""
        return [name for name, _ in reversed(self._manager.list_name_plugin())]

    def plugin_set(self) -> list[dict[str, str | None]]:
        """Who takes part, in calling order: name, source, distribution and version, as a run and a checkpoint keep it.

        A plugin that implements no hook takes no part.
        """
        active = {each.plugin.name for each in self.hooks.all_functions()}
        return [
            {
                "name": plugin.name,
                "source": plugin.source,
                "distribution": plugin.distribution,
                "version": plugin.version,
            }
            for plugin in (self._plugins[name] for name in self.names())
            if plugin.name in active
        ]

    def warn(self, sentence: str) -> None:
        """Keep a warning for the run's record, and log it."""
        self.warnings.append(sentence)
        logger.warning(sentence)

    def watch(self) -> None:
        """Audit the next call of each implementation, and time the epoch; to be called as each begins."""
        self.ledger.begin_epoch()
        for each in self.hooks.all_functions():
            each.watched = True

    def remember_modes(self) -> None:
        """Take the model's modes as those of the epoch that begins; to be called before its first batch."""
        if self.calls.audit is not None:
            self.calls.audit.remember_modes()

    def put_back_modes(self) -> None:
        """Put the model back in the modes that it had before the first batch, if a plugin may have changed them.

        Where one takes part that says it changes training, or none is called for batches, they are what is meant.
        """
        functions = [each for hook in BATCH_HOOKS for each in self.hooks.functions(hook)]
        called = {each.plugin.name: each.plugin for each in functions}
        if self.calls.audit is None or not called or any(plugin.changes_training for plugin in called.values()):
            return
        self.calls.audit.put_back_modes([str(plugin) for plugin in called.values()])

    def close_ledger(self, epoch: int) -> list[PluginTime]:
        """What plugins took since the last time, for an epoch; warns of one that took too large a share of it."""
        rows = self.ledger.close(self.hooks.all_functions(), epoch)
        core = [plugin.name for plugin in self._plugins.values() if plugin.source == "core"]
        for sentence in self.ledger.warnings(rows, exempt=core):
            self.warn(sentence)
        return rows

    def changed(self) -> None:
        """Tell those who keep the implementations of a hook that they have to look again."""
        for callback in self.on_change:
            callback()

    # The parts of registration.

    def _described(self, chosen: Iterable[tuple[object, str | None]]) -> tuple[list[Plugin], list[str]]:
        plugins, refused = list[Plugin](), list[str]()
        for component, entry_name in chosen:
            plugin = self._describe(component, None, "chosen", taken=[each.name for each in plugins])
            plugin.entry_name = entry_name or plugin.entry_name
            if any(component is each.implementation for each in plugins):
                refused.append(f"The plugin {plugin.name!r} cannot be used: it is registered already.")
            elif problems := problems_of(component):
                refused.append(refusal(plugin.name, _source_of(plugin), problems))
            plugins.append(plugin)
        return plugins, refused

    def _load_installed(self, chosen: Sequence[Plugin]) -> tuple[list[Plugin], list[str]]:
        """The plugins that act because they are installed, and why others cannot, if that is to be an error."""
        entries, taken = self._discovered(), {plugin.name for plugin in chosen}
        for sentence in self.selection.check(entries):
            self.warn(sentence)
        acting = [entry for entry in entries if entry.kind == "plugins" and self.selection.acts(entry)]
        ambiguous = conflicting(acting)
        for name in sorted({entry.name for entry in ambiguous}):
            providers = " and ".join(entry.distribution for entry in acting if entry.name == name)
            self.warn(f"The plugin {name!r} is provided by {providers}, and all act: disable one if that is not meant.")
        plugins, refused = list[Plugin](), list[str]()
        for entry in acting:
            name = entry.qualified_name if entry in ambiguous or entry.name in taken else entry.name
            try:
                loaded = load_plugin(entry, self.warn)
            except PluginError as error:
                self.left_out.append((entry, str(error)))
                if is_strict():
                    refused.append(str(error))
                else:
                    self.warn(
                        f"{error} It was left out." if str(error).count("\n") == 0 else f"{error}\nIt was left out."
                    )
            else:
                found = Plugin(
                    name, loaded, "installed", entry.distribution, entry.version, entry.name, **_declared(loaded)
                )
                twin = next((each for each in (*chosen, *plugins) if each.implementation is loaded), None)
                if twin is None:
                    plugins.append(found)
                else:
                    self.warn(f"The plugins {twin} and {found} are one object, which acts once: disable one of them.")
        return plugins, refused

    def _describe(self, plugin: object, name: str | None, source: Source, taken: Sequence[str] = ()) -> Plugin:
        wanted = name or str(getattr(plugin, "__name__", type(plugin).__name__))
        chosen, number = wanted, 2
        while chosen in self._plugins or chosen in taken:
            chosen, number = f"{wanted}_{number}", number + 1
        described = Plugin(chosen, plugin, source, **_declared(plugin))
        module = plugin.__name__ if isinstance(plugin, types.ModuleType) else type(plugin).__module__
        package = module.partition(".")[0]
        if package == PROJECT:
            described.distribution, described.version = CORE, _core_version()
            return described
        for entry in self._discovered():
            if entry.module == package:
                described.distribution, described.version = entry.distribution, entry.version
                if entry.value.partition(":")[2] == type(plugin).__qualname__:
                    described.entry_name = entry.name
        return described

    def _register(self, plugin: Plugin, *, first: bool = False) -> None:
        holder = types.ModuleType(plugin.name)  # a module, for pluggy binds no functions that it finds there
        for marked in marked_functions(plugin.implementation):
            if marked.hook in HOOKS:
                each = HookFunction(plugin, marked.hook, positional(marked, plugin), position_of(marked))
                self.hooks.add(each)
                setattr(holder, marked.hook, self._marked(each, marked, first=first))
        self._plugins[plugin.name] = plugin
        self._manager.register(holder, plugin.name)
        self.changed()

    def _marked(self, each: HookFunction, marked: MarkedFunction, *, first: bool) -> Callable[..., Any]:
        function = self.calls.around(each)
        functools.update_wrapper(function, SPECIFIED[each.hook], assigned=())  # for pluggy, which passes what it names
        return hookimpl(
            function,
            tryfirst=first or bool(marked.options.get("tryfirst")),
            trylast=not first and bool(marked.options.get("trylast")),
            wrapper=bool(marked.options.get("wrapper")),
            hookwrapper=bool(marked.options.get("hookwrapper")),
        )

    def _rank(self, plugin: Plugin, ordered: dict[str, int]) -> int:
        return max((rank for name, rank in ordered.items() if self._is_meant(name, plugin)), default=0)

    @staticmethod
    def _is_meant(name: str, plugin: Plugin) -> bool:
        return name == plugin.name or is_meant(name, plugin.distribution or "", plugin.entry_name or "")

    def _discovered(self) -> tuple[PluginEntry, ...]:
        if self._entries is None:
            self._entries = discover()
        return self._entries

    def _place(self) -> str:
        if self._trainer is None:
            return ""
        state = self._trainer.state
        return f", epoch {state.epoch}, step {state.step}"


class _Declared(TypedDict):
    changes_training: bool
    priority: int
    batch_period: Period | None


def _declared(plugin: object) -> _Declared:
    """What an object or a module says of itself in attributes."""
    refused = {problem.about for problem in problems_of_attributes(plugin)}
    period = None if "batch_period" in refused else getattr(plugin, "batch_period", None)
    return {
        "changes_training": bool(getattr(plugin, "changes_training", False)),
        "priority": 0 if "priority" in refused else getattr(plugin, "priority", 0),
        "batch_period": None if period is None else Period.of(period),
    }


def _source_of(plugin: Plugin) -> str:
    return f"{plugin.distribution} {plugin.version}" if plugin.distribution else ""


def _core_version() -> str | None:
    info = distribution_info(CORE)
    return None if info is None else info.version
