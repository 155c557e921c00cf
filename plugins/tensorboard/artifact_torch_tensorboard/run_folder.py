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
        self._file: EventFile | None = None
        self.there: set[Key] = set()
        for event in self._kept():
            self.there.update(_keys(event))
            for value in event.summary.value:
                self._names.learn(value.tag, _KINDS[value.WhichOneof("value")], _full_name(value))

    def forget_all_but(self, standing: set[Key]) -> None:
        """Have TensorBoard forget what the run no longer has, since it was resumed from an earlier step.

        It forgets all results from a step on, so those of them that the run still has are written once more.
        """
        first = min((key[2] for key in self.there - standing), default=None)
        if first is None:
            return
        again = [event for event in self._kept() if event.step >= first and not _keys(event).isdisjoint(standing)]
        self.append([restart(first), *sorted(again, key=lambda event: event.step)])
        self.finish_file()
        self.there &= standing

    def tag_of(self, item: TrackedItem) -> str:
        """What an item is called in the event files: its full name, unless a result of another kind is called so."""
        return self._names.tag_of(item.kind, item.full_name)

    def append(self, events: Sequence[Event]) -> None:
        """Append events, all or, if that fails, none."""
        if not events:
            return
        if self._file is None or self._file.is_closed:
            self._file = EventFile(self._next())
        self._file.append(events)

    def finish_file(self) -> None:
        """Bring everything to the disk; what comes later goes into a new file."""
        file, self._file = self._file, None
        if file is not None and not file.is_closed:
            file.close()

    def replace(self, ending: str, summaries: Iterable[Summary], seconds: float) -> None:
        """Replace the file of its own that some summaries are in.

        Args:
            ending: of the file's name.
            summaries: what is to be in it.
            seconds: their time, in seconds since 1970.
        """
        self.remove(ending)
        file = EventFile(self._next(ending))
        file.append([Event(wall_time=seconds, summary=summary) for summary in summaries])
        file.close()

    def remove(self, ending: str) -> None:
        """Remove a file of its own, if it is there."""
        for path in self.path.glob(f"events.out.tfevents.*{ending}"):
            path.unlink()

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
