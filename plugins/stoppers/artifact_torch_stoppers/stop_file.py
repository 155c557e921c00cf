"""Stopping when a file appears."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from artifact_torch import StepStopper, UsageError, hookimpl
from artifact_torch_stoppers.wording import place_of, seconds_of

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["StopFile"]

logger = logging.getLogger("artifact_torch")


class StopFile(StepStopper):
    """Stops when somebody makes a file: ``touch STOP`` in the run directory, in the middle of an epoch if need be.

    A file that is there already when training starts is old and stops nothing, so that a resumed training goes on;
    touched again, it does. That is all this stopper remembers, and it belongs to the process: a checkpoint has nothing
    of it. It looks after each epoch, and after an optimizer step if the last look is ``period`` ago.

    Args:
        path: the file; a relative path is meant from the run directory.
        remove: whether the file that has stopped training is removed at the end of training; another training that
            watches it may not have seen it by then.
        period: the time between two looks within an epoch, in seconds or as a text such as ``"10 seconds"``.

    Raises:
        UsageError: there is no path, or the period is none.

    Example::

        stopper = StopFile(path="STOP")
        trainer = Trainer(model, train_loader, epochs=2, stoppers=[stopper])
        result = trainer.train()
        print(result.reason)  # all 2 epochs are done
    """

    def __init__(self, *, path: str = "STOP", remove: bool = True, period: float | str = 1.0) -> None:
        if not path:
            raise UsageError("StopFile needs the path of a file, such as 'STOP'.")
        self.path = path
        self.remove = remove
        self.period = period
        self._period = seconds_of("StopFile", "period", period)
        self._old: tuple[int, int] | None = None
        self._is_there = False
        self._next_look = 0.0

    @hookimpl(tryfirst=True)
    def on_train_start(self, trainer: Trainer) -> None:
        self._old = _identity(self._file(trainer))
        self._is_there, self._next_look = False, 0.0

    @hookimpl
    def on_train_end(self, trainer: Trainer) -> None:
        if not self._is_there or not self.remove:
            return
        try:
            self._file(trainer).unlink(missing_ok=True)
        except OSError as error:
            logger.warning(
                "StopFile cannot remove %s (%s): it is old for the next training.", self._file(trainer), error.strerror
            )

    def check(self, trainer: Trainer) -> str | None:
        now = time.monotonic()
        if now >= self._next_look or not trainer.state.batch_in_epoch:
            self._next_look = now + self._period
            self._is_there = _identity(self._file(trainer)) not in (None, self._old)
        return f"the file {self._file(trainer)} is there {place_of(trainer)}" if self._is_there else None

    def _file(self, trainer: Trainer) -> Path:
        return trainer.run.path / Path(self.path).expanduser()


def _identity(path: Path) -> tuple[int, int] | None:
    """What another file at the path, or the same one touched, differs in; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
