"""Stopping when a signal comes."""

from __future__ import annotations

import logging
import signal as signals
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Literal, TypeAlias

from artifact_torch import StepStopper, UsageError, hookimpl
from artifact_torch_stoppers.wording import check_choice, place_of

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["StopSignal"]

_Handler: TypeAlias = Callable[[int, FrameType | None], object] | int

logger = logging.getLogger("artifact_torch")


class StopSignal(StepStopper):
    """Stops after the optimizer step in which a signal comes, from ``kill -USR1 PID`` or the cluster that ends a job.

    Unlike SIGTERM, which interrupts a run, this ends it as a stopper does: with the last validation and the model. What
    handled the signal before is put back when training ends. Python tells only the main thread of signals: a training
    in another one goes on without, and the log says so. All it remembers is that the signal came, and not beyond the
    process.

    Args:
        signal: which signal.

    Raises:
        UsageError: the platform has no such signal; or, as training starts, it is handled by what could not be put back
            or by another ``StopSignal``.

    Example::

        stopper = StopSignal(signal="SIGUSR1")
        trainer = Trainer(model, train_loader, epochs=2, stoppers=[stopper])
        result = trainer.train()
        print(result.reason)  # all 2 epochs are done
    """

    def __init__(self, *, signal: Literal["SIGUSR1", "SIGUSR2"] = "SIGUSR1") -> None:
        check_choice("StopSignal", "signal", signal, ("SIGUSR1", "SIGUSR2"))
        if not hasattr(signals, signal):
            raise UsageError(f"This platform has no {signal}, so StopSignal cannot wait for it: choose StopFile.")
        self.signal = signal
        self._previous: _Handler | None = None
        self._is_received = False

    @hookimpl(tryfirst=True)
    def on_train_start(self) -> None:
        self._is_received = False
        if threading.current_thread() is not threading.main_thread():
            logger.warning(
                "StopSignal does not hear %s, because training is not in the main thread: choose StopFile.", self.signal
            )
            return
        number = signals.Signals[self.signal]
        previous = signals.getsignal(number)
        if isinstance(getattr(previous, "__self__", None), StopSignal):
            raise UsageError(f"A StopSignal waits for {self.signal} already: leave one of them out.")
        if previous is None:
            raise UsageError(
                f"{self.signal} is handled outside Python, which StopSignal could not put back: choose another signal."
            )
        signals.signal(number, self._receive)
        self._previous = previous

    @hookimpl(trylast=True)
    def on_train_end(self) -> None:
        if self._previous is not None:
            signals.signal(signals.Signals[self.signal], self._previous)
            self._previous = None

    def check(self, trainer: Trainer) -> str | None:
        return f"{self.signal} was received {place_of(trainer)}" if self._is_received else None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._is_received = True
