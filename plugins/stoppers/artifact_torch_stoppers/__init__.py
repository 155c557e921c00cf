"""Early stopping: bounds on epochs, steps, time and cost, patience, thresholds, triggers.

Names are imported when they are first used, so listing this plugin imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact_torch.plugin.lazy import lazy_attributes

if TYPE_CHECKING:
    from artifact_torch_stoppers.budget import Budget as Budget
    from artifact_torch_stoppers.function import FunctionStopper as FunctionStopper
    from artifact_torch_stoppers.generalization_gap import GeneralizationGap as GeneralizationGap
    from artifact_torch_stoppers.max_epochs import MaxEpochs as MaxEpochs
    from artifact_torch_stoppers.max_steps import MaxSteps as MaxSteps
    from artifact_torch_stoppers.non_finite import NonFinite as NonFinite
    from artifact_torch_stoppers.patience import Patience as Patience
    from artifact_torch_stoppers.plateau import Plateau as Plateau
    from artifact_torch_stoppers.stop_file import StopFile as StopFile
    from artifact_torch_stoppers.stop_signal import StopSignal as StopSignal
    from artifact_torch_stoppers.threshold import Threshold as Threshold
    from artifact_torch_stoppers.time_limit import TimeLimit as TimeLimit

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Budget": "artifact_torch_stoppers.budget",
        "FunctionStopper": "artifact_torch_stoppers.function",
        "GeneralizationGap": "artifact_torch_stoppers.generalization_gap",
        "MaxEpochs": "artifact_torch_stoppers.max_epochs",
        "MaxSteps": "artifact_torch_stoppers.max_steps",
        "NonFinite": "artifact_torch_stoppers.non_finite",
        "Patience": "artifact_torch_stoppers.patience",
        "Plateau": "artifact_torch_stoppers.plateau",
        "StopFile": "artifact_torch_stoppers.stop_file",
        "StopSignal": "artifact_torch_stoppers.stop_signal",
        "Threshold": "artifact_torch_stoppers.threshold",
        "TimeLimit": "artifact_torch_stoppers.time_limit",
    },
)
