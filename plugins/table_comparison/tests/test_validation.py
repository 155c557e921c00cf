"""The validation routine of tables: what is compared with what, how often, and what plugins may replace."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from artifact_torch_table_comparison import (
    ComparisonArtifacts,
    TableComparisonTrainer,
    TableComparisonValidationPlan,
    TableComparisonValidationRoutine,
    TabularGenerativeModel,
    table_from_frame,
)
from artifact_torch_table_comparison.trainer import settings_for

from artifact_torch import (
    Callback,
    DataSplit,
    InMemoryDataLoader,
    PluginError,
    RunDirectory,
    Trainer,
    ValidationResults,
    hookimpl,
)

SCORES = ["MEAN_JS_DISTANCE", "CORRELATION_DISTANCE", "MAX_MISSING_SHARE_DIFFERENCE"]
NO_PLOTS = ComparisonArtifacts(plots=[])


class Resampling(TabularGenerativeModel):
    """Draws rows of its table; the only thing that it learns is a number that changes nothing.

    Attributes:
        requests: number of rows and seed of each call of ``generate``.
    """

    def __init__(self, table):
        super().__init__()
        self.table = table
        self.number = torch.nn.Parameter(torch.ones(()))
        self.requests = []

    @classmethod
    def from_table(cls, table):
        return cls(table)

    @property
    def schema(self):
        return self.table.schema

    def encode(self, frame):
        return {"row": torch.arange(len(frame))}

    def forward(self, batch):
        return {"loss": self.number.square()}

    def generate(self, params):
        self.requests.append((params.num_samples, params.seed))
        rows = np.random.default_rng(params.seed).integers(len(self.table), size=params.num_samples)
        return self.table.take(rows).frame


class Overriding(Callback):
    """A plugin with answers of its own to some of the routine's questions."""

    def __init__(self, table):
        self.table = table

    @hookimpl
    def get_validation_period(self, routine):
        return 3

    @hookimpl
    def get_validation_plan(self, routine, split):
        if split is DataSplit.TRAIN:
            artifacts = ComparisonArtifacts(scores=["CORRELATION_DISTANCE"], score_collections=[], plots=[])
            return TableComparisonValidationPlan(self.table, artifacts)
        return None


class OtherPlan(Callback):
    """A plugin whose plan is none."""

    @hookimpl
    def get_validation_plan(self, routine, split):
        return ValidationResults().of_split(split)


class OwnWay(Callback):
    """A plugin that validates in its own way."""

    @hookimpl
    def execute_validation(self, routine, trainer):
        results = ValidationResults()
        results.of_split(DataSplit.VALIDATION).scores["AGREEMENT"] = 0.5
        return results


def table_of(num_rows, seed=0):
    random = np.random.default_rng(seed)
    size = random.normal(50, 5, num_rows).round(1)
    return table_from_frame(pd.DataFrame({"size": size, "label": random.choice(["a", "b"], num_rows)}))


def routine_of(*tables, **options):
    return TableComparisonValidationRoutine(*tables, **{"artifacts": NO_PLOTS, "mode": "inline", **options})


def trainer_of(train, routine, root, *, epochs=2, callbacks=()):
    model = Resampling(train)
    return Trainer(
        model,
        InMemoryDataLoader(model.encode(train.frame), batch_size=50),
        epochs=epochs,
        validation=routine,
        callbacks=callbacks,
        device="cpu",
        use_installed_plugins=False,
        run=RunDirectory.create(root=root),
    )


def test_training_rows_get_every_artifact_and_held_out_rows_the_scores(tmp_path):
    train = table_of(80)
    routine = routine_of(train, table_of(30, seed=1))
    results = trainer_of(train, routine, tmp_path).validate()
    assert list(results.splits) == [DataSplit.TRAIN, DataSplit.VALIDATION]
    expected = [f"train/{name}" for name in SCORES] + ["train/JS_DISTANCE/size", "train/JS_DISTANCE/label"]
    assert sorted(results.scores) == sorted(expected + [f"validation/{name}" for name in SCORES])
    assert all(0 <= score <= 1 for score in results.scores.values())


@pytest.mark.parametrize("held_out", [None, table_of(30).take([0])])
def test_without_two_held_out_rows_only_training_rows_are_compared(held_out, tmp_path):
    train = table_of(80)
    routine = routine_of(train, held_out)
    assert list(trainer_of(train, routine, tmp_path).validate().splits) == [DataSplit.TRAIN]


def test_held_out_rows_without_any_value_are_left_out(tmp_path):
    rows = table_from_frame(pd.DataFrame({"size": [1.0, 2.0, 4.0, 8.0] * 5}))
    held_out = rows.take(slice(0, 6))
    held_out.frame["size"] = np.nan
    routine = routine_of(rows, held_out)
    assert list(trainer_of(rows, routine, tmp_path).validate().splits) == [DataSplit.TRAIN]


