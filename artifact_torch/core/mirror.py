"""How a run reaches one tracker: what reads the run's records and brings them there.

The records are files, so nothing has to be held back in memory, training never waits for a tracker, and a process that
is killed loses nothing: how far the tracker has come stands in ``trackers/<name>.json`` in the run directory.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from filelock import Timeout

from artifact_torch.core.journal import Journal
from artifact_torch.core.mirror_state import MirrorState, key_of, lock_of, state_path
from artifact_torch.core.record import is_in_progress
from artifact_torch.core.secrets import masked
from artifact_torch.core.tracker import MirrorTracker, TrackedItem, TrackedKind, TrackedRun

__all__ = ["GRACE_SECONDS", "Mirror", "tell_what_is_left", "tracked_run"]

logger = logging.getLogger("artifact_torch")

_SECONDS_BETWEEN = 1.0
"""Between two calls of a tracker that keeps up: each call costs a service as much as many items do."""
_TRIES = 5
_LONGEST_PAUSE = 30.0
GRACE_SECONDS = 5.0
"""How much longer than it may take a tracker is waited for, in case that it is just about to answer."""


class _UnreachableError(Exception):
    """Nothing arrives there now."""


class Mirror:
    """Brings one run to one tracker, in the thread that calls ``work``.

    Whatever process does so holds a lock on the run's mirror, so that two never do it at once: one that has outlived a
    training that was killed, the training that goes on with the run, ``artifact-torch sync``.

    Args:
        tracker: where to.
        name: the tracker's name, for messages and for its file.
        run: the run's directory.
        seconds: how long it may take at the end; by default as long as the tracker says.
    """

    def __init__(self, tracker: MirrorTracker, name: str, run: Path, *, seconds: float | None = None) -> None:
        self.name = name
        self._tracker = tracker
        self._run = run
        self._journal = Journal(run)
        self._seconds = tracker.close_seconds if seconds is None else seconds
        self._state = MirrorState(state_path(run, name))
        self._lock = lock_of(self._state.path)
        self._is_open = False
        self._has_caught_up = True
        self._is_left_behind = False
        self._ending = threading.Event()
        self._deadline = float("inf")
        self._failures = 0
        self._last_error = ""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to bring there what is recorded, in a thread of its own."""
        self._thread = threading.Thread(target=self.work, name=f"tracker {self.name}", daemon=True)
        self._thread.start()

    def end(self) -> int:
        """Bring there what is left, close the tracker, and return how many items have not arrived.

        It takes as long as the tracker may take, at most, even if the tracker never returns.
        """
        self.ask_to_end()
        if self._thread is None:
            self.work()
        else:
            self._thread.join(self._seconds + GRACE_SECONDS)
            if self._thread.is_alive():
                self._is_left_behind = True
                self._last_error = f"it has not answered for {self._seconds + GRACE_SECONDS:g} s"
                self._lock.release(force=True)
        return self.tell_what_is_left()

    def ask_to_end(self) -> None:
        """Have ``work`` end once everything is there, or after as long as it may take; it returns at once."""
        if not self._ending.is_set():
            self._deadline = time.monotonic() + self._seconds
            self._ending.set()

    def work(self) -> None:
        """Bring there what is recorded, until it is asked to end."""
        if not self._take_over():
            return
        try:
            self._follow()
            self._close()
        finally:
            if not self._is_left_behind:
                self._lock.release(force=True)

    def tell_what_is_left(self) -> int:
        """Log how many items have not arrived, if any, and why; return how many."""
        return tell_what_is_left(self.name, self._run, self._state, self._last_error)

    # In the thread that works.

    def _take_over(self) -> bool:
        """Wait until no other process brings the run there, and begin where that has ended; whether it has."""
        while True:
            try:
                self._state.path.parent.mkdir(exist_ok=True)
                self._lock.acquire(timeout=_SECONDS_BETWEEN)
            except Timeout:
                self._last_error = "another process brings the run there"
                if time.monotonic() >= self._deadline:
                    self._state = MirrorState.read(self._state.path)
                    return False
                continue
            except (OSError, NotImplementedError):  # a disk that is full, or that knows no locks
                pass
            break
        self._last_error = ""
        self._state = MirrorState.read(self._state.path)
        return True

    def _follow(self) -> None:
        while True:
            ending = self._ending.is_set()
            try:
                moved = self._bring_some()
            except _UnreachableError:
                if time.monotonic() >= self._deadline:
                    return
                self._pause()
                continue
            if (not moved and ending) or time.monotonic() >= self._deadline:
                return
            if self._has_caught_up:
                self._ending.wait(_SECONDS_BETWEEN)

    def _bring_some(self) -> bool:
        """Bring the next items; whether there were any."""
        if not self._is_open:
            self._open()
        items, place = self._journal.read(self._state.place, self._tracker.batch_size)
        self._has_caught_up = len(items) < self._tracker.batch_size
        if place == self._state.place:
            return self._ending.is_set() and self._try_what_is_left()
        fresh = [item for item in items if not self._is_there(item)]
        self._state.left += self._write(fresh)
        self._state.place = place
        self._save()
        return True

    def _is_there(self, item: TrackedItem) -> bool:
        key = key_of(item)
        if key not in self._state.there:
            return False
        self._state.there.discard(key)
        return not self._tracker.repeats_after_resume

    def _open(self) -> None:
        try:
            run = tracked_run(self._run, goes_on_from=self._state.goes_on_from)
            self._state.remembered = dict(self._tracker.open(run, self._state.remembered))
        except BaseException as error:
            self._note(error)
            raise _UnreachableError from error
        self._is_open = True
        self._failures = 0
        self._save()

    def _write(self, items: Sequence[TrackedItem]) -> list[tuple[TrackedItem, str]]:
        """Bring items there; those that cannot be brought, although others can, with the reason.

        Raises:
            _UnreachableError: none of them can, and there is hope that they can later.
        """
        if not items:
            return []
        try:
            self._tracker.write(items)
        except BaseException as error:
            self._note(error)
        else:
            self._failures = 0
            return []
        is_last_try = self._failures >= _TRIES
        failed = [(items[0], self._last_error)] if len(items) == 1 else []
        written = 0
        for tried, number in enumerate(_spread(len(items)) if len(items) > 1 else [], start=1):
            try:
                self._tracker.write([items[number]])
            except BaseException as error:
                failed.append((items[number], masked(f"{type(error).__name__}: {error}")))
            else:
                written += 1
            if tried == 3 and not written and not is_last_try:
                break  # the first, the last and one in the middle: it is not for what they are
        if not written and not is_last_try:
            raise _UnreachableError
        self._failures = 0
        return failed

    def _try_what_is_left(self) -> bool:
        """Try once more what could not be brought there; nothing is tried twice at one end."""
        left, self._state.left = self._state.left, []
        for item, _ in left:
            if item.kind is TrackedKind.CHECKPOINT and item.path is not None and not item.path.exists():
                continue  # others have followed it
            try:
                self._tracker.write([item])
            except BaseException as error:
                self._state.left.append((item, masked(f"{type(error).__name__}: {error}")))
        self._save()
        return False

    def _close(self) -> None:
        if not self._is_open or self._is_left_behind:
            return
        try:
            self._tracker.close(tracked_run(self._run, goes_on_from=self._state.goes_on_from))
        except BaseException as error:
            self._note(error)
        self._is_open = False
        self._state.goes_on_from = 0
        self._save()

    def _pause(self) -> None:
        pause = min(_LONGEST_PAUSE, 0.5 * 2 ** min(self._failures, 10))
        if self._ending.is_set():
            time.sleep(max(0.0, min(pause, 1.0, self._deadline - time.monotonic())))
        else:
            self._ending.wait(pause)

    def _note(self, error: BaseException) -> None:
        self._failures += 1
        text = masked(" ".join(f"{type(error).__name__}: {error}".split()))
        if text != self._last_error:
            self._last_error = text
            logger.warning(
                "The tracker %s cannot be reached (%s): it is tried again, and training goes on.", self.name, text
            )

    def _save(self) -> None:
        if self._is_left_behind:
            return  # it has answered after all, when another may have gone on with it
        try:
            self._state.write()
        except OSError as error:
            logger.warning("How far the tracker %s has come cannot be written down: %s.", self.name, error)


