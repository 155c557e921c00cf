"""Validation: when, with what, and without a trace in what is trained."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from artifact_torch import (
    Callback,
    DataSplit,
    EarlyStopper,
    Period,
    PluginError,
    ScoreCallback,
    UsageError,
    ValidationResults,
    ValidationRoutine,
    hookimpl,
)
from artifact_torch.core.random_state import seed_everything
from artifact_torch.core.validation import evaluation
from artifact_torch.testing import TinyModel, tiny_loader

TRAIN, VALIDATION = DataSplit.TRAIN, DataSplit.VALIDATION


class Constant(ScoreCallback):
    def __init__(self, name="score", value=1.0, split=VALIDATION):
        super().__init__(name, split=split)
        self.value = value

    def reset(self):
        pass

    def update(self, batch, model_output):
        pass

    def compute(self):
        return self.value


class Greedy(Constant):
    """Draws from every global generator, and leaves the model in training mode with gradients on."""

    def compute(self):
        random.random()
        np.random.rand()
        torch.rand(3)
        torch.set_grad_enabled(True)
        return super().compute()


def validated_epochs(trainer):
    scores = trainer.epoch_scores
    return scores.index[scores["validation/score"].notna()].tolist()


def test_validation_does_not_change_what_is_trained(make_trainer):
    plain = make_trainer(TinyModel(dropout=0.5), log_every=1)
    validated = make_trainer(
        TinyModel(dropout=0.5),
        log_every=1,
        validation=ValidationRoutine(val_loader=tiny_loader(20, seed=1), callbacks=[Greedy()]),
    )
    plain.train()
    validated.train()
    assert validated.batch_metrics.equals(plain.batch_metrics)
    assert all(map(torch.equal, validated.model.parameters(), plain.model.parameters()))


@pytest.mark.parametrize("error", [None, ValueError("inside")])
@pytest.mark.parametrize("grad", [True, False])
def test_modes_gradients_and_random_state_are_as_before(error, grad):
    model = TinyModel()
    model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    seed_everything(1)
    expected = (random.random(), np.random.rand(), torch.rand(()).item())
    seed_everything(1)
    with torch.set_grad_enabled(grad):
        try:
            with evaluation(model):
                assert not any(module.training for module in model.modules())
                assert not torch.is_grad_enabled()
                seed_everything(2)
                model.train()
                if error:
                    raise error
        except ValueError:
            pass
        assert torch.is_grad_enabled() is grad
    assert [module.training for module in model.modules()] == modes
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == expected


@pytest.mark.parametrize(
    ("period", "epochs", "expected"), [(1, 3, [1, 2, 3]), (2, 4, [2, 4]), (3, 4, [3, 4]), (9, 2, [2])]
)
def test_validation_is_done_every_period_and_in_the_last_epoch(make_trainer, period, epochs, expected):
    routine = ValidationRoutine(period=period, val_loader=tiny_loader(16), callbacks=[Constant()])
    trainer = make_trainer(epochs=epochs, validation=routine)
    trainer.train()
    assert validated_epochs(trainer) == expected


def test_training_that_a_stopper_ends_between_two_validations_is_validated_at_its_end(make_trainer):
    class AfterTwo(EarlyStopper):
        def check(self, trainer):
            return "two are enough" if trainer.state.epochs_completed == 2 else None

    routine = ValidationRoutine(period=5, val_loader=tiny_loader(16), callbacks=[Constant()])
    trainer = make_trainer(epochs=9, validation=routine, stoppers=[AfterTwo()])
    trainer.train()
    assert validated_epochs(trainer) == [2]
    trainer.train()
    assert len(trainer.epoch_scores) == 2


def test_a_plugin_may_set_the_period(make_trainer):
    class Every3(Callback):
        @hookimpl
        def get_validation_period(self):
            return 3

    routine = ValidationRoutine(val_loader=tiny_loader(16), callbacks=[Constant()])
    trainer = make_trainer(epochs=6, validation=routine, callbacks=[Every3()])
    trainer.train()
    assert routine.period == Period(3)
    assert validated_epochs(trainer) == [3, 6]


@pytest.mark.parametrize("period", [0, -1])
def test_a_period_below_one_is_refused(make_trainer, period):
    class Never(Callback):
        @hookimpl
        def get_validation_period(self):
            return period

    with pytest.raises(UsageError, match=f"A period must be at least 1 epoch, not {period}"):
        ValidationRoutine(period=period)
    refused = f"'Never' returned {period} .int. from get_validation_period: return a number of epochs, 1 or more"
    with pytest.raises(PluginError, match=refused):
        make_trainer(callbacks=[Never()])


def test_without_anything_to_compute_there_is_no_validation(make_trainer):
    started = []

    class Look(Callback):
        @hookimpl
        def on_validation_start(self):
            started.append(True)

    trainer = make_trainer(callbacks=[Look()])
    trainer.train()
    assert not started
    assert not trainer.validation.parts


def test_callbacks_of_all_plugins_are_joined(make_trainer):
    def plugin(name, hook, split):
        return type(name, (Callback,), {hook: hookimpl(lambda _self: [Constant(name, split=split)])})()

    trainer = make_trainer(
        validation=ValidationRoutine(val_loader=tiny_loader(16), callbacks=[Constant("own")]),
        callbacks=[
            plugin("first", "get_val_loader_callbacks", VALIDATION),
            plugin("second", "get_val_loader_callbacks", VALIDATION),
            plugin("third", "get_train_loader_callbacks", TRAIN),
        ],
    )
    results = trainer.validate()
    assert results.of_split(VALIDATION).scores == {"own": 1.0, "first": 1.0, "second": 1.0}
    assert results.of_split(TRAIN).scores == {"third": 1.0}


def test_a_plugin_may_validate_in_place_of_the_routine(make_trainer):
    class Own(Callback):
        @hookimpl
        def execute_validation(self, trainer):
            results = ValidationResults()
            results.of_split(VALIDATION).scores["score"] = float(trainer.state.epoch)
            return results

    trainer = make_trainer(
        callbacks=[Own()], validation=ValidationRoutine(val_loader=tiny_loader(16), callbacks=[Constant("replaced")])
    )
    trainer.train()
    assert trainer.epoch_scores["validation/score"].tolist() == [1.0, 2.0]
    assert "validation/replaced" not in trainer.epoch_scores


def test_results_are_tracked_with_the_epoch_and_step_they_belong_to(make_trainer):
    seen = []

    class Tracker(Callback):
        @hookimpl
        def track_score(self, name, value, split, epoch, step):
            if name == "score":
                seen.append((value, split, epoch, step))

    routine = ValidationRoutine(val_loader=tiny_loader(16), callbacks=[Constant()])
    trainer = make_trainer(validation=routine, callbacks=[Tracker()])
    trainer.validate()
    trainer.train()
    assert seen == [(1.0, VALIDATION, 0, 0), (1.0, VALIDATION, 1, 4), (1.0, VALIDATION, 2, 8)]


def test_validation_by_hand_records_its_scores_in_the_current_epoch(make_trainer):
    callback = Constant()
    trainer = make_trainer(validation=ValidationRoutine(val_loader=tiny_loader(16), callbacks=[callback]))
    trainer.train()
    callback.value = 5.0
    assert trainer.validate().scores == {"validation/score": 5.0}
    assert trainer.epoch_scores["validation/score"].tolist() == [1.0, 5.0]
