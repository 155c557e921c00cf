"""Nested state as JSON and tensors, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor

from artifact_torch.core.storage import JsonDict
from artifact_torch.errors import CheckpointError

__all__ = ["pack", "unpack"]

# JSON has no tensors, tuples or integer keys: each is written as a mapping with one key that starts with "$", and a
# mapping of the user's own that could be mistaken for one is written as a list of pairs.


def pack(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    """State as JSON values; its tensors are added to ``tensors``.

    Raises:
        CheckpointError: it holds what is neither; the message says where, from ``where`` on.
    """
    if isinstance(value, Tensor):
        name = f"{len(tensors)} {where}"  # numbered, for the keys "a.b" and "a" -> "b" read alike
        tensors[name] = value
        return {"$tensor": name}
    if isinstance(value, Mapping):
        items = list(cast("Mapping[Any, Any]", value).items())
        for key, _ in items:
            if type(key) not in (str, int):
                raise CheckpointError(f"Cannot save {where}: a key must be a string or an integer, not {key!r}.")
        packed = [(key, pack(item, f"{where}.{key}", tensors)) for key, item in items]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in packed):
            return dict(packed)
        return {"$items": packed}
    if isinstance(value, tuple):
        return {"$tuple": [pack(item, f"{where}.{n}", tensors) for n, item in enumerate(cast("tuple[Any]", value))]}
    if isinstance(value, list):
        return [pack(item, f"{where}.{n}", tensors) for n, item in enumerate(cast("list[Any]", value))]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise CheckpointError(
        f"Cannot save {where}: {type(value).__qualname__} is neither a tensor nor a plain value; convert it first."
    )


def unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What ``pack`` was given."""
    if isinstance(value, list):
        return [unpack(item, tensors) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    mapping = cast("JsonDict", value)
    if "$tensor" in mapping:
        return tensors[mapping["$tensor"]]
    if "$tuple" in mapping:
        return tuple(unpack(item, tensors) for item in mapping["$tuple"])
    if "$items" in mapping:
        return {key: unpack(item, tensors) for key, item in mapping["$items"]}
    return {key: unpack(item, tensors) for key, item in mapping.items()}
