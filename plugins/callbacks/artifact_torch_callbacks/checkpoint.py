"""Checkpoints on schedule."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from artifact_torch import Callback, UsageError, hookimpl

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["Checkpoint"]

logger = logging.getLogger("artifact_torch")


class Checkpoint(Callback):
    """Saves a checkpoint in the run directory every so many epochs, and one after the last epoch.

    Nothing is saved once training has failed or was interrupted, nor when a parameter is NaN or infinite. A checkpoint
    that cannot be written, for example because the disk is full, is a warning in the run's log; training goes on, and
    the earlier checkpoints stay.

    Args:
        period: epochs between two checkpoints.
        keep: how many checkpoints to keep, the newest ones; None keeps all.

    Raises:
        UsageError: ``period`` or ``keep`` is not positive.
    """

    def __init__(self, *, period: int = 1, keep: int | None = 3) -> None:
        if period < 1:
            raise UsageError(f"The period of Checkpoint must be at least 1 epoch, not {period}.")
        if keep is not None and keep < 1:
            raise UsageError(f"Checkpoint must keep at least 1 checkpoint, not {keep}.")
        self.period = period
        self.keep = keep
        self._dealt_with = 0
        self._failed = False

    @hookimpl
    def on_train_start(self, trainer: Trainer) -> None:
        self._dealt_with = trainer.state.epochs_completed
        self._failed = False

    @hookimpl(trylast=True)
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        epoch = trainer.state.epochs_completed
        if epoch % self.period == 0 or epoch >= trainer.epochs:
            self._save(trainer)

    @hookimpl
    def on_exception(self, trainer: Trainer) -> None:
        self._failed = True

    @hookimpl(trylast=True)
    def on_train_end(self, trainer: Trainer) -> None:
        # Only now is it known that a stopper made an epoch the last one.
        if not self._failed and trainer.state.epochs_completed > self._dealt_with:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        epoch = self._dealt_with = trainer.state.epochs_completed
        broken = _non_finite_parameter(trainer)
        if broken is not None:
            logger.warning(
                "No checkpoint was written after epoch %d: the parameter %r holds NaN or infinity. Earlier "
                "checkpoints stay; lower the learning rate, or look for extreme values in the data.",
                epoch,
                broken,
            )
            return
        try:
            trainer.save_checkpoint()
        except OSError as error:
            self._warn("The checkpoint after epoch %d could not be written to %s (%s).", trainer, error)
            return
        if self.keep is not None:
            try:
                trainer.run.checkpoints.prune(self.keep)
            except OSError as error:
                self._warn("After epoch %d, old checkpoints in %s could not be deleted (%s).", trainer, error)

    def _warn(self, message: str, trainer: Trainer, error: OSError) -> None:
        directory, reason = trainer.run.checkpoints.directory, error.strerror or error
        logger.warning(
            f"{message} Training goes on, and earlier checkpoints stay.", self._dealt_with, directory, reason
        )


def _non_finite_parameter(trainer: Trainer) -> str | None:
    # Gradients can overflow although the loss is finite, and the next loss would show it too late.
    for name, parameter in trainer.model.named_parameters():
        if parameter.requires_grad and not bool(parameter.isfinite().all()):
            return name
    return None
