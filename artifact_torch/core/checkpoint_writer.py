"""Checkpoints written while training goes on."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifact_torch.core.checkpoint import CheckpointStore, PendingCheckpoint, Retention
from artifact_torch.core.storage import JsonDict
from artifact_torch.errors import CheckpointError

__all__ = ["CheckpointWriter"]

logger = logging.getLogger("artifact_torch")


@dataclass(slots=True)
class _BackgroundWrite:
    """At most one write at a time, and what became of it."""

    thread: threading.Thread | None = None
    failure: CheckpointError | None = None

    def report(self) -> None:
        if self.failure is not None:
            logger.error("%s", self.failure)
            self.failure = None


class CheckpointWriter:
    """Saves into one store, at once or by a thread of its own.

    In the background, the state is copied first, so that training may go on to change it; then one thread writes with
    the guarantees of ``CheckpointStore.save``. The interpreter does not exit before it is done. A failure that nobody
    waited for is logged when the writer is no longer used.

    Attributes:
        store: where checkpoints go.
    """

    def __init__(self, store: CheckpointStore) -> None:
        self.store = store
        self._write = _BackgroundWrite()
        weakref.finalize(self, self._write.report)

    def save(
        self,
        state: Mapping[str, Any],
        step: int,
        *,
        about: JsonDict | None = None,
        keep: Retention | None = None,
        background: bool = False,
        written: Callable[[Path], None] = lambda _: None,
    ) -> Path:
        """Save a checkpoint, once an earlier one is written.

        Args:
            state: see ``write_state``.
            step: the optimizer step.
            about: see ``CheckpointStore.save``.
            keep: see ``CheckpointStore.save``.
            background: whether to return when the state is copied, and not when it is written.
            written: called with the checkpoint's directory once it is there; in the background, by another thread.

        Returns:
            The checkpoint's directory; in the background, the one that it will have.

        Raises:
            CheckpointError: the state cannot be stored; or an earlier one could not be written in the background, and
                nothing is saved now.
            OSError: the disk is full, failing or not writable; earlier checkpoints are untouched.
        """
        self.wait()
        pending = self.store.begin(state, step, about=about, copied=background)
        if background:
            # Not a daemon: an interpreter that exits waits for it.
            thread = threading.Thread(target=self._run, args=(pending, keep, written), name="checkpoint", daemon=False)
            try:
                thread.start()
            except RuntimeError:  # there can be no more threads
                return self._written(pending, keep, written)
            self._write.thread = thread
            return pending.path
        return self._written(pending, keep, written)

    def wait(self) -> None:
        """Wait until everything is written.

        Raises:
            CheckpointError: a checkpoint was lost; the message names it. It is raised once.
        """
        if self._write.thread is not None:
            self._write.thread.join()
            self._write.thread = None
        failure, self._write.failure = self._write.failure, None
        if failure is not None:
            raise failure

    def settle(self) -> None:
        """Wait until everything is written; a checkpoint that was lost is a warning."""
        try:
            self.wait()
        except CheckpointError as error:
            logger.warning("%s", error)

    def _written(self, pending: PendingCheckpoint, keep: Retention | None, written: Callable[[Path], None]) -> Path:
        path = self.store.write(pending, keep)
        written(path)
        return path

    def _run(self, pending: PendingCheckpoint, keep: Retention | None, written: Callable[[Path], None]) -> None:
        try:
            path = self._written(pending, keep, written)
        except Exception as error:
            reason = error.strerror or error if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            failure = CheckpointError(
                f"The checkpoint {pending.path} could not be written in the background ({reason}) and is lost. Earlier "
                "checkpoints stay."
            )
            failure.__cause__ = error
            self._write.failure = failure
        else:
            if path != pending.path:
                logger.info("The checkpoint %s was saved as %s: its number was taken.", pending.path, path.name)
