"""TensorBoard: runs of artifact-torch as event files.

Names are imported when they are first used, so listing this plugin imports neither torch nor TensorBoard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact_torch.plugin.lazy import lazy_attributes

if TYPE_CHECKING:
    from artifact_torch_tensorboard.tracker import TensorBoardTracker as TensorBoardTracker

__getattr__, __dir__ = lazy_attributes(__name__, {"TensorBoardTracker": "artifact_torch_tensorboard.tracker"})
