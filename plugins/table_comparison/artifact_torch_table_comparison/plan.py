"""Validation plans of artifact-experiment over two tables: which artifacts, and the adapter that makes the plan.

The only module that imports artifact-core and artifact-experiment; that takes seconds, so it is itself imported when a
comparison is about to be made.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Self, TypeVar, cast

import pandas as pd
from artifact_experiment.table_comparison import (
    TableComparisonArrayCollectionType,
    TableComparisonArrayType,
    TableComparisonPlan,
    TableComparisonPlotCollectionType,
    TableComparisonPlotType,
    TableComparisonScoreCollectionType,
    TableComparisonScoreType,
    TabularDataSpec,
)

from artifact_torch import ConfigError, DataError, ValidationPlan
from artifact_torch_table_comparison.artifacts import ComparisonArtifacts
from artifact_torch_table_comparison.comparison import comparable_frames
from artifact_torch_table_comparison.schema import TableSchema

__all__ = ["ChosenTypes", "compare", "comparison_plan"]

TypeT = TypeVar("TypeT", bound=Enum)


@dataclass(frozen=True, slots=True)
class ChosenTypes:
    """Artifacts as artifact-core's own types."""

    scores: list[TableComparisonScoreType]
    arrays: list[TableComparisonArrayType]
    plots: list[TableComparisonPlotType]
    score_collections: list[TableComparisonScoreCollectionType]
    array_collections: list[TableComparisonArrayCollectionType]
    plot_collections: list[TableComparisonPlotCollectionType]

    @classmethod
    def of(cls, artifacts: ComparisonArtifacts) -> Self:
        """Look the names up.

        Raises:
            ConfigError: artifact-core has no artifact of a name.
        """
        return cls(
            _types(TableComparisonScoreType, artifacts.scores, "score"),
            _types(TableComparisonArrayType, artifacts.arrays, "array"),
            _types(TableComparisonPlotType, artifacts.plots, "plot"),
            _types(TableComparisonScoreCollectionType, artifacts.score_collections, "score collection"),
            _types(TableComparisonArrayCollectionType, artifacts.array_collections, "array collection"),
            _types(TableComparisonPlotCollectionType, artifacts.plot_collections, "plot collection"),
        )


def comparison_plan(artifacts: ComparisonArtifacts, real: pd.DataFrame, schema: TableSchema) -> ValidationPlan:
    """A plan that computes ``artifacts``, for comparisons with tables like ``real``.

    Raises:
        ConfigError: artifact-core has no artifact of a name.
        DataError: ``real`` has no value to compare.
    """
    chosen = ChosenTypes.of(artifacts)

    class ChosenPlan(TableComparisonPlan):
        @staticmethod
        def _get_score_types() -> list[TableComparisonScoreType]:
            return chosen.scores

        @staticmethod
        def _get_array_types() -> list[TableComparisonArrayType]:
            return chosen.arrays

        @staticmethod
        def _get_plot_types() -> list[TableComparisonPlotType]:
            return chosen.plots

        @staticmethod
        def _get_score_collection_types() -> list[TableComparisonScoreCollectionType]:
            return chosen.score_collections

        @staticmethod
        def _get_array_collection_types() -> list[TableComparisonArrayCollectionType]:
            return chosen.array_collections

        @staticmethod
        def _get_plot_collection_types() -> list[TableComparisonPlotCollectionType]:
            return chosen.plot_collections

    frame, _, continuous, categorical = comparable_frames(real, real, schema)
    if not (continuous or categorical):
        raise DataError(
            f"None of the {len(real):,} rows to compare with has a number, and they have no other columns: "
            "give more rows that have values"
        )
    specification = TabularDataSpec.from_df(frame, cts_features=continuous, cat_features=categorical)
    return cast("ValidationPlan", ChosenPlan.create(resource_spec=specification))


def compare(plan: ValidationPlan, real: pd.DataFrame, synthetic: pd.DataFrame, schema: TableSchema) -> None:
    """Execute a plan of artifact-experiment on two tables; the plan then holds its results.

    Raises:
        ConfigError: the plan is not a ``TableComparisonPlan``.
    """
    if not isinstance(plan, TableComparisonPlan):
        raise ConfigError(
            f"The validation plan {type(plan).__qualname__} is not a TableComparisonPlan of artifact-experiment: "
            "return one from get_validation_plan."
        )
    real_frame, synthetic_frame, _, _ = comparable_frames(real, synthetic, schema)
    plan.execute_table_comparison(dataset_real=real_frame, dataset_synthetic=synthetic_frame)


def _types(kind: type[TypeT], names: Sequence[str], word: str) -> list[TypeT]:
    known = {member.name: member for member in kind}
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known)) or 'none'}."
            raise ConfigError(f"artifact-core has no {word} of tables named {name!r}: {hint}")
    return [known[name] for name in names]
