"""One bar over the steps of a whole training."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

from artifact_torch_callbacks.wording import epoch_of, newest_scores, number, pace, total_steps

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["ProgressBar"]

_INTERVAL = 0.1
_SHORTEST_BAR = 10
_TIME_LEFT = "{remaining} left"
_TIME_TAKEN = "after {elapsed}"
_VALIDATING = "validating"
_FRAME_WIDTH = len(" 100%|| 00:00:00 left") + _SHORTEST_BAR

logger = logging.getLogger("artifact_torch")


class ProgressBar:
    """Draws the bar on stderr, at most ten times a second: only then is the loss read from the device.

    What the framework logs meanwhile is written above the bar.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._drawn = time.monotonic()
        self._loss: list[str] = []
        self._scores = newest_scores(trainer)
        total = total_steps(trainer)
        self._knows_total = total is not None
        self._bar = tqdm(
            total=total,
            initial=trainer.state.step,
            desc=epoch_of(trainer),
            file=sys.stderr,
            ncols=_columns(),
            nrows=20,
            smoothing=0,  # the rate over all that was done here, validation included, gives a steady time left
            bar_format=self._format(_TIME_LEFT),
        )
        logger.addFilter(self._make_way)

    def step_done(self, trainer: Trainer) -> None:
        now = time.monotonic()
        if now - self._drawn >= _INTERVAL:
            self._drawn = now
            self._draw(trainer, _TIME_LEFT)

    def validation_started(self, trainer: Trainer) -> None:
        self._draw(trainer, _VALIDATING)

    def artifacts_awaited(self, trainer: Trainer, left: int) -> None:
        self._draw(trainer, f"computing {left} {'artifact' if left == 1 else 'artifacts'}" if left else _TIME_LEFT)

    def epoch_done(self, trainer: Trainer) -> None:
        self._scores = newest_scores(trainer)
        self._draw(trainer, _TIME_LEFT)

    def close(self, trainer: Trainer) -> None:
        logger.removeFilter(self._make_way)
        self._set(trainer, _TIME_TAKEN)  # with the loss last read: reading it now could raise where training failed
        self._bar.close()

    def _draw(self, trainer: Trainer, wording: str) -> None:
        self._loss = [f"loss {number(trainer.epoch_loss.mean())}"]
        self._set(trainer, wording)
        self._bar.refresh()

    def _set(self, trainer: Trainer, wording: str) -> None:
        bar, step = self._bar, trainer.state.step
        # Both may have changed: the terminal's width, and the total if a loader gave fewer batches than its length.
        columns, bar.total = _columns(), total_steps(trainer) if self._knows_total else None
        epoch = epoch_of(trainer)
        room = columns - len(epoch) - _FRAME_WIDTH - sum(len(f", {text}") for text in self._loss)
        scores = _fitting(self._scores, room)
        room -= sum(len(f", {score}") for score in scores)
        steps = f", step {step}" if bar.total is None else f", step {step:>{len(str(bar.total))}}/{bar.total}"
        bar.n, bar.ncols, bar.bar_format = step, columns, self._format(wording)
        if self._knows_total and len(steps) > room:
            steps = ""
        texts = _fitting(pace(trainer), room - len(steps))
        bar.set_description_str(epoch + steps, refresh=False)
        bar.set_postfix_str(", ".join([*self._loss, *scores, *texts]), refresh=False)

    def _format(self, wording: str) -> str:
        if self._knows_total:
            return f"{{desc}} {{percentage:3.0f}}%|{{bar}}| {wording}{{postfix}}"
        return f"{{desc}}, {_TIME_TAKEN if wording == _TIME_LEFT else wording}{{postfix}}"

    def _make_way(self, record: logging.LogRecord) -> bool:
        self._bar.clear()
        return True


def _fitting(texts: Sequence[str], room: int) -> list[str]:
    fitting: list[str] = []
    for text in texts:
        room -= len(f", {text}")
        if room < 0:
            break
        fitting.append(text)
    return fitting


def _columns() -> int:
    """The width that the bar may take: the last column stays free, or some terminals would begin a new line."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return (columns or 80) - 1
