"""Where training stands: the counters, and everything that a checkpoint holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils import get_total_norm

from artifact_torch.core.conditions import conditions_of
from artifact_torch.core.storage import JsonDict, json_number
from artifact_torch.errors import CheckpointError
from artifact_torch.plugin.specs import CheckpointHooks

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer

__all__ = ["TrainingState", "capture", "check_fit", "describe", "non_finite_parameter", "restore"]


@dataclass(slots=True)
class TrainingState:
    """The counters of a run.

    Attributes:
        epoch: the epoch in progress, or the last one; 0 before the first.
        epochs_completed: epochs whose batches and validation are done.
        step: optimizer steps done, those that were left out for a gradient that was not finite included.
        batch_in_epoch: batches done in the epoch in progress; 0 between epochs.
        validated: what was validated -> the step after which it last was.
        seconds: time spent in training, over all processes that worked on this run.
    """

    epoch: int = 0
    epochs_completed: int = 0
    step: int = 0
    batch_in_epoch: int = 0
    validated: dict[str, int] = field(default_factory=dict[str, int])
    seconds: float = 0.0

    def begin_epoch(self) -> bool:
        """Move on to the next epoch, or stay in one that was interrupted; whether a new epoch begins."""
        if self.batch_in_epoch:
            return False
        self.epoch = self.epochs_completed + 1
        return True

    def complete_epoch(self) -> None:
        self.epochs_completed = self.epoch
        self.batch_in_epoch = 0


def capture(trainer: Trainer) -> JsonDict:
    """Everything needed to go on with training elsewhere, as ``write_state`` takes it."""
    _ = trainer.seconds  # brings the counter up to date
    return {
        "conditions": conditions_of(trainer),
        "model": trainer.model.state_dict(),
        "optimization": trainer.optimization.state_dict(),
        "counters": dataclasses.asdict(trainer.state),
        "epoch_loss": trainer.epoch_loss.state_dict(),
        "metrics": trainer.metrics.state_dict(),
        "validations": trainer.validating.state(),
        "random": trainer.random_state.state(),
        "records": trainer.run.position() if trainer.has_run else None,
        "plugin_set": trainer.plugins.plugin_set(),
        "plugins": {
            answer.plugin: answer.of_type(Mapping, "a mapping")
            for answer in trainer.hooks.each(CheckpointHooks.on_save_checkpoint, trainer=trainer)
        },
    }


def describe(trainer: Trainer) -> JsonDict:
    """What a checkpoint tells without its state being read: ``step``, ``epoch`` and the epoch's ``scores`` so far."""
    scores = {name: json_number(value) for name, value in trainer.metrics.of_epoch(trainer.state.epoch).items()}
    return {"step": trainer.state.step, "epoch": trainer.state.epoch, "scores": scores}


def non_finite_parameter(model: nn.Module) -> str | None:
    """The name of a parameter that requires gradients and holds NaN or infinity; None if there is none.

    Gradients can overflow although the loss is finite, and the next loss would show it too late.
    """
    trained = {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}
    if bool(get_total_norm(trained.values()).isfinite()):  # all at once; a name is looked for only if it must be
        return None
    return next((name for name, parameter in trained.items() if not bool(parameter.isfinite().all())), None)


def restore(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Bring a trainer to where ``capture`` found one that was built alike.

    Raises:
        CheckpointError: the model, the optimizer or the scheduler does not fit; see ``check_fit``, which sees it before
            anything is changed.
    """
    _load("model", trainer.model.load_state_dict, state["model"])
    _load("optimizer or scheduler", trainer.optimization.load_state_dict, state["optimization"])
    for name, value in state["counters"].items():
        setattr(trainer.state, name, value)
    trainer.epoch_loss.load_state_dict(state["epoch_loss"])
    trainer.metrics.load_state_dict(state["metrics"])
    trainer.validating.load(state["validations"])
    _restore_plugins(trainer, state["plugins"])
    trainer.random_state.load(state["random"])


def check_fit(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Compare what torch would compare too late, when a part was loaded already, or not at all.

    Raises:
        CheckpointError: the model, the optimizer or the scheduler does not fit; the message says which.
    """
    saved, now = state["conditions"]["settings"], conditions_of(trainer)["settings"]
    for what in ("optimizer", "scheduler"):
        found, expected = saved[what], now[what]
        if found != expected:
            raise CheckpointError(
                f"The checkpoint's {what} is {found or 'absent'}, and this trainer's is {expected or 'absent'}: "
                "build the trainer as it was when the checkpoint was written."
            )
    there, here = _shapes(state["model"]), _shapes(trainer.model.state_dict())
    for name in there.keys() & here.keys():
        if there[name] != here[name]:
            raise _misfit("model", f"{name} has shape {there[name]} there and {here[name]} here")
    if there.keys() != here.keys():
        missing, extra = (", ".join(sorted(names)) or "none" for names in (here.keys() - there, there.keys() - here))
        raise _misfit("model", f"tensors that only the trainer has: {missing}; that only the checkpoint has: {extra}")
    saved_groups = state["optimization"]["optimizer"]["param_groups"]
    sizes = [[len(group["params"]) for group in groups] for groups in (saved_groups, trainer.optimizer.param_groups)]
    if sizes[0] != sizes[1]:
        raise _misfit("optimizer", f"its groups have {sizes[0]} parameters there and {sizes[1]} here")


def _shapes(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items() if isinstance(tensor, torch.Tensor)}


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
        raise _misfit(what, " ".join(str(error).split())) from error


def _misfit(what: str, reason: str) -> CheckpointError:
    return CheckpointError(f"The checkpoint does not fit this trainer's {what}: {reason}.")
