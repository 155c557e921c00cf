"""Checkpoints: nested state as one bundle a step, never overwritten; the newest valid one is read."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from artifact_torch.core.packing import pack, unpack
from artifact_torch.core.retention import Retention
from artifact_torch.core.storage import (
    BundleContent,
    JsonDict,
    make_directory,
    prepare_content,
    read_bundle,
    sync_directory,
    write_bundle,
    write_files,
)
from artifact_torch.core.temporary import TEMPORARY_PREFIX, remove, sweep, temporary_path
from artifact_torch.errors import CheckpointError

__all__ = ["CheckpointStore", "LoadedCheckpoint", "PendingCheckpoint", "Retention", "read_state", "write_state"]

_NAME = re.compile(r"(\d{4,})-step-\d{9,}")
_NUMBER = re.compile(rf"(?:{re.escape(TEMPORARY_PREFIX)})?(\d{{4,}})-step-.*")
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)
logger = logging.getLogger("artifact_torch")


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A checkpoint that was read.

    Attributes:
        path: its directory.
        state: what was saved.
        skipped: one sentence for each newer checkpoint that is damaged.
    """

    path: Path
    state: JsonDict
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PendingCheckpoint:
    """A checkpoint that has its number and is not written yet.

    Attributes:
        path: where it will be.
        step: its step.
        working: where it is written, an empty directory that keeps the number from being taken by others.
        content: what to write.
    """

    path: Path
    step: int
    working: Path
    content: BundleContent


