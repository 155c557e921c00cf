"""The parameters of components: what a configuration may set, with types, defaults and what each means."""

from __future__ import annotations

import functools
import inspect
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, create_model

from artifact_torch.core.model import Model
from artifact_torch.core.options import Options

__all__ = ["Parameter", "parameters_model", "parameters_of"]

_ENTRY = re.compile(r"(?P<names>[a-z_]\w*(?:, [a-z_]\w*)*): (?P<text>.*)", flags=re.DOTALL)


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


def parameters_of(component: Callable[..., object]) -> tuple[Parameter, ...]:
    """The parameters that a configuration may set, in order, of a class, a function, or a partial of one."""
    factory = _factory(component)
    described = _descriptions(_target(factory))
    if isinstance(component, type):
        described = {**_descriptions(component), **described}
    return tuple(
        Parameter(name, _type_text(hint), default is ..., None if default is ... else default, described.get(name, ""))
        for name, (hint, default) in _fields(factory).items()
    )


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


def _descriptions(target: object) -> dict[str, str]:
    """Name -> text of the section ``Args`` of a docstring."""
    lines = (inspect.getdoc(target) or "").splitlines()
    if "Args:" not in lines:
        return {}
    described: dict[str, str] = {}
    entry = ""
    for line in [*lines[lines.index("Args:") + 1 :], "end"]:
        if line.startswith("        "):  # an entry goes on
            entry = f"{entry} {line.strip()}"
            continue
        if match := _ENTRY.fullmatch(entry):
            described |= dict.fromkeys(match["names"].split(", "), match["text"])
        entry = line.strip()
        if line and not line.startswith("    "):
            break
    return described


def _type_text(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " | ".join(map(repr, get_args(hint)))
    if get_origin(hint) in (Union, types.UnionType):
        return " | ".join(map(_type_text, get_args(hint)))
    if hint is type(None):
        return "None"
    if get_origin(hint) is not None:
        inner = ", ".join("..." if each is ... else _type_text(each) for each in get_args(hint))
        return f"{_type_text(get_origin(hint))}[{inner}]"
    return str(getattr(hint, "__name__", hint))
