"""Sample values by type, for parameters that have no default."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

__all__ = ["NoSampleError", "sample_of"]

_OF_TYPE: dict[Any, Any] = {int: 1, float: 0.5, bool: True, str: "sample", None: None, type(None): None}
_CONTAINERS: tuple[type, ...] = (list, dict)


class NoSampleError(Exception):
    """There is no value of a type that JSON could give."""


def sample_of(hint: Any) -> Any:
    """A JSON value of a type: 1, 0.5, True, ``"sample"``, the first value of a Literal, None where that is allowed.

    Raises:
        NoSampleError: there is none.
    """
    origin = get_origin(hint)
    if origin is Annotated:
        return sample_of(get_args(hint)[0])
    if origin is Literal:
        return get_args(hint)[0]
    if origin in (Union, types.UnionType):
        return _of_union(get_args(hint))
    if hint in _OF_TYPE:
        return _OF_TYPE[hint]
    plain = origin or hint
    if isinstance(plain, type):
        if issubclass(plain, BaseModel) and not any(field.is_required() for field in plain.model_fields.values()):
            return {}
        for container in _CONTAINERS:
            if plain is not object and _is_a(container, plain):
                return container()
    raise NoSampleError


def _of_union(members: tuple[Any, ...]) -> Any:
    if type(None) in members:
        return None
    for member in members:
        try:
            return sample_of(member)
        except NoSampleError:
            continue
    raise NoSampleError


def _is_a(container: type, plain: type) -> bool:
    try:
        return issubclass(container, plain)
    except TypeError:  # a protocol that is not meant to be asked
        return False
