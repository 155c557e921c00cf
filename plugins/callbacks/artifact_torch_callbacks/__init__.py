"""Loss over a loader, checkpoints, progress.

Names are imported when they are first used, so listing this plugin imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artifact_torch_callbacks.checkpoint import Checkpoint as Checkpoint
    from artifact_torch_callbacks.loss import Loss as Loss
    from artifact_torch_callbacks.progress import Progress as Progress

_MODULE_OF = {
    "Checkpoint": "artifact_torch_callbacks.checkpoint",
    "Loss": "artifact_torch_callbacks.loss",
    "Progress": "artifact_torch_callbacks.progress",
}


def __getattr__(name: str) -> object:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])
