from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from artifact_torch_stoppers import StopFile

from artifact_torch import Callback, Trainer, UsageError, hookimpl

MakeTrainer = Callable[..., Trainer]


class Touch(Callback):
    """Touches a file after a step, as somebody at a shell would."""

    def __init__(self, path: Path | str = "STOP", *, at_step: int) -> None:
        self.path = path
        self.at_step = at_step
        self.times = 0

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        if trainer.state.step == self.at_step:
            path = trainer.run.path / self.path
            path.touch()
            self.times += 1
            later = path.stat().st_mtime_ns + 1_000_000_000 * self.times  # whatever the file system's clock can tell
            os.utime(path, ns=(later, later))


def test_training_stops_within_the_epoch_in_which_the_file_is_made(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(epochs=5, callbacks=[Touch(at_step=6)], stoppers=[StopFile(period=0)])
    result = trainer.train()
    assert result.steps == 6
    assert result.reason == f"StopFile: the file {trainer.run.path / 'STOP'} is there (epoch 2, step 6)"


def test_between_two_looks_it_costs_no_look_and_after_an_epoch_it_looks_in_any_case(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(epochs=5, callbacks=[Touch(at_step=6)], stoppers=[StopFile(period="10 hours")])
    result = trainer.train()
    assert (result.epochs, result.steps) == (2, 8)


def test_a_path_of_ones_own_is_watched(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    path = tmp_path / "stop all"
    trainer = make_trainer(epochs=5, callbacks=[Touch(path, at_step=2)], stoppers=[StopFile(path=str(path), period=0)])
    assert trainer.train().reason == f"StopFile: the file {path} is there (epoch 1, step 2)"


@pytest.mark.parametrize("remove", [True, False])
def test_the_file_is_removed_at_the_end_or_left_by_choice(make_trainer: MakeTrainer, remove: bool) -> None:
    trainer = make_trainer(epochs=5, callbacks=[Touch(at_step=6)], stoppers=[StopFile(period=0, remove=remove)])
    trainer.train()
    assert (trainer.run.path / "STOP").exists() != remove


def test_a_file_that_cannot_be_removed_is_a_warning(
    make_trainer: MakeTrainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "STOP"  # a folder is there too, and unlink refuses it
    folder.mkdir()
    trainer = make_trainer(
        epochs=5, callbacks=[Touch(folder, at_step=6)], stoppers=[StopFile(path=str(folder), period=0)]
    )
    assert trainer.train().steps == 6
    assert f"StopFile cannot remove {folder}" in caplog.text


def test_an_old_file_stops_nothing_until_it_is_touched_again(make_trainer: MakeTrainer) -> None:
    stopped = make_trainer(epochs=5, callbacks=[Touch(at_step=6)], stoppers=[StopFile(period=0, remove=False)])
    stopped.train()
    assert (stopped.run.path / "STOP").exists()
    goes_on = make_trainer(epochs=5, run=stopped.run, stoppers=[StopFile(period=0, remove=False)])
    goes_on.load_checkpoint()
    assert goes_on.train().steps == 20
    touched = make_trainer(
        epochs=5, run=stopped.run, callbacks=[Touch(at_step=10)], stoppers=[StopFile(period=0, remove=False)]
    )
    touched.load_checkpoint()
    assert touched.train().steps == 10


def test_the_same_trainer_can_go_on(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(epochs=5, callbacks=[Touch(at_step=6)], stoppers=[StopFile(period=0, remove=False)])
    assert [trainer.train().steps, trainer.train().steps] == [6, 20]


def test_an_error_in_training_removes_no_file(make_trainer: MakeTrainer) -> None:
    class Failing(Callback):
        @hookimpl
        def execute_epoch_preprocessing(self, trainer: Trainer) -> None:
            (trainer.run.path / "STOP").touch()
            raise RuntimeError("no power")

    trainer = make_trainer(callbacks=[Failing()], stoppers=[StopFile()])
    with pytest.raises(RuntimeError, match="no power"):
        trainer.train()
    assert (trainer.run.path / "STOP").exists()


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="StopFile needs the path of a file, such as 'STOP'"):
        StopFile(path="")
    with pytest.raises(UsageError, match="The period of StopFile is a number of seconds or a text"):
        StopFile(period="now and then")
