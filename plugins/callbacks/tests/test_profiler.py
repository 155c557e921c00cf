from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from artifact_torch_callbacks import Profiler

from artifact_torch import Callback, RunDirectory, Trainer, UsageError, hookimpl
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters
from artifact_torch.testing import TinyModel

MakeTrainer = Callable[..., Trainer[Any, Any]]


class FailAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        if trainer.state.step == self.step:
            raise RuntimeError("power cut")


class Files(Callback):
    """Keeps what is tracked."""

    def __init__(self) -> None:
        self.tracked: list[tuple[str, Path, int]] = []

    @hookimpl
    def track_file(self, name: str, path: Path, step: int) -> None:
        self.tracked.append((name, path, step))


def written(trainer: Trainer) -> list[str]:
    return sorted(path.name for path in (trainer.run.path / "profile").glob("*"))


def operations(trainer: Trainer, name: str) -> dict[str, int]:
    """How often each operation is in a trace."""
    trace = json.loads((trainer.run.path / "profile" / f"{name}.json").read_text())
    names = [event["name"] for event in trace["traceEvents"] if event.get("ph") == "X"]
    return {name: names.count(name) for name in names}


def log_of(trainer: Trainer) -> str:
    return (trainer.run.path / "log.txt").read_text()


def test_is_found_by_name_and_profiles_a_window(make_trainer: MakeTrainer) -> None:
    assert components.get("callbacks", "profiler") is Profiler
    files = Files()
    trainer = make_trainer(epochs=4, callbacks=["profiler", files])
    trainer.train()
    assert written(trainer) == ["steps-8-12.json", "steps-8-12.txt"]
    assert files.tracked[0] == ("profile", trainer.run.path / "profile", 12)


