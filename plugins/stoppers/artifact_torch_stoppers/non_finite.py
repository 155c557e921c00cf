"""Stopping when a score is no number."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from artifact_torch import EarlyStopper
from artifact_torch_stoppers.watched import Missing, WatchedScore
from artifact_torch_stoppers.wording import check_count, counted

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["NonFinite"]


class NonFinite(EarlyStopper):
    """Stops when a score has been NaN or infinite for some epochs.

    It is for what validation and plugins record: a training loss that is NaN or infinite ends training by itself, or is
    left out of its epoch's mean, as the trainer's ``on_nonfinite`` says. Nothing but the recorded scores decides, so a
    resumed training stops exactly where an uninterrupted one would. A score that nothing records is an error that names
    the close ones.

    Args:
        score: a column of ``trainer.epoch_scores``, such as ``validation/MEAN_JS_DISTANCE``.
        epochs: how many epochs with the score it has to be NaN or infinite, one after the other.
        missing: whether an epoch that had to record the score and has not, or in which it could not be computed, is
            left out (``"skip"``) or an ``"error"``.

    Raises:
        UsageError: an argument is out of range; or, in training, nothing records the score, or an epoch has not that
            had to and ``missing`` is ``"error"``.

    Example::

        stopper = NonFinite(score="validation/loss", epochs=2)
        trainer = Trainer(model, train_loader, epochs=3, validation=validation, stoppers=[stopper])
        result = trainer.train()
        print(result.reason)  # all 3 epochs are done
    """

    def __init__(self, *, score: str = "train/loss", epochs: int = 1, missing: Missing = "skip") -> None:
        check_count("NonFinite", epochs, "epoch")
        self.score = score
        self.epochs = epochs
        self.missing = missing
        self._watched = WatchedScore("NonFinite", score, missing=missing, epochs=epochs)

    def check(self, trainer: Trainer) -> str | None:
        newest = reversed(self._watched.records(trainer).items())
        found = list(itertools.takewhile(lambda record: not math.isfinite(record[1]), newest))
        if len(found) < self.epochs:
            return None
        epoch, value = found[0]
        more = f", and NaN or infinite for {counted(len(found), 'epoch')}" if len(found) > 1 else ""
        return f"{self.score} is {value} (epoch {epoch}){more}"
