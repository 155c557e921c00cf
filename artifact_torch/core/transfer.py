"""Moving whatever holds tensors to a device."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from typing_extensions import TypeVar

__all__ = ["pinned", "to_device"]

NestedT = TypeVar("NestedT")


def to_device(value: NestedT, device: torch.device) -> NestedT:
    """Copy every tensor inside mappings, lists, tuples, named tuples and dataclasses to a device; keep all types."""
    return cast("NestedT", _mapped(value, lambda tensor: tensor.to(device, non_blocking=True)))


def pinned(value: NestedT) -> NestedT:
    """Copy every tensor inside the same containers to page-locked memory, from which a GPU can read by itself."""
    return cast("NestedT", _mapped(value, Tensor.pin_memory))


def _mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        mapping = cast("Mapping[Any, Any]", value)
        moved = {key: _mapped(item, function) for key, item in mapping.items()}
        if type(mapping) is dict:
            return moved
        if isinstance(value, dict):  # a copy keeps what the subclass holds besides, such as a default factory
            copied = copy.copy(cast("dict[Any, Any]", value))
            copied.update(moved)
            return copied
        return cast("Any", type(mapping))(moved)
    if isinstance(value, tuple):
        items = [_mapped(item, function) for item in cast("Sequence[Any]", value)]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)  # type: ignore[arg-type]
    if isinstance(value, list):
        return type(value)(_mapped(item, function) for item in cast("list[Any]", value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        copied = copy.copy(value)
        for field in dataclasses.fields(value):  # frozen ones too, and those that the constructor does not take
            object.__setattr__(copied, field.name, _mapped(getattr(value, field.name), function))
        return copied
    return value
