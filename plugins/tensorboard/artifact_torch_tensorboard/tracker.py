"""The tracker that writes event files for TensorBoard."""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from artifact_torch import MirrorTracker, TrackedItem, TrackedKind, TrackedRun, UsageError
from artifact_torch.core.journal import Journal

if TYPE_CHECKING:
    from artifact_torch_tensorboard.messages import Event
    from artifact_torch_tensorboard.run_folder import Key, RunFolder

__all__ = ["TensorBoardTracker"]

logger = logging.getLogger("artifact_torch")

_SHOWN = (TrackedKind.SCORE, TrackedKind.ARRAY, TrackedKind.PLOT)


class TensorBoardTracker(MirrorTracker):
    """Writes runs as event files: ``tensorboard --logdir runs/tensorboard`` shows them, also while they train.

    Scores are scalars, in single precision, arrays are histograms of their finite values, plots are images, each with
    its step and the time at which it was recorded. The run's parameters are its hyperparameters, beside which
    TensorBoard lists the last value of each score, and are there as text too, with tags, environment and, once it has
    ended, how. Files, models and checkpoints have no place in TensorBoard, and stay in the run directory. So do arrays
    of other things than numbers, which the log names.

    A resumed run goes on in the same folder; TensorBoard forgets what the run does again, as with ``purge_step``.

    Args:
        folder: where to keep the event files, in ``<experiment>/<run id>``; by default ``tensorboard`` beside the
            experiments of the run.

    Raises:
        UsageError: TensorBoard is not installed, or the folder cannot be written to.

    Example::

        tracker = TensorBoardTracker(folder="tensorboard")
        trainer = Trainer(model, train_loader, epochs=2, trackers=[tracker])
        trainer.train()
        print(f"tensorboard --logdir {tracker.folder}")
    """

    repeats_after_resume: ClassVar[bool] = True

    def __init__(self, *, folder: str | None = None) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise UsageError("TensorBoardTracker needs the package tensorboard: `pip install tensorboard`.")
        if folder is not None and not str(folder).strip():
            raise UsageError("TensorBoardTracker needs the path of a folder, such as 'runs/tensorboard', or none.")
        self.folder = None if folder is None else str(folder)
        self._root = None if folder is None else _checked(Path(folder).expanduser().absolute())
        self._run_folder: RunFolder | None = None
        self._params: Mapping[str, Any] = {}
        self._told: set[str] = set()

    def open(self, run: TrackedRun, remembered: Mapping[str, Any]) -> Mapping[str, Any]:
        from artifact_torch_tensorboard.run_folder import END, RunFolder

        root = run.path.parents[1] / "tensorboard" if self._root is None else self._root
        folder = RunFolder(root / run.experiment / run.run_id)
        folder.remove(END)
        if folder.there:
            folder.forget_all_but(_standing(run))
        self._run_folder = folder
        self._tell_about(run)
        return {"folder": str(folder.path)}

    def write(self, items: Sequence[TrackedItem]) -> None:
        from artifact_torch_tensorboard.run_folder import key_of

        folder = self._opened
        fresh = (item for item in items if item.kind in _SHOWN and key_of(item) not in folder.there)
        folder.append([event for item in fresh if (event := self._event(item, folder.tag_of(item))) is not None])

    def close(self, run: TrackedRun) -> None:
        from artifact_torch_tensorboard.run_folder import END
        from artifact_torch_tensorboard.summaries import ending

        folder = self._opened
        folder.finish_file()
        if run.params != self._params:
            self._tell_about(run)
        now = time.time()
        folder.replace(END, ending(run, now), now)
        self._run_folder = None

    @property
    def _opened(self) -> RunFolder:
        if self._run_folder is None:
            raise RuntimeError("TensorBoardTracker is given results of a run that it has not opened: call open(run).")
        return self._run_folder

    def _tell_about(self, run: TrackedRun) -> None:
        from artifact_torch_tensorboard.run_folder import ABOUT
        from artifact_torch_tensorboard.summaries import about

        self._opened.replace(ABOUT, about(run), time.time())
        self._params = run.params

    def _event(self, item: TrackedItem, tag: str) -> Event | None:
        """An item as an event; None for an array that has no histogram, which is told once."""
        from artifact_torch_tensorboard.messages import Event
        from artifact_torch_tensorboard.summaries import NotShownError, summary_of

        try:
            return Event(wall_time=item.time, step=item.step, summary=summary_of(item, tag))
        except NotShownError as error:
            if item.full_name not in self._told:
                self._told.add(item.full_name)
                logger.warning(
                    "The array %s of step %d is not in TensorBoard: %s; %s has it.",
                    item.full_name,
                    item.step,
                    error,
                    item.path,
                )
            return None


def _checked(folder: Path) -> Path:
    """A folder that can be made or written to."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        problem = f"{there} may not be written to" if there.is_dir() else f"{there} is a file"
        raise UsageError(f"TensorBoardTracker cannot write to {folder} ({problem}): choose another folder.")
    return folder


def _standing(run: TrackedRun) -> set[Key]:
    """What the run has recorded, less what a resume has taken out."""
    from artifact_torch_tensorboard.run_folder import key_of

    journal, keys, place = Journal(run.path), set[Any](), dict[str, int]()
    while True:
        items, after = journal.read(place, 10_000)
        keys.update(key_of(item) for item in items)
        if after == place:
            return keys
        place = after
