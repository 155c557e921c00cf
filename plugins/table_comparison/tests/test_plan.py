"""The validation plan of tables: what is refused at once, what it gathers, and what a round of it judges."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest
from artifact_torch_table_comparison import ComparisonArtifacts, TableComparisonValidationPlan, table_from_frame
from artifact_torch_table_comparison.plan import Generation
from pandas.testing import assert_frame_equal

from artifact_torch import ArtifactKind, ConfigError, DataError, DataSplit, UsageError, execute_plan

FEW = ComparisonArtifacts(score_collections=[], plots=[])
DISTANCES = ComparisonArtifacts(scores=["MEAN_JS_DISTANCE", "CORRELATION_DISTANCE"], plots=[])


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


class Generator:
    """A trainer's model that counts what it is asked for."""

    def __init__(self):
        self.requests = []

    def generate(self, params):
        self.requests.append((params.num_samples, params.seed))
        return example(len(self.requests), params.num_samples)


def trainer_of(model, step=0):
    return SimpleNamespace(model=model, state=SimpleNamespace(step=step))


def scores_of(plan, synthetic, folder):
    return execute_plan(plan, plan.inputs(synthetic), folder).scores


def test_a_table_is_at_distance_zero_from_itself(real, tmp_path):
    plan = TableComparisonValidationPlan(real, DISTANCES)
    artifacts = execute_plan(plan, plan.inputs(real.frame), tmp_path)
    distances = [*artifacts.scores.values(), *artifacts.score_collections["JS_DISTANCE"].values()]
    assert distances == pytest.approx([0] * 5, abs=1e-6)


def test_a_worse_table_is_further_away(real, tmp_path):
    plan = TableComparisonValidationPlan(real, DISTANCES)
    near = scores_of(plan, example(1), tmp_path)
    shuffled = example(1).assign(double=lambda frame: frame["double"].sample(frac=1, random_state=0).to_numpy() + 20)
    far = scores_of(plan, shuffled, tmp_path)
    assert all(far[name] > near[name] + 0.05 for name in near)


def test_tables_of_one_kind_of_column_can_be_compared(tmp_path):
    for names in (["size", "double"], ["label"]):
        plan = TableComparisonValidationPlan(table_from_frame(example(0)[names]), FEW)
        assert all(0 <= score <= 1 for score in scores_of(plan, example(1)[names], tmp_path).values())


def test_rows_without_any_value_are_refused():
    rows = table_from_frame(example(0)[["size", "double"]])
    rows.frame[:] = np.nan
    with pytest.raises(DataError, match="None of the 120 rows to compare with has a number"):
        TableComparisonValidationPlan(rows, FEW)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scores": ["MEAN_JS"]}, "did you mean 'MEAN_JS_DISTANCE'"),
        ({"plots": ["pdf"]}, "did you mean 'PDF'"),
        ({"hyperparameters": {"MEAN_JS_DISTANCE": {"bins": 3}}}, "no hyperparameter 'bins'"),
        ({"hyperparameters": {"JS_DISTANCES": {}}}, "did you mean 'JS_DISTANCE'"),
        ({"columns": {"sise": "categorical"}}, "did you mean 'size'"),
    ],
)
def test_mistakes_are_refused_at_once(options, message, real):
    with pytest.raises(ConfigError, match=message):
        TableComparisonValidationPlan(real, ComparisonArtifacts(**options))


def test_a_plan_of_nothing_is_refused(real):
    with pytest.raises(UsageError, match="has no artifact"):
        TableComparisonValidationPlan(real, FEW.model_copy(update={"scores": []}))


def test_a_round_judges_a_sample_that_is_always_the_same(real):
    plan = TableComparisonValidationPlan(real, FEW, max_rows=50, seed=3, split=DataSplit.VALIDATION, period="20 steps")
    again = TableComparisonValidationPlan(real, FEW, max_rows=50, seed=3)
    other = TableComparisonValidationPlan(real, FEW, max_rows=50, seed=4)
    assert (plan.rows, plan.seed, plan.split, str(plan.period)) == (50, 3, DataSplit.VALIDATION, "20 steps")
    frames = [cast("pd.DataFrame", each.recipe().data["real"]) for each in (plan, again, other)]
    assert_frame_equal(frames[0], frames[1])
    assert not frames[0].equals(frames[2])
    assert len(frames[0]) == 50


def test_as_many_rows_are_generated_as_are_compared_with(real):
    model = Generator()
    gathered = TableComparisonValidationPlan(real, FEW, max_rows=50, seed=3).gather(trainer_of(model))
    assert model.requests == [(50, 3)]
    assert len(gathered["synthetic"]) == 50
    assert gathered["shares"].shape == (1, 3)


def test_plans_of_one_validation_share_the_rows_that_are_generated(real):
    model, generation = Generator(), Generation(60, seed=5)
    train, held_out = (
        TableComparisonValidationPlan(real, FEW, split=split, max_rows=rows, generation=generation)
        for split, rows in ((DataSplit.TRAIN, 60), (DataSplit.VALIDATION, 40))
    )
    first = [plan.gather(trainer_of(model, step=1))["synthetic"] for plan in (train, held_out)]
    assert model.requests == [(60, 5)]
    assert first[0]["size"].head(40).tolist() == first[1]["size"].tolist()
    held_out.gather(trainer_of(model, step=2))
    train.gather(trainer_of(model, step=3))
    assert len(model.requests) == 3
    for plan in (train, held_out):  # a second validation after the same step, as of a model that was changed by hand
        plan.gather(trainer_of(model, step=3))
    assert len(model.requests) == 4


def test_held_out_rows_get_the_scores_and_the_hyperparameters_of_them():
    artifacts = ComparisonArtifacts(
        hyperparameters={
            "MEAN_JS_DISTANCE": {"n_bins_cts_histogram": 5},
            "JS_DISTANCE": {"n_bins_cts_histogram": 5},
            "PCA_JUXTAPOSITION": {"use_categorical": False},
        },
        columns={"size": "categorical"},
    ).only_scores()
    assert {kind for kind in ArtifactKind if artifacts.names(kind)} == {ArtifactKind.SCORE}
    assert set(artifacts.hyperparameters) == {"MEAN_JS_DISTANCE"}
    assert artifacts.columns == {"size": "categorical"}


def test_columns_are_compared_as_told(real, tmp_path):
    plan = TableComparisonValidationPlan(
        real, ComparisonArtifacts(plots=[], columns={"label": "ignored", "size": "categorical"})
    )
    collection = execute_plan(plan, plan.inputs(example(1)), tmp_path).score_collections["JS_DISTANCE"]
    assert set(collection) == {"size", "double"}
    assert plan.comparison.categorical == ["size"]
