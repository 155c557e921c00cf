"""Hands results to a client of artifact-experiment, and sees what becomes of them.

A client puts results into a queue, and a thread of its own takes them out; the first one that fails ends the thread
without a word, and everything after it is lost, as is what is in the queue when the client is stopped. Nothing public
says how far the thread has come. So this module, and no other, uses three private attributes of artifact-experiment
0.1: ``TrackingClient._logger_worker``, and of that ``_thread`` and ``_process_item``. A test fails when they change.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from artifact_torch import ArtifactTorchError, UsageError

__all__ = ["WatchedClient"]

_LOOK_SECONDS = 0.2


class WatchedClient:
    """A client whose thread is watched until ``release``.

    Args:
        client: a ``TrackingClient``.

    Raises:
        UsageError: it has no such thread as those of artifact-experiment 0.1 have.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self._worker: Any = getattr(client, "_logger_worker", None)
        if not hasattr(self._worker, "_process_item") or not hasattr(self._worker, "_thread"):
            raise UsageError(
                f"The client {type(client).__name__} cannot be watched, since it is not built as those of "
                "artifact-experiment 0.1 are: use one of these."
            )
        self._process = self._worker._process_item
        self._worker._process_item = self._watch
        self._changed = threading.Condition()
        self._under_way: set[str] = set()
        self._error: BaseException | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the client's thread writes."""
        thread = self._worker._thread
        return thread is not None and thread.is_alive()

    def hand_over(self, name: str, put: Callable[[], None]) -> None:
        """Have the client write one result, and wait until it has.

        Args:
            name: what the result is called there.
            put: puts it into the client's queue under that name.

        Raises:
            ArtifactTorchError: the client's thread has died.
            Exception: what the client raised when it wrote the result.
        """
        self._see_that_it_lives()
        with self._changed:
            self._under_way.add(name)
            self._error = None
        try:
            put()
            with self._changed:
                while name in self._under_way:
                    self._changed.wait(_LOOK_SECONDS)
                    if name in self._under_way:
                        self._see_that_it_lives()
                error = self._error
        finally:
            self._under_way.discard(name)
        if error is not None:
            raise error

    def drain(self) -> None:
        """Wait until the client's queue is empty, which others may have filled too.

        Raises:
            ArtifactTorchError: the client's thread has died, and will not empty it.
        """
        while not self.client.queue.queue.empty():
            self._see_that_it_lives()
            time.sleep(_LOOK_SECONDS / 10)

    def release(self) -> None:
        """Leave the client as it was found."""
        self._worker._process_item = self._process

    def _watch(self, queue_item: Any) -> None:
        """In the client's thread, in place of what writes a result: do so, and tell how it went."""
        name = queue_item.name
        if name not in self._under_way:
            self._process(queue_item)
            return
        error: BaseException | None = None
        try:
            self._process(queue_item)
        except BaseException as caught:  # raised where it was handed over; here it would end the thread
            error = caught
        with self._changed:
            self._error = error
            self._under_way.discard(name)
            self._changed.notify_all()

    def _see_that_it_lives(self) -> None:
        if not self.is_alive:
            raise ArtifactTorchError(
                f"The thread in which the {type(self.client).__name__} writes has died, and would write nothing more: "
                "build another client."
            )
