"""Which results a client has written, as a file in the run directory says."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["Arrivals"]


class Arrivals:
    """The results that have arrived; one is noted as soon as it has.

    Args:
        path: the file, with a line for each; None if nothing is to be remembered beyond the object.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._there: set[str] = set()
        if path is not None and path.exists():
            # A line that a killed process has left incomplete is no name, and nobody asks for it.
            self._there.update(path.read_text(encoding="utf-8").splitlines())

    def has(self, name: str, value: float | None) -> bool:
        """Whether a result has arrived, with that value if it is a score."""
        return _line(name, value) in self._there

    def add(self, name: str, value: float | None) -> None:
        """Note that a result has arrived."""
        line = _line(name, value)
        self._there.add(line)
        if self._path is not None:
            self._path.parent.mkdir(exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"\n{line}")


def _line(name: str, value: float | None) -> str:
    return json.dumps([name, None if value is None else repr(value)])
