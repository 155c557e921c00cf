"""One plugin's implementation of one hook: counted, watched, and named where it fails."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pluggy

from artifact_torch.errors import PluginError
from artifact_torch.plugin.inspection import HOOKS, JOINED, MarkedFunction
from artifact_torch.plugin.period import Period

if TYPE_CHECKING:
    from artifact_torch.plugin.audit import Audit

clock = time.perf_counter

Source = Literal["core", "chosen", "installed"]


@dataclass(slots=True)
class Plugin:
    """An object whose hooks take part.

    Attributes:
        name: the name it is registered under.
        implementation: the object or module.
        source: whether it belongs to the core, was chosen, or acts because it is installed.
        distribution: the distribution that it comes from, if that is known.
        version: the distribution's version.
        entry_name: the name under which the distribution provides it.
        changes_training: whether it says so, with an attribute of that name; then it may draw from the global random
            state and change the modes of the model.
        priority: its attribute of that name: of plugins with the same mark, one with a higher priority is called first.
        batch_period: its attribute of that name: the hooks of a batch are called in every so many steps only.
    """

    name: str
    implementation: object
    source: Source
    distribution: str | None = None
    version: str | None = None
    entry_name: str | None = None
    changes_training: bool = False
    priority: int = 0
    batch_period: Period | None = None

    def __str__(self) -> str:
        return f"{self.name!r} ({self.distribution} {self.version})" if self.distribution else repr(self.name)


@dataclass(slots=True, eq=False)
class HookFunction:
    """One plugin's implementation of one hook.

    Attributes:
        plugin: whose it is.
        hook: which hook.
        call: takes all arguments of the specification, by position.
        position: ``tryfirst``, ``trylast``, ``wrapper`` or empty.
        calls: how often it was called since the ledger was closed.
        seconds: how long that took.
        watched: whether its next call is to be audited.
    """

    plugin: Plugin
    hook: str
    call: Callable[..., Any]
    position: str
    calls: int = 0
    seconds: float = 0.0
    watched: bool = True


@dataclass(slots=True)
class Record:
    """What happened in one call of a hook.

    Attributes:
        answers: who answered what, in order.
        errors: what was raised, if the call goes on after errors; None if the first one ends it.
    """

    answers: list[tuple[Plugin, Any]] = field(default_factory=list[tuple[Plugin, Any]])
    errors: list[BaseException] | None = None


class Calls:
    """How the implementations of one trainer's plugins are called.

    Attributes:
        record: where the call in progress is written down.
        audit: what plugins are watched with; None outside a trainer.
        place: says for messages where training stands.
    """

    def __init__(self, audit: Audit | None, place: Callable[[], str]) -> None:
        self.record = Record()
        self.audit = audit
        self.place = place

    def annotate(self, error: BaseException, each: HookFunction) -> None:
        """Note on an exception whose it is, and where training stood; the innermost plugin is noted first."""
        error.add_note(f"In the plugin {each.plugin}, hook {each.hook}{self.place()}.")
        if not hasattr(error, "artifact_torch_plugin"):
            error.artifact_torch_plugin = f"{each.plugin} failed in {each.hook}{self.place()}"  # type: ignore[attr-defined]

    def watched_call(self, each: HookFunction) -> Callable[..., Any]:
        """The function to call: for the first call of an epoch one that is audited, else the implementation itself."""
        audit = self.audit
        if not each.watched or audit is None or each.plugin.source == "core" or each.plugin.changes_training:
            return each.call
        return audit.watching(each)

    def around(self, each: HookFunction) -> Callable[..., Any]:
        """What pluggy calls in place of the implementation."""
        return self._wrapper(each) if each.position == "wrapper" else self._plain(each)

    def _plain(self, each: HookFunction) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            record = self.record
            start = clock()
            try:
                answer = self.watched_call(each)(*arguments)
            except BaseException as error:
                if not self._keeps(error, each, arguments):
                    raise
                return None
            finally:
                each.calls += 1
                each.seconds += clock() - start
            if answer is not None:
                record.answers.append((each.plugin, answer))
            return answer

        return call

    def _wrapper(self, each: HookFunction) -> Callable[..., Any]:
        def call(*arguments: Any) -> Generator[None, Any, Any]:
            generator: Generator[None, Any, Any] = each.call(*arguments)
            each.calls += 1
            begun = False
            with self._counted(each, arguments):
                _begin(generator, each)
                begun = True
            try:
                result = yield
            except BaseException as error:
                raised = error
            else:
                if begun:
                    with self._counted(each, arguments):
                        return _ended(generator.send, result, each)
                return result
            with self._counted(each, (raised, *arguments)):
                return _ended(generator.throw, raised, each)

        return call

    @contextmanager
    def _counted(self, each: HookFunction, known: Sequence[object]) -> Generator[None]:
        """Count the time of a part of a wrapper, and note whose its error is; what it wraps is counted for itself."""
        start = clock()
        try:
            yield
        except BaseException as error:
            if not self._keeps(error, each, known):
                raise
        finally:
            each.seconds += clock() - start

    def _keeps(self, error: BaseException, each: HookFunction, known: Sequence[object]) -> bool:
        """Note whose an error is; whether it is kept, because the call goes on after errors, and not to be raised.

        ``known`` holds errors that the implementation was given, by what it wraps or as an argument, and has not made.
        """
        if not any(error is given for given in known):
            self.annotate(error, each)
        if self.record.errors is not None:
            self.record.errors.append(error)
        return self.record.errors is not None


def shown(value: object) -> str:
    """A value that was not expected, and its type, in one line that is not too long."""
    text = " ".join(repr(value).split())
    return f"{text if len(text) <= 80 else f'{text[:80]} ...'} ({type(value).__name__})"


_RETURNED = object()


def _begin(wrapper: Generator[None, Any, Any], each: HookFunction) -> None:
    """Run a wrapper up to its yield."""
    if next(wrapper, _RETURNED) is _RETURNED:
        raise PluginError(
            f"The plugin {each.plugin} wraps {each.hook} and returned before its yield: a wrapper yields once, "
            "whatever it finds."
        )


def _ended(resume: Callable[[Any], object], value: object, each: HookFunction) -> Any:
    """What a wrapper returns after its yield; ``value`` is what it wraps has given or raised."""
    try:
        resume(value)
    except StopIteration as end:
        answer = end.value
    else:
        raise PluginError(
            f"The plugin {each.plugin} wraps {each.hook} and yielded a second time: a wrapper yields once, where the "
            "other implementations run."
        )
    if each.hook in JOINED and not isinstance(answer, list) and not isinstance(value, pluggy.Result):
        raise PluginError(
            f"The plugin {each.plugin} wraps {each.hook} and returned {shown(answer)}: return the list that its yield "
            "gives, or another list of answers."
        )
    return answer


def runner(functions: Sequence[HookFunction], calls: Calls) -> Callable[..., None] | None:
    """One function that calls all implementations of a hook of the loop, by position; None if there are none.

    The end of one is taken as the start of the next, so that counting costs one look at the clock for each.
    """
    if not functions:
        return None
    steps = tuple((each, _of_three(each.hook, calls.watched_call(each))) for each in functions)

    # Three arguments whatever the hook has: passing *arguments on was measured to cost a fifth more for each call.
    def run(trainer: Any, batch: Any = None, model_output: Any = None) -> None:
        each, start = steps[0][0], clock()
        try:
            for each, call in steps:
                call(trainer, batch, model_output)
                now = clock()
                each.calls += 1
                each.seconds += now - start
                start = now
        except BaseException as error:
            each.calls += 1
            each.seconds += clock() - start
            calls.annotate(error, each)
            raise

    return run


def asker(functions: Sequence[HookFunction], calls: Calls) -> Callable[[Any], list[tuple[Plugin, Any]]] | None:
    """One function of the trainer that asks all implementations of a hook; None if there are none.

    It counts as ``runner`` does, written out again: one function for both would look at answers in every batch.
    """
    if not functions:
        return None
    steps = tuple((each, calls.watched_call(each)) for each in functions)

    def ask(trainer: Any) -> list[tuple[Plugin, Any]]:
        answers: list[tuple[Plugin, Any]] = []
        each, start = steps[0][0], clock()
        try:
            for each, call in steps:
                answer = call(trainer)
                if answer is not None:
                    answers.append((each.plugin, answer))
                now = clock()
                each.calls += 1
                each.seconds += now - start
                start = now
        except BaseException as error:
            each.calls += 1
            each.seconds += clock() - start
            calls.annotate(error, each)
            raise
        return answers

    return ask


def _of_three(hook: str, call: Callable[..., Any]) -> Callable[[Any, Any, Any], Any]:
    match len(HOOKS[hook]):
        case 1:
            return lambda trainer, _batch, _model_output: call(trainer)
        case 2:
            return lambda trainer, batch, _model_output: call(trainer, batch)
        case _:
            return call


def position_of(marked: MarkedFunction) -> str:
    if marked.wraps:
        return "wrapper"
    return "tryfirst" if marked.options.get("tryfirst") else "trylast" if marked.options.get("trylast") else ""


def positional(marked: MarkedFunction, plugin: Plugin) -> Callable[..., Any]:
    """The function as one of all arguments of the specification, by position."""
    function, given = marked.function, HOOKS[marked.hook]
    wanted = tuple(inspect.signature(function).parameters)
    if marked.hook == "execute_batch_preprocessing" and "batch" in wanted:
        keeping = _keeping_entries_around if marked.wraps else _keeping_entries
        function = keeping(function, wanted.index("batch"), plugin)
    if wanted == given:
        return function
    positions = tuple(given.index(name) for name in wanted)
    if len(positions) == 1:
        only = positions[0]
        return lambda *arguments: function(arguments[only])
    return lambda *arguments: function(*(arguments[position] for position in positions))


def _keeping_entries(function: Callable[..., Any], position: int, plugin: Plugin) -> Callable[..., Any]:
    """A function that edits a batch, refused if entries are gone that the model may need, or if it returns another."""

    def edit(*arguments: Any) -> None:
        batch: dict[str, Any] = arguments[position]
        before = tuple(batch)
        answer = function(*arguments)
        if tuple(batch) != before:
            _refuse_lost(before, batch, plugin)
        if isinstance(answer, dict) and answer is not batch:
            raise PluginError(
                f"The plugin {plugin} returned a batch from execute_batch_preprocessing, which nobody takes: replace "
                "entries of the batch that it is given."
            )

    return edit


def _keeping_entries_around(function: Callable[..., Any], position: int, plugin: Plugin) -> Callable[..., Any]:
    """The same for a wrapper, which must leave what the model may need once it has ended."""

    def edit(*arguments: Any) -> Generator[None, Any, Any]:
        batch: dict[str, Any] = arguments[position]
        before = tuple(batch)
        answer = yield from function(*arguments)
        _refuse_lost(before, batch, plugin)
        return answer

    return edit


def _refuse_lost(before: Sequence[str], batch: dict[str, Any], plugin: Plugin) -> None:
    if lost := [name for name in before if name not in batch]:
        raise PluginError(
            f"The plugin {plugin} removed {', '.join(map(repr, lost))} from the batch in execute_batch_preprocessing: "
            "replace entries, and do not remove them."
        )
