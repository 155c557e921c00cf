"""Artifacts that compare how much is missing in tables, registered with artifact-core when this module is imported.

A column's missing share is the share of its values that are missing, 0 to 1. A computation hands the shares of both
tables over in ``frame.attrs``, because the gaps themselves are filled before tables are compared; without them the gaps
of the frames are counted. The lower, the better; 0 is best.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import pandas as pd
from artifact_core.spi.artifact import ArtifactHyperparams
from artifact_core.table_comparison.spi import (
    TableComparisonScore,
    TableComparisonScoreCollection,
    TableComparisonScoreCollectionRegistry,
    TableComparisonScoreRegistry,
)

from artifact_torch_table_comparison.comparison import missing_shares

__all__ = ["MISSING_SHARES", "missing_share_differences"]

MISSING_SHARES = "missing_shares"
"""The key of ``frame.attrs`` under which a frame carries its missing shares by column."""


def missing_share_differences(real: pd.DataFrame, synthetic: pd.DataFrame) -> dict[str, float]:
    """By column, how far the share of missing values (0 to 1) in the synthetic table is from that in the real one."""
    shares = _shares(synthetic)
    return {name: abs(share - shares[name]) for name, share in _shares(real).items()}


@TableComparisonScoreRegistry.register_custom_artifact("MEAN_MISSING_SHARE_DIFFERENCE")
class MeanMissingShareDifference(TableComparisonScore[ArtifactHyperparams]):
    """The mean difference over the columns."""

    def _compare_datasets(self, dataset_real: pd.DataFrame, dataset_synthetic: pd.DataFrame) -> float:
        return float(np.mean(list(missing_share_differences(dataset_real, dataset_synthetic).values())))


@TableComparisonScoreRegistry.register_custom_artifact("MAX_MISSING_SHARE_DIFFERENCE")
class MaxMissingShareDifference(TableComparisonScore[ArtifactHyperparams]):
    """The difference in the column in which it is largest."""

    def _compare_datasets(self, dataset_real: pd.DataFrame, dataset_synthetic: pd.DataFrame) -> float:
        return max(missing_share_differences(dataset_real, dataset_synthetic).values())


@TableComparisonScoreCollectionRegistry.register_custom_artifact("MISSING_SHARE_DIFFERENCE")
class MissingShareDifference(TableComparisonScoreCollection[ArtifactHyperparams]):
    """The difference in each column."""

    def _compare_datasets(self, dataset_real: pd.DataFrame, dataset_synthetic: pd.DataFrame) -> dict[str, float]:
        return missing_share_differences(dataset_real, dataset_synthetic)


def _shares(frame: pd.DataFrame) -> dict[str, float]:
    shares = frame.attrs.get(MISSING_SHARES)
    return missing_shares(frame) if shares is None else cast("dict[str, float]", shares)
