"""How many samples a batch has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch

if TYPE_CHECKING:
    from artifact_torch import ModelInput

__all__ = ["num_samples"]


def num_samples(batch: ModelInput) -> int | None:
    """The first dimension of the batch's first tensor that has one; None if there is no such tensor."""
    for value in cast("Mapping[str, Any]", batch).values():
        if isinstance(value, torch.Tensor) and value.ndim:
            return value.shape[0]
    return None
