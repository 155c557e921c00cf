"""Stopping by a function of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from artifact_torch import EarlyStopper, Trainer, UsageError

__all__ = ["FunctionStopper"]

Decision: TypeAlias = Callable[[Trainer], str | bool | None]


class FunctionStopper(EarlyStopper):
    """Stops when a function says so. It is asked after each epoch, and is for Python: a configuration cannot name it.

    What it decides by is best read from the trainer: what a function remembers itself, a checkpoint does not hold.

    Args:
        function: takes the trainer and returns the reason to stop in words, or True to stop; None or False to go on.

    Raises:
        UsageError: in training, the function returns something else.

    Example::

        def is_good_enough(trainer):
            return trainer.latest_score("train/loss") < 0.5


        trainer = Trainer(model, train_loader, epochs=100, stoppers=[FunctionStopper(function=is_good_enough)])
        result = trainer.train()
        print(result.reason)
    """

    def __init__(self, *, function: Decision) -> None:
        self.function = function

    def check(self, trainer: Trainer) -> str | None:
        answer: object = self.function(trainer)
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        if isinstance(answer, str):
            return f"{answer} (epoch {trainer.state.epoch})" if answer else None
        if isinstance(answer, bool | np.bool_):  # as comparisons with scores of numpy and pandas give it
            return f"{name} says so (epoch {trainer.state.epoch})" if answer else None
        if answer is None:
            return None
        raise UsageError(
            f"The function {name} of FunctionStopper returned {answer!r}: return the reason in words, True, False or "
            "None."
        )
