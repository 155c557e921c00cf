"""Stopping when a score no longer improves."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from artifact_torch import EarlyStopper, UsageError

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["Patience"]

_LISTED = 12


@dataclass(frozen=True, slots=True)
class _Progress:
    """How a score has developed.

    Attributes:
        best: the last value that was an improvement; NaN if none was finite.
        best_epoch: the epoch of ``best``; 0 if there is none.
        last_epoch: the last epoch in which the score was recorded; 0 if it never was.
        since: records after ``best``.
    """

    best: float
    best_epoch: int
    last_epoch: int
    since: int


class Patience(EarlyStopper):
    """Stops when a score has not improved for some epochs.

    Everything is computed from the recorded scores each time, so a resumed training stops exactly where an
    uninterrupted one would. Epochs in which the score was not recorded, because validation was not due, do not count. A
    value that is NaN or infinite is no improvement, so a score that is never a number stops training too. A score that
    nothing records is an error that names the close ones, after ``epochs`` epochs or, if that is later, after the first
    validation.

    Args:
        score: a column of ``trainer.epoch_scores``, such as ``train/loss`` or ``validation/MEAN_JS_DISTANCE``.
        epochs: how many consecutive epochs with the score, but without an improvement, to wait for one.
        minimum_change: a change counts as an improvement if it is larger than this, in units of the score.
        mode: whether the score is better when it is smaller (``"min"``) or larger (``"max"``).

    Raises:
        UsageError: an argument is out of range; or, in training, nothing records the score.

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
        mode: Literal["min", "max"] = "min",
    ) -> None:
        if epochs < 1:
            raise UsageError(f"Patience needs at least 1 epoch, not {epochs}.")
        if not 0 <= minimum_change < math.inf:
            raise UsageError(f"The minimum_change of Patience must be a number from 0 up, not {minimum_change}.")
        if mode not in ("min", "max"):
            raise UsageError(f"The mode of Patience is 'min' or 'max', not {mode!r}.")
        self.score = score
        self.epochs = epochs
        self.minimum_change = minimum_change
        self.mode = mode

    def check(self, trainer: Trainer) -> str | None:
        progress = self._progress(trainer)
        if not progress.last_epoch:
            self._check_exists(trainer)
            return None
        return self._reason(progress) if progress.since >= self.epochs else None

    def _progress(self, trainer: Trainer) -> _Progress:
        sign = 1.0 if self.mode == "min" else -1.0
        best, best_epoch, last_epoch, since = math.nan, 0, 0, 0
        for epoch, value in trainer.score_history(self.score).items():
            if epoch == 0:  # validated before training
                continue
            last_epoch = epoch
            if math.isfinite(value) and (not best_epoch or sign * (best - value) > self.minimum_change):
                best, best_epoch, since = value, epoch, 0
            else:
                since += 1
        return _Progress(best, best_epoch, last_epoch, since)

    def _reason(self, progress: _Progress) -> str:
        number = f"{progress.since} {'epoch' if progress.since == 1 else 'epochs'}"
        each = progress.last_epoch - progress.best_epoch == progress.since
        duration = f"for {number}" if each else f"in the last {number} with this score"
        if not progress.best_epoch:
            return f"{self.score} has been NaN or infinite {duration}"
        margin = f" by more than {self.minimum_change:g}" if self.minimum_change else ""
        return f"{self.score} has not improved on {progress.best:.6g} (epoch {progress.best_epoch}){margin} {duration}"

    def _check_exists(self, trainer: Trainer) -> None:
        done = trainer.state.epochs_completed
        if done < self.epochs or not trainer.validating.has_seen_all:  # its first validation may still be ahead
            return
        names = [name for name in trainer.metrics.epoch_names if name != self.score]
        close = _close(self.score, names)
        hint = f"did you mean {close!r}? Recorded" if close else "recorded"
        raise UsageError(
            f"Patience waits for the score {self.score!r}, which no epoch of {done} has recorded: {hint} are "
            f"{_listing(names)}."
        )


def _close(wanted: str, names: Iterable[str]) -> str | None:
    by_spelling = {name.casefold(): name for name in names}
    wanted = wanted.casefold()
    without_split = [name for folded, name in by_spelling.items() if folded.partition("/")[2] == wanted]
    matches = difflib.get_close_matches(wanted, by_spelling, n=1)
    return next(iter([*without_split, *(by_spelling[match] for match in matches)]), None)


def _listing(names: list[str]) -> str:
    names = sorted(names, key=lambda name: name.count("/"))  # items of collections last: there may be hundreds
    shown, rest = names[:_LISTED], len(names) - _LISTED
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")
