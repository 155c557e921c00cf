"""What is known of components from their code: what a configuration may set, and what their docstrings say."""

from __future__ import annotations

import functools
import inspect
import re
import textwrap
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, create_model

from artifact_torch.core.model import Model
from artifact_torch.core.options import Options

__all__ = ["Documentation", "Parameter", "documentation_of", "parameters_model", "parameters_of"]

_ENTRY = re.compile(r"(?P<names>[a-z_]\w*(?:, [a-z_]\w*)*): (?P<text>.*)")
_HEADING = re.compile(r"(?P<name>Args|Attributes|Example|Raises|Returns|Yields)::?")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a component.

    Attributes:
        name: its name, which is its key in a configuration.
        type: its type in words of Python, as ``int | None`` or ``'min' | 'max'``.
        required: whether it has no default.
        default: its default; None if it is required.
        description: what it means, with its unit; empty if the docstring does not say.
    """

    name: str
    type: str
    required: bool
    default: Any
    description: str


@dataclass(frozen=True, slots=True)
class Documentation:
    """What the docstring of a class says besides its parameters; literals are written as in the docstring.

    Attributes:
        summary: its first paragraph, on one line; empty if the class has no docstring of its own.
        text: its other paragraphs before and between the sections, as they stand.
        example: the code of its section ``Example``; empty if there is none.
    """

    summary: str
    text: str
    example: str


def parameters_of(component: Callable[..., object]) -> tuple[Parameter, ...]:
    """The parameters that a configuration may set, in order, of a class, a function, or a partial of one."""
    factory = _factory(component)
    described: dict[str, str] = {}
    # A parameter that comes from a base class is described there, unless the class has more to say of it.
    sources: list[object] = [*reversed(component.__mro__)] if isinstance(component, type) else []
    for source in (*sources, _target(factory)):
        described |= _descriptions(source)
    return tuple(
        Parameter(name, _type_text(hint), default is ..., None if default is ... else default, described.get(name, ""))
        for name, (hint, default) in _fields(factory).items()
    )


def documentation_of(component: type) -> Documentation:
    """Read the docstring of a class; what it inherits says nothing about it."""
    sections = _sections(component)
    summary, _, text = sections.get("", "").partition("\n\n")
    return Documentation(" ".join(summary.split()), text.strip("\n"), sections.get("Example", ""))


def parameters_model(factory: Callable[..., object]) -> type[BaseModel]:
    """What validates a component's parameters: no key but theirs, and no value of another type."""
    fields: dict[str, Any] = dict(_fields(factory))
    return create_model("Parameters", __base__=Options, **fields)


def _factory(component: Callable[..., object]) -> Callable[..., object]:
    if isinstance(component, type) and issubclass(component, Model):
        return cast("Callable[..., object]", component.configurable())
    return component


def _fields(factory: Callable[..., object]) -> Mapping[str, tuple[Any, Any]]:
    """Name -> type and default, ``...`` where there is none."""
    target = _target(factory)
    hints = get_type_hints(target.__init__ if isinstance(target, type) else target)
    kinds = inspect.Parameter
    return {
        name: (hints.get(name, Any), ... if parameter.default is kinds.empty else parameter.default)
        for name, parameter in inspect.signature(factory).parameters.items()
        if parameter.kind in (kinds.KEYWORD_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    }


def _target(factory: Callable[..., object]) -> Any:
    return cast("Any", factory).func if isinstance(factory, functools.partial) else factory


def _descriptions(documented: object) -> dict[str, str]:
    """Name -> text of the section ``Args`` of a docstring."""
    described: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", _sections(documented).get("Args", "")):  # what continues one is indented
        if match := _ENTRY.fullmatch(" ".join(entry.split())):
            described |= dict.fromkeys(match["names"].split(", "), match["text"])
    return described


def _sections(documented: object) -> dict[str, str]:
    """Heading -> content, without its indentation, of an object's own docstring; ``""`` -> what is in no section."""
    found: dict[str, list[str]] = {}
    current = ""
    for line in inspect.cleandoc(documented.__doc__ or "").splitlines():
        if heading := _HEADING.fullmatch(line):
            current = heading["name"]
        else:
            if line and not line.startswith(" "):
                current = ""
            found.setdefault(current, []).append(line)
    return {name: textwrap.dedent("\n".join(lines)).strip("\n") for name, lines in found.items()}


def _type_text(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " | ".join(map(repr, get_args(hint)))
    if get_origin(hint) in (Union, types.UnionType):
        return " | ".join(map(_type_text, get_args(hint)))
    if hint is type(None):
        return "None"
    if isinstance(hint, list):  # the arguments of a Callable
        return f"[{', '.join(map(_type_text, cast('list[Any]', hint)))}]"
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return " | ".join(repr(str(member)) for member in hint)
    if get_origin(hint) is not None:
        inner = ", ".join("..." if each is ... else _type_text(each) for each in get_args(hint))
        return f"{_type_text(get_origin(hint))}[{inner}]"
    return str(getattr(hint, "__name__", hint))
