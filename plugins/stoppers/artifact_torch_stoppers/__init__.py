"""Early stopping: a bound on epochs, patience.

Names are imported when they are first used, so listing this plugin imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact_torch.plugin.lazy import lazy_attributes

if TYPE_CHECKING:
    from artifact_torch_stoppers.max_epochs import MaxEpochs as MaxEpochs
    from artifact_torch_stoppers.patience import Patience as Patience

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "MaxEpochs": "artifact_torch_stoppers.max_epochs",
        "Patience": "artifact_torch_stoppers.patience",
    },
)
