from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from artifact_torch_callbacks import Timer

from artifact_torch import (
    ArtifactKind,
    Callback,
    DataLoader,
    IterableDataset,
    ScoreCallback,
    Trainer,
    ValidationRoutine,
    hookimpl,
)
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters
from artifact_torch.testing import TinyPlan, tiny_loader

MakeTrainer = Callable[..., Trainer[Any, Any]]
COLUMNS = [f"train/{name}_seconds" for name in ("epoch", "step", "data", "validation")]
STEPS = 4


def work() -> float:
    """Takes a while, and says how long that was."""
    start = time.monotonic()
    sum(range(40_000))
    return time.monotonic() - start


class Works(Callback):
    """Works in the hooks that are asked for, and adds up how long that took."""

    def __init__(self) -> None:
        self.steps = self.epochs = 0.0

    @hookimpl
    def execute_batch_postprocessing(self) -> None:
        self.steps += work()

    @hookimpl
    def execute_epoch_postprocessing(self) -> None:
        self.epochs += work()


class Score(ScoreCallback):
    def __init__(self) -> None:
        super().__init__("score")
        self.seconds = 0.0

    def reset(self) -> None:
        pass

    def update(self, batch: Any, model_output: Any) -> None:
        self.seconds += work()

    def compute(self) -> float:
        return 0.0


class Samples(IterableDataset[Any]):
    seconds = 0.0

    def __iter__(self) -> Iterator[Any]:
        for batch in tiny_loader(64, batch_size=1, shuffle=False):
            Samples.seconds += work()
            yield {name: value[0] for name, value in batch.items()}


class FailAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        if trainer.state.step == self.step:
            raise RuntimeError("power cut")


def log_of(trainer: Trainer) -> str:
    return (trainer.run.path / "log.txt").read_text()


def test_is_found_by_name_and_each_part_stands_where_it_belongs(make_trainer: MakeTrainer) -> None:
    assert components.get("callbacks", "timer") is Timer
    works, score = Works(), Score()
    Samples.seconds = 0.0
    validation = ValidationRoutine(period="2 steps", val_loader=tiny_loader(32), callbacks=[score])
    loader = DataLoader(Samples(), batch_size=16)
    trainer = make_trainer(loader=loader, epochs=3, callbacks=["timer", works], validation=validation)
    trainer.train()
    times = trainer.epoch_scores[COLUMNS].sum()
    assert times["train/data_seconds"] >= Samples.seconds
    assert times["train/step_seconds"] * STEPS >= works.steps
    assert times["train/validation_seconds"] >= score.seconds
    parts = times["train/data_seconds"] + times["train/step_seconds"] * STEPS + times["train/validation_seconds"]
    assert parts <= times["train/epoch_seconds"]  # so that nothing is counted twice
    assert times["train/epoch_seconds"] + works.epochs <= trainer.seconds


def test_the_summary_says_where_the_time_went(make_trainer: MakeTrainer) -> None:
    validation = ValidationRoutine(val_loader=tiny_loader(32), callbacks=[Score()])
    trainer = make_trainer(callbacks=[Timer(), Works()], validation=validation)
    trainer.train()
    summary = log_of(trainer).split("Where the time of ")[1].split("Training ended")[0]
    first, *lines = summary.splitlines()
    assert first == "2 epochs and 8 steps went:"
    parts = [re.fullmatch(r"  (\D+?) +\d+\.\d s +(\d+)%(?:  [\d.e+]+ ms a step)?", line) for line in lines[:5]]
    names = [part[1] for part in parts if part]
    assert names == ["making steps", "waiting for data", "validating", "waiting for artifacts", "the rest"]
    assert sum(int(part[2]) for part in parts if part) == pytest.approx(100, abs=3)  # each is rounded
    assert re.fullmatch(r"  in all +\d+\.\d s", lines[5])
    assert re.match(r"Of it, plugins took: .*Works \d+\.\d s \(\d+%\)", lines[6])


def test_without_a_record_there_is_the_summary_only(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[Timer(record=False)])
    trainer.train()
    assert list(trainer.epoch_scores) == ["train/loss"]
    assert "Where the time of 2 epochs and 8 steps went" in log_of(trainer)


