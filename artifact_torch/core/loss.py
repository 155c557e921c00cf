"""The training loss: taken from a model's output, checked, and averaged over an epoch."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from artifact_torch.core.model import Model, ModelOutput
from artifact_torch.core.storage import JsonDict
from artifact_torch.errors import DivergedError, MissingLossError

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
    """The mean loss of the batches of one epoch.

    On the CPU every loss is checked as it comes. On an accelerator that would make the device wait for each batch, so
    the sum stays there and is checked when it is read.
    """

    def __init__(self) -> None:
        self._total: float | Tensor = 0.0
        self._count = 0

    def add(self, loss: Tensor) -> None:
        """Take the loss of one batch, shape ``()``.

        Raises:
            DivergedError: it is NaN or infinite (seen here on the CPU only).
        """
        if loss.device.type == "cpu":
            self._total += _finite(loss.item())
        else:
            self._total = self._total + loss.detach().to(torch.float64)
        self._count += 1

    def mean(self) -> float:
        """The mean over the batches so far; NaN if there were none.

        Raises:
            DivergedError: a loss was NaN or infinite.
        """
        return _finite(float(self._total)) / self._count if self._count else math.nan

    def state_dict(self) -> JsonDict:
        return {"total": float(self._total), "count": self._count}

    def load_state_dict(self, state: JsonDict) -> None:
        self._total, self._count = state["total"], state["count"]


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise DivergedError(
            f"The training loss became {value}: lower the learning rate, or look for extreme values in the data."
        )
    return value
