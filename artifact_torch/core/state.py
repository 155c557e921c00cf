"""Where training stands: the counters, and everything that a checkpoint holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from artifact_torch.core.random_state import capture_random_state, restore_random_state
from artifact_torch.core.storage import JsonDict
from artifact_torch.errors import CheckpointError
from artifact_torch.plugin.specs import CheckpointHooks

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer

__all__ = ["TrainingState", "capture", "restore"]


@dataclass(slots=True)
class TrainingState:
    """The counters of a run.

    Attributes:
        epoch: the epoch in progress, or the last one; 0 before the first.
        epochs_completed: epochs whose batches and validation are done.
        step: optimizer steps done.
        step_in_epoch: batches done in the epoch in progress; 0 between epochs.
        validated_step: the step after which validation was last done; -1 before the first.
        seconds: time spent in training, over all processes that worked on this run.
    """

    epoch: int = 0
    epochs_completed: int = 0
    step: int = 0
    step_in_epoch: int = 0
    validated_step: int = -1
    seconds: float = 0.0

    def begin_epoch(self) -> bool:
        """Move on to the next epoch, or stay in one that was interrupted; whether a new epoch begins."""
        if self.step_in_epoch:
            return False
        self.epoch = self.epochs_completed + 1
        return True

    def complete_epoch(self) -> None:
        self.epochs_completed = self.epoch
        self.step_in_epoch = 0


def capture(trainer: Trainer) -> JsonDict:
    """Everything needed to go on with training elsewhere, as ``write_state`` takes it."""
    return {
        "model": trainer.model.state_dict(),
        "classes": _classes(trainer),
        "optimizer": trainer.optimizer.state_dict(),
        "scheduler": None if trainer.scheduler is None else trainer.scheduler.state_dict(),
        "counters": dataclasses.asdict(trainer.state),
        "epoch_loss": trainer.epoch_loss.state_dict(),
        "metrics": trainer.metrics.state_dict(),
        "random": capture_random_state(),
        "plugin_set": trainer.plugins.plugin_set(),
        "plugins": {
            answer.plugin: answer.of_type(Mapping, "a mapping")
            for answer in trainer.hooks.each(CheckpointHooks.on_save_checkpoint, trainer=trainer)
        },
    }


def restore(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Bring a trainer to where ``capture`` found one that was built alike.

    Raises:
        CheckpointError: the model, the optimizer or the scheduler does not fit; the message says which.
    """
    for what, expected in _classes(trainer).items():
        found = state["classes"][what]  # torch itself takes the state of another class, and fails in the next step
        if found != expected:
            raise CheckpointError(
                f"The checkpoint's {what} is {found or 'absent'}, and this trainer's is {expected or 'absent'}: "
                "build the trainer as it was when the checkpoint was written."
            )
    _load("model", trainer.model.load_state_dict, state["model"])
    _load("optimizer", trainer.optimizer.load_state_dict, state["optimizer"])
    if trainer.scheduler is not None:
        _load("scheduler", trainer.scheduler.load_state_dict, state["scheduler"])
    for name, value in state["counters"].items():
        setattr(trainer.state, name, value)
    trainer.epoch_loss.load_state_dict(state["epoch_loss"])
    trainer.metrics.load_state_dict(state["metrics"])
    _restore_plugins(trainer, state["plugins"])
    restore_random_state(state["random"])


def _classes(trainer: Trainer) -> dict[str, str | None]:
    scheduler = None if trainer.scheduler is None else type(trainer.scheduler).__qualname__
    return {"optimizer": type(trainer.optimizer).__qualname__, "scheduler": scheduler}


def _restore_plugins(trainer: Trainer, saved: Mapping[str, Any]) -> None:
    for name, plugin_state in saved.items():
        taken = trainer.hooks.call_one(name, CheckpointHooks.on_load_checkpoint, trainer=trainer, state=plugin_state)
        if not taken and name in trainer.plugins.names():
            trainer.plugins.warn(
                f"The checkpoint holds state of the plugin {name!r}, which has no on_load_checkpoint: it was left out."
            )


def _load(what: str, load: Any, state: Any) -> None:
    try:
        load(state)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"The checkpoint does not fit this trainer's {what}: {reason}") from error
