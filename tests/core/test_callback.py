"""Computations over a loader: six kinds, on two splits, given to the routine or to the trainer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib import pyplot

from artifact_torch import (
    ArrayCallback,
    ArrayCollectionCallback,
    DataSplit,
    PlotCallback,
    PlotCollectionCallback,
    PluginError,
    ScoreCallback,
    ScoreCollectionCallback,
    UsageError,
    ValidationRoutine,
    registry,
)
from artifact_torch.core.callback import LoaderCallback
from artifact_torch.testing import tiny_loader

TRAIN, VALIDATION = DataSplit.TRAIN, DataSplit.VALIDATION


class Rows(ScoreCallback):
    """Counts the rows it has seen."""

    def reset(self):
        self.rows = 0

    def update(self, batch, model_output):
        assert not model_output["prediction"].requires_grad
        self.rows += len(batch["target"])

    def compute(self):
        return float(self.rows)


class Made(LoaderCallback):
    def reset(self):
        self.batches = 0

    def update(self, batch, model_output):
        self.batches += 1

    def compute(self):
        return self.make()


class Array(Made, ArrayCallback):
    def make(self):
        return np.arange(self.batches)


class Plot(Made, PlotCallback):
    def make(self):
        return pyplot.figure(figsize=(1, 1))


class Scores(Made, ScoreCollectionCallback):
    def make(self):
        return {"a": 1.0, "b": float(self.batches)}


class Arrays(Made, ArrayCollectionCallback):
    def make(self):
        return {"a": np.zeros(1)}


class Plots(Made, PlotCollectionCallback):
    def make(self):
        return {"a": pyplot.figure(figsize=(1, 1))}


def routine_over(callbacks, **options):
    return ValidationRoutine(
        train_loader=tiny_loader(48), val_loader=tiny_loader(20, seed=1), callbacks=callbacks, **options
    )


@pytest.mark.parametrize("split", [TRAIN, VALIDATION, "train", "validation"])
def test_a_callback_passes_over_the_loader_of_its_split(make_trainer, split):
    trainer = make_trainer(validation=routine_over([Rows("rows", split=split)]))
    trainer.train()
    expected = {"train": 48.0, "validation": 20.0}[str(split)]
    assert trainer.epoch_scores[f"{split}/rows"].tolist() == [expected, expected]


@pytest.mark.parametrize("split", [TRAIN, VALIDATION])
def test_a_callback_may_be_given_to_the_trainer(make_trainer, split):
    trainer = make_trainer(callbacks=[Rows("rows", split=split)], validation=routine_over([]))
    trainer.train()
    assert f"{split}/rows" in trainer.epoch_scores


def test_the_trainers_loader_is_the_default_of_the_training_split(make_trainer):
    trainer = make_trainer(loader=tiny_loader(64), callbacks=[Rows("rows", split=TRAIN)])
    trainer.train()
    assert trainer.epoch_scores["train/rows"].tolist() == [64.0, 64.0]


def test_all_callbacks_of_a_split_share_one_pass(make_trainer):
    forward = []
    trainer = make_trainer(validation=routine_over([Rows("one"), Rows("two"), Scores("three")]))
    trainer.model.register_forward_hook(lambda module, *_: forward.append(module.training))
    trainer.validate()
    assert forward == [False, False]


def test_every_kind_of_result_is_tracked_under_its_kind(make_trainer):
    kinds = [Rows("score"), Array("array"), Plot("plot"), Scores("scores"), Arrays("arrays"), Plots("plots")]
    trainer = make_trainer(validation=routine_over(kinds))
    results = trainer.validate()
    artifacts = results.of_split(VALIDATION)
    assert artifacts.scores == {"score": 20.0}
    assert artifacts.arrays["array"].tolist() == [0, 1]
    assert artifacts.score_collections == {"scores": {"a": 1.0, "b": 2.0}}
    assert (list(artifacts.plots), list(artifacts.plot_collections), list(artifacts.array_collections)) == (
        ["plot"],
        ["plots"],
        ["arrays"],
    )
    assert {path.name for path in (trainer.run.path / "artifacts").iterdir()} == {
        "array",
        "plot",
        "array_collection",
        "plot_collection",
    }
    assert trainer.epoch_scores.loc[0].to_dict() == {
        "validation/score": 20.0,
        "validation/scores/a": 1.0,
        "validation/scores/b": 2.0,
    }
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("split", ["test", "all", "elsewhere"])
def test_another_split_is_refused(split):
    with pytest.raises(UsageError, match="works on the train or the validation split"):
        Rows("rows", split=split)


def test_two_callbacks_of_one_name_and_split_are_refused(make_trainer):
    with pytest.raises(UsageError, match="Two callbacks of the validation split are named 'rows'"):
        make_trainer(callbacks=[Scores("rows")], validation=routine_over([Rows("rows")]))
    make_trainer(callbacks=[Rows("rows", split=TRAIN)], validation=routine_over([Rows("rows")]))


def test_a_callback_without_its_loader_is_refused_at_once(make_trainer):
    with pytest.raises(UsageError, match="'rows' passes over the validation loader: give the routine a val_loader"):
        make_trainer(callbacks=[Rows("rows")])


def test_a_callback_sees_the_model_in_evaluation_mode(make_trainer):
    class Predictions(ArrayCallback):
        def reset(self):
            self.seen = []

        def update(self, batch, model_output):
            self.seen.append(model_output["prediction"])

        def compute(self):
            return torch.cat(self.seen).numpy()

    trainer = make_trainer(validation=routine_over([Predictions("p")]))
    first, second = (trainer.validate().of_split(VALIDATION).arrays["p"] for _ in range(2))
    assert np.array_equal(first, second)


def test_what_is_not_a_callback_is_not_registered_as_one():
    with pytest.raises(PluginError, match=r"not a subclass of artifact_torch.core.callback.Callback"):
        registry.add("callbacks", "integer", int)
