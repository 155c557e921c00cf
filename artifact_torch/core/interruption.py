"""SIGINT and SIGTERM while training: the batch is finished and the state saved; a second signal ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupted", "SignalWatch"]

_WATCHED = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """Training was interrupted by a signal, after a batch or an epoch's validation.

    Attributes:
        signal_number: which signal.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"{signal.Signals(signal_number).name} was received")
        self.signal_number = signal_number

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program that a signal has ended: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.signal_number


class SignalWatch:
    """Remembers that a signal came, until the loop is at a place where it can stop.

    Attributes:
        received: the number of the signal that came; None if none did.
    """

    def __init__(self) -> None:
        self.received: int | None = None

    @contextmanager
    def watching(self) -> Generator[None]:
        """Take the signals over while training; outside the main thread, where Python delivers none, do nothing.

        A handler that the program has set itself is left alone: it knows better what is to happen.
        """
        self.received = None
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        usual = (signal.SIG_DFL, signal.default_int_handler)
        taken = {number: handler for number in _WATCHED if (handler := signal.getsignal(number)) in usual}
        for number in taken:
            signal.signal(number, self._receive)
        try:
            yield
        finally:
            for number, handler in taken.items():
                signal.signal(number, handler)
        if (
            self.received is not None
        ):  # too late to interrupt training, which has ended: the program may have more to do
            signal.raise_signal(self.received)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:  # whoever asks twice does not want to wait
            raise Interrupted(number)
        self.received = number
