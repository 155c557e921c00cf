"""Stopping when a score's course is flat."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from artifact_torch import EarlyStopper, UsageError
from artifact_torch_stoppers.watched import Missing, Mode, WatchedScore
from artifact_torch_stoppers.wording import check_choice, check_number

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["Plateau"]


class Plateau(EarlyStopper):
    """Stops when the straight line through a score's last values hardly improves any more, or gets worse.

    Unlike ``Patience``, it is not held up by single values that are good by chance. The line is fitted by least squares
    to the score ``y`` of the last epochs ``x`` that have it; its slope is ``sum((x - mean(x)) * (y - mean(y))) /
    sum((x - mean(x)) ** 2)`` (Montgomery, Peck and Vining, "Introduction to Linear Regression Analysis", section 2.2).
    It is compared with the mean of ``|y|``, so that the same bound suits scores of any size.

    Values that are NaN or infinite are left out of the line. Where fewer than two are left, there is no improvement.
    Nothing but the recorded scores decides, so a resumed training stops exactly where an uninterrupted one would. A
    score that nothing records is an error that names the close ones.

    Args:
        score: a column of ``trainer.epoch_scores``, such as ``train/loss`` or ``validation/MEAN_JS_DISTANCE``.
        epochs: how many epochs with the score the line is fitted to, at least 2.
        slope: training stops if the line improves by no more than this an epoch, as a share of the mean of the absolute
            values: with 0.001, by no more than a thousandth.
        mode: whether the score is better when it is smaller (``"min"``) or larger (``"max"``).
        missing: whether an epoch that had to record the score and has not, or in which it could not be computed, is
            left out (``"skip"``) or an ``"error"``.

    Raises:
        UsageError: an argument is out of range; or, in training, nothing records the score, or an epoch has not that
            had to and ``missing`` is ``"error"``.

    Example::

        stopper = Plateau(score="train/loss", epochs=5, slope=0.05)
        trainer = Trainer(model, train_loader, epochs=100, stoppers=[stopper])
        result = trainer.train()
        print(f"{result.epochs} epochs: {result.reason}")
    """

    def __init__(
        self,
        *,
        score: str = "train/loss",
        epochs: int = 10,
        slope: float = 0.001,
        mode: Mode = "min",
        missing: Missing = "skip",
    ) -> None:
        if epochs < 2:
            raise UsageError(f"Plateau needs at least 2 epochs to fit a line to, not {epochs}.")
        check_number("Plateau", "slope", slope, least=0)
        check_choice("Plateau", "mode", mode, ("min", "max"))
        self.score = score
        self.epochs = epochs
        self.slope = slope
        self.mode = mode
        self.missing = missing
        self._watched = WatchedScore("Plateau", score, missing=missing, epochs=epochs)

    def check(self, trainer: Trainer) -> str | None:
        last = list(self._watched.records(trainer).items())[-self.epochs :]
        if len(last) < self.epochs:
            return None
        epoch, value = last[-1]
        found = f"{self.score} is {value:.6g} (epoch {epoch})"
        numbers = [record for record in last if math.isfinite(record[1])]
        if len(numbers) < 2:
            return f"{found} and was NaN or infinite in all but {len(numbers)} of {self.epochs} epochs"
        improvement = _relative_slope(numbers) * (-1.0 if self.mode == "min" else 1.0)
        if improvement > self.slope:
            return None
        course = f"{'improves' if improvement >= 0 else 'gets worse'} by {abs(improvement):.3g}"
        return (
            f"{found} and {course} of its level an epoch over {self.epochs} epochs, where more than {self.slope:g} is "
            "wanted"
        )


def _relative_slope(records: Sequence[tuple[int, float]]) -> float:
    """The slope of the least-squares line through records of epochs and values, over the mean absolute value."""
    largest = max(abs(value) for _, value in records)
    if largest == 0:
        return 0.0
    values = [value / largest for _, value in records]  # whose sums cannot overflow
    line = statistics.linear_regression([epoch for epoch, _ in records], values)
    return line.slope / statistics.fmean(map(abs, values))
