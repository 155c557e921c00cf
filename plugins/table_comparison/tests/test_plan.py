"""Plans of artifact-experiment over two tables: chosen by name, executed anew each time."""

from __future__ import annotations

from typing import cast

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from artifact_torch_table_comparison import table_from_frame
from artifact_torch_table_comparison.artifacts import ComparisonArtifacts
from artifact_torch_table_comparison.plan import compare, comparison_plan
from matplotlib import pyplot

from artifact_torch import Artifacts, ConfigError, DataError

mpl.use("Agg")

FEW = ComparisonArtifacts(score_collections=[], plots=[])


def example(seed, num_rows=120):
    random = np.random.default_rng(seed)
    size = random.normal(50, 5, num_rows)
    return pd.DataFrame(
        {
            "size": size.round(1),
            "double": np.where(random.random(num_rows) < 0.1, np.nan, 2 * size + random.normal(0, 1, num_rows)),
            "label": random.choice(["a", "b", None], num_rows),
        }
    )


@pytest.fixture
def real():
    return table_from_frame(example(0))


@pytest.mark.parametrize(
    ("kind", "word", "wrong", "right"),
    [
        ("scores", "score", "MEAN_JS", "MEAN_JS_DISTANCE"),
        ("score_collections", "score collection", "JS_DISTANCES", "JS_DISTANCE"),
        ("array_collections", "array collection", "MEAN_JUXTA", "MEAN_JUXTAPOSITION"),
        ("plots", "plot", "PCA_JUXTA", "PCA_JUXTAPOSITION"),
        ("plots", "plot", "pdf", "PDF"),
        ("plots", "plot", "histogram", None),
        ("plot_collections", "plot collection", "HEATMAPS", "CORRELATION_HEATMAPS"),
        ("arrays", "array", "MEANS", None),
    ],
)
def test_the_name_of_no_artifact_is_refused_with_the_nearest_or_the_known_ones(kind, word, wrong, right, real):
    with pytest.raises(ConfigError) as refused:
        comparison_plan(FEW.model_copy(update={kind: [wrong]}), real.frame, real.schema)
    hint = f"did you mean {right!r}?" if right else "known are "
    assert f"no {word} of tables named {wrong!r}: {hint}" in str(refused.value)


def test_the_artifacts_that_were_chosen_are_computed(real):
    artifacts = ComparisonArtifacts(
        scores=["CORRELATION_DISTANCE"],
        array_collections=["MEAN_JUXTAPOSITION"],
        plots=["PDF"],
        plot_collections=["CDF"],
    )
    plan = comparison_plan(artifacts, real.frame, real.schema)
    compare(plan, real.frame, example(1), real.schema)
    assert set(plan.scores) == {"CORRELATION_DISTANCE"}
    assert set(plan.score_collections) == {"JS_DISTANCE"}
    assert set(plan.score_collections["JS_DISTANCE"]) == {"size", "double", "label"}
    assert set(plan.array_collections["MEAN_JUXTAPOSITION"]) == {"size", "double"}
    assert set(plan.plots) == {"PDF"}
    assert set(plan.plot_collections["CDF"]) == {"size", "double"}
    assert plan.arrays == {}
    pyplot.close("all")


def test_a_table_is_at_distance_zero_from_itself(real):
    plan = comparison_plan(ComparisonArtifacts(plots=[]), real.frame, real.schema)
    compare(plan, real.frame, real.frame, real.schema)
    distances = [*plan.scores.values(), *plan.score_collections["JS_DISTANCE"].values()]
    assert distances == pytest.approx([0] * 5, abs=1e-6)


def test_a_worse_table_is_further_away(real):
    plan = comparison_plan(FEW, real.frame, real.schema)
    compare(plan, real.frame, example(1), real.schema)
    near = dict(plan.scores)
    shuffled = example(1).assign(double=lambda frame: frame["double"].sample(frac=1, random_state=0).to_numpy() + 20)
    compare(plan, real.frame, shuffled, real.schema)
    assert all(plan.scores[name] > near[name] + 0.05 for name in near)


def test_executing_a_plan_again_gives_fresh_results(real):
    plan = comparison_plan(ComparisonArtifacts(plots=["PDF"]), real.frame, real.schema)
    compare(plan, real.frame, example(1), real.schema)
    first, first_plots = Artifacts(), dict(plan.plots)
    first.add_plan(plan)
    far = first.scores["MEAN_JS_DISTANCE"]
    compare(plan, real.frame, real.frame, real.schema)
    assert plan.scores["MEAN_JS_DISTANCE"] == pytest.approx(0, abs=1e-6)
    assert plan.plots["PDF"] is not first_plots["PDF"]
    assert first.scores["MEAN_JS_DISTANCE"] == far > 0.01
    assert first.plots == first_plots
    pyplot.close("all")


def test_tables_of_one_kind_of_column_can_be_compared():
    for names in (["size", "double"], ["label"]):
        table = table_from_frame(example(0)[names])
        plan = comparison_plan(FEW, table.frame, table.schema)
        compare(plan, table.frame, example(1)[names], table.schema)
        assert all(0 <= score <= 1 for score in plan.scores.values())


def test_rows_without_any_value_are_refused(real):
    rows = table_from_frame(example(0)[["size", "double"]])
    empty = cast("pd.DataFrame", rows.frame * np.nan)
    with pytest.raises(DataError, match="None of the 120 rows to compare with has a number"):
        comparison_plan(FEW, empty, rows.schema)


def test_a_plan_of_another_kind_is_refused(real):
    with pytest.raises(ConfigError, match="Artifacts is not a TableComparisonPlan"):
        compare(Artifacts(), real.frame, real.frame, real.schema)
