from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from artifact_torch_callbacks import Checkpoint

from artifact_torch import (
    ArtifactKind,
    Callback,
    CheckpointError,
    DivergedError,
    EarlyStopper,
    RunDirectory,
    StepStopper,
    Trainer,
    UsageError,
    ValidationRoutine,
    hookimpl,
)
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters
from artifact_torch.testing import TinyModel, TinyPlan, tiny_loader

STEPS_PER_EPOCH = 4


class StopAfter(EarlyStopper):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def check(self, trainer: Trainer) -> str | None:
        return "enough" if trainer.state.epochs_completed >= self.epochs else None


class FailAt(Callback):
    """Raises an error after a step."""

    def __init__(self, step: int, error: BaseException) -> None:
        self.step = step
        self.error = error

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        if trainer.state.step == self.step:
            raise self.error


class OverflowAt(Callback):
    """Makes the parameters infinite after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        if trainer.state.step == self.step:
            for parameter in trainer.model.parameters():
                parameter.data.fill_(torch.inf)


class Counting(Callback):
    """Counts epochs in ``execute_epoch_postprocessing`` and keeps the count in checkpoints."""

    def __init__(self) -> None:
        self.epochs = 0

    @hookimpl
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        self.epochs += 1

    @hookimpl
    def on_save_checkpoint(self, trainer: Trainer) -> Mapping[str, Any]:
        return {"epochs": self.epochs}

    @hookimpl
    def on_load_checkpoint(self, trainer: Trainer, state: Mapping[str, Any]) -> None:
        self.epochs = state["epochs"]


def new_trainer(root: Path, *callbacks: Callback | str, epochs: int = 5, **options: Any) -> Trainer:
    run = RunDirectory.create(root=root)
    return Trainer(TinyModel(), tiny_loader(), epochs=epochs, callbacks=callbacks, run=run, device="cpu", **options)


def saved(trainer: Trainer) -> list[str]:
    """The epochs after which there is a checkpoint."""
    steps = [int(path.name.split("-")[-1]) for path in trainer.run.checkpoints.paths()]
    return [f"{step / STEPS_PER_EPOCH:g}" for step in steps]


def test_is_found_by_name_and_keeps_the_newest_three(tmp_path: Path) -> None:
    assert components.get("callbacks", "checkpoint") is Checkpoint
    trainer = new_trainer(tmp_path, "checkpoint")
    trainer.train()
    assert saved(trainer) == ["3", "4", "5"]


def test_saves_every_period_and_after_the_last_epoch(tmp_path: Path) -> None:
    trainer = new_trainer(tmp_path, Checkpoint(period=2, keep=None))
    trainer.train()
    assert saved(trainer) == ["2", "4", "5"]


def test_saves_the_epoch_that_a_stopper_made_the_last_one(tmp_path: Path) -> None:
    trainer = new_trainer(tmp_path, Checkpoint(period=2, keep=None), stoppers=[StopAfter(3)])
    trainer.train()
    assert saved(trainer) == ["2", "3"]


def test_an_epoch_is_saved_once_even_if_a_stopper_ends_training_after_it(tmp_path: Path) -> None:
    trainer = new_trainer(tmp_path, Checkpoint(period=2, keep=None), stoppers=[StopAfter(4)])
    trainer.train()
    assert saved(trainer) == ["2", "4"]


@pytest.mark.parametrize("error", [RuntimeError("no more"), KeyboardInterrupt()])
def test_nothing_is_saved_once_training_has_failed(error: BaseException, tmp_path: Path) -> None:
    trainer = new_trainer(tmp_path, Checkpoint(period=2, keep=None), FailAt(3 * STEPS_PER_EPOCH + 1, error))
    with pytest.raises(type(error)):
        trainer.train()
    assert saved(trainer) == ["2"]


def test_parameters_that_are_not_finite_are_not_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = new_trainer(tmp_path, Checkpoint(keep=1), OverflowAt(2 * STEPS_PER_EPOCH))
    with pytest.raises(DivergedError):
        trainer.train()
    assert saved(trainer) == ["1"]
    trainer.load_checkpoint()
    assert all(bool(parameter.isfinite().all()) for parameter in trainer.model.parameters())
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        "The state after step 8 was not saved: the parameter 'layers.1.weight' holds NaN or infinity; earlier "
        "checkpoints stay: lower the learning rate, or look for extreme values in the data."
    ]


def test_a_frozen_parameter_may_be_infinite(tmp_path: Path) -> None:
    trainer = new_trainer(tmp_path, "checkpoint", epochs=1)
    trainer.model.mask = torch.nn.Parameter(torch.tensor([0.0, -torch.inf]), requires_grad=False)
    trainer.train()
    assert saved(trainer) == ["1"]


@pytest.mark.parametrize("checkpoint_first", [True, False])
def test_what_other_plugins_did_in_the_epoch_is_in_the_checkpoint(checkpoint_first: bool, tmp_path: Path) -> None:
    callbacks: list[Callback] = [Checkpoint(), Counting()]
    trainer = new_trainer(tmp_path, *(callbacks if checkpoint_first else callbacks[::-1]), epochs=2)
    trainer.train()
    counting = Counting()
    new_trainer(tmp_path, counting, epochs=2).load_checkpoint(trainer.run.checkpoints.directory)
    assert counting.epochs == 2


def test_a_resumed_training_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = new_trainer(tmp_path, "checkpoint", epochs=4)
    whole.train()
    failing = new_trainer(tmp_path, "checkpoint", FailAt(2 * STEPS_PER_EPOCH + 3, RuntimeError("power cut")), epochs=4)
    with pytest.raises(RuntimeError, match="power cut"):
        failing.train()
    resumed = new_trainer(tmp_path, "checkpoint", epochs=4)
    resumed.load_checkpoint(failing.run.checkpoints.directory)
    assert resumed.state.epochs_completed == 2
    resumed.train()
    for ours, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_training_that_is_complete_already_saves_nothing_again(tmp_path: Path) -> None:
    trainer = new_trainer(tmp_path, "checkpoint", epochs=2)
    trainer.train()
    trainer.train()
    assert saved(trainer) == ["1", "2"]


def test_old_checkpoints_that_cannot_be_deleted_are_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = new_trainer(tmp_path, Checkpoint(keep=1), epochs=1)
    in_the_way = trainer.run.checkpoints.directory / "0001-step-000000001"
    in_the_way.parent.mkdir()
    in_the_way.write_text("not a checkpoint")
    assert trainer.train().epochs == 1
    assert saved(trainer)[-1] == "1"
    assert f"Of the old checkpoints in {in_the_way.parent}, 1 could not be deleted (Not a directory)" in caplog.text


@pytest.mark.parametrize(
    "options", [{"period": 0}, {"period": "0 steps"}, {"period": [1, 0]}, {"keep": 0}, {"keep": -1}]
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        Checkpoint(**options)


def test_parameters_are_taken_from_a_configuration() -> None:
    parameters = validated_parameters(
        Checkpoint, {"period": 5, "keep": 1}, source="test", section="callbacks.checkpoint"
    )
    checkpoint = Checkpoint(**parameters)
    assert (checkpoint.period, checkpoint.retention.newest) == (5, 1)


DISK_FULL = """
import resource, sys
from artifact_torch import Callback, RunDirectory, Trainer, hookimpl
from artifact_torch.testing import TinyModel, tiny_loader

