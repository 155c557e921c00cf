"""Checkpoints: nested state as one bundle a step, never overwritten; the newest valid one is read."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from artifact_torch.core.storage import TEMPORARY_PREFIX, JsonDict, read_bundle, verify_bundle, write_bundle
from artifact_torch.errors import CheckpointError

__all__ = ["CheckpointStore", "LoadedCheckpoint", "read_state", "write_state"]

_NAME = re.compile(r"(\d{4,})-step-\d{9,}")


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A checkpoint that was read.

    Attributes:
        path: its directory.
        state: what was saved.
        skipped: one sentence for each newer checkpoint that is damaged.
    """

    path: Path
    state: JsonDict
    skipped: tuple[str, ...]


class CheckpointStore:
    """The checkpoints of one run: directories ``0007-step-000001234``, numbered in the order of writing.

    The step alone would not do: a run that went back to an earlier checkpoint writes newer ones of lower steps.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def save(self, state: Mapping[str, Any], step: int) -> Path:
        """Write a checkpoint and read it back; it counts only when its checksums hold.

        Raises:
            CheckpointError: the state cannot be stored, or what was written differs from what is read.
            OSError: the disk is full or not writable; earlier checkpoints are untouched.
        """
        number = max(self._numbered(), default=0) + 1
        path = write_state(self.directory / f"{number:04d}-step-{step:09d}", state)
        verify_bundle(path)
        return path

    def paths(self) -> list[Path]:
        """The complete checkpoints, oldest first; whether they are undamaged is seen when one is read."""
        return [path for _, path in sorted(self._numbered().items())]

    def load_newest(self) -> LoadedCheckpoint:
        """Read the newest checkpoint that is not damaged.

        Raises:
            CheckpointError: there is none; the message says what is wrong with each.
        """
        skipped: list[str] = []
        for path in reversed(self.paths()):
            try:
                return LoadedCheckpoint(path, read_state(path), tuple(skipped))
            except CheckpointError as error:
                skipped.append(str(error))
        reasons = " ".join(skipped) or "No checkpoint was written there."
        raise CheckpointError(f"There is no usable checkpoint in {self.directory}. {reasons}")

    def prune(self, keep: int) -> None:
        """Delete all but the newest ``keep`` checkpoints, and what an interrupted write left behind.

        The caller has just saved one, so the newest is known to be good.
        """
        for path in self.paths()[:-keep]:
            shutil.rmtree(path)
        for path in self.directory.glob(f"{TEMPORARY_PREFIX}*"):
            shutil.rmtree(path, ignore_errors=True)

    def _numbered(self) -> dict[int, Path]:
        if not self.directory.is_dir():
            return {}
        return {int(match[1]): path for path in self.directory.iterdir() if (match := _NAME.fullmatch(path.name))}


def write_state(path: Path, state: Mapping[str, Any]) -> Path:
    """Write nested state to the directory ``path``, whole or not at all.

    Args:
        path: the directory; what stands there is replaced.
        state: mappings, lists and tuples of tensors, numbers, strings, booleans and None, nested at will; keys are
            strings or integers. They come back as they were.

    Raises:
        CheckpointError: the state holds something else; the message says where.
    """
    tensors: dict[str, Tensor] = {}
    packed = _pack(state, "state", tensors)
    return write_bundle(path, tensors, {"state": packed})


def read_state(path: Path) -> JsonDict:
    """Read what ``write_state`` wrote; tensors are on the CPU.

    Raises:
        CheckpointError: the directory is absent or damaged, or holds something else.
    """
    tensors, content = read_bundle(path)
    if "state" not in content:
        raise CheckpointError(f"{path} is not a checkpoint: a saved model is read with Model.load.")
    return cast("JsonDict", _unpack(content["state"], tensors))


# JSON has no tensors, tuples or integer keys: each is written as a mapping with one key that starts with "$", and a
# mapping of the user's own that could be mistaken for one is written as a list of pairs.


def _pack(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = f"{len(tensors)} {where}"  # numbered, for the keys "a.b" and "a" -> "b" read alike
        tensors[name] = value
        return {"$tensor": name}
    if isinstance(value, Mapping):
        items = list(cast("Mapping[Any, Any]", value).items())
        for key, _ in items:
            if type(key) not in (str, int):
                raise CheckpointError(f"Cannot save {where}: a key must be a string or an integer, not {key!r}.")
        packed = [(key, _pack(item, f"{where}.{key}", tensors)) for key, item in items]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in packed):
            return dict(packed)
        return {"$items": packed}
    if isinstance(value, tuple):
        return {"$tuple": [_pack(item, f"{where}.{n}", tensors) for n, item in enumerate(cast("tuple[Any]", value))]}
    if isinstance(value, list):
        return [_pack(item, f"{where}.{n}", tensors) for n, item in enumerate(cast("list[Any]", value))]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise CheckpointError(
        f"Cannot save {where}: {type(value).__qualname__} is neither a tensor nor a plain value; convert it first."
    )


def _unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    mapping = cast("JsonDict", value)
    if "$tensor" in mapping:
        return tensors[mapping["$tensor"]]
    if "$tuple" in mapping:
        return tuple(_unpack(item, tensors) for item in mapping["$tuple"])
    if "$items" in mapping:
        return {key: _unpack(item, tensors) for key, item in mapping["$items"]}
    return {key: _unpack(item, tensors) for key, item in mapping.items()}
