"""The loss in evaluation mode."""

from __future__ import annotations

from typing import Literal, cast

import torch

from artifact_torch import DataSplit, MissingLossError, ModelInput, ModelOutput, ScoreCallback, UsageError
from artifact_torch_callbacks.samples import num_samples

__all__ = ["Loss"]


class Loss(ScoreCallback):
    """The mean loss over a loader's samples, in evaluation mode; by default the column ``validation/loss``.

    A batch's loss is taken as the mean over its samples and weighted by their number, which is the first dimension of
    the batch's first tensor, so that a smaller last batch counts for less. The model has to return a ``loss`` in
    evaluation mode too.

    Args:
        split: the loader to pass over, the training or the validation loader.
        name: the score's name; another one than ``"loss"`` on the training split, where that is the training loss.

    Raises:
        UsageError: an argument cannot be used; or, in validation, the loader has no batch or a batch no tensor.
        MissingLossError: in validation, the model's output holds no scalar ``loss``.

    Example::

        routine = ValidationRoutine(val_loader=val_loader)
        trainer = Trainer(model, train_loader, epochs=3, validation=routine, callbacks=[Loss()])
        trainer.train()
        print(trainer.epoch_scores["validation/loss"])
    """

    def __init__(self, *, split: Literal["train", "validation"] = "validation", name: str = "loss") -> None:
        if not name:
            raise UsageError("The callback Loss needs a name.")
        if split == "train" and name == "loss":
            raise UsageError(
                "The name 'loss' on the training split belongs to the trainer's own loss: give the callback Loss "
                "another name, for example 'evaluation_loss'."
            )
        super().__init__(name, split=cast("DataSplit", split))  # the base class refuses what is not a split
        self._losses: list[torch.Tensor] = []
        self._sizes: list[int] = []

    def reset(self) -> None:
        self._losses, self._sizes = [], []

    def update(self, batch: ModelInput, model_output: ModelOutput) -> None:
        loss = cast("object", model_output.get("loss"))
        if loss is None:
            found = ", ".join(model_output) or "nothing"
            raise MissingLossError(
                f"The callback {self.name!r} of the {self.split} split needs a 'loss' from the model in evaluation "
                f"mode, which returned {found}: let forward compute it there too, or leave the callback out."
            )
        if not isinstance(loss, torch.Tensor) or loss.ndim != 0:
            found = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise MissingLossError(
                f"The callback {self.name!r} of the {self.split} split got {found} as the model's 'loss': return a "
                "tensor of shape ()."
            )
        self._losses.append(loss.detach())  # read in compute, all at once: reading makes an accelerator wait
        size = num_samples(batch)
        if size is None:
            raise UsageError(
                f"The callback {self.name!r} weights batches by the first dimension of their first tensor, and a batch "
                f"of the {self.split} split has no tensor with one: it holds {', '.join(batch) or 'nothing'}."
            )
        self._sizes.append(size)

    def compute(self) -> float:
        if not self._losses:
            raise UsageError(
                f"The loader of the {self.split} split gave no batch, so its {self.name!r} cannot be computed: check "
                "the data set's length."
            )
        losses = torch.stack(self._losses).cpu().to(torch.float64)
        sizes = torch.tensor(self._sizes, dtype=torch.float64)
        return float(losses @ sizes / sizes.sum())
