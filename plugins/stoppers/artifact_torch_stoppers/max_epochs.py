"""A bound on the number of epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact_torch import EarlyStopper
from artifact_torch_stoppers.wording import check_count

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["MaxEpochs"]


class MaxEpochs(EarlyStopper):
    """Stops when so many epochs are done, those before a resume included; the trainer's own bound stays in force.

    Args:
        epochs: how many epochs to train for, at most.

    Raises:
        UsageError: ``epochs`` is not positive.

    Example::

        trainer = Trainer(model, train_loader, epochs=100, stoppers=[MaxEpochs(epochs=3)])
        result = trainer.train()
        print(result.reason)  # MaxEpochs: 3 epochs are done
    """

    def __init__(self, *, epochs: int) -> None:
        check_count("MaxEpochs", epochs, "epoch")
        self.epochs = epochs

    def check(self, trainer: Trainer) -> str | None:
        done = trainer.state.epochs_completed
        if done < self.epochs:
            return None
        return f"{done} {'epoch is' if done == 1 else 'epochs are'} done"