def test_rows_are_generated_once_for_both_splits_with_the_routine_s_seed(tmp_path):
    train = table_of(80)
    routine = routine_of(train, table_of(30, seed=1), seed=7)
    trainer = trainer_of(train, routine, tmp_path)
    first, second = trainer.validate(), trainer.validate()
    assert trainer.model.requests == [(80, 7), (80, 7)]
    assert first.scores == second.scores


def test_at_most_so_many_rows_are_compared(tmp_path):
    train = table_of(80)
    routine = routine_of(train, table_of(30, seed=1), max_rows=20)
    trainer = trainer_of(train, routine, tmp_path)
    trainer.validate()
    assert trainer.model.requests == [(20, 0)]


def test_validation_is_made_when_due_and_in_the_last_epoch(tmp_path):
    train = table_of(80)
    routine = routine_of(train, period=2)
    trainer = trainer_of(train, routine, tmp_path, epochs=5)
    trainer.train()
    scores = trainer.epoch_scores["train/MEAN_JS_DISTANCE"]
    assert scores.index[scores.notna()].tolist() == [2, 4, 5]


def test_a_plugin_s_plan_and_period_replace_the_routine_s(tmp_path):
    train = table_of(80)
    routine = routine_of(train, table_of(30, seed=1), period=1)
    trainer = trainer_of(train, routine, tmp_path, epochs=4, callbacks=[Overriding(train)])
    assert str(routine.period) == "3 epochs"
    trainer.train()
    frame = trainer.epoch_scores
    assert frame.index[frame["train/CORRELATION_DISTANCE"].notna()].tolist() == [3, 4]
    assert [name for name in frame if name.startswith("train/")] == ["train/loss", "train/CORRELATION_DISTANCE"]
    assert {f"validation/{name}" for name in SCORES} < set(frame)  # where the plugin has no answer


def test_a_plugin_s_way_to_validate_replaces_the_routine_s(tmp_path):
    train = table_of(80)
    routine = routine_of(train)
    trainer = trainer_of(train, routine, tmp_path, callbacks=[OwnWay()])
    assert trainer.validate().scores == {"validation/AGREEMENT": 0.5}
    assert not trainer.model.requests


def test_a_plugin_s_plan_that_is_none_is_refused(tmp_path):
    train = table_of(80)
    with pytest.raises(PluginError, match="ValidationPlan"):
        trainer_of(train, routine_of(train), tmp_path, callbacks=[OtherPlan()]).validate()


def test_plans_of_the_user_are_executed_besides_the_comparisons(tmp_path):
    train = table_of(80)
    besides = TableComparisonValidationPlan(
        train, ComparisonArtifacts(scores=[], score_collections=["MISSING_SHARE_DIFFERENCE"], plots=[]), name="missing"
    )
    results = trainer_of(train, routine_of(train, plans=[besides]), tmp_path).validate()
    assert {"train/MISSING_SHARE_DIFFERENCE/size", "train/MEAN_JS_DISTANCE"} <= set(results.scores)


def test_results_say_how_many_rows_they_are_of_and_the_seed_of_the_sample():
    train = table_of(80)
    routine = routine_of(train, table_of(30, seed=1), max_rows=50, seed=9)
    plans = [plan for split in (DataSplit.TRAIN, DataSplit.VALIDATION) for plan in (routine._comparisons[split],)]
    assert [(plan.rows, plan.seed) for plan in plans] == [(50, 9), (30, 9)]


def test_labels_that_only_held_out_rows_have_are_no_surprise():
    train = table_of(80)
    held_out = table_of(30, seed=1)
    held_out.frame["label"] = "c"
    comparison = routine_of(train, held_out)._comparisons[DataSplit.TRAIN].comparison
    assert sorted(comparison.labels["label"]) == ["a", "b", "c"]


def test_without_artifacts_nothing_is_generated(tmp_path):
    train = table_of(80)
    nothing = ComparisonArtifacts(scores=[], score_collections=[], plots=[])
    trainer = trainer_of(train, routine_of(train, table_of(30, seed=1), artifacts=nothing), tmp_path)
    trainer.train()
    assert not trainer.model.requests


@pytest.mark.lengthy
def test_scores_are_the_same_in_the_background_and_inline(tmp_path):
    train, held_out = table_of(80), table_of(30, seed=1)
    frames = []
    for mode in ("inline", "background"):
        trainer = trainer_of(train, routine_of(train, held_out, mode=mode), tmp_path, epochs=3)
        trainer.train()
        frames.append(trainer.epoch_scores)
    pd.testing.assert_frame_equal(*frames, check_exact=True)


def test_the_trainer_of_tables_uses_the_routine(tmp_path):
    train, held_out = table_of(80), table_of(30, seed=1)
    trainer = TableComparisonTrainer(
        Resampling(train),
        train,
        held_out,
        settings=settings_for(80),
        artifacts=NO_PLOTS,
        callbacks=[OwnWay()],
        run=RunDirectory.create(root=tmp_path),
    )
    assert isinstance(trainer.validation, TableComparisonValidationRoutine)
    assert trainer.validate().scores == {"validation/AGREEMENT": 0.5}
