"""Finds everything that is wrong with a plugin before any of its hooks is called.

pluggy itself stops at the first mistake, says nothing of a misspelt hook until it is asked, and lets through what fails
later or never runs: keyword-only arguments, defaults, an override that lost its mark.
"""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import pluggy

from artifact_torch.errors import PluginError, UsageError
from artifact_torch.plugin.markers import PROJECT
from artifact_torch.plugin.period import Period
from artifact_torch.plugin.specs import HOOKSPEC_VERSION, OLDEST_HOOKSPEC_VERSION, SPECIFICATIONS

SPECIFIED: Mapping[str, Callable[..., Any]] = {
    name: function
    for specification in SPECIFICATIONS
    for name, function in vars(specification).items()
    if not name.startswith("_")
}
"""Hook -> its specification."""

HOOKS: Mapping[str, tuple[str, ...]] = {
    name: tuple(inspect.signature(function).parameters)[1:] for name, function in SPECIFIED.items()
}
"""Hook -> the names of its arguments, in order."""

JOINED = frozenset(
    name
    for name, function in SPECIFIED.items()
    if function.__annotations__["return"] != "None" and not getattr(function, f"{PROJECT}_spec")["firstresult"]
)
"""The hooks of which all answers are taken, as a list."""

BATCH_HOOKS = (
    "execute_batch_preprocessing",
    "on_before_optimizer_step",
    "log_batch_metrics",
    "execute_batch_postprocessing",
)

STATE_HOOKS = ("on_save_checkpoint", "on_load_checkpoint")

_parser = pluggy.PluginManager(PROJECT)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a plugin.

    Attributes:
        message: what is wrong and what to do, the end of a sentence.
        location: ``file:line``, or empty where there is none.
        about: the attribute that it is about, if it is about one.
    """

    message: str
    location: str = ""
    about: str = ""

    def __str__(self) -> str:
        return f"{self.message} ({self.location})" if self.location else self.message


@dataclass(frozen=True, slots=True)
class MarkedFunction:
    """A function of a plugin that carries the mark ``hookimpl``.

    Attributes:
        hook: the hook that it implements.
        function: the function, bound to its object.
        options: what the mark says (``tryfirst``, ``trylast``, ``wrapper``, ...).
    """

    hook: str
    function: Callable[..., Any]
    options: Mapping[str, Any]

    @property
    def wraps(self) -> bool:
        """Whether it runs around the other implementations."""
        return bool(self.options.get("wrapper") or self.options.get("hookwrapper"))


def marked_functions(plugin: object) -> Iterator[MarkedFunction]:
    """The functions of an object or a module that are marked with ``hookimpl``, by name; no property is executed."""
    for name in dir(plugin):
        options = _parser.parse_hookimpl_opts(plugin, name)
        if options is not None:
            function = cast("Callable[..., Any]", getattr(plugin, name))
            yield MarkedFunction(options.get("specname") or name, function, cast("Mapping[str, Any]", options))


def problems_of(plugin: object) -> list[Problem]:
    """Everything that is wrong with an object or a module that is to be registered."""
    problems = [*_problems_of_version(plugin), *problems_of_attributes(plugin)]
    if isinstance(plugin, type):
        message = f"it is the class {plugin.__qualname__}: give an instance of it, or a module with functions"
        return [*problems, Problem(message, _location_of_class(plugin))]
    for marked in marked_functions(plugin):
        problems.extend(Problem(message, location_of(marked.function)) for message in _messages_of(marked))
    problems.extend(_unmarked(plugin))
    return problems


def problems_of_attributes(plugin: object) -> list[Problem]:
    """What is wrong with what a plugin says of its place and its time."""
    problems: list[Problem] = []
    priority, period = getattr(plugin, "priority", 0), getattr(plugin, "batch_period", None)
    if not isinstance(priority, int):
        problems.append(Problem(f"its priority is {priority!r}: give a whole number, such as 10", about="priority"))
    if period is not None:
        try:
            Period.of(period)
        except UsageError as error:
            problems.append(Problem(f"its batch_period is wrong: {str(error).rstrip('.')}", about="batch_period"))
    return problems


def refusal(plugin: str, source: str, problems: Iterable[Problem]) -> str:
    """A line for each problem of a plugin; ``source`` is its distribution and version, or empty."""
    of = f" of {source}" if source else ""
    return "\n".join(f"The plugin {plugin!r}{of} cannot be used: {problem}." for problem in problems)


def refuse(messages: Iterable[str]) -> None:
    """Raise one PluginError with a line for each message; none if there is no message."""
    lines = list(messages)
    if lines:
        raise PluginError("\n".join(lines))


def location_of(function: Callable[..., Any]) -> str:
    """``file:line`` of a function, empty if it was not written in Python."""
    code = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__code__", None)
    return "" if code is None else f"{code.co_filename}:{code.co_firstlineno}"


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """``did you mean 'x'?``, or another hint if no known name is alike."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else otherwise


