"""What a run has recorded, read from its files in the order in which it was written, also while it is written.

``metrics.jsonl`` has a line for each number, ``artifacts.jsonl`` one for each file. A place in them is a number of
bytes in each, so whoever reads can go on where it ended. torch is not imported here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from artifact_torch.core.tracker import TrackedItem, TrackedKind

__all__ = ["ARTIFACTS", "METRICS", "Journal", "items_of"]

METRICS = "metrics.jsonl"
ARTIFACTS = "artifacts.jsonl"

_MOST_BYTES = 1 << 20


class Journal:
    """The records of one run that trackers are given.

    Args:
        run: the run's directory.
    """

    def __init__(self, run: Path) -> None:
        self._run = run

    def read(self, place: Mapping[str, int], limit: int) -> tuple[list[TrackedItem], dict[str, int]]:
        """The next items after a place, at most ``limit``, and the place after them.

        A line that is not complete yet is left for the next time.
        """
        items: list[TrackedItem] = []
        after = {name: place.get(name, 0) for name in (METRICS, ARTIFACTS)}
        for name in after:
            for line in _lines(self._run / name, after[name]):
                if len(items) == limit:
                    break
                after[name] += len(line)
                items += items_of(line, self._run)
        return items, after

    def is_at_end(self, place: Mapping[str, int]) -> bool:
        """Whether there is nothing after a place."""
        return all(_size(self._run / name) <= place.get(name, 0) for name in (METRICS, ARTIFACTS))

    def count(self, place: Mapping[str, int]) -> int:
        """How many items there are after a place."""
        return sum(
            len(items_of(line, self._run))
            for name in (METRICS, ARTIFACTS)
            for line in _lines(self._run / name, place.get(name, 0), all_of_it=True)
        )


def items_of(line: bytes, run: Path) -> list[TrackedItem]:
    """What a line tells; nothing if it is damaged, or of a version that tells what this one does not know."""
    try:
        entry = cast("dict[str, Any]", json.loads(line))
        kind = TrackedKind(entry.get("kind", TrackedKind.SCORE))
        value, path = entry.get("value"), entry.get("path")
        return [
            TrackedItem(
                kind=kind,
                name=str(entry["name"]),
                split=str(entry["split"]),
                epoch=int(entry["epoch"]),
                step=int(entry["step"]),
                time=float(entry.get("time", 0.0)),
                value=float(value) if kind is TrackedKind.SCORE and value is not None else None,
                path=run / str(path) if path is not None else None,
            )
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _lines(path: Path, start: int, *, all_of_it: bool = False) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(start)
            content = file.read() if all_of_it else file.read(_MOST_BYTES)
    except FileNotFoundError:
        return
    end = content.rfind(b"\n") + 1
    yield from content[:end].splitlines(keepends=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
