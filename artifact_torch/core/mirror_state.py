"""How far a run's mirrors have come: a file for each tracker in the run directory, and who may change it."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from filelock import BaseFileLock, FileLock, Timeout

from artifact_torch.core.journal import items_of
from artifact_torch.core.record import file_name
from artifact_torch.core.temporary import temporary_path
from artifact_torch.core.tracker import TrackedItem, TrackedKind
from artifact_torch.errors import DataError

__all__ = ["MirrorState", "key_of", "lock_of", "rewind_mirrors", "state_path"]

_SECONDS_OF_OTHERS = 60.0


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


def state_path(run: Path, name: str) -> Path:
    """The file that says how far a tracker of a run has come."""
    return run / "trackers" / f"{file_name(name)}.json"


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
                state.there.add(key_of(item))
    if steps:
        first = min(steps)
        state.goes_on_from = min(state.goes_on_from, first) if state.goes_on_from else first
    state.left = [(item, error) for item, error in state.left if not steps or item.step < min(steps)]
    state.place[name] = min(state.place.get(name, 0), size)
    state.write()


@contextmanager
def _locked(state: Path) -> Generator[None]:
    """While no other process brings a run to a tracker, one that has outlived its training."""
    lock = lock_of(state)
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


def lock_of(state: Path) -> BaseFileLock:
    """The lock that whoever brings a run to a tracker holds; ``state`` is the tracker's file."""
    return FileLock(state.with_name(f".{state.stem}.lock"), thread_local=False)


def key_of(item: TrackedItem) -> str:
    """What makes an item one and the same, when a resumed run records it again."""
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