@pytest.mark.lengthy
def test_waiting_for_artifacts_counts_as_validation(make_trainer: MakeTrainer) -> None:
    validation = ValidationRoutine(
        plans=[TinyPlan(kinds=[ArtifactKind.SCORE])], mode="background", rounds_in_flight=1, period="2 steps"
    )
    timer = Timer()
    trainer = make_trainer(callbacks=[timer], validation=validation)
    trainer.train()
    counted = timer.on_save_checkpoint(trainer)["times"]
    assert counted["artifacts"] == pytest.approx(trainer.validating.seconds_waited)
    assert counted["artifacts"] > 0
    times = trainer.epoch_scores[COLUMNS].sum()
    parts = times["train/data_seconds"] + times["train/step_seconds"] * STEPS + times["train/validation_seconds"]
    assert parts <= times["train/epoch_seconds"]


@pytest.mark.parametrize("failing_step", [4, 6])
def test_times_go_on_counting_where_training_is_resumed(make_trainer: MakeTrainer, failing_step: int) -> None:
    def new(*others: Callback) -> Trainer:
        validation = ValidationRoutine(val_loader=tiny_loader(32), callbacks=[Score()])
        return make_trainer(epochs=3, callbacks=[Timer(), *others], validation=validation)

    failing = new(Works(), FailAt(failing_step))
    with pytest.raises(RuntimeError, match="power cut"):
        failing.train()
    checkpoint = failing.save_checkpoint()
    before = Timer()
    kept = make_trainer(epochs=3, callbacks=[before], validation=None)
    kept.load_checkpoint(checkpoint, allow_changes=True, allow_plugin_drift=True)
    saved = dict(before.on_save_checkpoint(kept))
    assert saved["times"]["step"] == failing_step
    assert saved["plugins"]["Works"] >= 0

    timer = Timer()
    validation = ValidationRoutine(val_loader=tiny_loader(32), callbacks=[Score()])
    resumed = make_trainer(epochs=3, callbacks=[timer, Works()], validation=validation)
    resumed.load_checkpoint(checkpoint, allow_plugin_drift=True)
    resumed.train()
    scores = resumed.epoch_scores
    assert scores[COLUMNS].notna().all(axis=None)
    epoch = (failing_step - 1) // STEPS + 1  # the one that was resumed counts from where it began
    in_epoch = saved["times"]["seconds"] - saved["epoch_began"]["seconds"]
    assert scores.loc[epoch, "train/epoch_seconds"] >= in_epoch
    made = saved["times"]["steps"] - saved["epoch_began"]["steps"]
    assert scores.loc[epoch, "train/step_seconds"] * STEPS >= made
    assert "Where the time of 3 epochs and 12 steps went" in log_of(resumed)
    after = timer.on_save_checkpoint(resumed)
    assert all(after["times"][name] >= value for name, value in saved["times"].items())
    assert after["plugins"]["Works"] > saved["plugins"]["Works"]


def test_the_parts_of_a_failed_training_are_told_too(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[Timer(), FailAt(6)])
    with pytest.raises(RuntimeError, match="power cut"):
        trainer.train()
    assert "Where the time of 1 epoch and 6 steps went" in log_of(trainer)


def test_a_second_call_counts_on(make_trainer: MakeTrainer) -> None:
    timer = Timer()
    trainer = make_trainer(callbacks=[timer])
    trainer.train(epochs=1)
    first = timer.on_save_checkpoint(trainer)["times"]
    trainer.train(epochs=2)
    second = timer.on_save_checkpoint(trainer)["times"]
    assert (first["step"], second["step"]) == (4, 8)
    assert all(second[name] >= first[name] for name in first)


def test_going_back_in_one_process_counts_nothing_twice(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    timer = Timer()
    trainer = make_trainer(callbacks=[timer])
    trainer.train(epochs=1)
    checkpoint = trainer.save_checkpoint(tmp_path / "aside")
    saved = timer.on_save_checkpoint(trainer)
    trainer.train(epochs=2)
    trainer.load_checkpoint(checkpoint)
    restored = timer.on_save_checkpoint(trainer)
    assert restored["times"] == saved["times"]
    assert restored["plugins"].keys() >= saved["plugins"].keys()
    for name, seconds in saved["plugins"].items():
        assert restored["plugins"][name] == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize("options", [{"accumulate": 3}, {"fast_dev_run": True}, {"sanity_validation": True}])
def test_other_ways_to_train_are_timed_alike(make_trainer: MakeTrainer, options: dict[str, Any]) -> None:
    validation = ValidationRoutine(val_loader=tiny_loader(32), callbacks=[Score()])
    trainer = make_trainer(callbacks=[Timer()], validation=validation, **options)
    trainer.train()
    assert (trainer.epoch_scores[COLUMNS] > 0).all(axis=None)


def test_parameters_are_taken_from_a_configuration() -> None:
    given = {"record": False}
    assert Timer(**validated_parameters(Timer, given, source="test", section="callbacks.timer")).record is False
