"""The training loss: taken from a model's output, and averaged over an epoch."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from artifact_torch.core.model import Model, ModelOutput
from artifact_torch.core.storage import JsonDict
from artifact_torch.errors import MissingLossError

__all__ = ["EpochLoss", "training_loss"]


def training_loss(model_output: ModelOutput, model: Model) -> Tensor:
    """The scalar to differentiate.

    Raises:
        MissingLossError: the output has no ``loss``, or it is not a tensor of shape ``()`` that depends on parameters.
    """
    loss = cast("object", model_output.get("loss"))
    name = type(model).__qualname__
    if loss is None:
        found = ", ".join(model_output) or "nothing"
        raise MissingLossError(
            f"{name}.forward returned no 'loss' in training (it returned {found}): add a scalar tensor under 'loss'."
        )
    if not isinstance(loss, Tensor) or loss.ndim != 0:
        found = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__qualname__
        raise MissingLossError(
            f"{name}.forward returned {found} as 'loss': return a tensor of shape (), for example loss.mean()."
        )
    if not loss.requires_grad:
        raise MissingLossError(
            f"'loss' of {name}.forward depends on no trainable parameter: compute it without detach() and no_grad(), "
            "with at least one parameter unfrozen."
        )
    return loss


class EpochLoss:
    """The mean loss of the batches of one epoch. Losses that are NaN or infinite are counted and left out of it.

    On the CPU every loss is read as it comes. On an accelerator that would make the program wait for each batch, so
    the sums stay there until somebody asks.
    """

    def __init__(self) -> None:
        self._total: float | Tensor = 0.0
        self._finite: int | Tensor = 0
        self._count = 0

    def add(self, loss: Tensor) -> float | None:
        """Take the loss of one batch, shape ``()``; return its value if that is known without waiting for a device."""
        self._count += 1
        if loss.device.type == "cpu":
            value = loss.item()
            if math.isfinite(value):
                self._total += value
                self._finite += 1
            return value
        value = loss.detach().to(torch.float64)
        finite = torch.isfinite(value)
        self._total = self._total + torch.where(finite, value, 0.0)
        self._finite = self._finite + finite
        return None

    def mean(self) -> float:
        """The mean over the finite losses so far; NaN if there were none."""
        finite = int(self._finite)
        return float(self._total) / finite if finite else math.nan

    @property
    def non_finite(self) -> int:
        """How many losses were NaN or infinite."""
        return self._count - int(self._finite)

    def state_dict(self) -> JsonDict:
        return {"total": float(self._total), "finite": int(self._finite), "count": self._count}

    def load_state_dict(self, state: JsonDict) -> None:
        self._total, self._finite, self._count = state["total"], state["finite"], state["count"]
