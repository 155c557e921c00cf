"""Loss over a loader, checkpoints, progress, what the model is made of.

Names are imported when they are first used, so listing this plugin imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact_torch.plugin.lazy import lazy_attributes

if TYPE_CHECKING:
    from artifact_torch_callbacks.checkpoint import Checkpoint as Checkpoint
    from artifact_torch_callbacks.loss import Loss as Loss
    from artifact_torch_callbacks.model_summary import ModelSummary as ModelSummary
    from artifact_torch_callbacks.progress import Progress as Progress

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Checkpoint": "artifact_torch_callbacks.checkpoint",
        "Loss": "artifact_torch_callbacks.loss",
        "ModelSummary": "artifact_torch_callbacks.model_summary",
        "Progress": "artifact_torch_callbacks.progress",
    },
)
