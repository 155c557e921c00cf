"""The validation routine of tables: what is compared with what, how often, and what plugins may replace."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from artifact_torch_table_comparison import (
    TableComparisonTrainer,
    TableComparisonValidationRoutine,
    TabularGenerativeModel,
    table_from_frame,
)
from artifact_torch_table_comparison.artifacts import ComparisonArtifacts
from artifact_torch_table_comparison.plan import comparison_plan
from artifact_torch_table_comparison.trainer import settings_for

from artifact_torch import (
    Callback,
    ConfigError,
    DataSplit,
    InMemoryDataLoader,
    RunDirectory,
    Trainer,
    ValidationResults,
    hookimpl,
)

SCORES = ["MEAN_JS_DISTANCE", "CORRELATION_DISTANCE"]
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
            return comparison_plan(artifacts, self.table.frame, self.table.schema)
        return None


class OtherPlan(Callback):
    """A plugin whose plan is none of tables."""

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
    routine = TableComparisonValidationRoutine(train, table_of(30, seed=1), artifacts=NO_PLOTS)
    results = trainer_of(train, routine, tmp_path).validate()
    assert list(results.splits) == [DataSplit.TRAIN, DataSplit.VALIDATION]
    expected = [f"train/{name}" for name in SCORES] + ["train/JS_DISTANCE/size", "train/JS_DISTANCE/label"]
    assert sorted(results.scores) == sorted(expected + [f"validation/{name}" for name in SCORES])
    assert all(0 <= score <= 1 for score in results.scores.values())


@pytest.mark.parametrize("held_out", [None, table_of(30).take([0])])
def test_without_two_held_out_rows_only_training_rows_are_compared(held_out, tmp_path):
    train = table_of(80)
    routine = TableComparisonValidationRoutine(train, held_out, artifacts=NO_PLOTS)
    assert list(trainer_of(train, routine, tmp_path).validate().splits) == [DataSplit.TRAIN]


def test_held_out_rows_without_any_value_are_left_out(tmp_path):
    rows = table_from_frame(pd.DataFrame({"size": [1.0, 2.0, 4.0, 8.0] * 5}))
    held_out = rows.take(slice(0, 6))
    held_out.frame["size"] = np.nan
    routine = TableComparisonValidationRoutine(rows, held_out, artifacts=NO_PLOTS)
    assert list(trainer_of(rows, routine, tmp_path).validate().splits) == [DataSplit.TRAIN]


def test_rows_are_generated_once_for_both_splits_with_the_routine_s_seed(tmp_path):
    train = table_of(80)
    routine = TableComparisonValidationRoutine(train, table_of(30, seed=1), artifacts=NO_PLOTS, seed=7)
    trainer = trainer_of(train, routine, tmp_path)
    first, second = trainer.validate(), trainer.validate()
    assert trainer.model.requests == [(80, 7), (80, 7)]
    assert first.scores == second.scores


def test_at_most_so_many_rows_are_compared(tmp_path):
    train = table_of(80)
    routine = TableComparisonValidationRoutine(train, table_of(30, seed=1), artifacts=NO_PLOTS, max_rows=20)
    trainer = trainer_of(train, routine, tmp_path)
    trainer.validate()
    assert trainer.model.requests == [(20, 0)]


def test_validation_is_made_when_due_and_in_the_last_epoch(tmp_path):
    train = table_of(80)
    routine = TableComparisonValidationRoutine(train, artifacts=NO_PLOTS, period=2)
    trainer = trainer_of(train, routine, tmp_path, epochs=5)
    trainer.train()
    scores = trainer.epoch_scores["train/MEAN_JS_DISTANCE"]
    assert scores.index[scores.notna()].tolist() == [2, 4, 5]


def test_a_plugin_s_plan_and_period_replace_the_routine_s(tmp_path):
    train = table_of(80)
    routine = TableComparisonValidationRoutine(train, table_of(30, seed=1), artifacts=NO_PLOTS, period=1)
    trainer = trainer_of(train, routine, tmp_path, epochs=4, callbacks=[Overriding(train)])
    assert routine.period == 3
    trainer.train()
    frame = trainer.epoch_scores
    assert frame.index[frame["train/CORRELATION_DISTANCE"].notna()].tolist() == [3, 4]
    assert [name for name in frame if name.startswith("train/")] == ["train/loss", "train/CORRELATION_DISTANCE"]
    assert {f"validation/{name}" for name in SCORES} < set(frame)  # where the plugin has no answer


def test_a_plugin_s_way_to_validate_replaces_the_routine_s(tmp_path):
    train = table_of(80)
    routine = TableComparisonValidationRoutine(train, artifacts=NO_PLOTS)
    trainer = trainer_of(train, routine, tmp_path, callbacks=[OwnWay()])
    assert trainer.validate().scores == {"validation/AGREEMENT": 0.5}
    assert not trainer.model.requests


def test_a_plugin_s_plan_that_is_none_of_tables_is_refused(tmp_path):
    train = table_of(80)
    routine = TableComparisonValidationRoutine(train, artifacts=NO_PLOTS)
    with pytest.raises(ConfigError, match="is not a TableComparisonPlan"):
        trainer_of(train, routine, tmp_path, callbacks=[OtherPlan()]).validate()


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
