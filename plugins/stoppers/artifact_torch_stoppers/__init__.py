"""Early stopping: a bound on epochs, patience.

Names are imported when they are first used, so listing this plugin imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artifact_torch_stoppers.max_epochs import MaxEpochs as MaxEpochs
    from artifact_torch_stoppers.patience import Patience as Patience

_MODULE_OF = {
    "MaxEpochs": "artifact_torch_stoppers.max_epochs",
    "Patience": "artifact_torch_stoppers.patience",
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
