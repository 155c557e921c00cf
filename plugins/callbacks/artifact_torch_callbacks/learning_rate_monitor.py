"""The learning rate of each parameter group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from artifact_torch import Callback, hookimpl

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["LearningRateMonitor"]


class LearningRateMonitor(Callback):
    """Records the learning rate of each parameter group with the logged batches and with each epoch.

    The columns are ``learning_rate`` in ``batch_metrics`` and ``train/learning_rate`` in ``epoch_scores``. If the
    optimizer has several parameter groups, there is one for each, as ``learning_rate/head``: after the group's key
    ``name``, or else its number, from 0.

    With a batch stands the rate with which its step was made. With an epoch stands the one at its end, before a
    scheduler of epochs moves on; a scheduler of steps has moved on to the next step then.

    A step that is not logged takes nothing.

    Args:
        momentum: whether to record the momentum too, which some schedules change; for Adam and its kin it is the first
            beta.
        weight_decay: whether to record the weight decay too.

    Example::

        trainer = Trainer(model, train_loader, epochs=3, callbacks=[LearningRateMonitor(momentum=True)])
        trainer.train()
        print(trainer.epoch_scores[["train/learning_rate", "train/momentum"]])
    """

    def __init__(self, *, momentum: bool = False, weight_decay: bool = False) -> None:
        self.momentum = momentum
        self.weight_decay = weight_decay

    @hookimpl
    def log_batch_metrics(self, trainer: Trainer) -> Mapping[str, float]:
        return self._found(trainer)

    @hookimpl
    def log_epoch_metrics(self, trainer: Trainer) -> Mapping[str, float]:
        return self._found(trainer)

    def _found(self, trainer: Trainer) -> dict[str, float]:
        found: dict[str, float] = {}
        groups = trainer.optimizer.param_groups
        for name, group in zip(_names(groups), groups, strict=True):
            found[f"learning_rate{name}"] = float(group["lr"])
            momentum = group["betas"][0] if "betas" in group else group.get("momentum")
            if self.momentum and momentum is not None:
                found[f"momentum{name}"] = float(momentum)
            if self.weight_decay and "weight_decay" in group:
                found[f"weight_decay{name}"] = float(group["weight_decay"])
        return found


def _names(groups: list[dict[str, Any]]) -> list[str]:
    """What is put after the name of a number of each group."""
    if len(groups) == 1:
        return [""]
    names = [str(group.get("name", number)) for number, group in enumerate(groups)]
    times = Counter(names)
    return [f"/{name}" if times[name] == 1 else f"/{name}-{number}" for number, name in enumerate(names)]