class CheckpointStore:
    """The checkpoints of one run: directories ``0007-step-000001234``, numbered in the order of saving.

    The step alone would not do: a run that went back to an earlier checkpoint writes newer ones of lower steps.
    Several processes may save into one directory: none takes the number of another.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._swept = False

    def save(
        self, state: Mapping[str, Any], step: int, *, about: JsonDict | None = None, keep: Retention | None = None
    ) -> Path:
        """Write a checkpoint and read it back; it counts only when its checksums hold.

        Args:
            state: see ``write_state``.
            step: the optimizer step.
            about: JSON values that can be read without the state; ``"scores"``, name -> number, is what ``keep`` asks.
            keep: which checkpoints stay once this one is safe; by default all. One that cannot be deleted is warned
                about.

        Raises:
            CheckpointError: the state cannot be stored.
            OSError: the disk is full, failing or not writable; earlier checkpoints are untouched.
        """
        return self.write(self.begin(state, step, about=about), keep)

    def begin(
        self, state: Mapping[str, Any], step: int, *, about: JsonDict | None = None, copied: bool = False
    ) -> PendingCheckpoint:
        """Do what ``save`` must do while the state stands still; ``write`` does the rest.

        Args:
            state: see ``write_state``.
            step: the optimizer step.
            about: see ``save``.
            copied: whether to copy the tensors, so that they may change before ``write``.

        Raises:
            CheckpointError: the state cannot be stored.
            OSError: the disk is full or not writable.
        """
        tensors: dict[str, Tensor] = {}
        packed = {"state": pack(state, "state", tensors)}
        content = prepare_content(tensors, packed, about, self.directory, copied=copied)
        if not self._swept:
            self.sweep()
        make_directory(self.directory)
        with _locked(self.directory):
            path = self._path(max(self._taken_numbers(), default=0) + 1, step)
            working = temporary_path(path)
            working.mkdir()
        return PendingCheckpoint(path, step, working, content)

    def write(self, pending: PendingCheckpoint, keep: Retention | None = None) -> Path:
        """Write what was begun; see ``save``. Return its directory, which has another number if that was taken."""
        try:
            write_files(pending.working, pending.content)
            path = self._publish(pending)
        except BaseException:
            remove(pending.working)
            raise
        if keep is not None:
            self.prune(keep)
        return path

    def paths(self) -> list[Path]:
        """The complete checkpoints, oldest first; whether they are undamaged is seen when one is read."""
        return sorted((path for path in self._entries() if _NAME.fullmatch(path.name)), key=_number)

    def load_newest(self) -> LoadedCheckpoint:
        """Read the newest checkpoint that is not damaged.

        Raises:
            CheckpointError: there is none; the message says what is wrong with each.
        """
        self.sweep()
        paths: list[Path] | None = None
        skipped: list[str] = []
        while paths != self.paths():  # another process may delete them while they are read, once it has newer ones
            paths = self.paths()
            skipped.clear()
            for path in reversed(paths):
                try:
                    return LoadedCheckpoint(path, read_state(path), tuple(skipped))
                except CheckpointError as error:
                    skipped.append(str(error))
        reasons = " ".join(skipped) or "No checkpoint was written there."
        raise CheckpointError(f"There is no usable checkpoint in {self.directory}. {reasons}")

    def prune(self, keep: Retention) -> None:
        """Delete what ``keep`` does not keep; what cannot be deleted is a warning.

        A checkpoint loses its name before its first file is deleted, so that none is ever there in part.
        """
        failures: list[OSError] = []
        deleted: list[Path] = []
        for path in keep.superseded(self.paths()):
            try:
                if not path.is_dir():
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
                deleted.append(path.rename(temporary_path(path)))
            except FileNotFoundError:
                continue  # another process was faster
            except OSError as error:
                failures.append(error)
        if deleted:
            with contextlib.suppress(OSError):
                sync_directory(self.directory)
        for path in deleted:
            remove(path)
            if path.exists():
                failures.append(OSError(errno.EBUSY, f"{path.name} cannot be removed", str(path)))
        if failures:
            logger.warning(
                "Of the old checkpoints in %s, %d could not be deleted (%s): delete them yourself to free the space.",
                self.directory,
                len(failures),
                failures[0].strerror or failures[0],
            )

    def sweep(self) -> None:
        """Remove what killed processes left half written or half deleted."""
        sweep(self.directory)
        self._swept = True

    def _publish(self, pending: PendingCheckpoint) -> Path:
        with _locked(self.directory):
            path = pending.path
            if _number(path) in map(_number, self.paths()):
                path = self._path(max(self._taken_numbers()) + 1, pending.step)
            while True:
                try:
                    pending.working.rename(path)
                    break
                except OSError as error:  # another process was faster, where directories cannot be locked
                    if error.errno not in _TAKEN or not path.exists():
                        raise
                    path = self._path(max(self._taken_numbers()) + 1, pending.step)
        sync_directory(self.directory)
        return path

    def _path(self, number: int, step: int) -> Path:
        return self.directory / f"{number:04d}-step-{step:09d}"

    def _taken_numbers(self) -> Iterator[int]:
        """The numbers of the checkpoints that are there or are being written."""
        named = (_NUMBER.fullmatch(path.name) for path in self._entries())
        return (int(match[1]) for match in named if match)

    def _entries(self) -> list[Path]:
        return list(self.directory.iterdir()) if self.directory.is_dir() else []


def _number(path: Path) -> int:
    return int(path.name.split("-")[0])


def write_state(path: Path, state: Mapping[str, Any]) -> Path:
    """Write nested state to the directory ``path``, whole or not at all.

    Args:
        path: the directory; what stands there is replaced.
        state: mappings, lists and tuples of tensors, numbers, strings, booleans and None, nested at will; keys are
            strings or integers. They come back as they were.

    Raises:
        CheckpointError: the state holds something else; the message says where.
    """
    tensors: dict[str, Tensor] = {}
    packed = pack(state, "state", tensors)
    return write_bundle(path, tensors, {"state": packed})


def read_state(path: Path) -> JsonDict:
    """Read what ``write_state`` wrote; tensors are on the CPU.

    Raises:
        CheckpointError: the directory is absent or damaged, or holds something else.
    """
    tensors, content = read_bundle(path)
    if "state" not in content:
        raise CheckpointError(f"{path} is not a checkpoint: a saved model is read with Model.load.")
    return cast("JsonDict", unpack(content["state"], tensors))


@contextlib.contextmanager
def _locked(directory: Path) -> Generator[None]:
    """Keep other processes from choosing a number; the system releases it when a process is killed."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot; a rename overwrites nothing anyway
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
