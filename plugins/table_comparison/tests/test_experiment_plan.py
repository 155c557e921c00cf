"""Plans of artifact-experiment name artifacts; fails when artifact-experiment asks for their names in another way."""

from __future__ import annotations

import pandas as pd
import pytest
from artifact_experiment.table_comparison import (
    TableComparisonArrayCollectionType,
    TableComparisonPlan,
    TableComparisonPlotCollectionType,
    TableComparisonPlotType,
    TableComparisonScoreCollectionType,
    TableComparisonScoreType,
)
from artifact_torch_table_comparison import TableComparisonValidationRoutine, table_from_frame
from artifact_torch_table_comparison.artifacts import ComparisonArtifacts
from artifact_torch_table_comparison.experiment_plan import artifacts_of_plan
from artifact_torch_table_comparison.plan import chosen_artifacts

from artifact_torch import ConfigError, DataSplit


class SomePlan(TableComparisonPlan):
    """Names artifacts of five kinds; there is none of the sixth."""

    @staticmethod
    def _get_score_types():
        return [TableComparisonScoreType.CORRELATION_DISTANCE]

    @staticmethod
    def _get_array_types():
        return []

    @staticmethod
    def _get_plot_types():
        return [TableComparisonPlotType.MEAN_ALIGNMENT, TableComparisonPlotType.PDF]

    @staticmethod
    def _get_score_collection_types():
        return [TableComparisonScoreCollectionType.JS_DISTANCE]

    @staticmethod
    def _get_array_collection_types():
        return [TableComparisonArrayCollectionType.STD_JUXTAPOSITION]

    @staticmethod
    def _get_plot_collection_types():
        return [TableComparisonPlotCollectionType.CDF]


def test_a_plan_s_artifacts_are_those_that_it_names():
    assert chosen_artifacts(SomePlan) == ComparisonArtifacts(
        scores=["CORRELATION_DISTANCE"],
        score_collections=["JS_DISTANCE"],
        arrays=[],
        array_collections=["STD_JUXTAPOSITION"],
        plots=["MEAN_ALIGNMENT", "PDF"],
        plot_collections=["CDF"],
    )
    assert artifacts_of_plan(SomePlan, dpi=60).dpi == 60


def test_a_routine_takes_a_plan_in_place_of_names():
    table = table_from_frame(pd.DataFrame({"size": [1.5, 2.5, 3.5], "label": ["a", "b", "a"]}))
    routine = TableComparisonValidationRoutine(table, table, artifacts=SomePlan, mode="inline")
    train, held_out = (routine._comparisons[split] for split in (DataSplit.TRAIN, DataSplit.VALIDATION))
    assert [artifact.name for artifact in train.artifacts] == [
        "CORRELATION_DISTANCE",
        "MEAN_ALIGNMENT",
        "PDF",
        "JS_DISTANCE",
        "STD_JUXTAPOSITION",
        "CDF",
    ]
    assert [artifact.name for artifact in held_out.artifacts] == ["CORRELATION_DISTANCE"]


def test_the_hooks_that_name_artifacts_are_those_of_artifact_experiment():
    hooks = {name for name in TableComparisonPlan.__abstractmethods__ if name.endswith("_types")}
    assert hooks == {
        f"_get_{kind}_types"
        for kind in ("score", "array", "plot", "score_collection", "array_collection", "plot_collection")
    }


@pytest.mark.parametrize("wrong", [object, 3, "PDF", {"scores": []}])
def test_anything_else_is_refused(wrong):
    with pytest.raises(ConfigError, match="does not say which artifacts to compute: give ComparisonArtifacts"):
        chosen_artifacts(wrong)
