"""What the ``.wandb`` files of a run hold already.

wandb writes each record of a run there before anything is sent. The format is that of the logs of LevelDB
(https://github.com/google/leveldb/blob/main/doc/log_format.md) after a header of seven bytes, with a record of
``wandb_internal.proto`` in each. It is read only when a run is opened again, to write nothing twice.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias, cast

from wandb.proto import wandb_internal_pb2

__all__ = ["EPOCH", "STEP", "TIME", "Key", "keys_in", "score_key", "version_key"]

STEP, EPOCH, TIME = "trainer/step", "epoch", "_timestamp"
"""What stands beside the results in each row of the history."""

_BESIDE = (STEP, EPOCH, TIME, "_step", "_runtime")

Key: TypeAlias = tuple[str, str, str]
"""What a result is told from others by: name, step, and the value of a score."""

_Record = cast("Any", wandb_internal_pb2).Record  # made when it is imported, so type checkers do not know it
_HEADER_BYTES = 7
_BLOCK_BYTES = 32768
_CHUNK = struct.Struct("<IHB")  # checksum, length, which part of a record
_FULL, _LAST = 1, 4


def score_key(key: str, step: int, value: object) -> Key:
    """What a row holds: a number, or a picture or an array, whose value does not tell it from another."""
    return key, str(step), repr(float(value)) if isinstance(value, int | float) else ""


def version_key(artifact: str, step: int) -> Key:
    """A version of an artifact."""
    return artifact, str(step), "version"


def keys_in(folder: Path) -> set[Key]:
    """The keys of all results that the ``.wandb`` files below a folder hold.

    Raises:
        OSError: a file cannot be read.
    """
    found: set[Key] = set()
    for path in folder.glob("*run-*/run-*.wandb"):
        if path.parent.is_symlink():  # latest-run
            continue
        for record in _records(path):
            if record.HasField("history"):
                found.update(_history_keys(record.history))
            elif record.HasField("artifact"):
                steps = [alias for alias in record.artifact.aliases if alias.startswith("step-")]
                found.update((record.artifact.name, alias.removeprefix("step-"), "version") for alias in steps)
    return found


def _history_keys(history: Any) -> Iterator[Key]:
    # A picture or an array is a mapping, and wandb writes each of its fields as an item: name, field.
    row = {tuple(item.nested_key) or (item.key,): json.loads(item.value_json) for item in history.item}
    step = row.get((STEP,))
    if not isinstance(step, int | float) or not math.isfinite(step):
        return
    for (name, *fields), value in row.items():
        if (not fields and name not in _BESIDE) or fields == ["_type"]:
            yield score_key(name, int(step), value)


def _records(path: Path) -> Iterator[Any]:
    """The records of a file, up to its end or to one that is incomplete."""
    parts: list[bytes] = []
    with path.open("rb") as file:
        file.seek(_HEADER_BYTES)
        place = _HEADER_BYTES
        while True:
            left = _BLOCK_BYTES - place % _BLOCK_BYTES
            if left < _CHUNK.size:
                place += len(file.read(left))
                continue
            head = file.read(_CHUNK.size)
            if len(head) < _CHUNK.size:
                return
            _, length, kind = _CHUNK.unpack(head)
            content = file.read(length)
            if len(content) < length or not 1 <= kind <= _LAST:
                return
            place += _CHUNK.size + length
            parts.append(content)
            if kind in (_FULL, _LAST):
                yield _Record.FromString(b"".join(parts))
                parts = []
