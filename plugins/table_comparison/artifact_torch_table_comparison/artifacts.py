"""Which artifacts of a comparison to compute, by their names in artifact-core, and how."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from artifact_torch import ArtifactKind, Options
from artifact_torch_table_comparison.comparison import ColumnRole

__all__ = ["ComparisonArtifacts"]


def _listed(value: object) -> object:
    return [value] if value == "all" else value


Names = Annotated[list[str], BeforeValidator(_listed)]
"""Names of artifacts; ``"all"``, alone or among them, stands for all that take seconds at most."""


class ComparisonArtifacts(Options):
    """Names of artifacts, as artifact-core spells them; the defaults take seconds on ten thousand rows.

    Attributes:
        scores, score_collections, arrays, array_collections, plots, plot_collections: names, or ``"all"``, which of
            plots means all but ``TSNE_JUXTAPOSITION``.
        hyperparameters: of artifacts, by the artifact's name, as artifact-core names them.
        columns: how to compare columns, where that is not to follow from what they hold.
        tsne_rows: how many rows of each table ``TSNE_JUXTAPOSITION`` takes, at most.
        dpi: the resolution of plots, in pixels an inch.
    """

    scores: Names = ["MEAN_JS_DISTANCE", "CORRELATION_DISTANCE", "MAX_MISSING_SHARE_DIFFERENCE"]
    score_collections: Names = ["JS_DISTANCE"]
    arrays: Names = []
    array_collections: Names = []
    plots: Names = ["PDF", "CORRELATION_HEATMAP_JUXTAPOSITION", "PCA_JUXTAPOSITION"]
    plot_collections: Names = []
    hyperparameters: dict[str, dict[str, Any]] = {}
    columns: dict[str, ColumnRole] = {}
    tsne_rows: int = Field(default=1000, ge=2)
    dpi: int = Field(default=120, ge=10, le=1000)

    def names(self, kind: ArtifactKind) -> list[str]:
        """The names of one kind."""
        names: list[str] = getattr(self, f"{kind}s")
        return names

    def only_scores(self) -> ComparisonArtifacts:
        """The same with no artifact but the scores."""
        from artifact_torch_table_comparison.catalogue import expanded

        names = {artifact.name for artifact in expanded(ArtifactKind.SCORE, self.scores)}
        changes: dict[str, object] = {f"{kind}s": [] for kind in ArtifactKind if kind is not ArtifactKind.SCORE}
        changes["hyperparameters"] = {name: given for name, given in self.hyperparameters.items() if name in names}
        return self.model_copy(update=changes)

    @property
    def is_empty(self) -> bool:
        """Whether no artifact is named."""
        return not any(self.names(kind) for kind in ArtifactKind)
