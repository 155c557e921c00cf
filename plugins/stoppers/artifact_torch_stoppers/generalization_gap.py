"""Stopping when the model does better on what it was trained on than on what it was not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from artifact_torch import EarlyStopper
from artifact_torch_stoppers.watched import Missing, Mode, WatchedScore
from artifact_torch_stoppers.wording import check_choice, check_count, check_number, counted

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["GeneralizationGap"]


@dataclass(frozen=True, slots=True)
class _Gap:
    """By how much a validation score is worse than what it is compared with."""

    epoch: int
    value: float
    compared_with: float
    size: float


class GeneralizationGap(EarlyStopper):
    """Stops when a validation score has been worse than the training score by more than a bound for some epochs.

    Epochs in which one of the two is missing, NaN or infinite are left out. The training loss is a mean over the epoch,
    taken while the weights change and with dropout; a score that validation computes on the training split is a better
    match for one on the validation split. Nothing but the recorded scores decides, so a resumed training stops exactly
    where an uninterrupted one would. A score that nothing records is an error that names the close ones.

    Args:
        score: the score of the validation split, a column of ``trainer.epoch_scores``.
        train_score: the score of the training split.
        bound: the gap that is allowed; what it is measured in, ``measure`` says.
        measure: ``"absolute"`` takes the difference of the scores; ``"relative"`` the difference as a share of the
            training score; ``"loss"`` needs no training score and takes the generalization loss of Prechelt (1998,
            "Early Stopping - But When?", section 2), which is ``score / best - 1`` with the best score so far: his
            criterion GL with a threshold of 5 percent is a bound of 0.05.
        epochs: for how many epochs with both scores the gap has to be beyond the bound, one after the other.
        mode: whether the scores are better when they are smaller (``"min"``) or larger (``"max"``).
        missing: whether an epoch that had to record a score and has not, or in which it could not be computed, is left
            out (``"skip"``) or an ``"error"``.

    Raises:
        UsageError: an argument is out of range; or, in training, nothing records a score, or an epoch has not that had
            to and ``missing`` is ``"error"``.

    Example::

        stopper = GeneralizationGap(score="validation/loss", bound=0.5, epochs=2)
        trainer = Trainer(model, train_loader, epochs=5, validation=validation, stoppers=[stopper])
        result = trainer.train()
        print(f"{result.epochs} epochs: {result.reason}")
    """

    def __init__(
        self,
        *,
        score: str = "validation/loss",
        train_score: str = "train/loss",
        bound: float = 0.1,
        measure: Literal["absolute", "relative", "loss"] = "relative",
        epochs: int = 1,
        mode: Mode = "min",
        missing: Missing = "skip",
    ) -> None:
        check_number("GeneralizationGap", "bound", bound, least=0)
        check_choice("GeneralizationGap", "measure", measure, ("absolute", "relative", "loss"))
        check_count("GeneralizationGap", epochs, "epoch")
        check_choice("GeneralizationGap", "mode", mode, ("min", "max"))
        self.score = score
        self.train_score = train_score
        self.bound = bound
        self.measure = measure
        self.epochs = epochs
        self.mode = mode
        self.missing = missing
        self._watched = WatchedScore("GeneralizationGap", score, missing=missing, epochs=epochs)
        self._watched_train = WatchedScore("GeneralizationGap", train_score, missing=missing, epochs=epochs)

    def check(self, trainer: Trainer) -> str | None:
        records = _numbers(self._watched.records(trainer))
        references = self._best_so_far(records) if self.measure == "loss" else self._training(trainer)
        gaps = [*self._gaps(records, references)]
        beyond = list(itertools.takewhile(lambda gap: gap.size > self.bound, reversed(gaps)))
        if len(beyond) < self.epochs:
            return None
        last = beyond[0]
        other = "its best" if self.measure == "loss" else self.train_score
        share = "" if self.measure == "absolute" else " of it"
        return (
            f"{self.score} is {last.value:.6g} (epoch {last.epoch}), worse than {other}, {last.compared_with:.6g}, by "
            f"{last.size:.3g}{share}, and the gap has been above {self.bound:g} for {counted(len(beyond), 'epoch')}"
        )

    def _training(self, trainer: Trainer) -> Mapping[int, float]:
        return _numbers(self._watched_train.records(trainer))

    def _best_so_far(self, records: Mapping[int, float]) -> Mapping[int, float]:
        best = itertools.accumulate(records.values(), min if self.mode == "min" else max)
        return dict(zip(records, best, strict=True))

    def _gaps(self, records: Mapping[int, float], references: Mapping[int, float]) -> Iterator[_Gap]:
        for epoch, value in records.items():
            if epoch in references:
                reference = references[epoch]
                difference = value - reference if self.mode == "min" else reference - value
                size = difference if self.measure == "absolute" else _share(difference, reference)
                yield _Gap(epoch, value, reference, size)


def _numbers(records: Mapping[int, float]) -> dict[int, float]:
    return {epoch: value for epoch, value in records.items() if math.isfinite(value)}


def _share(difference: float, reference: float) -> float:
    if reference == 0:  # whatever is worse than nothing is so by any share
        return math.copysign(math.inf, difference) if difference else 0.0
    return difference / abs(reference)
