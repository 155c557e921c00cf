"""Stoppers combined in real trainings, also where they end an epoch in the middle, and what is resumed from there."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from artifact_torch_stoppers import (
    Budget,
    FunctionStopper,
    GeneralizationGap,
    MaxEpochs,
    MaxSteps,
    NonFinite,
    Patience,
    Plateau,
    StopFile,
    StopSignal,
    Threshold,
    TimeLimit,
)

from artifact_torch import Callback, EarlyStopper, ScoreCallback, Trainer, ValidationRoutine, hookimpl
from artifact_torch.testing import TinyInput, TinyOutput, tiny_loader

MakeTrainer = Callable[..., Trainer]
Scripted = Callable[..., Callback]

VALUES = [5.0, 4.0, 4.0, 4.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0]


class Error(ScoreCallback):
    """The mean absolute error."""

    def reset(self) -> None:
        self.errors: list[torch.Tensor] = []

    def update(self, batch: TinyInput, model_output: TinyOutput) -> None:
        self.errors.append((model_output["prediction"] - batch["target"]).abs())

    def compute(self) -> float:
        return torch.cat(self.errors).mean().item()


class Touch(Callback):
    """Makes the file STOP after a step."""

    def __init__(self, at_step: int) -> None:
        self.at_step = at_step

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        if trainer.state.step == self.at_step:
            (trainer.run.path / "STOP").touch()


def always(trainer: Trainer) -> bool:
    return True


def patience(epochs: int) -> Patience:
    return Patience(score="train/watched", epochs=epochs)


def threshold(goal: float) -> Threshold:
    return Threshold(score="train/watched", goal=goal)


PATIENCE_AFTER_4 = "Patience: train/watched has not improved on 4 (epoch 2) for 2 epochs"


@pytest.mark.parametrize(
    ("combined", "steps", "reason"),
    [
        (lambda: patience(2) | MaxEpochs(epochs=9), 16, f"Patience | MaxEpochs: {PATIENCE_AFTER_4}"),
        (lambda: patience(9) | MaxEpochs(epochs=3), 12, "Patience | MaxEpochs: MaxEpochs: 3 epochs are done"),
        (
            lambda: patience(2) & MaxEpochs(epochs=6),  # not before 6 epochs
            28,
            "Patience & MaxEpochs: Patience: train/watched has not improved on 3 (epoch 5) for 2 epochs and MaxEpochs: "
            "7 epochs are done",
        ),
        (
            lambda: threshold(4) & ~patience(2),  # the goal, and still improving
            8,
            "Threshold & ~Patience: Threshold: train/watched is 4 (epoch 2) and has reached the goal 4 and ~Patience: "
            "Patience has no reason to stop",
        ),
        (
            lambda: (threshold(3) | patience(2)) & ~MaxEpochs(epochs=4),  # not from 4 epochs on
            40,
            "all 10 epochs are done",
        ),
        (
            lambda: (threshold(1) | patience(2)) & MaxEpochs(epochs=2),
            16,
            "(Threshold | Patience) & MaxEpochs: (Threshold | Patience): " + PATIENCE_AFTER_4
            + " and MaxEpochs: 4 epochs are done",
        ),
        (lambda: MaxSteps(steps=6) | patience(2), 6, "MaxSteps | Patience: MaxSteps: 6 steps are done (epoch 2)"),
        (
            lambda: MaxSteps(steps=6) & MaxEpochs(epochs=2),
            8,
            "MaxSteps & MaxEpochs: MaxSteps: 8 steps are done (epoch 2) and MaxEpochs: 2 epochs are done",
        ),
        (
            lambda: patience(2) & MaxSteps(steps=18),  # Patience has its reason after epoch 4, and the steps come in 5
            18,
            "Patience & MaxSteps: MaxSteps: 18 steps are done (epoch 5) and " + PATIENCE_AFTER_4,
        ),
        (
            lambda: TimeLimit(limit=1e-9) & MaxSteps(steps=3) & ~Budget(amount=1e9),
            3,
            None,
        ),
        (lambda: TimeLimit(limit="1000 h") | Budget(amount=1e9) | MaxSteps(steps=5), 5, None),
        (
            lambda: StopFile(period=0) & MaxSteps(steps=9),
            9,
            None,
        ),
        (lambda: ~~MaxSteps(steps=7), 7, "~~MaxSteps: ~MaxSteps has no reason to stop"),
        (
            lambda: Plateau(score="train/watched", epochs=3) & FunctionStopper(function=always),
            16,
            None,
        ),
        (
            lambda: NonFinite(score="train/watched") | GeneralizationGap(
                score="train/watched", measure="loss", bound=9) | MaxEpochs(epochs=2),
            8,
            "NonFinite | GeneralizationGap | MaxEpochs: MaxEpochs: 2 epochs are done",
        ),
    ],
)  # fmt: skip
def test_stoppers_are_combined_in_a_training(
    make_trainer: MakeTrainer,
    scripted: Scripted,
    combined: Callable[[], EarlyStopper],
    steps: int,
    reason: str | None,
) -> None:
    trainer = make_trainer(epochs=10, callbacks=[scripted(watched=VALUES), Touch(at_step=7)], stoppers=[combined()])
    result = trainer.train()
    assert (result.steps, trainer.run.record["reason"]) == (steps, result.reason)
    if reason is not None:
        assert result.reason == reason


class Saver(Callback):
    """Saves a checkpoint after each step, where everything about it is recorded."""

    def __init__(self) -> None:
        self.checkpoints: list[Path] = []

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        self.checkpoints.append(trainer.save_checkpoint())

    @hookimpl
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        self.checkpoints.append(trainer.save_checkpoint())


@pytest.mark.lengthy
def test_a_training_resumed_after_any_step_or_epoch_stops_in_the_same_place_for_the_same_reason(
    make_trainer: MakeTrainer, scripted: Scripted
) -> None:
    def new_trainer(*callbacks: Callback) -> Trainer:
        stopper = (patience(2) & MaxSteps(steps=14)) | threshold(1)
        return make_trainer(
            loader=tiny_loader(48),
            epochs=10,
            callbacks=[scripted(watched=VALUES), *callbacks],
            validation=ValidationRoutine(val_loader=tiny_loader(16), callbacks=[Error("error")], period="2 steps"),
            stoppers=[stopper],
        )

    saver = Saver()
    whole = new_trainer(saver)
    expected = whole.train()
    assert (expected.epochs, expected.steps) == (4, 14)
    for checkpoint in saver.checkpoints:
        resumed = new_trainer()
        resumed.load_checkpoint(checkpoint)
        result = resumed.train()
        assert (result.epochs, result.steps, result.reason) == (expected.epochs, expected.steps, expected.reason)
        assert same_bits(resumed, whole)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("period", [1, "3 steps"])
@pytest.mark.parametrize("steps", [1, 3, 4, 6])
def test_what_was_stopped_within_an_epoch_is_resumed_to_the_same_bits(
    make_trainer: MakeTrainer, accumulate: int, period: int | str, steps: int
) -> None:
    def new_trainer(*stoppers: EarlyStopper) -> Trainer:
        return make_trainer(
            epochs=4,  # six steps are never all of them
            stoppers=stoppers,
            accumulate=accumulate,
            validation=ValidationRoutine(val_loader=tiny_loader(16), callbacks=[Error("error")], period=period),
            log_every=1,
        )

    whole = new_trainer()
    whole.train()
    stopped = new_trainer(MaxSteps(steps=steps) | TimeLimit(limit="1000 h"))
    stopped.train()
    assert (stopped.state.step, stopped.run.record["status"]) == (steps, "stopped")
    resumed = new_trainer(MaxSteps(steps=1000) | TimeLimit(limit="1000 h"))
    resumed.load_checkpoint(stopped.run.checkpoints.paths()[-1])
    assert resumed.train().reason == "all 4 epochs are done"
    assert same_bits(resumed, whole)


def test_the_same_trainer_goes_on_to_the_same_bits(make_trainer: MakeTrainer) -> None:
    whole = make_trainer(epochs=3)
    whole.train()
    stops = iter([True])
    once = FunctionStopper(function=lambda trainer: trainer.state.step >= 4 and next(stops, False))
    stopped = make_trainer(epochs=3, stoppers=[once])
    assert [stopped.train().epochs, stopped.train().epochs] == [1, 3]
    assert same_bits(stopped, whole)


def test_a_stop_within_an_epoch_leaves_a_validated_model_and_a_checkpoint(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(
        epochs=3,
        stoppers=[MaxSteps(steps=6)],
        validation=ValidationRoutine(val_loader=tiny_loader(16), callbacks=[Error("error")]),
    )
    trainer.train()
    assert trainer.run.model_path.exists()
    assert len(trainer.run.checkpoints.paths()) == 1
    scores = trainer.epoch_scores
    assert scores["validation/error"].notna().to_dict() == {1: True, 2: True}
    assert scores["train/loss"].notna().to_dict() == {1: True, 2: False}  # the second epoch was not ended


def test_hopeless_numbers_stop_nothing_in_a_combination_that_waits_for_all(
    make_trainer: MakeTrainer, scripted: Scripted
) -> None:
    values = [1.0, math.nan, math.nan, 2.0]
    stopper = NonFinite(score="train/watched") & MaxEpochs(epochs=4)
    trainer = make_trainer(epochs=4, callbacks=[scripted(watched=values)], stoppers=[stopper])
    assert trainer.train().reason == "all 4 epochs are done"


def test_a_signal_is_heard_in_a_combination(make_trainer: MakeTrainer) -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        trainer = make_trainer(callbacks=[Send(at_step=3)], stoppers=[StopSignal() | MaxSteps(steps=6)])
        assert trainer.train().steps == 3
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_an_old_file_stops_nothing_in_a_combination_and_a_new_one_is_removed(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[Touch(at_step=3)], stoppers=[StopFile(period=0) | MaxSteps(steps=6)])
    path = trainer.run.path / "STOP"
    path.touch()
    os.utime(path, ns=(0, 0))
    assert trainer.train().steps == 3
    assert not path.exists()


class Send(Callback):
    """Sends a signal to this process after a step."""

    def __init__(self, at_step: int) -> None:
        self.at_step = at_step

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        if trainer.state.step == self.at_step:
            os.kill(os.getpid(), signal.SIGUSR1)


def same_bits(trainer: Trainer[Any, Any], other: Trainer[Any, Any]) -> bool:
    """Whether two trainings have learnt and recorded the same."""
    states: Sequence[Mapping[str, torch.Tensor]] = [each.model.state_dict() for each in (trainer, other)]
    return (
        all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        and trainer.epoch_scores.equals(other.epoch_scores)
        and trainer.batch_metrics.equals(other.batch_metrics)
        and trainer.state.step == other.state.step
    )
