"""Metrics as files that grow with the training: one line for each epoch, and one for each logged step."""

from __future__ import annotations

import logging
import shutil
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from artifact_torch import Callback, DataSplit, ModelInput, ModelOutput, UsageError, hookimpl

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["MetricsLog", "TableFile"]

logger = logging.getLogger("artifact_torch")


class TableFile(ABC):
    """A file of lines: a head, if there is one, and a line for each row, in the order of their numbers.

    A row that follows all others is appended. Where that is not enough, the file is written anew beside its place and
    moved there, so that whoever reads it has the old or the new content, never a part.

    Args:
        path: the file without its suffix.
        index: what the rows are numbered by.
        values_of: gives the numbers in a row by name; none if it is empty, and then it has no line.
    """

    suffix: ClassVar[str]

    def __init__(self, path: Path, index: str, values_of: Callable[[int], Mapping[str, float]]) -> None:
        self.path = path.with_name(path.name + self.suffix)
        self.index = index
        self._values_of = values_of
        self._columns: tuple[str, ...] = ()
        self._head = ""
        self._numbers = array("q")
        self._ends = array("q")  # where the line of each ends, in bytes

    @abstractmethod
    def head(self, columns: Sequence[str]) -> str:
        """The first line; empty if there is none."""

    @abstractmethod
    def line(self, number: int, columns: Sequence[str], values: Mapping[str, float]) -> str:
        """The line of a row: those of ``columns`` that are in ``values`` have a number there."""

    def begin(self, numbers: Iterable[int]) -> None:
        """Put the file in the place of whatever stands there, with these rows; without one there is no file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self.write(numbers)

    def write(self, numbers: Iterable[int]) -> None:
        """Bring rows into the file that are new or have changed."""
        rows = {number: values for number in sorted(numbers) if (values := self._values_of(number))}
        if not rows:
            return
        names = set(chain(self._columns, *rows.values()))
        self._columns = tuple(sorted(names, key=lambda name: (name not in ("train/loss", "loss"), name)))
        place = bisect_left(self._numbers, next(iter(rows)))
        if not self._is_as_written() or self.head(self._columns) != self._head:
            place = 0
        if place and place == len(self._numbers):
            self._append(rows)
        else:
            self._rewrite(place, sorted({*self._numbers[place:], *rows}))

    def named(self, column: str) -> str:
        """A column's name in the file, where none may be that of the index."""
        return f"batch/{column}" if column == self.index else column

    def _is_as_written(self) -> bool:
        """Whether the file is as it was left: it may have been deleted, or a full disk has left half a line."""
        try:
            return bool(self._ends) and self.path.stat().st_size == self._ends[-1]
        except FileNotFoundError:
            return False

    def _append(self, rows: Mapping[int, Mapping[str, float]]) -> None:
        lines = [self.line(number, self._columns, values).encode() for number, values in rows.items()]
        with self.path.open("ab") as file:
            file.write(b"".join(lines))
        for number, line in zip(rows, lines, strict=True):
            self._numbers.append(number)
            self._ends.append(self._ends[-1] + len(line))

    def _rewrite(self, place: int, numbers: Sequence[int]) -> None:
        """Write the rows from a place on anew; what stands before them is copied."""
        working = self.path.with_name(f".{self.path.name}.new")
        head, ends = self.head(self._columns), self._ends[:place]
        try:
            with working.open("wb") as file:
                if place:
                    with self.path.open("rb") as before:
                        shutil.copyfileobj(before, file)
                    file.truncate(ends[-1])
                    file.seek(ends[-1])
                else:
                    file.write(head.encode())
                for number in numbers:
                    file.write(self.line(number, self._columns, self._values_of(number)).encode())
                    ends.append(file.tell())
            working.replace(self.path)
        except BaseException:
            working.unlink(missing_ok=True)
            raise
        self._numbers = self._numbers[:place] + array("q", numbers)
        self._ends, self._head = ends, head


class MetricsLog(Callback):
    """Writes a table of the epochs' metrics and, if asked to, one of the logged steps; see its subclasses.

    The history that checkpoints keep is what the files are made of. So they are written anew when training begins: what
    a process had written before it was killed, and what is trained again, stands in them once.
    """

    table: ClassVar[type[TableFile]]

    def __init__(self, *, path: str | Path | None = None, batches: bool = False) -> None:
        if path == "":
            raise UsageError(f"The path of {type(self).__name__} is empty: name a folder, or leave it out.")
        self.path = path
        self.batches = batches
        self._epochs: TableFile | None = None
        self._steps: TableFile | None = None
        self._changed_epochs: set[int] = set()
        self._changed_steps: set[int] = set()
        self._has_failed = False

    @hookimpl
    def on_train_start(self, trainer: Trainer) -> None:
        folder = trainer.run.path if self.path is None else Path(self.path)
        metrics = trainer.metrics
        self._has_failed = False
        self._changed_epochs.clear()
        self._changed_steps.clear()
        self._epochs = self.table(folder / "epochs", "epoch", metrics.of_epoch)
        self._steps = self.table(folder / "batches", "step", metrics.of_step) if self.batches else None
        try:
            self._epochs.begin(metrics.epoch_frame().index.tolist())
            if self._steps is not None:
                self._steps.begin(metrics.step_frame().index.tolist())
        except OSError as error:
            raise UsageError(
                f"{type(self).__name__} cannot write to {folder} ({error.strerror or error}): choose another path."
            ) from error

    @hookimpl
    def track_score(self, name: str, value: float, split: DataSplit, epoch: int, step: int) -> None:
        self._note(name, epoch, step)

    @hookimpl
    def track_score_collection(
        self, name: str, value: Mapping[str, float], split: DataSplit, epoch: int, step: int
    ) -> None:
        self._note(name, epoch, step)

    @hookimpl
    def log_batch_metrics(self, trainer: Trainer, batch: ModelInput, model_output: ModelOutput) -> None:
        # The epoch in progress and the step at hand are going to have more.
        self._write(before_epoch=trainer.state.epoch, before_step=trainer.state.step)

    @hookimpl(trylast=True)
    def execute_epoch_postprocessing(self) -> None:
        self._write()

    @hookimpl(trylast=True)
    def on_train_end(self) -> None:
        self._write()
        self._epochs = self._steps = None

    def _note(self, name: str, epoch: int, step: int) -> None:
        """A number has come, some time after its epoch if it was computed in the background."""
        self._changed_epochs.add(epoch)
        if name.startswith("batch/"):
            self._changed_steps.add(step)

    def _write(self, *, before_epoch: int | None = None, before_step: int | None = None) -> None:
        try:
            _bring(self._epochs, self._changed_epochs, before_epoch)
            _bring(self._steps, self._changed_steps, before_step)
        except OSError as error:  # a log is no reason to end a training
            if not self._has_failed:
                self._has_failed = True
                logger.warning(
                    "%s cannot write (%s), and tries again later. Training goes on; nothing is lost of its history.",
                    type(self).__name__,
                    error,
                )


def _bring(table: TableFile | None, changed: set[int], before: int | None) -> None:
    due = {number for number in changed if before is None or number < before}
    if table is not None and due:
        table.write(due)
    changed -= due
