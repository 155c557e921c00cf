"""How a run reaches one tracker: what reads the run's records and brings them there.

The records are files, so nothing has to be held back in memory, training never waits for a tracker, and a process that
is killed loses nothing: how far the tracker has come stands in ``trackers/<name>.json`` in the run directory.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from filelock import BaseFileLock, FileLock, Timeout

from artifact_torch.core.journal import Journal, items_of
from artifact_torch.core.record import file_name, is_in_progress
from artifact_torch.core.secrets import masked
from artifact_torch.core.temporary import temporary_path
from artifact_torch.core.tracker import MirrorTracker, TrackedItem, TrackedKind, TrackedRun
from artifact_torch.errors import DataError

__all__ = ["GRACE_SECONDS", "Mirror", "MirrorState", "rewind_mirrors", "state_path", "tell_what_is_left", "tracked_run"]

logger = logging.getLogger("artifact_torch")

_POLL_SECONDS = 0.5
_TRIES = 5
_LONGEST_PAUSE = 30.0
GRACE_SECONDS = 5.0
"""How much longer than it may take a tracker is waited for, in case that it is just about to answer."""
_SECONDS_OF_OTHERS = 60.0


class _UnreachableError(Exception):
    """Nothing arrives there now."""


@dataclass(slots=True)
class MirrorState:
    """How far a tracker has come, as its file in the run directory says.

    Attributes:
        path: the file.
        place: up to where the run's records were brought there.
        there: what of the records that a resume has taken out is there already: keys of items.
        left: items that could not be brought there while others could, with the reason.
        remembered: what the tracker wants to be told when it is opened again.
        goes_on_from: the first step that a resume has done again.
    """

    path: Path
    place: dict[str, int] = field(default_factory=dict[str, int])
    there: set[str] = field(default_factory=set[str])
    left: list[tuple[TrackedItem, str]] = field(default_factory=list[tuple[TrackedItem, str]])
    remembered: dict[str, Any] = field(default_factory=dict[str, Any])
    goes_on_from: int = 0

    @classmethod
    def read(cls, path: Path) -> MirrorState:
        """The state in a file; that of a mirror that has not begun if there is none, or none that can be read."""
        run = path.parent.parent
        try:
            found = cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
            left = [(_item(entry["item"], run), str(entry["error"])) for entry in found["left"]]
            return cls(path, found["place"], set(found["there"]), left, found["remembered"], found["goes_on_from"])
        except (OSError, ValueError, KeyError, TypeError):
            return cls(path)

    def write(self) -> None:
        run = self.path.parent.parent
        content = {
            "place": self.place,
            "there": sorted(self.there),
            "left": [{"item": _entry(item, run), "error": error} for item, error in self.left],
            "remembered": self.remembered,
            "goes_on_from": self.goes_on_from,
        }
        self.path.parent.mkdir(exist_ok=True)
        working = temporary_path(self.path)
        working.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
        working.replace(self.path)


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
        self._lock = _lock_of(self._state.path)
        self._is_open = False
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
                self._lock.acquire(timeout=_POLL_SECONDS)
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
            if not moved:
                self._ending.wait(_POLL_SECONDS)

    def _bring_some(self) -> bool:
        """Bring the next items; whether there were any."""
        if not self._is_open:
            self._open()
        items, place = self._journal.read(self._state.place, self._tracker.batch_size)
        if place == self._state.place:
            return self._ending.is_set() and self._try_what_is_left()
        fresh = [item for item in items if not self._is_there(item)]
        self._state.left += self._write(fresh)
        self._state.place = place
        self._save()
        return True

    def _is_there(self, item: TrackedItem) -> bool:
        key = _key(item)
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


def state_path(run: Path, name: str) -> Path:
    """The file that says how far a tracker of a run has come."""
    return run / "trackers" / f"{file_name(name)}.json"


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


def rewind_mirrors(run: Path, name: str, size: int, later: bytes) -> None:
    """Tell the mirrors of a run that a part of its records was taken out and will be recorded again.

    Args:
        run: the run's directory.
        name: the file that was cut.
        size: how many bytes are left of it.
        later: what was taken out.

    Raises:
        DataError: another process has been bringing the run to a tracker for a minute and has not ended.
    """
    for path in sorted((run / "trackers").glob("*.json")):
        with _locked(path):
            _rewind(MirrorState.read(path), run, name, size, later)


def _rewind(state: MirrorState, run: Path, name: str, size: int, later: bytes) -> None:
    steps: list[int] = []
    place = size
    for line in later.splitlines(keepends=True):
        place += len(line)
        for item in items_of(line, run):
            steps.append(item.step)
            if place <= state.place.get(name, 0):
                state.there.add(_key(item))
    if steps:
        first = min(steps)
        state.goes_on_from = min(state.goes_on_from, first) if state.goes_on_from else first
    state.left = [(item, error) for item, error in state.left if not steps or item.step < min(steps)]
    state.place[name] = min(state.place.get(name, 0), size)
    state.write()


@contextmanager
def _locked(state: Path) -> Generator[None]:
    """While no other process brings a run to a tracker, one that has outlived its training."""
    lock = _lock_of(state)
    try:
        lock.acquire(timeout=_SECONDS_OF_OTHERS)
    except Timeout as error:
        raise DataError(
            f"A process still brings the results of {state.parent.parent} to the tracker {state.stem}: try again when "
            "it has ended."
        ) from error
    except NotImplementedError:  # a disk that knows no locks
        pass
    try:
        yield
    finally:
        lock.release(force=True)


def _lock_of(state: Path) -> BaseFileLock:
    return FileLock(state.with_name(f".{state.stem}.lock"), thread_local=False)


def _spread(count: int) -> list[int]:
    """The numbers below ``count``: the first, the last, one in the middle, and the others."""
    first = list(dict.fromkeys([0, count - 1, count // 2]))
    return first + [number for number in range(count) if number not in first]


def _key(item: TrackedItem) -> str:
    value = "" if item.value is None else repr(item.value)
    return json.dumps([item.kind, item.split, item.name, item.step, value], ensure_ascii=False)


def _entry(item: TrackedItem, run: Path) -> dict[str, Any]:
    inside = item.path is not None and item.path.is_relative_to(run)
    path = None if item.path is None else str(item.path.relative_to(run) if inside else item.path)
    value = None if item.value is None else repr(item.value)
    return {**asdict(item), "value": value, "path": path}


def _item(entry: Mapping[str, Any], run: Path) -> TrackedItem:
    return TrackedItem(
        kind=TrackedKind(entry["kind"]),
        name=entry["name"],
        split=entry["split"],
        epoch=entry["epoch"],
        step=entry["step"],
        time=entry["time"],
        value=None if entry["value"] is None else float(entry["value"]),
        path=None if entry["path"] is None else run / entry["path"],
    )
