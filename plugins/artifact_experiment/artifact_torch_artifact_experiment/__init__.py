"""The tracking clients of artifact-experiment as trackers of artifact-torch.

Names are imported when they are first used, so listing this plugin imports neither torch nor artifact-experiment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact_torch.plugin.lazy import lazy_attributes

if TYPE_CHECKING:
    from artifact_torch_artifact_experiment.tracker import ArtifactExperimentTracker as ArtifactExperimentTracker

__getattr__, __dir__ = lazy_attributes(
    __name__, {"ArtifactExperimentTracker": "artifact_torch_artifact_experiment.tracker"}
)
