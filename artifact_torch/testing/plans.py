"""A validation plan over the weights of any model, with an artifact of each kind; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from artifact_torch.core.artifacts import Artifact, ArtifactKind
from artifact_torch.core.computation import Computation, JsonMapping, Recipe
from artifact_torch.core.exchange import Data
from artifact_torch.core.plan import ValidationPlan
from artifact_torch.core.split import DataSplit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from artifact_torch.core.trainer import Trainer

__all__ = ["TinyPlan"]

_NAMES = {
    ArtifactKind.SCORE: "weight_norm",
    ArtifactKind.ARRAY: "weights",
    ArtifactKind.PLOT: "weight_plot",
    ArtifactKind.SCORE_COLLECTION: "weight_range",
    ArtifactKind.ARRAY_COLLECTION: "weight_order",
    ArtifactKind.PLOT_COLLECTION: "weight_plots",
}


class TinyPlan(ValidationPlan):
    """Looks at the weights of a model, for tests of what validation leads to.

    Args:
        split: the split that the results go by.
        kinds: which kinds of artifacts to compute, one of each.
        options: see ``ValidationPlan``.
    """

    def __init__(
        self,
        split: DataSplit = DataSplit.VALIDATION,
        kinds: Sequence[ArtifactKind] = tuple(ArtifactKind),
        **options: Any,
    ) -> None:
        super().__init__("tiny", split, [Artifact(kind, _NAMES[kind]) for kind in kinds], **options)

    def recipe(self) -> Recipe:
        return Recipe(f"{__name__}:TinyComputation")

    def gather(self, trainer: Trainer) -> Mapping[str, Data]:
        weights = [parameter.detach().flatten().double().cpu().numpy() for parameter in trainer.model.parameters()]
        return {"weights": np.concatenate(weights)}


class TinyComputation(Computation):
    """Computes the artifacts of ``TinyPlan``."""

    def __init__(self, parameters: JsonMapping, data: Mapping[str, Data]) -> None:
        pass

    def prepare(self, inputs: Mapping[str, Data]) -> Mapping[str, Data]:
        return inputs

    def compute(self, artifact: Artifact, prepared: Mapping[str, Data]) -> object:
        weights = np.asarray(prepared["weights"])
        match artifact.kind:
            case ArtifactKind.SCORE:
                return np.linalg.norm(weights)
            case ArtifactKind.SCORE_COLLECTION:
                return {"smallest": weights.min(), "largest": weights.max()}
            case ArtifactKind.ARRAY:
                return weights
            case ArtifactKind.ARRAY_COLLECTION:
                return {"rising": np.sort(weights), "falling": -np.sort(-weights)}
            case ArtifactKind.PLOT:
                return _drawn(weights)
            case ArtifactKind.PLOT_COLLECTION:
                return {"in order": _drawn(weights), "sorted": _drawn(np.sort(weights))}


def _drawn(values: np.ndarray) -> Figure:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(2, 1))
    axes.plot(values)
    return figure
