"""Runs in MLflow: metrics, parameters, plots, files and models, in a local store or on a server.

Names are imported when they are first used; MLflow itself when a run is brought there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact_torch.plugin.lazy import lazy_attributes

if TYPE_CHECKING:
    from artifact_torch_mlflow.names import name_of as name_of
    from artifact_torch_mlflow.tracker import MLflowTracker as MLflowTracker

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "MLflowTracker": "artifact_torch_mlflow.tracker",
        "name_of": "artifact_torch_mlflow.names",
    },
)
