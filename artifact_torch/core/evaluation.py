"""The model while it is used for something else than training."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from artifact_torch.plugin.specs import RunHooks

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer

__all__ = ["Evaluation"]


class Evaluation:
    """Calls ``on_evaluation_start`` and ``on_evaluation_end`` around each use of a trainer's model."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._goes_on = False
        self.is_off = False
        """Whether the model holds the weights that are meant already."""

    @contextmanager
    def going_on(self) -> Generator[None]:
        """Around a use of the model; within another one, nothing is called a second time."""
        if self._goes_on or self.is_off:
            yield
            return
        hooks, trainer = self._trainer.hooks, self._trainer
        self._goes_on = True
        failed = True
        try:
            hooks.notify(RunHooks.on_evaluation_start, trainer=trainer)
            yield
            failed = False
        finally:
            self._goes_on = False
            errors = hooks.teardown(RunHooks.on_evaluation_end, trainer=trainer)
            if errors and not failed:
                raise errors[0]
