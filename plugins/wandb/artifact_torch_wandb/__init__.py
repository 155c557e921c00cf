"""Weights & Biases: runs of artifact-torch, online or offline.

Names are imported when they are first used, so listing this plugin imports neither torch nor wandb.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact_torch.plugin.lazy import lazy_attributes

if TYPE_CHECKING:
    from artifact_torch_wandb.tracker import WandbTracker as WandbTracker

__getattr__, __dir__ = lazy_attributes(__name__, {"WandbTracker": "artifact_torch_wandb.tracker"})
