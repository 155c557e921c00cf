"""Scores that stoppers watch: their records by epoch, and what is said of those that are missing or are no number."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal, TypeAlias

from artifact_torch import UsageError, ValidationError
from artifact_torch_stoppers.wording import check_choice

if TYPE_CHECKING:
    from artifact_torch import LoaderCallback, Trainer, ValidationPlan, ValidationRoutine

__all__ = ["Missing", "Mode", "WatchedScore"]

Mode: TypeAlias = Literal["min", "max"]
"""Whether a score is better when it is smaller or larger."""

Missing: TypeAlias = Literal["skip", "error"]
"""What to do about an epoch that had to record a score and has not."""

_LISTED = 12

logger = logging.getLogger("artifact_torch")


class WatchedScore:
    """A score by whose records a stopper decides.

    Everything is read from the trainer each time. A score that nothing records is refused once it should have been
    there: after ``epochs`` epochs or, if that is later, after the first validation. The first of some epochs in which
    it is NaN or infinite is told in the log.

    Args:
        stopper: the stopper's name, for messages.
        score: a column of ``trainer.epoch_scores``.
        missing: what to do about an epoch that had to record the score and has not, or in which it could not be
            computed: ``"skip"`` it or raise an ``"error"``. Every epoch has to record the training loss and what
            plugins log; what validation computes is due in the epochs of its period, if that is counted in epochs.
        epochs: the number of epochs in which a score is missed that none has recorded.

    Raises:
        UsageError: ``missing`` is none of the choices, or the score has no name.
    """

    def __init__(self, stopper: str, score: str, *, missing: Missing, epochs: int) -> None:
        check_choice(stopper, "missing", missing, ("skip", "error"))
        if not score:
            raise UsageError(f"{stopper} needs a score: name a column of epoch_scores, such as 'validation/loss'.")
        self._stopper = stopper
        self._score = score
        self._missing = missing
        self._epochs = epochs
        self._told = 0

    def records(self, trainer: Trainer) -> dict[int, float]:
        """The score by epoch, oldest first, without what was validated before training.

        Raises:
            UsageError: nothing records the score, or the last epoch has not and ``missing`` is ``"error"``.
            ValidationError: it could not be computed, and ``missing`` is ``"error"``.
        """
        history = self._history(trainer)
        records = {epoch: value for epoch, value in history.items() if epoch > 0}
        if not records:
            self._check_exists(trainer)
        if self._missing == "error":
            self._check_recorded(trainer, records)
        self._tell(records)
        return records

    def _history(self, trainer: Trainer) -> dict[int, float]:
        try:
            return trainer.score_history(self._score)
        except ValidationError:
            if self._missing == "error":
                raise
            return trainer.metrics.history(self._score)  # the trainer has logged what failed

    def _check_exists(self, trainer: Trainer) -> None:
        done = trainer.state.epochs_completed
        if done >= self._epochs and trainer.validating.has_seen_all:  # or its first validation may still be ahead
            raise UsageError(
                f"{self._stopper} waits for the score {self._score!r}, which no epoch of {done} has recorded: "
                f"{self._others(trainer)}."
            )

    def _check_recorded(self, trainer: Trainer, records: dict[int, float]) -> None:
        epoch = trainer.state.epochs_completed
        if epoch and epoch not in records and self._is_due(trainer, epoch):
            raise UsageError(
                f"{self._stopper} waits for the score {self._score!r}, which epoch {epoch} has not recorded: "
                f'{self._others(trainer)}. With missing = "skip" it passes over such epochs.'
            )

    def _is_due(self, trainer: Trainer, epoch: int) -> bool:
        routine = trainer.validation
        giving = [part for part in routine.parts if self._may_come_from(part)]
        if not giving and self._score.startswith("train/"):
            return True
        # What comes from no part is added by a plugin to what others give.
        periods = [part.period or routine.period for part in giving or routine.parts]
        return any(period.is_due(epoch, 0, epoch_ends=True) for period in periods)

    def _may_come_from(self, part: ValidationPlan | LoaderCallback | ValidationRoutine) -> bool:
        from artifact_torch import ValidationRoutine

        if isinstance(part, ValidationRoutine):  # it has a way of its own to validate
            return self._score != "train/loss"
        return any(f"{self._score}/".startswith(f"{part.split}/{name}/") for name in _score_names(part))

    def _others(self, trainer: Trainer) -> str:
        """The scores that are recorded, and the one that may be meant."""
        names = [name for name in trainer.metrics.epoch_names if name != self._score]
        close = _close(self._score, names)
        return f"{f'did you mean {close!r}? Recorded' if close else 'recorded'} are {_listing(names)}"

    def _tell(self, records: dict[int, float]) -> None:
        if not records:
            return
        epoch, value = next(newest := reversed(records.items()))
        if epoch != self._told and not math.isfinite(value) and math.isfinite(next(newest, (0, 0.0))[1]):
            self._told = epoch
            logger.warning("%s watches %s, which is %s in epoch %d.", self._stopper, self._score, value, epoch)


def _score_names(part: ValidationPlan | LoaderCallback) -> Iterator[str]:
    from artifact_torch import ValidationPlan

    artifacts = part.artifacts if isinstance(part, ValidationPlan) else (part,)
    return (artifact.name for artifact in artifacts if artifact.kind.is_score)


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
