"""How fast training goes, and how much of the time it waits for data."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from typing import Any

from typing_extensions import TypeVar

__all__ = ["Throughput"]

BatchT = TypeVar("BatchT", default=Any)
_clock = time.perf_counter


class Throughput:
    """Counts the batches of the epoch in progress, or of the last one, and the time they took.

    Attributes:
        batches: batches read in this process.
        waited: seconds spent in reading them.
    """

    def __init__(self) -> None:
        self.batches = 0
        self.waited = 0.0
        self._began = _clock()
        self._seconds: float | None = None

    def timed(self, batches: Iterable[BatchT]) -> Generator[BatchT]:
        """The same batches, counted from here on; the time that their reader takes is time spent waiting."""
        self.batches, self.waited, self._seconds = 0, 0.0, None
        self._began = start = _clock()
        for batch in batches:
            self.waited += _clock() - start
            self.batches += 1
            yield batch
            start = _clock()
        now = _clock()
        self.waited += now - start
        self._seconds = now - self._began

    @property
    def seconds(self) -> float:
        """The time that the epoch's batches have taken, validation not included."""
        return _clock() - self._began if self._seconds is None else self._seconds

    @property
    def batches_per_second(self) -> float:
        """0 before the first batch."""
        return self.batches / self.seconds if self.batches else 0.0

    @property
    def data_wait_share(self) -> float:
        """The share of the time, from 0 to 1, in which training waited for the loader."""
        return min(1.0, self.waited / self.seconds) if self.batches else 0.0
