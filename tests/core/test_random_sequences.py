"""Any sequence of what one can do with a trainer ends as one straight training does."""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from artifact_torch import Callback, Interrupted, RunDirectory, ScoreCallback, Trainer, ValidationRoutine, hookimpl
from artifact_torch.testing import TinyModel, tiny_loader

EPOCHS, BATCHES = 4, 4


class SignalAt(Callback):
    """Sends SIGINT in a batch, counted over all epochs; 0 sends none."""

    batch = 0

    @hookimpl
    def execute_batch_preprocessing(self, trainer):
        if (trainer.state.epoch - 1) * BATCHES + trainer.state.batch_in_epoch + 1 == self.batch:
            self.batch = 0
            signal.raise_signal(signal.SIGINT)


class MeanLoss(ScoreCallback):
    def reset(self):
        self.losses = []

    def update(self, batch, model_output):
        self.losses.append(model_output["loss"].item())

    def compute(self):
        return sum(self.losses)


def build(root, accumulate, run=None):
    return Trainer(
        TinyModel(),
        tiny_loader(),
        epochs=EPOCHS,
        accumulate=accumulate,
        scheduler=lambda optimizer, steps: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, steps),
        scheduler_interval="step",
        validation=ValidationRoutine(val_loader=tiny_loader(seed=1), period=2),
        callbacks=[SignalAt(), MeanLoss("mean_loss")],
        device="cpu",
        log_every=1,
        run=run or RunDirectory.create(root=root),
        use_installed_plugins=False,
    )


def state_of(trainer):
    """All that is learnt and recorded; what ``validate`` was asked for between epochs is no part of training."""
    scores = trainer.epoch_scores
    return {
        "parameters": [parameter.tolist() for parameter in trainer.model.parameters()],
        "optimization": repr(trainer.optimization.state_dict()),
        "train/loss": scores["train/loss"].dropna().to_dict() if "train/loss" in scores else {},
        "batches": trainer.batch_metrics.to_dict(),
        "random": repr(trainer.random_state.state()["torch"].tolist()),
    }


STRAIGHT = {}


def straight(accumulate, epochs):
    """What one training at a stretch has after so many epochs."""
    if not STRAIGHT.get(accumulate):
        STRAIGHT[accumulate] = {}

        class Keeping(Callback):
            @hookimpl
            def execute_epoch_postprocessing(self, trainer):
                STRAIGHT[accumulate][trainer.state.epochs_completed] = state_of(trainer)

        with tempfile.TemporaryDirectory() as folder:
            trainer = build(Path(folder), accumulate)
            trainer.plugins.register(Keeping())
            trainer.train()
    return STRAIGHT[accumulate][epochs]


class Sequences(RuleBasedStateMachine):
    @initialize(accumulate=st.sampled_from([1, 3]))
    def begin(self, accumulate):
        self.folder = Path(tempfile.mkdtemp())
        self.accumulate = accumulate
        self.trainer = build(self.folder, accumulate)
        self.saved = []

    def teardown(self):
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule(epochs=st.integers(1, EPOCHS))
    def train(self, epochs):
        self.trainer.train(epochs=epochs)

    @rule(epochs=st.integers(1, EPOCHS), batch=st.integers(1, EPOCHS * BATCHES))
    def be_interrupted(self, epochs, batch):
        signalling = self.trainer.plugins._plugins["SignalAt"].implementation
        signalling.batch = batch
        try:
            self.trainer.train(epochs=epochs)
        except Interrupted:
            self.saved.append(self.trainer.run.checkpoints.paths()[-1])
        signalling.batch = 0

    @rule(background=st.booleans())
    def save(self, background):
        self.saved.append(self.trainer.save_checkpoint(background=background))
        self.trainer.wait_for_checkpoints()

    @precondition(lambda self: self.saved)
    @rule(data=st.data(), fresh=st.booleans())
    def load(self, data, fresh):
        path = data.draw(st.sampled_from(self.saved))
        if fresh:
            self.trainer = build(self.folder, self.accumulate, data.draw(st.sampled_from([None, self.trainer.run])))
        self.trainer.load_checkpoint(path)

    @rule()
    def validate(self):
        self.trainer.validate()

    @rule()
    def draw(self):
        random.random(), np.random.random(), torch.rand(2)

    @invariant()
    def it_is_where_a_straight_training_was(self):
        if not hasattr(self, "trainer"):
            return
        state = self.trainer.state
        if state.epochs_completed and not state.batch_in_epoch:
            assert state_of(self.trainer) == straight(self.accumulate, state.epochs_completed)


def run(examples, steps):
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    run_state_machine_as_test(
        Sequences,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=checks, database=None
        ),
    )


@pytest.mark.lengthy
def test_any_sequence_ends_as_a_straight_training():
    run(15, 10)


@pytest.mark.slow
def test_many_sequences_end_as_a_straight_training():
    run(400, 20)
