"""Stopping when a score is good enough, or hopeless."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from artifact_torch import EarlyStopper, UsageError
from artifact_torch_stoppers.watched import Missing, Mode, WatchedScore
from artifact_torch_stoppers.wording import check_choice, check_number

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["Threshold"]


class Threshold(EarlyStopper):
    """Stops when the newest value of a score has reached a goal, or is worse than a limit.

    A value that is NaN or infinite reaches no goal, and is worse than any limit. Nothing but the recorded scores
    decides, so a resumed training stops exactly where an uninterrupted one would. A score that nothing records is an
    error that names the close ones.

    Args:
        score: a column of ``trainer.epoch_scores``, such as ``validation/MEAN_JS_DISTANCE``.
        goal: the value, in units of the score, at which it is good enough; none by default.
        limit: the value beyond which training has diverged; none by default.
        mode: whether the score is better when it is smaller (``"min"``) or larger (``"max"``).
        warm_up: the number of epochs, from the first one, whose scores do not count.
        missing: whether an epoch that had to record the score and has not, or in which it could not be computed, is
            left out (``"skip"``) or an ``"error"``.

    Raises:
        UsageError: an argument is out of range, there is neither a goal nor a limit, or the limit is better than the
            goal; or, in training, nothing records the score, or an epoch has not that had to and ``missing`` is
            ``"error"``.

    Example::

        stopper = Threshold(score="validation/loss", goal=0.1, limit=100.0)
        trainer = Trainer(model, train_loader, epochs=100, validation=validation, stoppers=[stopper])
        result = trainer.train()
        print(f"{result.epochs} epochs: {result.reason}")
    """

    def __init__(
        self,
        *,
        score: str,
        goal: float | None = None,
        limit: float | None = None,
        mode: Mode = "min",
        warm_up: int = 0,
        missing: Missing = "skip",
    ) -> None:
        check_choice("Threshold", "mode", mode, ("min", "max"))
        check_number("Threshold", "goal", goal)
        check_number("Threshold", "limit", limit)
        check_number("Threshold", "warm_up", warm_up, least=0)
        if goal is None and limit is None:
            raise UsageError("Threshold has nothing to wait for: give it a goal, a limit, or both.")
        self._sign = 1.0 if mode == "min" else -1.0
        if goal is not None and limit is not None and self._sign * limit < self._sign * goal:
            raise UsageError(
                f"The limit {limit:g} of Threshold is better than its goal {goal:g} in mode {mode!r}: exchange them, "
                "or choose the other mode."
            )
        self.score = score
        self.goal = goal
        self.limit = limit
        self.mode = mode
        self.warm_up = warm_up
        self.missing = missing
        self._watched = WatchedScore("Threshold", score, missing=missing, epochs=warm_up + 1)

    def check(self, trainer: Trainer) -> str | None:
        epoch, value = next(reversed(self._watched.records(trainer).items()), (0, 0.0))
        if epoch <= self.warm_up:
            return None
        is_finite, signed = math.isfinite(value), self._sign * value
        found = f"{self.score} is {value:.6g} (epoch {epoch})"
        if self.goal is not None and is_finite and signed <= self._sign * self.goal:
            return f"{found} and has reached the goal {self.goal:g}"
        if self.limit is not None and (not is_finite or signed > self._sign * self.limit):
            return f"{found} and is worse than the limit {self.limit:g}"
        return None