def test_exactly_the_steps_of_the_window_are_recorded(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(epochs=3, callbacks=[Profiler(wait=1, warmup=2, active=4)])
    trainer.train()
    assert written(trainer) == ["steps-4-7.json", "steps-4-7.txt"]
    found = operations(trainer, "steps-4-7")
    assert sum("ProfilerStep" in name for name in found) == 4
    assert found["Optimizer.step#Adam.step"] == 4
    assert found["aten::addmm"] == 4
    table = (trainer.run.path / "profile" / "steps-4-7.txt").read_text()
    assert "Self CPU %" in table
    assert "aten::addmm" in table


def test_the_log_has_the_most_expensive_operations(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[Profiler(wait=0, warmup=1, active=2, rows=4)])
    trainer.train()
    head, *lines = log_of(trainer).split("Steps 2 to 3 took ")[1].splitlines()[:6]
    assert re.fullmatch(r"[\d.e+]+ ms; of that, these operations took most \(profile/steps-2-3.txt has all\):", head)
    assert lines[0].split() == ["share", "a", "step", "calls", "operation"]
    rows = [re.fullmatch(r" +([\d.]+)% +([\d.]+) ms +(\d+)  (\S.*)", line) for line in lines[1:]]
    shares = [float(row[1]) for row in rows if row]
    assert len(shares) == 4
    assert shares == sorted(shares, reverse=True)
    assert "outside of operations" in [row[4] for row in rows if row]


def test_a_window_may_begin_with_the_first_step(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[Profiler(wait=0, warmup=1, active=1, rows=0)])
    trainer.train()
    assert operations(trainer, "steps-2-2")["Optimizer.step#Adam.step"] == 1
    assert "these operations took most" not in log_of(trainer)


def test_steps_of_several_batches_are_counted_as_steps(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(epochs=3, callbacks=[Profiler(wait=1, warmup=1, active=2)], accumulate=2)
    trainer.train()
    found = operations(trainer, "steps-3-4")
    assert found["Optimizer.step#Adam.step"] == 2
    assert found["aten::addmm"] == 4


def test_a_window_begins_at_a_step_of_the_whole_training(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(epochs=3, callbacks=[Profiler(wait=0, warmup=1, active=2, start=8)])
    trainer.train()
    assert written(trainer) == ["steps-9-10.json", "steps-9-10.txt"]


@pytest.mark.parametrize("window", [{"wait": 1, "warmup": 1, "active": 50}, {"wait": 4, "warmup": 1, "active": 50}])
def test_what_was_recorded_is_written_when_training_fails(make_trainer: MakeTrainer, window: dict[str, int]) -> None:
    trainer = make_trainer(callbacks=[Profiler(**window), FailAt(7)])
    with pytest.raises(RuntimeError, match="power cut"):
        trainer.train()
    first = window["wait"] + window["warmup"] + 1
    assert written(trainer) == [f"steps-{first}-7.json", f"steps-{first}-7.txt"]
    assert operations(trainer, f"steps-{first}-7")["Optimizer.step#Adam.step"] == 8 - first
    assert not torch.autograd.profiler._is_profiler_enabled


def test_what_was_recorded_is_written_when_training_ends(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[Profiler(wait=4, warmup=1, active=50)])
    trainer.train()
    assert written(trainer) == ["steps-6-8.json", "steps-6-8.txt"]


@pytest.mark.parametrize("window", [{"wait": 7, "warmup": 1}, {"wait": 5, "warmup": 5}, {"wait": 90, "start": 9}])
def test_that_training_was_too_short_is_told(make_trainer: MakeTrainer, window: dict[str, int]) -> None:
    profiler = Profiler(**window)
    trainer = make_trainer(callbacks=[profiler])
    trainer.train()
    assert not (trainer.run.path / "profile").exists()
    assert re.search(
        r"WARNING Nothing was profiled: training ended after step 8, and step \d+ is the first", log_of(trainer)
    )
    assert not torch.autograd.profiler._is_profiler_enabled


def test_a_training_that_is_resumed_after_the_window_is_not_profiled_again(make_trainer: MakeTrainer) -> None:
    window = {"wait": 1, "warmup": 1, "active": 2}
    first = make_trainer(callbacks=[Profiler(**window)])
    first.train()
    resumed = make_trainer(epochs=4, callbacks=[Profiler(**window)])
    resumed.load_checkpoint(first.save_checkpoint())
    resumed.train()
    assert not (resumed.run.path / "profile").exists()
    assert "Nothing was profiled" not in log_of(resumed)


def test_a_training_that_is_resumed_before_the_window_waits_anew(make_trainer: MakeTrainer) -> None:
    window = {"wait": 3, "warmup": 1, "active": 2}
    failing = make_trainer(callbacks=[Profiler(**window), FailAt(2)])
    with pytest.raises(RuntimeError, match="power cut"):
        failing.train()
    resumed = make_trainer(epochs=4, callbacks=[Profiler(**window)])
    resumed.load_checkpoint(failing.save_checkpoint(), allow_plugin_drift=True)
    resumed.train()
    assert written(resumed) == ["steps-7-8.json", "steps-7-8.txt"]


def test_one_object_can_profile_two_trainings(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    profiler = Profiler(wait=1, warmup=1, active=1)
    for _ in range(2):
        trainer = make_trainer(callbacks=[profiler], run=RunDirectory.create(root=tmp_path))
        trainer.train()
        assert written(trainer) == ["steps-3-3.json", "steps-3-3.txt"]


def test_nothing_is_learnt_otherwise(make_trainer: MakeTrainer) -> None:
    profiled = make_trainer(callbacks=[Profiler(wait=1, warmup=1, active=3, shapes=True, memory=True, stack=True)])
    plain = make_trainer()
    for trainer in (profiled, plain):
        trainer.train()
    for one, other in zip(profiled.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_profile_that_cannot_be_written_is_a_warning(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[Profiler(wait=1, warmup=1, active=1)])
    (trainer.run.path / "profile").write_text("a file where the folder should be")
    assert trainer.train().epochs == 2
    assert re.search(
        r"WARNING The profile of steps-3-3 cannot be written to .*profile: .* Training goes on", log_of(trainer)
    )


@pytest.mark.parametrize("name", ["wait", "warmup", "active", "start", "rows"])
def test_numbers_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} of Profiler must be at least [01], not -1"):
        Profiler(**{name: -1})


def test_parameters_are_taken_from_a_configuration() -> None:
    given = {"wait": 3, "shapes": True}
    profiler = Profiler(**validated_parameters(Profiler, given, source="test", section="callbacks.profiler"))
    assert (profiler.wait, profiler.shapes) == (3, True)


def test_the_model_is_not_touched(make_trainer: MakeTrainer) -> None:
    model = TinyModel()
    make_trainer(model=model, callbacks=[Profiler(wait=1, warmup=1, active=1)]).train()
    assert all(not module._forward_hooks for module in model.modules())
