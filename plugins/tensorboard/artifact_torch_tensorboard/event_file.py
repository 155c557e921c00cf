"""Event files: the records that TensorBoard reads, appended all or none, and read again.

TensorBoard's own writer holds events in a queue and tells of a full disk in a later call, after which the end of its
file cannot be read; here, the one who appends is told, and the file stays whole. The format is that of TFRecord
(https://www.tensorflow.org/tutorials/load_data/tfrecord): length, its checksum, content, its checksum.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from artifact_torch_tensorboard.checksum import masked_crc32c
from artifact_torch_tensorboard.messages import Event, SessionLog

__all__ = ["EventFile", "read_events", "restart"]

_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
_VERSION = "brain.Event:2"
"""With it, TensorBoard goes by what ``restart`` says rather than by steps that are not in order."""


class EventFile:
    """A new event file.

    Args:
        path: where; nothing may be there yet.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("xb", buffering=0)
        self._size = 0
        try:
            self.append([Event(wall_time=time.time(), file_version=_VERSION)])
        except OSError:
            self._file.close()
            path.unlink()
            raise

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be appended any more."""
        return self._file.closed

    def append(self, events: Iterable[Event]) -> None:
        """Append events, all or, if that fails, none.

        Raises:
            OSError: they cannot be written.
        """
        content = memoryview(b"".join(_framed(event.SerializeToString()) for event in events))
        try:
            written = 0
            while written < len(content):
                written += self._file.write(content[written:])
        except OSError:
            self._cut()
            raise
        self._size += len(content)

    def close(self) -> None:
        """Bring everything to the disk and close the file.

        Raises:
            OSError: the disk does not take it.
        """
        if not self.is_closed:
            with self._file:
                os.fsync(self._file.fileno())

    def _cut(self) -> None:
        """Take a part of a record off the end, behind which nothing could be read; else append no more."""
        try:
            self._file.truncate(self._size)
            self._file.seek(self._size)
        except OSError:
            self._file.close()


def read_events(path: Path) -> Iterator[Event]:
    """The events of a file, up to its end or to a record that a killed process has left incomplete."""
    with path.open("rb") as file:
        while len(header := file.read(_LENGTH.size + _CHECKSUM.size)) == _LENGTH.size + _CHECKSUM.size:
            (length,) = _LENGTH.unpack_from(header)
            content = file.read(length)
            if len(file.read(_CHECKSUM.size)) < _CHECKSUM.size:
                return
            yield Event.FromString(content)


def restart(step: int) -> list[Event]:
    """The events which tell that what came before and has this step or a later one is to be forgotten.

    It is what ``purge_step`` of torch's ``SummaryWriter`` writes, twice: without its fast loading, TensorBoard's page
    takes the first such event of a run for the run's beginning.
    """
    return [Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START))] * 2


def _framed(content: bytes) -> bytes:
    length = _LENGTH.pack(len(content))
    checksums = [_CHECKSUM.pack(masked_crc32c(part)) for part in (length, content)]
    return length + checksums[0] + content + checksums[1]
