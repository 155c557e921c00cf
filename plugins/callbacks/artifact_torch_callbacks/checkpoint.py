"""Checkpoints on schedule."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

from artifact_torch import Callback, CheckpointError, DivergedError, Period, Retention, UsageError, hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from artifact_torch import Trainer

__all__ = ["Checkpoint"]

_NEVER = Period(2**62)

logger = logging.getLogger("artifact_torch")


class Checkpoint(Callback):
    """Saves a checkpoint in the run directory every so many epochs, steps or minutes, and one at the end of training.

    A checkpoint of steps or of a time is saved after an optimizer step, from which training goes on in the middle of
    its epoch. What is saved is finite: where a parameter is NaN or infinite, a warning says that nothing was saved. A
    checkpoint that cannot be written, for example because the disk is full, is a warning in the run's log or ends
    training; the earlier checkpoints stay.

    In a step that is not due, a period of epochs or of steps costs nothing; one of a time, or several periods of which
    one counts steps, are looked at after each step, which takes less than a microsecond.

    Args:
        period: how often: a number of epochs, or a text such as ``"500 steps"`` or ``"10 minutes"``; or a list of
            these, whichever is due. A time counts from the last checkpoint.
        keep: how many checkpoints to keep, the newest ones; None keeps all.
        keep_best: how many checkpoints to keep besides for their score, the best ones.
        score: the score that ``keep_best`` compares, a column of ``epoch_scores``; a checkpoint of an epoch without it
            is not among the best.
        mode: whether the lowest score (``"min"``) or the highest (``"max"``) is best.
        at_end: whether to save the last epoch too, if its period is not due. Training that a stopper or a signal ends
            within an epoch is saved in any case.
        on_exception: whether to save the last completed step when training fails, besides the checkpoints that are
            kept. What made training fail may be in that state already, and what is drawn at random after it is not
            what would have been: look at why it failed before going on from there. It is not saved when the loss or a
            gradient became NaN or infinite, nor when a step was begun and not completed, nor by Ctrl-C.
        background: whether checkpoints are written while training goes on; then one that cannot be written is noticed
            at the next one, or at the end.
        on_failure: whether training goes on (``"continue"``) or ends (``"stop"``) when a checkpoint cannot be written.

    Raises:
        UsageError: an argument is out of range, or a period is none.

    Example::

        checkpoint = Checkpoint(keep=2, keep_best=1)  # the newest two, and the best by validation/loss
        trainer = Trainer(model, train_loader, epochs=3, validation=validation, callbacks=[checkpoint])
        trainer.train()
        print(trainer.run.checkpoints.directory)
    """

    def __init__(
        self,
        *,
        period: int | str | list[int | str] = 1,
        keep: int | None = 3,
        keep_best: int = 0,
        score: str = "validation/loss",
        mode: Literal["min", "max"] = "min",
        at_end: bool = True,
        on_exception: bool = False,
        background: bool = False,
        on_failure: Literal["continue", "stop"] = "continue",
    ) -> None:
        periods = [Period.of(each) for each in (period if isinstance(period, list) else [period])]
        if not periods:
            raise UsageError("Checkpoint has an empty list of periods: leave it out to save after each epoch.")
        if on_failure not in ("continue", "stop"):
            raise UsageError(f"The on_failure of Checkpoint is 'continue' or 'stop', not {on_failure!r}.")
        self.period = period
        self.retention = Retention(newest=keep, best=keep_best, score=score, mode=mode)
        self.at_end = at_end
        self.background = background
        self.on_failure = on_failure
        self._saves_on_exception = on_exception
        self._epochs, self._steps, self._seconds = (
            [each.number for each in periods if each.unit == unit] for unit in ("epochs", "steps", "seconds")
        )
        if not self._seconds and len(self._steps) < 2:  # then the hook is called when it is due only
            self.batch_period = Period(self._steps[0], "steps") if self._steps else _NEVER
        self._dealt_with = 0
        self._saved = (0, 0)
        self._saved_at = 0.0
        self._failed = False

    @hookimpl
    def on_train_start(self, trainer: Trainer) -> None:
        self._dealt_with = trainer.state.epochs_completed
        self._saved = _place(trainer)
        self._saved_at = trainer.seconds
        self._failed = False

    @hookimpl(trylast=True)
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        if trainer.optimization.accumulated:  # a step may take several batches
            return
        step = trainer.state.step
        if any(step % number == 0 for number in self._steps) or self._is_time(trainer):
            self._save(trainer, f"step {step}")

    @hookimpl(trylast=True)
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        epoch = trainer.state.epochs_completed
        is_last = self.at_end and epoch >= trainer.epochs
        if is_last or any(epoch % number == 0 for number in self._epochs) or self._is_time(trainer):
            self._save_epoch(trainer)

    @hookimpl
    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        self._failed = True
        # A KeyboardInterrupt is no Exception: who wants to leave at once does, and a signal has been heeded.
        if self._saves_on_exception and isinstance(error, Exception) and not isinstance(error, DivergedError):
            self._save_failed(trainer)

    @hookimpl(trylast=True)
    def on_train_end(self, trainer: Trainer) -> None:
        state = trainer.state
        # Only now is it known that a stopper made an epoch the last one; within one, the trainer has saved it.
        if self.at_end and not self._failed and state.epochs_completed > self._dealt_with and not state.batch_in_epoch:
            self._save_epoch(trainer)
        if not self._failed:
            self._wait(trainer)

    def _is_time(self, trainer: Trainer) -> bool:
        return bool(self._seconds) and trainer.seconds - self._saved_at >= min(self._seconds)

    def _save_epoch(self, trainer: Trainer) -> None:
        self._dealt_with = trainer.state.epochs_completed
        self._save(trainer, f"epoch {self._dealt_with}")

    def _save_failed(self, trainer: Trainer) -> None:
        step = trainer.state.step
        if trainer.optimization.accumulated:
            logger.warning("Training fails within step %d, which is not saved; earlier checkpoints stay.", step + 1)
        elif step and self._saved != _place(trainer):
            path = self._save(trainer, f"step {step}")
            if path is not None:
                logger.warning("Training fails; its state after step %d is saved in %s.", step, path)

    def _save(self, trainer: Trainer, when: str) -> Path | None:
        """Save a checkpoint; None if that was not possible."""
        self._wait(trainer)
        self._saved, self._saved_at = _place(trainer), trainer.seconds
        try:
            return trainer.save_checkpoint(
                keep=None if self._failed else self.retention,  # one that may be bad takes the place of no other
                background=self.background and not self._failed,
            )
        except DivergedError as error:
            logger.warning("%s", error)
        except OSError as error:
            directory, reason = trainer.run.checkpoints.directory, error.strerror or error
            message = f"The checkpoint after {when} could not be written to {directory} ({reason})."
            if self._failed:
                logger.warning("%s Earlier checkpoints stay.", message)
            elif self.on_failure == "stop":
                raise CheckpointError(f"{message} Training was stopped, and earlier checkpoints stay.") from error
            else:
                logger.warning("%s Training goes on, and earlier checkpoints stay.", message)
        return None

    def _wait(self, trainer: Trainer) -> None:
        """Wait for a checkpoint that is being written in the background."""
        try:
            trainer.wait_for_checkpoints()
        except CheckpointError as error:
            if self.on_failure == "stop" and not self._failed:
                raise
            logger.warning("%s%s", error, "" if self._failed else " Training goes on.")


def _place(trainer: Trainer) -> tuple[int, int]:
    return trainer.state.step, trainer.state.epochs_completed
