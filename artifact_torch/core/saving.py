"""Checkpoints of a trainer: what is checked before one is written, and before one is gone on with."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from artifact_torch.core.checkpoint import CheckpointStore, Retention, read_state
from artifact_torch.core.checkpoint_writer import CheckpointWriter
from artifact_torch.core.conditions import check_conditions, conditions_of
from artifact_torch.core.state import capture, check_fit, describe, non_finite_parameter, restore
from artifact_torch.core.storage import is_bundle
from artifact_torch.errors import DivergedError
from artifact_torch.plugin.drift import check_plugin_set

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer

__all__ = ["Saving"]

logger = logging.getLogger("artifact_torch")


class Saving:
    """Saves and loads the checkpoints of one trainer; see the trainer's methods for arguments and errors."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._writer: CheckpointWriter | None = None

    def save(self, path: Path | str | None, *, keep: Retention | None, background: bool) -> Path:
        """See ``Trainer.save_checkpoint``."""
        trainer = self._trainer
        self.check_finite()
        if keep is not None and keep.best:
            trainer.validating.wait_for(keep.score)
        if path is not None:
            trainer.validating.wait()  # what is under way is in the run's directory, and this is elsewhere
        writer = self._writer_to(self._store(path))
        state = trainer.state
        note = partial(trainer.run.note_checkpoint, epoch=state.epoch, step=state.step) if path is None else _nothing
        return writer.save(
            capture(trainer), state.step, about=describe(trainer), keep=keep, background=background, written=note
        )

    def save_at_last(self, what: str) -> None:
        """Save because training is about to end before its time; that it is not possible is a warning.

        Args:
            what: what has happened, the beginning of a sentence.
        """
        self._settle()
        try:
            logger.warning("%s: training can go on from %s.", what, self._trainer.save_checkpoint())
        except (DivergedError, OSError) as error:
            logger.warning("%s, and the state cannot be saved (%s): earlier checkpoints stay.", what, error)

    def wait(self) -> None:
        """See ``Trainer.wait_for_checkpoints``."""
        if self._writer is not None:
            self._writer.wait()

    def load(self, path: Path | str | None, *, allow_plugin_drift: bool, allow_changes: bool) -> Path:
        """See ``Trainer.load_checkpoint``."""
        trainer = self._trainer
        self._settle()
        if path is not None and is_bundle(Path(path)):
            chosen, state = Path(path), read_state(Path(path))
        else:
            loaded = self._store(path).load_newest()
            chosen, state = loaded.path, loaded.state
            for reason in loaded.skipped:
                logger.warning("A newer checkpoint was skipped: %s", reason)
        check_fit(trainer, state)
        differences = check_conditions(state["conditions"], conditions_of(trainer), allow=allow_changes)
        differences += check_plugin_set(
            state["plugin_set"], state["plugins"], trainer.plugins.plugin_set(), allow=allow_plugin_drift
        )
        for warning in differences:
            trainer.plugins.warn(warning)
        restore(trainer, state)
        if trainer.has_run and state["records"] is not None:
            trainer.run.go_back(state["records"])
        return chosen

    def check_finite(self) -> None:
        """Refuse to save what is not good.

        Raises:
            DivergedError: a parameter holds NaN or infinity, or something was found to be so on the device.
        """
        self._trainer.settle()
        broken = non_finite_parameter(self._trainer.model)
        if broken is not None:
            raise DivergedError(
                f"The state after step {self._trainer.state.step} was not saved: the parameter {broken!r} holds NaN or "
                "infinity; earlier checkpoints stay: lower the learning rate, or look for extreme values in the data."
            )

    def _settle(self) -> None:
        if self._writer is not None:
            self._writer.settle()

    def _store(self, path: Path | str | None) -> CheckpointStore:
        return self._trainer.run.checkpoints if path is None else CheckpointStore(Path(path))

    def _writer_to(self, store: CheckpointStore) -> CheckpointWriter:
        if self._writer is None or self._writer.store.directory != store.directory:
            self.wait()
            self._writer = CheckpointWriter(store)
        return self._writer


def _nothing(_path: Path) -> None:
    """A checkpoint elsewhere is no part of the run."""
