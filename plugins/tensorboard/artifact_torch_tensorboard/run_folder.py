"""The folder of one run: its event files in the order in which TensorBoard reads them.

Each opening of a run makes new files, whose names sort after those that are there. TensorBoard keeps the first
hyperparameters and the first status that it finds, so these are in files of their own, ``*.about`` and ``*.end``, which
are replaced when a run goes on. The event files alone say what is there already.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from artifact_torch import TrackedItem, TrackedKind
from artifact_torch_tensorboard.event_file import EventFile, read_events, restart
from artifact_torch_tensorboard.messages import Event, Summary
from artifact_torch_tensorboard.tag_names import TagNames

__all__ = ["ABOUT", "END", "Key", "RunFolder", "key_of"]

ABOUT, END = ".about", ".end"

Key: TypeAlias = tuple[TrackedKind, str, int, float]
"""What an item is told from others by: kind, full name, step and time."""

_FILE = re.compile(r"events\.out\.tfevents\.(\d{10})\.(\d{6})(\.about|\.end)?")
_KINDS = {"simple_value": TrackedKind.SCORE, "histo": TrackedKind.ARRAY, "image": TrackedKind.PLOT}


def key_of(item: TrackedItem) -> Key:
    """The key of an item."""
    return item.kind, item.full_name, item.step, item.time


class RunFolder:
    """The event files of a run.

    Args:
        path: the folder; it is made.

    Raises:
        OSError: it cannot be made or read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._names = TagNames()
        self._last_steps: dict[str, int] = {}
        self._file: EventFile | None = None
        self.there: set[Key] = set()
        self._look()

    def forget_all_but(self, standing: set[Key]) -> None:
        """Have TensorBoard forget what the run no longer has, since it was resumed from an earlier step."""
        first = min((key[2] for key in self.there - standing), default=None)
        if first is not None:
            self._write_again(first, [event for event in self._kept() if not _keys(event).isdisjoint(standing)])
            self._look()

    def tag_of(self, item: TrackedItem) -> str:
        """What an item is called in the event files: its full name, unless a result of another kind is called so."""
        return self._names.tag_of(item.kind, item.full_name)

    def append(self, events: Iterable[Event]) -> None:
        """Append events, all or, if that fails, none.

        An event that comes after later ones of its kind, since it could not be written before, is put in front of them:
        TensorBoard's page would take it for a restart, and forget them.
        """
        events = sorted(events, key=lambda event: event.step)
        tags = [(event.summary.value[0].tag, event.step) for event in events]
        late = [step for tag, step in tags if step < self._last_steps.get(tag, step)]
        if late:
            self._write_again(min(late), [*self._kept(), *events])
        elif events:
            self._append(events)
        for tag, step in tags:
            self._last_steps[tag] = max(step, self._last_steps.get(tag, step))

    def _append(self, events: Sequence[Event]) -> None:
        if self._file is None:
            self._file = EventFile(self._next())
        try:
            self._file.append(events)
        except OSError:
            if self._file.is_closed:  # some of them may be there
                self._file = None
                self._look()
            raise

    def finish_file(self) -> None:
        """Bring everything to the disk; what comes later goes into a new file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def replace(self, ending: str, summaries: Iterable[Summary], seconds: float) -> None:
        """Replace the file of its own that some summaries are in.

        Args:
            ending: of the file's name.
            summaries: what is to be in it.
            seconds: their time, in seconds since 1970.
        """
        self.remove(ending)
        self._write_whole([Event(wall_time=seconds, summary=summary) for summary in summaries], ending)

    def remove(self, ending: str) -> None:
        """Remove a file of its own, if it is there."""
        for path in self.path.glob(f"events.out.tfevents.*{ending}"):
            path.unlink()

    def _look(self) -> None:
        """Find out what is there."""
        self.there.clear()
        self._last_steps.clear()
        for event in self._kept():
            self.there.update(_keys(event))
            for value in event.summary.value:
                self._names.learn(value.tag, _KINDS[value.WhichOneof("value")], _full_name(value))
                self._last_steps[value.tag] = max(event.step, self._last_steps.get(value.tag, event.step))

    def _write_again(self, first: int, events: Iterable[Event]) -> None:
        """Have TensorBoard forget all results from a step on, and write those of them that it is to have."""
        again = sorted((event for event in events if event.step >= first), key=lambda event: event.step)
        self.finish_file()
        self._write_whole([*restart(first), *again])

    def _write_whole(self, events: Sequence[Event], ending: str = "") -> None:
        """Write a file that is there as a whole or not at all, even if the process is killed."""
        working = self.path / "unfinished"
        working.unlink(missing_ok=True)
        try:
            file = EventFile(working)
            try:
                file.append(events)
            finally:
                file.close()
            working.rename(self._next(ending))
        except OSError:
            working.unlink(missing_ok=True)
            raise

    def _kept(self) -> Iterator[Event]:
        """The results that TensorBoard would show: those that no later restart tells it to forget."""
        restarts = [(place, event.step) for place, event in self._events() if event.HasField("session_log")]
        for place, event in self._events():
            forgotten = any(place < later and event.step >= step for later, step in restarts)
            if event.HasField("summary") and not forgotten:
                yield event

    def _events(self) -> Iterator[tuple[int, Event]]:
        files = sorted(path for path in self.path.iterdir() if (found := _FILE.fullmatch(path.name)) and not found[3])
        return enumerate(event for path in files for event in read_events(path))

    def _next(self, ending: str = "") -> Path:
        """The path of the next file: after all others, even if the clock was put back."""
        found = (_FILE.fullmatch(path.name) for path in self.path.iterdir())
        seconds, number = max(((int(match[1]), int(match[2])) for match in found if match), default=(0, 0))
        return self.path / f"events.out.tfevents.{max(seconds, int(time.time())):010d}.{number + 1:06d}{ending}"


def _keys(event: Event) -> set[Key]:
    kinds = ((value, _KINDS[value.WhichOneof("value")]) for value in event.summary.value)
    return {(kind, _full_name(value), event.step, event.wall_time) for value, kind in kinds}


def _full_name(value: Any) -> str:
    return value.metadata.display_name or value.tag
