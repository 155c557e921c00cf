"""A learning rate, found before the first step."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim.lr_scheduler import ChainedScheduler, CyclicLR, SequentialLR

from artifact_torch import Callback, UsageError, find_learning_rate, hookimpl

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["LearningRateFinder"]

# What a parameter group holds of rates, schedules' own included.
_RATES = ("lr", "initial_lr", "max_lr", "min_lr")

# They keep rates where nobody else can set them.
_CLOSED = (SequentialLR, ChainedScheduler, CyclicLR)

logger = logging.getLogger("artifact_torch")


class LearningRateFinder(Callback):
    """Looks for a learning rate when a training begins, and trains with it.

    It is the range test of ``artifact_torch.find_learning_rate``, which the command ``artifact-torch
    find-learning-rate`` makes without training. All that training depends on is as before afterwards but the rate: if
    groups of parameters differ in theirs, they keep the ratio. With a schedule, the rate found is the highest one of a
    ``OneCycleLR``, and the one that any other starts from. If the loss does not fall with any rate, the rate stays,
    with a warning. A training that is resumed goes on with the rate of its checkpoint, and does not look again.

    The rate is logged and stands in ``run.json`` as ``learning_rate_finder``; what the losses were is in
    ``learning_rates.csv`` in the run directory. It takes the time of twice as many steps as it makes.

    Args:
        lowest: the first rate tried.
        highest: the last rate tried, unless the loss grows too much before.
        steps: how many rates to try, one in each step, at most.

    Raises:
        UsageError: an argument cannot be used; or, when training starts, its schedule cannot take another rate.

    Example::

        trainer = Trainer(model, train_loader, epochs=3, callbacks=[LearningRateFinder(lowest=1e-5, steps=50)])
        trainer.train()
        print(trainer.run.record["learning_rate_finder"])
    """

    changes_training = True

    def __init__(self, *, lowest: float = 1e-7, highest: float = 1.0, steps: int = 100) -> None:
        if not 0 < lowest < highest < math.inf:
            raise UsageError(f"The rates of LearningRateFinder must rise from above 0, not from {lowest} to {highest}.")
        if steps < 20:
            raise UsageError(f"The steps of LearningRateFinder must be at least 20, not {steps}.")
        self.lowest = lowest
        self.highest = highest
        self.steps = steps

    @hookimpl(tryfirst=True)  # before anybody who would take the steps of the test for those of training
    def on_train_start(self, trainer: Trainer) -> None:
        if trainer.state.step or trainer.state.batch_in_epoch:
            return
        before = _highest_rate(trainer)
        if before == 0 or isinstance(trainer.scheduler, _CLOSED):
            what = "A learning rate of 0" if before == 0 else f"A {type(trainer.scheduler).__qualname__}"
            raise UsageError(
                f"{what} cannot be put in proportion to the one that LearningRateFinder finds: use another schedule or "
                "rate to begin with, or find the rate before, with artifact_torch.find_learning_rate."
            )
        logger.info("Looking for a learning rate between %g and %g.", self.lowest, self.highest)
        curve = find_learning_rate(trainer, lowest=self.lowest, highest=self.highest, steps=self.steps)
        found = curve.suggestion
        if found is None:
            logger.warning("LearningRateFinder: the loss fell with no learning rate, and it stays at %g.", before)
        else:
            _scale_rates(trainer, found / before)
            logger.info("The learning rate is %.3g now, and was %g: the loss falls fastest there.", found, before)
        path = trainer.run.path / "learning_rates.csv"
        curve.frame().to_csv(path, index=False)
        trainer.track_file("learning_rates", path)
        trainer.run.update(
            learning_rate_finder={
                "found": found,
                "before": before,
                "lowest": self.lowest,
                "highest": self.highest,
                "steps": len(curve.rates),
            }
        )


def _highest_rate(trainer: Trainer) -> float:
    """The highest rate that the schedule is going to have, or begins with."""
    groups = trainer.optimizer.param_groups
    return max(float(group.get("max_lr", group.get("initial_lr", group["lr"]))) for group in groups)


def _scale_rates(trainer: Trainer, factor: float) -> None:
    """Multiply all rates, those included that the schedule counts from."""
    for group in trainer.optimizer.param_groups:
        for name in _RATES:
            rate = group.get(name)
            if isinstance(rate, Tensor):
                rate.mul_(factor)
            elif rate is not None:
                group[name] = rate * factor
    scheduler: Any = trainer.scheduler
    if hasattr(scheduler, "base_lrs"):
        scheduler.base_lrs = [rate * factor for rate in scheduler.base_lrs]
