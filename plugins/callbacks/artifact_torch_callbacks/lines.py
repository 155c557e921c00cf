"""One line for each epoch."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from artifact_torch_callbacks.wording import duration, epoch_of, number, pace, shown_scores

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["ProgressLines"]

_NUMBER_WIDTH = 8
_PACE_WIDTH = len("1,234 steps/s")
_TIMES_WIDTH = len("10 s, 10 min 00 s left")


class ProgressLines:
    """Writes one line to stderr after each epoch; the columns of the lines are aligned."""

    def __init__(self, trainer: Trainer) -> None:
        self._start = self._epoch_start = time.monotonic()
        self._start_step = trainer.state.step
        self._names = trainer.metrics.epoch_names

    def step_done(self, trainer: Trainer) -> None:
        pass

    def validation_started(self, trainer: Trainer) -> None:
        pass

    def epoch_done(self, trainer: Trainer) -> None:
        now = time.monotonic()
        scores = trainer.metrics.of_epoch(trainer.state.epoch)
        loss = f"loss {number(scores.get('train/loss', math.nan)):>{_NUMBER_WIDTH}}"
        times = f"{self._times(trainer, now):<{_TIMES_WIDTH}}"
        self._epoch_start = now
        rate, *waiting = pace(trainer)
        parts = [epoch_of(trainer), loss, times, f"{rate:>{_PACE_WIDTH}}", *self._columns(scores), *waiting]
        print("  ".join(parts).rstrip(), file=sys.stderr, flush=True)

    def close(self, trainer: Trainer) -> None:
        pass

    def _columns(self, scores: Mapping[str, float]) -> list[str]:
        self._names += [name for name in scores if name not in self._names]
        columns: list[str] = []
        for name in shown_scores(self._names):
            # An epoch that was not validated leaves the column blank: an older score would be taken for its own.
            text = f"{name} {number(scores[name]):>{_NUMBER_WIDTH}}" if name in scores else ""
            columns.append(f"{text:<{len(name) + 1 + _NUMBER_WIDTH}}")
        return columns

    def _times(self, trainer: Trainer, now: float) -> str:
        state = trainer.state
        taken = duration(now - self._epoch_start)
        steps_done = state.step - self._start_step
        epochs_left = trainer.epochs - state.epochs_completed
        if epochs_left <= 0 or not steps_done:
            return taken
        # By steps: a resumed epoch counts for the part of it that was done here, and no loader has to know its length.
        steps_left = epochs_left * state.step / state.epochs_completed
        return f"{taken}, {duration((now - self._start) / steps_done * steps_left)} left"
