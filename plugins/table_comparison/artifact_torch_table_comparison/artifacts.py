"""Which artifacts of a comparison to compute, by their names in artifact-core."""

from __future__ import annotations

from artifact_torch import Options

__all__ = ["ComparisonArtifacts"]


class ComparisonArtifacts(Options):
    """Names of artifacts, as artifact-core spells them; the defaults take seconds on ten thousand rows.

    ``TSNE_JUXTAPOSITION`` takes minutes on some thousand rows.
    """

    scores: list[str] = ["MEAN_JS_DISTANCE", "CORRELATION_DISTANCE"]
    score_collections: list[str] = ["JS_DISTANCE"]
    arrays: list[str] = []
    array_collections: list[str] = []
    plots: list[str] = ["PDF", "CORRELATION_HEATMAP_JUXTAPOSITION", "PCA_JUXTAPOSITION"]
    plot_collections: list[str] = []
