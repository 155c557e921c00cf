"""Checkpoints on schedule."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

from artifact_torch import Callback, CheckpointError, DivergedError, Retention, UsageError, hookimpl

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["Checkpoint"]

logger = logging.getLogger("artifact_torch")


class Checkpoint(Callback):
    """Saves a checkpoint in the run directory every so many epochs, and one after the last epoch.

    Nothing is saved once training has failed or was interrupted, nor when a parameter is NaN or infinite. A checkpoint
    that cannot be written, for example because the disk is full, is a warning in the run's log or ends training; the
    earlier checkpoints stay.

    Args:
        period: epochs between two checkpoints.
        period_steps: optimizer steps between two more checkpoints, within epochs; None saves none there.
        keep: how many checkpoints to keep, the newest ones; None keeps all.
        keep_best: how many checkpoints to keep besides for their score, the best ones.
        score: the score that ``keep_best`` compares, a column of ``epoch_scores``; a checkpoint of an epoch without it
            is not among the best.
        mode: whether the lowest score (``"min"``) or the highest (``"max"``) is best.
        background: whether checkpoints are written while training goes on; then one that cannot be written is noticed
            at the next one, or at the end.
        on_failure: whether training goes on (``"continue"``) or ends (``"stop"``) when a checkpoint cannot be written.

    Raises:
        UsageError: an argument is out of range.

    Example::

        checkpoint = Checkpoint(keep=2, keep_best=1)  # the newest two, and the best by validation/loss
        trainer = Trainer(model, train_loader, epochs=3, validation=validation, callbacks=[checkpoint])
        trainer.train()
        print(trainer.run.checkpoints.directory)
    """

    def __init__(
        self,
        *,
        period: int = 1,
        period_steps: int | None = None,
        keep: int | None = 3,
        keep_best: int = 0,
        score: str = "validation/loss",
        mode: Literal["min", "max"] = "min",
        background: bool = False,
        on_failure: Literal["continue", "stop"] = "continue",
    ) -> None:
        if period < 1:
            raise UsageError(f"The period of Checkpoint must be at least 1 epoch, not {period}.")
        if period_steps is not None and period_steps < 1:
            raise UsageError(f"The period_steps of Checkpoint must be at least 1 step, not {period_steps}.")
        if on_failure not in ("continue", "stop"):
            raise UsageError(f"The on_failure of Checkpoint is 'continue' or 'stop', not {on_failure!r}.")
        self.period = period
        self.period_steps = period_steps
        self.retention = Retention(newest=keep, best=keep_best, score=score, mode=mode)
        self.background = background
        self.on_failure = on_failure
        self._dealt_with = 0
        self._saved_step = 0
        self._failed = False

    @hookimpl
    def on_train_start(self, trainer: Trainer) -> None:
        self._dealt_with = trainer.state.epochs_completed
        self._saved_step = trainer.state.step
        self._failed = False

    @hookimpl(trylast=True)
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        if self.period_steps is None:
            return
        step = trainer.state.step
        if step % self.period_steps == 0 and step != self._saved_step:  # a step may take several batches
            self._saved_step = step
            self._save(trainer, f"step {trainer.state.step}")

    @hookimpl(trylast=True)
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        epoch = trainer.state.epochs_completed
        if epoch % self.period == 0 or epoch >= trainer.epochs:
            self._save_epoch(trainer)

    @hookimpl
    def on_exception(self, trainer: Trainer) -> None:
        self._failed = True

    @hookimpl(trylast=True)
    def on_train_end(self, trainer: Trainer) -> None:
        # Only now is it known that a stopper made an epoch the last one.
        if not self._failed and trainer.state.epochs_completed > self._dealt_with:
            self._save_epoch(trainer)
        if not self._failed:
            self._wait(trainer)

    def _save_epoch(self, trainer: Trainer) -> None:
        self._dealt_with = trainer.state.epochs_completed
        self._save(trainer, f"epoch {self._dealt_with}")

    def _save(self, trainer: Trainer, when: str) -> None:
        self._wait(trainer)
        try:
            trainer.save_checkpoint(keep=self.retention, background=self.background)
        except DivergedError as error:
            logger.warning("%s", error)
        except OSError as error:
            directory, reason = trainer.run.checkpoints.directory, error.strerror or error
            message = f"The checkpoint after {when} could not be written to {directory} ({reason})."
            if self.on_failure == "stop":
                raise CheckpointError(f"{message} Training was stopped, and earlier checkpoints stay.") from error
            logger.warning("%s Training goes on, and earlier checkpoints stay.", message)

    def _wait(self, trainer: Trainer) -> None:
        """Wait for a checkpoint that is being written in the background."""
        try:
            trainer.wait_for_checkpoints()
        except CheckpointError as error:
            if self.on_failure == "stop":
                raise
            logger.warning("%s Training goes on.", error)
