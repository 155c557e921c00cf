"""A good learning rate, found by training for a moment with ever higher ones."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from artifact_torch.core.loss import training_loss
from artifact_torch.core.trial import trial, trial_steps
from artifact_torch.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from artifact_torch.core.trainer import Trainer

__all__ = ["LearningRateCurve", "find_learning_rate"]

_SMOOTHING = 0.9
_TOO_HIGH = 3.0
_FEWEST_STEPS = 20


@dataclass(frozen=True, slots=True)
class LearningRateCurve:
    """How the loss went while the learning rate rose.

    Attributes:
        rates: the learning rate of each step; where groups of parameters differ in theirs, the highest one.
        losses: the loss, smoothed, before each of these steps; see ``find_learning_rate``.
        suggestion: where the loss fell fastest; None if it did not fall.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float | None

    def frame(self) -> pd.DataFrame:
        """One row for each step, with ``learning_rate`` and ``loss``."""
        return pd.DataFrame({"learning_rate": self.rates, "loss": self.losses})

    def plot(self) -> Figure:
        """The loss over the learning rate on a logarithmic axis, the suggestion marked."""
        from matplotlib.figure import Figure

        figure = Figure(layout="constrained")
        axes = figure.subplots()
        axes.plot(self.rates, self.losses)
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss, smoothed")
        if self.suggestion is not None:
            loss = self.losses[self.rates.index(self.suggestion)]
            axes.plot([self.suggestion], [loss], "o", label=f"suggestion: {self.suggestion:.3g}")
            axes.legend()
        return figure


def find_learning_rate(
    trainer: Trainer, *, lowest: float = 1e-7, highest: float = 1.0, steps: int = 100
) -> LearningRateCurve:
    """Train with a learning rate that rises from step to step, and see where the loss falls fastest.

    This is the range test of Smith, "Cyclical Learning Rates for Training Neural Networks" (2015, arXiv:1506.01186).
    The rate rises exponentially. From the loss of each step is taken what its batches cost the model as it was at the
    start, less the mean of that, so that easy and hard batches do not hide how training goes. An exponential average,
    corrected for its start, smooths it, and the test ends when that is more than four times the best so far, or not
    finite. The suggestion is the rate at which the loss fell fastest for the logarithm of the rate, before it was
    lowest: there, a line through a fifth of the steps is steepest.

    It leaves no trace: model, optimizer, random state and the trainer's counters are as before, no run directory is
    made, and no plugin is called. Groups of parameters keep the ratio of their learning rates. The model is not
    compiled for it.

    Args:
        trainer: as it is before training.
        lowest: the first rate.
        highest: the last rate, unless the test ends before.
        steps: optimizer steps, at most.

    Raises:
        UsageError: an argument is out of range, or the training loader gives no batch.
        MissingLossError: the model's output holds no scalar loss.
    """
    if not 0 < lowest < highest < math.inf:
        raise UsageError(f"The learning rates must rise from above 0, not from {lowest} to {highest}.")
    if steps < _FEWEST_STEPS:
        raise UsageError(f"steps must be at least {_FEWEST_STEPS}, not {steps}.")
    rates = [float(rate) for rate in np.geomspace(lowest, highest, steps)]
    untrained = _untrained_losses(trainer, steps)
    losses: list[float] = []
    smoothed: list[float] = []
    average, best = 0.0, math.inf
    with trial(trainer):
        set_rate = _RateSetter(trainer.optimizer)
        made = trial_steps(trainer, _cycled(trainer), limit=steps, before=lambda number: set_rate(rates[number]))
        for number, of_batches in enumerate(made):
            loss = torch.stack(of_batches).double().mean().item() - untrained[number] + statistics.fmean(untrained)
            average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
            now = average / (1 - _SMOOTHING ** (number + 1))
            if not math.isfinite(now):
                break
            losses.append(loss)
            smoothed.append(now)
            best = min(best, now)
            if now - best > _TOO_HIGH * abs(best):
                break
    rates = rates[: len(losses)]
    return LearningRateCurve(tuple(rates), tuple(smoothed), _steepest(rates, losses, smoothed, steps // 10))


class _RateSetter:
    """Sets the learning rate of an optimizer, so that its groups keep the ratio of theirs."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._groups = optimizer.param_groups
        # A schedule may begin at 0; what it was given to start from is kept beside.
        rates = [float(group.get("initial_lr", group["lr"])) for group in self._groups]
        reference = max(rates)
        self._shares = [rate / reference if reference > 0 else 1.0 for rate in rates]

    def __call__(self, rate: float) -> None:
        for group, share in zip(self._groups, self._shares, strict=True):
            value = rate * share
            group["lr"] = torch.full_like(group["lr"], value) if isinstance(group["lr"], torch.Tensor) else value


def _untrained_losses(trainer: Trainer, steps: int) -> list[float]:
    """The losses of the first steps' batches if no step were made; with the same dropout as when they are."""
    batches = _cycled(trainer)
    losses: list[float] = []
    with trial(trainer):
        for _ in range(steps):
            of_step = itertools.islice(batches, trainer.optimization.settings.accumulate)
            losses.append(statistics.fmean(_loss(trainer, batch) for batch in of_step))
    return losses


def _loss(trainer: Trainer, batch: Any) -> float:
    with trainer.optimization.forward_context():
        output = trainer.model(batch)
    return training_loss(output, trainer.model).item()


def _cycled(trainer: Trainer) -> Iterator[Any]:
    """The training batches of one epoch after the other."""
    for epoch in itertools.count(1):
        empty = True
        for batch in trainer.train_loader.batches(epoch, device=trainer.device):
            empty = False
            yield batch
        if empty:
            raise UsageError("The training loader gave no batch: check the data set's length.")


def _steepest(rates: list[float], losses: list[float], smoothed: list[float], reach: int) -> float | None:
    """The rate around which a line through the losses falls most, not after they were lowest; None if none falls.

    A line through so many steps before and after has no lag, as the smoothed loss has.
    """
    offsets = np.arange(-reach, reach + 1)
    last = min(int(np.argmin(smoothed)), len(losses) - 1 - reach) if losses else -1
    middles = range(reach, last + 1)
    falls = [-float(offsets @ np.array(losses[middle - reach : middle + reach + 1])) for middle in middles]
    return rates[middles[int(np.argmax(falls))]] if falls and max(falls) > 0 else None
