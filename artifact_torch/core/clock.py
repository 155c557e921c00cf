"""The time that training takes."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from artifact_torch.core.state import TrainingState

__all__ = ["Clock"]


class Clock:
    """Counts the seconds of training into the counters of a run, while it runs."""

    def __init__(self, state: TrainingState) -> None:
        self._state = state
        self._counted_at: float | None = None

    @contextmanager
    def running(self) -> Generator[None]:
        """While training; what comes after the run's record was closed is not counted."""
        self._counted_at = time.monotonic()
        try:
            yield
        finally:
            self._counted_at = None

    def count(self) -> float:
        """Bring the counter up to date, and return it."""
        if self._counted_at is not None:
            now = time.monotonic()
            self._state.seconds += now - self._counted_at
            self._counted_at = now
        return self._state.seconds
