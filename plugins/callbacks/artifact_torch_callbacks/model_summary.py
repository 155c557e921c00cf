"""What the model is made of, in the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from artifact_torch import Callback, UsageError, hookimpl, summarize

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["ModelSummary"]

logger = logging.getLogger("artifact_torch")


class ModelSummary(Callback):
    """Logs a table of the model's modules and their numbers of parameters when training starts.

    It stands in the run's ``log.txt``. A parameter that several modules share counts once in what they are inside of::

        module     class       parameters  trainable
        encoder    Sequential       5,376      5,376
        encoder.0  Linear           5,120      5,120
        encoder.1  LayerNorm          256        256
        head       Linear             387          0
        in all     Classifier       5,763      5,376

    Args:
        depth: how many levels of modules inside modules to list; 0 gives the model as a whole only.

    Raises:
        UsageError: ``depth`` is negative.

    Example::

        trainer = Trainer(model, train_loader, epochs=3, callbacks=[ModelSummary(depth=1)])
        trainer.train()
        print((trainer.run.path / "log.txt").read_text())
    """

    def __init__(self, *, depth: int = 2) -> None:
        if depth < 0:
            raise UsageError(f"The depth of ModelSummary must be at least 0 levels of modules, not {depth}.")
        self.depth = depth

    @hookimpl
    def on_train_start(self, trainer: Trainer) -> None:
        logger.info("The model:\n%s", summarize(trainer.model, depth=self.depth))
