"""Calls of hooks, checked by type checkers against the hooks' specifications."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

import pluggy

from artifact_torch.errors import PluginError
from artifact_torch.plugin.calling import Calls, HookFunction, Record, shown
from artifact_torch.plugin.inspection import HOOKS

ArgumentsP = ParamSpec("ArgumentsP")
AnswerT = TypeVar("AnswerT")
ExpectedT = TypeVar("ExpectedT")


@dataclass(frozen=True, slots=True)
class Implementation:
    """Who implements a hook.

    Attributes:
        plugin: the name under which the plugin is registered.
        distribution: the distribution that it comes from, if that is known.
        version: the distribution's version.
        position: ``tryfirst``, ``trylast``, ``wrapper`` or empty.
        source: ``core``, ``chosen`` or ``installed``.
        priority: of those at one position, a higher one is called first.
    """

    plugin: str
    distribution: str | None
    version: str | None
    position: str
    source: str
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Answer(Generic[AnswerT]):
    """What a plugin answered to a hook.

    Attributes:
        plugin: the name under which the plugin is registered.
        value: the answer; that it is of the specification's type is not certain.
        hook: the hook.
        whose: the plugin as messages name it, with its distribution and version.
    """

    plugin: str
    value: AnswerT
    hook: str
    whose: str = field(default="", compare=False)

    def refused(self, wanted: str) -> PluginError:
        """The error to raise if the answer is not what is wanted."""
        return PluginError(
            f"The plugin {self.whose or repr(self.plugin)} returned {shown(self.value)} from {self.hook}: "
            f"return {wanted}, or None."
        )

    def of_type(self, expected: type[ExpectedT], wanted: str) -> ExpectedT:
        """The value, if it is of a type.

        Raises:
            PluginError: it is not; the message names the plugin and the hook, and what is ``wanted``, in words.
        """
        value: object = self.value
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is int):
            raise self.refused(wanted)
        return value


class Hooks:
    """Calls the hooks of one trainer's plugins.

    A hook is called by its specification, whose signature type checkers hold the call against::

        trainer.hooks.notify(RunHooks.on_train_end, trainer=trainer, reason="all 3 epochs are done")

    Args:
        manager: knows the order of the implementations, and nests wrappers.
        calls: how implementations are called.
    """

    def __init__(self, manager: pluggy.PluginManager, calls: Calls) -> None:
        self._manager = manager
        self._calls = calls
        self._functions: dict[tuple[str, str], HookFunction] = {}

    def add(self, each: HookFunction) -> None:
        """Take an implementation that the manager is about to know too."""
        self._functions[each.plugin.name, each.hook] = each

    def notify(
        self,
        specification: Callable[Concatenate[Any, ArgumentsP], object],
        *arguments: ArgumentsP.args,
        **named: ArgumentsP.kwargs,
    ) -> None:
        """Call all implementations of a hook; the first error ends it."""
        with self._recorded(Record()):
            self._call(specification, arguments, named)

    def first(
        self,
        specification: Callable[Concatenate[Any, ArgumentsP], AnswerT | None],
        *arguments: ArgumentsP.args,
        **named: ArgumentsP.kwargs,
    ) -> Answer[AnswerT] | None:
        """Call a hook of which the first answer counts; None if nobody answers."""
        with self._recorded(Record()) as record:
            result = self._call(specification, arguments, named)
        return None if result is None else self._attributed(specification.__name__, [result], record)[0]

    def each(
        self,
        specification: Callable[Concatenate[Any, ArgumentsP], AnswerT | None],
        *arguments: ArgumentsP.args,
        **named: ArgumentsP.kwargs,
    ) -> list[Answer[AnswerT]]:
        """Call a hook and return all answers that are not None, in the order of the plugins."""
        with self._recorded(Record()) as record:
            results = cast("list[Any]", self._call(specification, arguments, named))
        return self._attributed(specification.__name__, results, record)

    def teardown(
        self,
        specification: Callable[Concatenate[Any, ArgumentsP], object],
        *arguments: ArgumentsP.args,
        **named: ArgumentsP.kwargs,
    ) -> list[BaseException]:
        """Call every implementation of a hook, whatever the others raise; return what they raised, in order."""
        errors: list[BaseException] = []
        with self._recorded(Record(errors=errors)):
            try:
                self._call(specification, arguments, named)
            except BaseException as error:  # a wrapper's
                errors.append(error)
        return errors

    def call_one(
        self,
        plugin: str,
        specification: Callable[Concatenate[Any, ArgumentsP], object],
        *arguments: ArgumentsP.args,
        **named: ArgumentsP.kwargs,
    ) -> bool:
        """Call the implementation of one plugin; whether it has one."""
        found = self._functions.get((plugin, specification.__name__))
        if found is None:
            return False
        bound = inspect.signature(specification).bind(None, *arguments, **named)
        with self._recorded(Record()):
            self._calls.around(found)(*bound.args[1:])
        return True

    def implementations(self, hook: str) -> tuple[Implementation, ...]:
        """Who implements a hook, in calling order: wrappers first, which run around the others."""
        return tuple(
            Implementation(
                each.plugin.name,
                each.plugin.distribution,
                each.plugin.version,
                each.position,
                each.plugin.source,
                each.plugin.priority,
            )
            for each in self.functions(hook)
        )

    def functions(self, hook: str) -> tuple[HookFunction, ...]:
        """The implementations of a hook, in calling order, wrappers first."""
        found = reversed(self._caller(hook).get_hookimpls())
        return tuple(self._functions[each.plugin_name, hook] for each in found)

    def positional_caller(self, hook: str, *, without: Iterable[str] = ()) -> Callable[..., None]:
        """The whole hook, wrappers included, as one function of the specification's arguments by position.

        Plugins whose names are in ``without`` are not called.
        """
        names = HOOKS[hook]
        caller = self._manager.subset_hook_caller(hook, [self._manager.get_plugin(name) for name in without])

        def call(*arguments: object) -> None:
            with self._recorded(Record()):
                caller(**dict(zip(names, arguments, strict=True)))

        return call

    def all_functions(self) -> tuple[HookFunction, ...]:
        """The implementations of all hooks."""
        return tuple(self._functions.values())

    def _call(self, specification: Callable[..., object], arguments: Sequence[object], named: dict[str, Any]) -> object:
        if arguments:
            names = HOOKS[specification.__name__]
            named = {**dict(zip(names, arguments, strict=False)), **named}
        return self._caller(specification.__name__)(**named)

    @contextmanager
    def _recorded(self, record: Record) -> Generator[Record]:
        previous, self._calls.record = self._calls.record, record
        try:
            yield record
        finally:
            self._calls.record = previous

    def _attributed(self, hook: str, results: Sequence[Any], record: Record) -> list[Answer[Any]]:
        """Whose each answer is; one that a wrapper has put in place of others is that wrapper's."""
        known = list(record.answers)
        wrappers = [each.plugin for each in self.functions(hook) if each.position == "wrapper"]
        answers: list[Answer[Any]] = []
        for result in results:
            if result is None:  # in the list of a wrapper
                continue
            found = next((number for number, (_, value) in enumerate(known) if value is result), None)
            plugins = wrappers if found is None else [known.pop(found)[0]]
            name, whose = " or ".join(each.name for each in plugins), " or ".join(map(str, plugins))
            answers.append(Answer(name, result, hook, whose))
        return answers

    def _caller(self, hook: str) -> pluggy.HookCaller:
        return cast("pluggy.HookCaller", getattr(self._manager.hook, hook))
