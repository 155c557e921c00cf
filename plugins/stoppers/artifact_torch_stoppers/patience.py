"""Stopping when a score no longer improves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from artifact_torch import EarlyStopper
from artifact_torch_stoppers.watched import Missing, Mode, WatchedScore
from artifact_torch_stoppers.wording import check_choice, check_count, check_number, counted

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["Patience"]


@dataclass(slots=True)
class _Progress:
    """How a score has developed since the warm-up.

    Attributes:
        best: the last value that was an improvement; NaN if none was finite.
        best_epoch: the epoch of ``best``; 0 if there is none.
        last: the last value.
        last_epoch: its epoch; the end of the warm-up if there is none.
        start: the epoch after which the records are counted.
        waited: how many that are.
    """

    best: float
    best_epoch: int
    last: float
    last_epoch: int
    start: int
    waited: int


class Patience(EarlyStopper):
    """Stops when a score has not improved for some epochs.

    Everything is computed from the recorded scores each time, so a resumed training stops exactly where an
    uninterrupted one would. Epochs in which the score was not recorded, because validation was not due, do not count. A
    value that is NaN or infinite is no improvement, so a score that is never a number stops training too; the first
    such value is told in the log. A score that nothing records is an error that names the close ones, after ``warm_up``
    and ``epochs`` epochs or, if that is later, after the first validation.

    With a ``baseline``, only an improvement that beats the baseline too starts the count again. Once ``epochs`` epochs
    have not beaten it, the next one without any improvement stops training, as in Keras
    (https://keras.io/api/callbacks/early_stopping/).

    There is no cooldown: in schedules of the learning rate it follows a reduction, and here, where nothing is reduced,
    it would be the same as more ``epochs``.

    Args:
        score: a column of ``trainer.epoch_scores``, such as ``train/loss`` or ``validation/MEAN_JS_DISTANCE``.
        epochs: how many consecutive epochs with the score, but without an improvement, to wait for one.
        minimum_change: a change counts as an improvement if it is larger than this, in units of the score.
        mode: whether the score is better when it is smaller (``"min"``) or larger (``"max"``).
        relative: whether ``minimum_change`` is a share of the value to be improved on, such as 0.01 for one percent.
        baseline: a value of the score that has to be improved on as well; none by default.
        warm_up: the number of epochs, from the first one, whose scores do not count.
        check_finite: whether to stop at once when the score is NaN or infinite.
        missing: whether an epoch that had to record the score and has not, or in which it could not be computed, is
            left out (``"skip"``) or an ``"error"``.

    Raises:
        UsageError: an argument is out of range; or, in training, nothing records the score, or an epoch has not that
            had to and ``missing`` is ``"error"``.

    Example::

        stopper = Patience(score="validation/loss", epochs=2, minimum_change=0.1)
        trainer = Trainer(model, train_loader, epochs=100, validation=validation, stoppers=[stopper])
        result = trainer.train()
        print(f"{result.epochs} epochs: {result.reason}")
    """

    def __init__(
        self,
        *,
        score: str = "train/loss",
        epochs: int = 5,
        minimum_change: float = 0.0,
        mode: Mode = "min",
        relative: bool = False,
        baseline: float | None = None,
        warm_up: int = 0,
        check_finite: bool = False,
        missing: Missing = "skip",
    ) -> None:
        check_count("Patience", epochs, "epoch")
        check_number("Patience", "minimum_change", minimum_change, least=0)
        check_choice("Patience", "mode", mode, ("min", "max"))
        check_number("Patience", "baseline", baseline)
        check_number("Patience", "warm_up", warm_up, least=0)
        self.score = score
        self.epochs = epochs
        self.minimum_change = minimum_change
        self.mode = mode
        self.relative = relative
        self.baseline = baseline
        self.warm_up = warm_up
        self.check_finite = check_finite
        self.missing = missing
        self._watched = WatchedScore("Patience", score, missing=missing, epochs=warm_up + epochs)

    def check(self, trainer: Trainer) -> str | None:
        progress = self._progress(self._watched.records(trainer))
        if self.check_finite and progress.last_epoch > self.warm_up and not math.isfinite(progress.last):
            return f"{self.score} is {progress.last} (epoch {progress.last_epoch})"
        if progress.waited < self.epochs or progress.best_epoch == progress.last_epoch:
            return None
        return self._reason(progress)

    def _progress(self, records: Mapping[int, float]) -> _Progress:
        progress = _Progress(math.nan, 0, math.nan, self.warm_up, self.warm_up, 0)
        for epoch, value in records.items():
            if epoch <= self.warm_up:
                continue
            progress.last, progress.last_epoch = value, epoch
            progress.waited += 1
            if math.isfinite(value) and (not progress.best_epoch or self._improves(value, progress.best)):
                progress.best, progress.best_epoch = value, epoch
                if self.baseline is None or self._improves(value, self.baseline):
                    progress.start, progress.waited = epoch, 0
        return progress

    def _improves(self, value: float, on: float) -> bool:
        change = on - value if self.mode == "min" else value - on
        return change > self.minimum_change * (abs(on) if self.relative else 1.0)

    def _reason(self, progress: _Progress) -> str:
        number = counted(progress.waited, "epoch")
        each = progress.last_epoch - progress.start == progress.waited
        duration = f"for {number}" if each else f"in the last {number} with this score"
        if not progress.best_epoch:
            return f"{self.score} has been NaN or infinite {duration}"
        best = f"{progress.best:.6g} (epoch {progress.best_epoch})"
        unit = " of it" if self.relative else ""
        margin = f" by more than {self.minimum_change:g}{unit}" if self.minimum_change else ""
        if progress.start == progress.best_epoch:
            return f"{self.score} has not improved on {best}{margin} {duration}"
        return f"{self.score} has not beaten the baseline {self.baseline:g}{margin} {duration}, and its best is {best}"
