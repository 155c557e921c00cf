"""Signals while training: the state is saved at a place from which it goes on exactly, and the exit code is right."""

from __future__ import annotations

import signal
import threading

import pytest
import torch

from artifact_torch import Callback, Interrupted, ScoreCallback, ValidationRoutine, hookimpl
from artifact_torch.testing import tiny_loader

SIGNALS = [signal.SIGINT, signal.SIGTERM]


class Signalling(Callback):
    """Sends a signal to this process in a hook, at a step."""

    def __init__(self, number, hook, step, times=1):
        self.arguments = number, step, times
        self.hook = hook

    def send(self, trainer):
        number, step, times = self.arguments
        if trainer.state.step == step:
            for _ in range(times):
                signal.raise_signal(number)

    @hookimpl
    def on_train_start(self, trainer):
        if self.hook == "on_train_start":
            self.send(trainer)

    @hookimpl
    def execute_batch_preprocessing(self, trainer):
        if self.hook == "execute_batch_preprocessing":
            self.send(trainer)

    @hookimpl
    def on_before_optimizer_step(self, trainer):
        if self.hook == "on_before_optimizer_step":
            self.send(trainer)

    @hookimpl
    def on_validation_end(self, trainer):
        if self.hook == "on_validation_end":
            self.send(trainer)

    @hookimpl
    def execute_epoch_postprocessing(self, trainer):
        if self.hook == "execute_epoch_postprocessing":
            self.send(trainer)

    @hookimpl
    def on_train_end(self, trainer):
        if self.hook == "on_train_end":
            self.send(trainer)


class Count(ScoreCallback):
    def reset(self):
        self.count = 0

    def update(self, batch, model_output):
        self.count += len(batch["target"])

    def compute(self):
        return self.count


@pytest.fixture(autouse=True)
def _usual_handlers():
    """The handlers that a program starts with, whatever runs these tests."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def build(make_trainer):
    def build(*callbacks, run=None):
        routine = ValidationRoutine(val_loader=tiny_loader(16, seed=1), callbacks=[Count("count")])
        return make_trainer(epochs=3, validation=routine, callbacks=callbacks, log_every=1, run=run)

    return build


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(
    ("hook", "step", "saved"),
    [
        ("on_train_start", 0, 1),
        ("execute_batch_preprocessing", 0, 1),
        ("on_before_optimizer_step", 5, 6),
        ("on_before_optimizer_step", 7, 8),
        ("on_validation_end", 8, 8),
        ("execute_epoch_postprocessing", 4, 4),
        ("on_before_optimizer_step", 11, 12),
    ],
)
def test_the_batch_or_the_validation_is_finished_and_the_run_goes_on_exactly(build, number, hook, step, saved):
    whole = build()
    whole.train()
    trainer = build(Signalling(number, hook, step))
    with pytest.raises(Interrupted) as ended:
        trainer.train()
    assert ended.value.exit_code == 128 + number
    assert trainer.state.step == saved
    record = trainer.run.record
    assert record["status"] == "interrupted"
    assert record["reason"] == f"Interrupted: {number.name} was received"
    assert (
        f"training can go on from {trainer.run.checkpoints.paths()[-1]}" in (trainer.run.path / "log.txt").read_text()
    )
    resumed = build(run=trainer.run)
    resumed.load_checkpoint()
    assert resumed.state.step == saved
    resumed.train()
    assert all(map(torch.equal, resumed.model.parameters(), whole.model.parameters()))
    assert resumed.epoch_scores.equals(whole.epoch_scores)
    assert resumed.batch_metrics.equals(whole.batch_metrics)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_ends_training_at_once(build, number):
    trainer = build(Signalling(number, "execute_batch_preprocessing", 2, times=2))
    with pytest.raises(Interrupted) as ended:
        trainer.train()
    assert ended.value.exit_code == 128 + number
    assert trainer.state.step == 2
    assert trainer.run.record["status"] == "interrupted"
    assert trainer.run.checkpoints.paths() == []


def test_afterwards_signals_are_the_programs_again(build):
    build().train()
    with pytest.raises(Interrupted):
        build(Signalling(signal.SIGTERM, "on_before_optimizer_step", 1)).train()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_that_comes_when_training_has_ended_is_not_swallowed(build):
    trainer = build(Signalling(signal.SIGINT, "on_train_end", 12))
    with pytest.raises(KeyboardInterrupt) as ended:
        trainer.train()
    assert not isinstance(ended.value, Interrupted)
    assert trainer.run.record["status"] == "finished"


def test_a_handler_of_the_program_itself_is_left_alone(build):
    received = []
    signal.signal(signal.SIGTERM, lambda number, _frame: received.append(number))
    trainer = build(Signalling(signal.SIGTERM, "on_before_optimizer_step", 1))
    assert trainer.train().epochs == 3
    assert received == [signal.SIGTERM]


def test_a_full_disk_does_not_keep_a_run_from_ending(build):
    trainer = build(Signalling(signal.SIGTERM, "on_before_optimizer_step", 1))
    trainer.run.checkpoints.directory.write_text("a file where the folder of checkpoints should be")
    with pytest.raises(Interrupted):
        trainer.train()
    assert "Interrupted, and the state cannot be saved" in (trainer.run.path / "log.txt").read_text()


def test_outside_the_main_thread_training_watches_no_signals(build):
    results = []
    thread = threading.Thread(target=lambda: results.append(build().train().epochs))
    thread.start()
    thread.join()
    assert results == [3]
