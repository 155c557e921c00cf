"""A bound on the number of optimizer steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact_torch import StepStopper
from artifact_torch_stoppers.wording import check_count, counted

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["MaxSteps"]


class MaxSteps(StepStopper):
    """Stops after so many optimizer steps, those before a resume included, in the middle of an epoch if need be.

    With ``accumulate``, a step is made of several batches. The trainer's own bound on epochs stays in force.

    Args:
        steps: how many optimizer steps to make, at most, over all processes that work on the run.

    Raises:
        UsageError: ``steps`` is not positive.

    Example::

        trainer = Trainer(model, train_loader, epochs=100, stoppers=[MaxSteps(steps=10)])
        result = trainer.train()
        print(result.steps, result.reason)
    """

    def __init__(self, *, steps: int) -> None:
        check_count("MaxSteps", steps, "step")
        self.steps = steps

    def check(self, trainer: Trainer) -> str | None:
        done = trainer.state.step
        if done < self.steps:
            return None
        return f"{counted(done, 'step')} {'is' if done == 1 else 'are'} done (epoch {trainer.state.epoch})"