def _messages_of(marked: MarkedFunction) -> Iterator[str]:
    hook, function = marked.hook, marked.function
    if hook not in HOOKS:
        if not marked.options.get("optionalhook"):
            yield f"there is no hook {hook!r}: {did_you_mean(hook, HOOKS, '`artifact-torch list-hooks` shows them')}"
        return
    yield from _messages_of_arguments(hook, function)
    is_generator = inspect.isgeneratorfunction(function)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        yield f"{hook} is an async function, which nobody awaits: write it with def"
    elif marked.wraps and not is_generator:
        yield f"{hook} is marked as a wrapper and has no yield: yield once where the other implementations run"
    elif marked.wraps and hook in STATE_HOOKS:
        yield f"{hook} cannot be wrapped, because it is called for one plugin at a time: remove wrapper=True"
    elif is_generator and not marked.wraps:
        yield f"{hook} has a yield, so that its body would not run: remove it, or mark the hook with wrapper=True"


def _messages_of_arguments(hook: str, function: Callable[..., Any]) -> Iterator[str]:
    wanted = HOOKS[hook]
    takes = f"it has {', '.join(wanted)}"
    first = next(iter(inspect.signature(getattr(function, "__func__", function)).parameters), None)
    if inspect.ismethod(function) and (first is None or first in wanted):
        yield f"{hook} is a method without self: add self as its first argument"
        return  # which self would be passed as; what else is wrong cannot be told
    kinds = inspect.Parameter
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD):
            star = "*" if parameter.kind is kinds.VAR_POSITIONAL else "**"
            yield f"{hook} takes {star}{name}, which stays empty: name the arguments it needs; {takes}"
        elif name not in wanted:
            yield f"{hook} has no argument {name!r}: {did_you_mean(name, wanted, takes)}"
        elif parameter.kind is kinds.KEYWORD_ONLY:
            yield f"{hook} takes {name!r} by keyword only, and arguments come by position: remove the * before it"
        elif parameter.default is not kinds.empty:
            yield f"{hook} gives {name!r} a default, so that it would never be passed: remove the default"


def _unmarked(plugin: object) -> Iterator[Problem]:
    """Functions that are named like a hook and would never be called."""
    owner = vars(plugin) if isinstance(plugin, types.ModuleType) else None
    for hook in HOOKS:
        if _parser.parse_hookimpl_opts(plugin, hook) is not None:
            continue
        found: Any = inspect.getattr_static(plugin, hook, None)
        function = found.__func__ if isinstance(found, staticmethod | classmethod) else found
        if not isinstance(function, types.FunctionType):
            continue
        if owner is not None:
            if function.__module__ == getattr(plugin, "__name__", None):
                yield Problem(f"{hook} is named like a hook and is not marked: {_MARK}", location_of(function))
            continue
        base = _marked_base(type(plugin), hook)
        what = f"{type(plugin).__name__}.{hook}"
        if base is not None:
            message = f"{what} overrides {base.__name__}.{hook} without the mark, and would never be called: {_MARK}"
        else:
            message = f"{what} is named like a hook and is not marked: {_MARK}"
        yield Problem(message, location_of(function))


_MARK = "add @hookimpl, or give it another name"


def _marked_base(plugin_class: type, hook: str) -> type | None:
    for base in plugin_class.__mro__[1:]:
        if hook in vars(base) and getattr(vars(base)[hook], f"{PROJECT}_impl", None) is not None:
            return base
    return None


def _problems_of_version(plugin: object) -> Iterator[Problem]:
    version = getattr(plugin, "hookspec_version", HOOKSPEC_VERSION)
    if not isinstance(version, int):
        yield Problem(f"its hookspec_version is {version!r}: write the number of a version, such as {HOOKSPEC_VERSION}")
    elif version > HOOKSPEC_VERSION:
        yield Problem(
            f"it is written for version {version} of the hooks, and this is version {HOOKSPEC_VERSION}: "
            "upgrade artifact-torch"
        )
    elif version < OLDEST_HOOKSPEC_VERSION:
        yield Problem(
            f"it is written for version {version} of the hooks, and the oldest that works is "
            f"{OLDEST_HOOKSPEC_VERSION}: upgrade the plugin"
        )


def _location_of_class(plugin_class: type) -> str:
    try:
        return f"{inspect.getfile(plugin_class)}:{inspect.getsourcelines(plugin_class)[1]}"
    except (OSError, TypeError):
        return ""
