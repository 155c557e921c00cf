"""A bound on wall time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from artifact_torch import StepStopper, UsageError
from artifact_torch_stoppers.wording import check_choice, duration, place_of, seconds_of

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["TimeLimit"]


class TimeLimit(StepStopper):
    """Stops when training has taken so much wall time, in the middle of an epoch if need be.

    It looks at the clock after each optimizer step, which costs microseconds, and not while a validation or a batch
    goes on. ``margin`` has to leave time for one of them, for the checkpoint, and for the validation and the saving of
    the model with which training ends. Where a training stops depends on how fast the machine is; what it has learnt up
    to there does not, and it can be resumed to the same end.

    Args:
        limit: in seconds, or as a text such as ``"4 h"`` or ``"1 hour 30 minutes"``.
        margin: how long before the limit to stop, in seconds or as such a text.
        scope: ``"run"`` counts the time in training, validation included, over all processes that worked on the run;
            ``"process"`` counts since this stopper was made, as for the time that a cluster gives to one job.

    Raises:
        UsageError: a length of time is none, or the margin is as long as the limit.

    Example::

        stopper = TimeLimit(limit="4 h", margin="10 min", scope="process")
        trainer = Trainer(model, train_loader, epochs=2, stoppers=[stopper])
        result = trainer.train()
        print(result.reason)  # all 2 epochs are done
    """

    def __init__(
        self, *, limit: float | str, margin: float | str = 0.0, scope: Literal["run", "process"] = "run"
    ) -> None:
        check_choice("TimeLimit", "scope", scope, ("run", "process"))
        self._limit = seconds_of("TimeLimit", "limit", limit)
        self._margin = seconds_of("TimeLimit", "margin", margin)
        if self._margin >= self._limit:
            raise UsageError(
                f"TimeLimit has no time to train: its limit of {limit!r} is no longer than its margin of {margin!r}."
            )
        self.limit = limit
        self.margin = margin
        self.scope = scope
        self._made = time.monotonic()

    def check(self, trainer: Trainer) -> str | None:
        seconds = trainer.seconds if self.scope == "run" else time.monotonic() - self._made
        if seconds < self._limit - self._margin:
            return None
        kept = f", of which {duration(self._margin)} are kept for the end," if self._margin else ""
        return f"{duration(seconds)} of {duration(self._limit)}{kept} are over {place_of(trainer)}"
