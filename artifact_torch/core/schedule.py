"""Learning rate schedules: functions that make one once the number of steps is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from artifact_torch.core.data import BatchLoader
from artifact_torch.errors import UsageError

if TYPE_CHECKING:
    from artifact_torch.core.options import TrainingSettings

__all__ = ["SchedulerFactory", "schedule_of", "total_steps"]

SchedulerFactory: TypeAlias = Callable[[Optimizer, int], LRScheduler]
"""Makes a scheduler of an optimizer and the number of its steps in the whole training."""


def total_steps(loader: BatchLoader, epochs: int, accumulate: int) -> int:
    """The optimizer steps of a whole training; each epoch's last one may have fewer batches than the others.

    Raises:
        UsageError: the loader does not know how many batches an epoch has.
    """
    try:
        batches = len(loader)
    except TypeError as error:
        raise UsageError(
            "The scheduler is made for a number of steps, and the training loader does not know how many batches it "
            "has: pass a scheduler that needs no number of steps."
        ) from error
    return epochs * -(-batches // accumulate)


def schedule_of(settings: TrainingSettings) -> SchedulerFactory | None:
    """The schedule that settings name; None keeps the learning rate."""
    match settings.schedule:
        case "one_cycle":
            return lambda optimizer, steps: OneCycleLR(optimizer, settings.learning_rate, total_steps=max(steps, 2))
        case "plateau":
            return lambda optimizer, _steps: ReduceLROnPlateau(optimizer)
        case "constant":
            return None
