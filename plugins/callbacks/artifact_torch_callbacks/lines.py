"""One line for each epoch."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING

from artifact_torch_callbacks.wording import duration, epoch_of, number, pace, shown_scores

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["ProgressLines"]

_NUMBER_WIDTH = 8
_PACE_WIDTH = len("1,234 steps/s")
_TELL_SECONDS = 10.0
_TIMES_WIDTH = len("10 s, 10 min 00 s left")


class ProgressLines:
    """Writes one line to stderr after each epoch; the columns of the lines are aligned."""

    def __init__(self, trainer: Trainer) -> None:
        self._start = self._epoch_start = time.monotonic()
        self._start_step = trainer.state.step
        self._names = trainer.metrics.epoch_names
        self._told = self._start
        self._shown: dict[str, int] = {}

    def step_done(self, trainer: Trainer) -> None:
        pass

    def validation_started(self, trainer: Trainer) -> None:
        pass

    def artifacts_awaited(self, trainer: Trainer, left: int) -> None:
        now = time.monotonic()
        if left and now - self._told >= _TELL_SECONDS:
            self._told = now
            print(f"computing {left} {'artifact' if left == 1 else 'artifacts'}", file=sys.stderr, flush=True)

    def epoch_done(self, trainer: Trainer) -> None:
        now = time.monotonic()
        scores = trainer.metrics.of_epoch(trainer.state.epoch)
        loss = f"loss {number(scores.get('train/loss', math.nan)):>{_NUMBER_WIDTH}}"
        times = f"{self._times(trainer, now):<{_TIMES_WIDTH}}"
        self._epoch_start = now
        rate, *waiting = pace(trainer)
        parts = [epoch_of(trainer), loss, times, f"{rate:>{_PACE_WIDTH}}", *self._columns(trainer), *waiting]
        print("  ".join(parts).rstrip(), file=sys.stderr, flush=True)

    def close(self, trainer: Trainer) -> None:
        late = [text for text in self._columns(trainer) if text.strip()]  # computed after the last epoch's line
        if late:
            print("  ".join([epoch_of(trainer), *late]).rstrip(), file=sys.stderr, flush=True)

    def _columns(self, trainer: Trainer) -> list[str]:
        """Each score that has come since the last line; with its epoch, if that was an earlier one."""
        self._names += [name for name in trainer.metrics.epoch_names if name not in self._names]
        columns: list[str] = []
        for name in shown_scores(self._names):
            text, newest = "", trainer.metrics.newest(name)
            if newest is not None and newest[0] > self._shown.get(name, 0):
                epoch, value = newest
                self._shown[name] = epoch
                text = f"{name} {number(value):>{_NUMBER_WIDTH}}"
                if epoch < trainer.state.epoch:
                    text += f" (epoch {epoch})"
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
