"""Stoppers: components that end training early."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from artifact_torch.plugin.markers import hookimpl
from artifact_torch.plugin.registry import registry

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer

__all__ = ["EarlyStopper"]


class EarlyStopper(ABC):
    """Base of the components of kind ``stoppers``: asked after each epoch whether training should stop.

    A subclass writes ``check``::

        class LossBelow(EarlyStopper):
            def __init__(self, threshold: float) -> None:
                self.threshold = threshold

            def check(self, trainer: Trainer) -> str | None:
                loss = trainer.latest_score("train/loss")
                return f"the loss is below {self.threshold}" if loss is not None and loss < self.threshold else None
    """

    @abstractmethod
    def check(self, trainer: Trainer) -> str | None:
        """The reason to stop now, in words that follow "training stopped because ...", or None to go on."""

    @hookimpl
    def should_stop(self, trainer: Trainer) -> str | None:
        return self.check(trainer)


registry.require("stoppers", EarlyStopper)