def tell_what_is_left(name: str, run: Path, state: MirrorState, reason: str) -> int:
    """Log how many items have not reached a tracker, if any; return how many."""
    left = len(state.left) + Journal(run).count(state.place)
    if left:
        logger.warning(
            "%d results have not reached the tracker %s (%s): `artifact-torch sync %s` sends them later.",
            left,
            name,
            reason or state.left[-1][1],
            run,
        )
    return left


def tracked_run(path: Path, *, goes_on_from: int = 0) -> TrackedRun:
    """What a run directory says now, as trackers are told."""
    record = cast("dict[str, Any]", json.loads((path / "run.json").read_text(encoding="utf-8")))
    status = str(record.get("status", ""))
    if status == "running" and not is_in_progress(record):
        status = "killed"
    return TrackedRun(
        path=path,
        run_id=str(record.get("run_id", path.name)),
        experiment=str(record.get("experiment", "default")),
        status=status,
        reason=str(record.get("reason", "")) if status != "running" else "",
        params=record.get("params") or {},
        seed=record.get("seed"),
        revision=record.get("revision"),
        environment=record.get("environment") or {},
        plugins=record.get("plugins") or [],
        tags=record.get("tags") or [],
        created=str(record.get("created", "")),
        goes_on_from=goes_on_from,
        record=record,
    )


def _spread(count: int) -> list[int]:
    """The numbers below ``count``: the first, the last, one in the middle, and the others."""
    first = list(dict.fromkeys([0, count - 1, count // 2]))
    return first + [number for number in range(count) if number not in first]
