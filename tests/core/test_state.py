"""A run that is saved, and resumed in another trainer, gives the very numbers of one that was never interrupted."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, StepLR

from artifact_torch import Callback, CheckpointError, DataLoader, Dataset, Trainer, hookimpl
from artifact_torch.testing import TinyModel, tiny_loader

BATCHES, EPOCHS = 4, 3


class Noise(Callback):
    """Draws from every global generator, so that a state that is not restored changes the numbers."""

    @hookimpl
    def execute_batch_preprocessing(self, batch):
        batch["features"] = batch["features"] + 0.1 * torch.randn(()) + 0.1 * float(np.random.rand())


class Momentum(Callback):
    """Has a state of its own, which is a metric too."""

    def __init__(self):
        self.average = torch.zeros(())

    @hookimpl
    def execute_batch_preprocessing(self, batch):
        self.average = 0.9 * self.average + 0.1 * batch["target"].mean()

    @hookimpl
    def log_batch_metrics(self):
        return {"average": self.average}

    @hookimpl
    def log_epoch_metrics(self):
        return {"average": self.average}

    @hookimpl
    def on_save_checkpoint(self):
        return {"average": self.average}

    @hookimpl
    def on_load_checkpoint(self, state):
        self.average = state["average"]


class SaveAt(Callback):
    """Saves a checkpoint in one hook, once, after a number of steps."""

    def __init__(self, hook, step, folder):
        self.hook, self.step, self.folder = hook, step, folder

    def _maybe(self, hook, trainer):
        if hook == self.hook and trainer.state.step == self.step:
            trainer.save_checkpoint(self.folder)

    @hookimpl(trylast=True)
    def execute_batch_postprocessing(self, trainer):
        self._maybe("batch", trainer)

    @hookimpl(trylast=True)
    def execute_epoch_postprocessing(self, trainer):
        self._maybe("epoch", trainer)

    @hookimpl
    def should_stop(self, trainer):
        self._maybe("stop", trainer)


class Samples(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, index):
        features = torch.tensor([index, index % 3, index % 5]) / 64 + 0.01 * torch.rand(3)
        return {"features": features, "target": features.sum(dim=0, keepdim=True)}


def one_cycle(optimizer):
    return OneCycleLR(optimizer, max_lr=0.1, total_steps=BATCHES * EPOCHS + 1)


def step_down(optimizer):
    return StepLR(optimizer, step_size=1, gamma=0.5)


def build(*callbacks, schedule=None, loader=None):
    model = TinyModel(dropout=0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    return Trainer(
        model,
        loader or tiny_loader(16 * BATCHES),
        epochs=EPOCHS,
        optimizer=optimizer,
        scheduler=schedule(optimizer) if schedule else None,
        scheduler_interval="step" if schedule is one_cycle else "epoch",
        callbacks=[Noise(), Momentum(), *callbacks],
        device="cpu",
        log_every=1,
        use_installed_plugins=False,
    )


def assert_same_end(resumed, uninterrupted):
    assert all(map(torch.equal, resumed.model.parameters(), uninterrupted.model.parameters()))
    assert resumed.epoch_scores.equals(uninterrupted.epoch_scores)
    assert resumed.batch_metrics.equals(uninterrupted.batch_metrics)
    assert resumed.optimizer.param_groups[0]["lr"] == uninterrupted.optimizer.param_groups[0]["lr"]
    counters = [(each.state.epoch, each.state.epochs_completed, each.state.step) for each in (resumed, uninterrupted)]
    assert counters[0] == counters[1] == (EPOCHS, EPOCHS, BATCHES * EPOCHS)


SAVE_POINTS = [("batch", 1), ("batch", 6), ("batch", 8), ("batch", 11), ("epoch", 4), ("epoch", 8), ("stop", 8)]


@pytest.mark.parametrize("schedule", [None, one_cycle, step_down])
@pytest.mark.parametrize(("hook", "step"), SAVE_POINTS)
def test_a_resumed_run_gives_the_numbers_of_an_uninterrupted_one(tmp_path, schedule, hook, step):
    uninterrupted = build(SaveAt(hook, step, tmp_path), schedule=schedule)
    uninterrupted.train()
    torch.manual_seed(12345)
    np.random.seed(12345)
    resumed = build(schedule=schedule)
    resumed.load_checkpoint(tmp_path)
    assert resumed.state.step == step
    resumed.train()
    assert_same_end(resumed, uninterrupted)


def test_a_resumed_run_of_a_data_set_gives_the_same_numbers(tmp_path):
    def loader():
        return DataLoader(Samples(), batch_size=16, shuffle=True, seed=3)

    uninterrupted = build(SaveAt("batch", 6, tmp_path), loader=loader())
    uninterrupted.train()
    resumed = build(loader=loader())
    resumed.load_checkpoint(tmp_path)
    resumed.train()
    assert_same_end(resumed, uninterrupted)


def test_a_run_that_failed_in_the_middle_of_an_epoch_resumes_from_its_checkpoint(tmp_path):
    class Crash(Callback):
        @hookimpl
        def execute_batch_preprocessing(self, trainer):
            if trainer.state.step == 7:
                raise RuntimeError("the machine went down")

    uninterrupted = build()
    uninterrupted.train()
    with pytest.raises(RuntimeError, match="went down"):
        build(SaveAt("batch", 6, tmp_path), Crash()).train()
    resumed = build()
    resumed.load_checkpoint(tmp_path)
    resumed.train()
    assert_same_end(resumed, uninterrupted)


def test_going_back_to_a_checkpoint_in_the_same_trainer_repeats_the_numbers(tmp_path):
    trainer = build(SaveAt("batch", 6, tmp_path))
    trainer.train()
    scores, weights = trainer.epoch_scores, trainer.model.layers[1].weight.detach().clone()
    trainer.load_checkpoint(tmp_path)
    trainer.train()
    assert trainer.epoch_scores.equals(scores)
    assert torch.equal(trainer.model.layers[1].weight, weights)


def test_the_epoch_that_was_interrupted_is_not_begun_a_second_time(tmp_path):
    begun = []

    class Begin(Callback):
        @hookimpl
        def execute_epoch_preprocessing(self, trainer):
            begun.append(trainer.state.epoch)

    build(SaveAt("batch", 6, tmp_path)).train()
    resumed = build(Begin())
    resumed.load_checkpoint(tmp_path)
    resumed.train()
    assert begun == [3]


def test_seconds_add_up_over_a_resume(tmp_path):
    first = build(SaveAt("epoch", 4, tmp_path))
    first.train()
    resumed = build()
    resumed.load_checkpoint(tmp_path)
    before = resumed.state.seconds
    assert 0 < before < first.state.seconds
    assert resumed.train().seconds > before


def test_state_of_an_absent_plugin_is_an_error_unless_it_may_be_left_out(tmp_path, caplog, make_trainer):
    saved = make_trainer(callbacks=[Momentum()]).save_checkpoint(tmp_path)
    trainer = make_trainer()
    with pytest.raises(CheckpointError, match=r"holds state of plugins that are not here: 'Momentum' \(no distr"):
        trainer.load_checkpoint(saved)
    with caplog.at_level(logging.WARNING):
        trainer.load_checkpoint(saved, allow_plugin_drift=True)
    assert "with state of plugins that is left out here: 'Momentum'" in caplog.text


# A checkpoint that does not fit.


class Wider(TinyModel):
    def __init__(self):
        super().__init__()
        self.extra = nn.Linear(3, 3)


def trainer_of(make_trainer, model=None, optimizer=torch.optim.Adam, schedule=None):
    model = TinyModel() if model is None else model
    made = optimizer(model.parameters(), lr=0.1)
    return make_trainer(model, optimizer=made, scheduler=schedule(made) if schedule else None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": Wider()}, "does not fit this trainer's model: .*extra.weight"),
        ({"optimizer": torch.optim.SGD}, "optimizer is Adam, and this trainer's is SGD"),
        ({"schedule": step_down}, "scheduler is absent, and this trainer's is StepLR"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_with_what_does_not(make_trainer, tmp_path, options, message):
    trainer_of(make_trainer).save_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        trainer_of(make_trainer, **options).load_checkpoint(tmp_path)


def test_a_checkpoint_of_another_scheduler_is_refused(make_trainer, tmp_path):
    trainer_of(make_trainer, schedule=one_cycle).save_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="scheduler is OneCycleLR, and this trainer's is StepLR"):
        trainer_of(make_trainer, schedule=step_down).load_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="scheduler is OneCycleLR, and this trainer's is absent"):
        trainer_of(make_trainer).load_checkpoint(tmp_path)


def test_a_checkpoint_of_other_parameter_groups_is_refused(make_trainer, tmp_path):
    def in_groups(model):
        return make_trainer(model, optimizer=torch.optim.Adam([{"params": [each]} for each in model.parameters()]))

    trainer_of(make_trainer).save_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="does not fit this trainer's optimizer"):
        in_groups(TinyModel()).load_checkpoint(tmp_path)


def test_a_saved_model_is_not_taken_for_a_checkpoint(make_trainer, tmp_path):
    saved = TinyModel().save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        make_trainer().load_checkpoint(saved)


def test_a_plugin_state_that_cannot_be_stored_is_refused_with_its_place(make_trainer, tmp_path):
    class Odd(Callback):
        @hookimpl
        def on_save_checkpoint(self):
            return {"nested": [object()]}

    with pytest.raises(CheckpointError, match=r"Cannot save state\.plugins\.Odd\.nested\.0: object"):
        make_trainer(callbacks=[Odd()]).save_checkpoint(tmp_path)
    assert list(tmp_path.glob("*step-*")) == []