class FillDisk(Callback):
    @hookimpl
    def execute_epoch_preprocessing(self, trainer):
        limit = {1: resource.RLIM_INFINITY, 2: 6000, 3: resource.RLIM_INFINITY}[trainer.state.epoch]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

run = RunDirectory.create(root=sys.argv[1])
trainer = Trainer(TinyModel(), tiny_loader(), epochs=3, callbacks=["checkpoint", FillDisk()], run=run, device="cpu")
print(trainer.train().epochs, *(path.name for path in run.checkpoints.paths()), trainer.load_checkpoint().name)
print((run.path / "log.txt").read_text(), end="")
"""


@pytest.mark.slow
def test_a_full_disk_is_a_warning_and_leaves_earlier_checkpoints(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DISK_FULL, str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    summary, *log = finished.stdout.splitlines()
    assert summary == "3 0001-step-000000004 0002-step-000000012 0002-step-000000012"
    warnings = [line.split(" WARNING ")[1] for line in log if " WARNING " in line]
    directory = next(tmp_path.glob("default/*/checkpoints"))
    assert warnings == [
        f"The checkpoint after epoch 2 could not be written to {directory} (File too large). Training goes on, and "
        "earlier checkpoints stay."
    ]
    assert not list(directory.glob(".writing-*"))


def numbers(trainer: Trainer) -> list[int]:
    """The steps of the checkpoints that are there."""
    return [int(path.name.split("-")[-1]) for path in trainer.run.checkpoints.paths()]


@pytest.mark.parametrize("background", [False, True])
def test_within_epochs_it_saves_every_so_many_steps(tmp_path: Path, background: bool) -> None:
    trainer = new_trainer(tmp_path, Checkpoint(period=[1, "3 steps"], keep=None, background=background))
    trainer.train()
    assert numbers(trainer)[:4] == [3, 4, 6, 8]


def test_a_step_of_several_batches_is_saved_once(tmp_path: Path) -> None:
    run = RunDirectory.create(root=tmp_path)
    trainer = Trainer(
        TinyModel(),
        tiny_loader(),
        epochs=2,
        accumulate=2,
        device="cpu",
        run=run,
        callbacks=[Checkpoint(period=[2, "1 step"], keep=None)],
        use_installed_plugins=False,
    )
    trainer.train()
    assert numbers(trainer) == [1, 2, 3, 4, 4]


@pytest.mark.parametrize(("mode", "best"), [("min", [4, 12]), ("max", [8, 12])])
def test_the_best_are_kept_besides_the_newest(tmp_path: Path, mode: Any, best: list[int]) -> None:
    class Scores(Callback):
        @hookimpl
        def log_epoch_metrics(self, trainer: Trainer) -> Mapping[str, float]:
            return {"score": {1: 1.0, 2: 3.0, 3: 2.0}[trainer.state.epoch]}

    checkpoint = Checkpoint(keep=1, keep_best=1, score="train/score", mode=mode)
    trainer = new_trainer(tmp_path, checkpoint, Scores())
    trainer.train(epochs=3)
    assert numbers(trainer) == best


def test_a_disk_that_is_full_ends_training_if_that_is_wanted(tmp_path: Path) -> None:
    trainer = new_trainer(tmp_path, Checkpoint(on_failure="stop"))
    trainer.run.checkpoints.directory.write_text("a file where the folder of checkpoints should be")
    with pytest.raises(CheckpointError, match=r"could not be written to .* Training was stopped, and earlier"):
        trainer.train()
    assert trainer.state.epochs_completed == 1


@pytest.mark.parametrize(
    ("period", "steps"),
    [
        ("3 steps", [3, 6, 9, 12, 12]),  # the last one is that of the epoch
        ("2 epochs", [8, 12]),
        ("1 hour", [12]),
        (["5 steps", "7 steps"], [5, 7, 10, 12]),
        (["5 steps", "1 hour", 2], [5, 8, 10, 12]),
    ],
)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_period_is_counted_in_what_it_says(tmp_path: Path, period: Any, steps: list[int], accumulate: int) -> None:
    trainer = Trainer(
        TinyModel(),
        tiny_loader(64 * accumulate),
        epochs=3,
        accumulate=accumulate,
        device="cpu",
        run=RunDirectory.create(root=tmp_path),
        callbacks=[Checkpoint(period=period, keep=None)],
        use_installed_plugins=False,
    )
    trainer.train()
    assert numbers(trainer) == steps


def test_a_time_counts_from_the_last_checkpoint(tmp_path: Path) -> None:
    class TimePasses(Callback):
        """Makes a training count seconds, so that nobody has to wait for them: seven with each step."""

        @hookimpl(tryfirst=True)
        def execute_batch_postprocessing(self, trainer: Trainer) -> None:
            trainer.state.seconds += 7.0

    trainer = new_trainer(tmp_path, Checkpoint(period=["20 seconds", 2], keep=None), TimePasses(), epochs=4)
    trainer.train()
    # Three steps are 21 seconds; those after the checkpoint of the second epoch count from it.
    assert numbers(trainer) == [3, 6, 8, 11, 14, 16]


def test_a_time_counts_on_where_training_is_resumed(tmp_path: Path) -> None:
    trainer = new_trainer(tmp_path, Checkpoint(period="1 hour"), epochs=2)
    trainer.train()
    trainer.state.seconds = 36_000.0
    resumed = new_trainer(tmp_path, Checkpoint(period="1 hour", at_end=False), epochs=4)
    resumed.load_checkpoint(trainer.save_checkpoint())
    resumed.train()
    assert numbers(resumed) == []  # no hour has passed since the checkpoint


@pytest.mark.parametrize("stoppers", [[], [StopAfter(3)]])
def test_the_last_epoch_is_not_saved_if_that_is_not_wanted(tmp_path: Path, stoppers: list[EarlyStopper]) -> None:
    trainer = new_trainer(tmp_path, Checkpoint(period=2, keep=None, at_end=False), stoppers=stoppers)
    trainer.train()
    assert saved(trainer) == (["2"] if stoppers else ["2", "4"])


def test_a_training_that_is_stopped_within_an_epoch_is_saved_once(tmp_path: Path) -> None:
    class StopAtStep(StepStopper):
        def check(self, trainer: Trainer) -> str | None:
            return "enough" if trainer.state.step >= 6 else None

    trainer = new_trainer(tmp_path, Checkpoint(period=5, keep=None), stoppers=[StopAtStep()])
    trainer.train()
    assert numbers(trainer) == [6]


class FailIn(Callback):
    """Fails in a hook after a number of steps."""

    def __init__(self, hook: str, step: int, error: BaseException | None = None) -> None:
        self.hook = hook
        self.step = step
        self.error = error or RuntimeError("no more")

    def fail(self, hook: str, trainer: Trainer) -> None:
        if hook == self.hook and trainer.state.step == self.step:
            raise self.error

    @hookimpl
    def execute_batch_preprocessing(self, trainer: Trainer) -> None:
        self.fail("before the step", trainer)

    @hookimpl
    def on_before_optimizer_step(self, trainer: Trainer) -> None:
        self.fail("in the step", trainer)

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        self.fail("after the step", trainer)

    @hookimpl
    def on_validation_start(self, trainer: Trainer) -> None:
        self.fail("in validation", trainer)

    @hookimpl
    def log_epoch_metrics(self, trainer: Trainer) -> None:
        self.fail("in the metrics", trainer)


def failed(root: Path, *callbacks: Callback, error: type[BaseException] = RuntimeError, **options: Any) -> Trainer:
    validation = ValidationRoutine(plans=[TinyPlan(kinds=[ArtifactKind.SCORE])], mode="inline")
    trainer = new_trainer(root, *callbacks, validation=validation, **options)
    with pytest.raises(error):
        trainer.train()
    return trainer


@pytest.mark.parametrize(
    ("where", "step", "steps"),
    [
        ("before the step", 6, [4, 6]),
        ("in the step", 6, [4]),
        ("after the step", 6, [4, 6]),
        ("in validation", 8, [4, 8]),
        ("in the metrics", 8, [4, 8]),
        ("before the step", 4, [4]),  # which is saved already
        ("before the step", 0, []),
    ],
)
def test_a_completed_step_is_saved_when_training_fails(tmp_path: Path, where: str, step: int, steps: list[int]) -> None:
    trainer = failed(tmp_path, FailIn(where, step), Checkpoint(on_exception=True), epochs=3)
    assert numbers(trainer) == steps
    if steps:
        resumed = new_trainer(tmp_path, "checkpoint", epochs=3, validation=trainer.validation)
        resumed.load_checkpoint(trainer.run.checkpoints.directory, allow_plugin_drift=True)
        assert resumed.state.step == steps[-1]
        assert resumed.train().steps == 12
        assert resumed.epoch_scores.notna().all(axis=None)


def test_within_a_step_of_several_batches_nothing_is_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class FailInBatch(Callback):
        @hookimpl
        def execute_batch_preprocessing(self, trainer: Trainer) -> None:
            if trainer.state.batch_in_epoch == 3:
                raise RuntimeError("no more")

    trainer = failed(tmp_path, FailInBatch(), Checkpoint(on_exception=True), accumulate=2)
    assert numbers(trainer) == []
    assert "Training fails within step 2, which is not saved; earlier checkpoints stay." in caplog.text


def test_what_fails_takes_the_place_of_no_other_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = Checkpoint(keep=1, on_exception=True, background=True)
    trainer = failed(tmp_path, FailIn("after the step", 10), checkpoint)
    assert numbers(trainer) == [8, 10]
    path = trainer.run.checkpoints.paths()[-1]
    assert f"Training fails; its state after step 10 is saved in {path}." in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DivergedError("the loss became NaN")])
def test_not_every_end_is_a_failure_to_save_after(tmp_path: Path, error: BaseException) -> None:
    trainer = failed(tmp_path, FailIn("after the step", 6, error), Checkpoint(on_exception=True), error=type(error))
    assert numbers(trainer) == [4]


def test_a_failing_state_that_is_not_finite_is_not_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = failed(tmp_path, OverflowAt(6), FailIn("after the step", 6), Checkpoint(on_exception=True))
    assert numbers(trainer) == [4]
    assert "The state after step 6 was not saved: the parameter 'layers.1.weight' holds NaN or infinity" in caplog.text


def test_that_a_failing_state_cannot_be_written_hides_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class InTheWay(Callback):
        @hookimpl
        def on_train_start(self, trainer: Trainer) -> None:
            trainer.run.checkpoints.directory.write_text("a file where the folder of checkpoints should be")

    checkpoint = Checkpoint(period=9, on_exception=True, on_failure="stop")
    failed(tmp_path, InTheWay(), FailIn("after the step", 6), checkpoint)
    assert "The checkpoint after step 6 could not be written to" in caplog.text


def test_an_empty_list_of_periods_is_refused() -> None:
    with pytest.raises(UsageError, match="empty list of periods"):
        Checkpoint(period=[])


def test_periods_are_taken_from_a_configuration() -> None:
    given = {"period": ["5 epochs", "500 steps"], "on_exception": True}
    parameters = validated_parameters(Checkpoint, given, source="test", section="callbacks.checkpoint")
    assert Checkpoint(**parameters).period == ["5 epochs", "500 steps"]
