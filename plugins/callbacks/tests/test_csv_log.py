from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from artifact_torch_callbacks import CSVLog
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact_torch import (
    ArtifactKind,
    Callback,
    EpochCallback,
    RunDirectory,
    ScoreCallback,
    Trainer,
    UsageError,
    ValidationRoutine,
    hookimpl,
)
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters
from artifact_torch.testing import TinyPlan, tiny_loader

MakeTrainer = Callable[..., Trainer[Any, Any]]


class Scripted(Callback):
    """Metrics of the epochs that have any in the script."""

    def __init__(self, script: Mapping[int, Mapping[str, float]]) -> None:
        self.script = script

    @hookimpl
    def log_epoch_metrics(self, trainer: Trainer) -> Mapping[str, float]:
        return self.script.get(trainer.state.epoch, {})


class Each(EpochCallback):
    """Does something before each epoch: what was written about those before it is there."""

    def __init__(self, action: Callable[[int], None]) -> None:
        super().__init__()
        self.action = action

    def before_epoch(self, trainer: Trainer) -> None:
        self.action(trainer.state.epoch)


class FailAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        if trainer.state.step == self.step:
            raise RuntimeError("power cut")


class Count(ScoreCallback):
    """How many batches the loader has."""

    def reset(self) -> None:
        self.batches = 0

    def update(self, batch: Any, model_output: Any) -> None:
        self.batches += 1

    def compute(self) -> float:
        return float(self.batches)


def read(path: Path, index: str = "epoch") -> pd.DataFrame:
    return pd.read_csv(path, index_col=index, float_precision="round_trip").astype("float64")


def lines(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_is_found_by_name_and_writes_the_epochs_scores(make_trainer: MakeTrainer) -> None:
    assert components.get("callbacks", "csv_log") is CSVLog
    validation = ValidationRoutine(period=2, val_loader=tiny_loader(32), callbacks=[Count("batches")])
    trainer = make_trainer(epochs=5, callbacks=["csv_log"], validation=validation)
    trainer.train()
    assert_same(read(trainer.run.path / "epochs.csv"), trainer.epoch_scores)
    assert trainer.epoch_scores["validation/batches"].notna().sum() == 3
    assert not (trainer.run.path / "batches.csv").exists()
    assert not list(trainer.run.path.glob(".*"))


def test_an_epoch_is_there_when_the_next_one_begins(make_trainer: MakeTrainer) -> None:
    seen: list[list[str]] = []
    path: list[Path] = []
    look = Each(lambda epoch: seen.append([row[0] for row in lines(path[0])] if epoch > 1 else []))
    trainer = make_trainer(epochs=4, callbacks=[look, CSVLog()])
    path.append(trainer.run.path / "epochs.csv")
    trainer.train()
    assert seen == [[], ["epoch", "1"], ["epoch", "1", "2"], ["epoch", "1", "2", "3"]]


def test_a_line_is_appended_and_a_new_column_replaces_the_file(make_trainer: MakeTrainer) -> None:
    files: list[int] = []
    path: list[Path] = []
    look = Each(lambda epoch: files.append(path[0].stat().st_ino) if epoch > 1 else None)
    script = {3: {"a": 0.1, 'comma, and "quotes"': 1.0}, 5: {"a": math.nan}, 6: {"a": -math.inf}}
    trainer = make_trainer(epochs=7, callbacks=[look, CSVLog(), Scripted(script)])
    path.append(trainer.run.path / "epochs.csv")
    trainer.train()
    first, second, *later = files
    assert first == second
    assert first not in later
    assert len(set(later)) == 1
    header, *rows = lines(path[0])
    assert header == ["epoch", "train/loss", "train/a", 'train/comma, and "quotes"']
    assert [row[2:] for row in rows] == [
        ["", ""],
        ["", ""],
        ["0.1", "1.0"],
        ["", ""],
        ["nan", ""],
        ["-inf", ""],
        ["", ""],
    ]
    assert_same(read(path[0]), trainer.epoch_scores)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_logged_steps_are_written_on_request(make_trainer: MakeTrainer, accumulate: int) -> None:
    class Tracking(Callback):
        @hookimpl
        def execute_batch_postprocessing(self, trainer: Trainer) -> None:
            if trainer.optimization.accumulated == 0 and trainer.state.step % 3 == 0:
                trainer.track(ArtifactKind.SCORE, "step", float(trainer.state.step))

    trainer = make_trainer(epochs=3, callbacks=[CSVLog(batches=True), Tracking()], log_every=2, accumulate=accumulate)
    trainer.train()
    written = read(trainer.run.path / "batches.csv", "step")
    assert_same(written.rename(columns={"batch/step": "step"}), trainer.batch_metrics)
    assert written["batch/step"].notna().any()
    assert_same(read(trainer.run.path / "epochs.csv"), trainer.epoch_scores)


@pytest.mark.lengthy
def test_scores_that_come_late_stand_in_their_epochs_row(make_trainer: MakeTrainer) -> None:
    validation = ValidationRoutine(
        plans=[TinyPlan(kinds=[ArtifactKind.SCORE, ArtifactKind.SCORE_COLLECTION])],
        mode="background",
        rounds_in_flight=9,
    )
    seen: list[list[str]] = []
    path: list[Path] = []
    look = Each(lambda epoch: seen.append(lines(path[0])[0] if epoch > 1 else []))
    trainer = make_trainer(epochs=3, callbacks=[look, CSVLog()], validation=validation)
    path.append(trainer.run.path / "epochs.csv")
    trainer.train()
    assert seen[1] == ["epoch", "train/loss"]  # training has gone on meanwhile
    assert_same(read(path[0]), trainer.epoch_scores)
    assert trainer.epoch_scores["validation/weight_norm"].notna().all()


@pytest.mark.parametrize("failing_step", [9, 12, 14])
def test_after_a_crash_and_a_resume_each_row_is_there_once(
    make_trainer: MakeTrainer, tmp_path: Path, failing_step: int
) -> None:
    def new(folder: str, *others: Callback) -> Trainer:
        validation = ValidationRoutine(val_loader=tiny_loader(32), callbacks=[Count("batches")])
        log = CSVLog(path=tmp_path / folder, batches=True)
        return make_trainer(epochs=5, callbacks=[log, *others], validation=validation, log_every=1)

    whole = new("whole")
    whole.train()
    checkpoint: list[Path] = []
    save = Each(lambda epoch: checkpoint.append(failing.save_checkpoint()) if epoch == 3 else None)
    failing = new("resumed", save, FailAt(failing_step))
    with pytest.raises(RuntimeError, match="power cut"):
        failing.train()
    for name in ("epochs.csv", "batches.csv"):
        with (tmp_path / "resumed" / name).open("a") as file:
            file.write("6,0.12")  # a process that was killed may leave half a line
    resumed = new("resumed")
    resumed.load_checkpoint(checkpoint[0])
    resumed.train()
    for name in ("epochs.csv", "batches.csv"):
        assert (tmp_path / "resumed" / name).read_text() == (tmp_path / "whole" / name).read_text()
    assert_same(read(tmp_path / "resumed" / "epochs.csv"), whole.epoch_scores)


def test_a_crash_within_an_epoch_leaves_what_was_logged(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[CSVLog(batches=True), FailAt(6)], log_every=1)
    with pytest.raises(RuntimeError, match="power cut"):
        trainer.train()
    assert [row[0] for row in lines(trainer.run.path / "batches.csv")] == ["step", "1", "2", "3", "4", "5", "6"]
    assert [row[0] for row in lines(trainer.run.path / "epochs.csv")] == ["epoch", "1"]


def test_a_training_from_the_start_replaces_what_is_in_a_folder(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    for epochs in (3, 2):
        make_trainer(epochs=epochs, callbacks=[CSVLog(path=str(folder))]).train()
    assert [row[0] for row in lines(folder / "epochs.csv")] == ["epoch", "1", "2"]


def test_what_cannot_be_written_for_a_time_is_a_warning_and_comes_later(
    make_trainer: MakeTrainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"

    def disturb(epoch: int) -> None:
        if epoch == 2:
            folder.rename(tmp_path / "aside")
            folder.write_text("a file in the place of the folder")
        if epoch == 4:
            folder.unlink()
            (tmp_path / "aside").rename(folder)

    trainer = make_trainer(epochs=5, callbacks=[CSVLog(path=folder), Each(disturb)])
    assert trainer.train().epochs == 5
    assert_same(read(folder / "epochs.csv"), trainer.epoch_scores)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("CSVLog cannot write (")
    assert "tries again later" in warning


def test_a_file_that_was_deleted_meanwhile_is_written_anew(make_trainer: MakeTrainer) -> None:
    path: list[Path] = []
    delete = Each(lambda epoch: path[0].unlink() if epoch == 3 else None)
    trainer = make_trainer(epochs=4, callbacks=[CSVLog(), delete])
    path.append(trainer.run.path / "epochs.csv")
    trainer.train()
    assert_same(read(path[0]), trainer.epoch_scores)


def test_a_folder_that_cannot_be_used_is_refused(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"CSVLog cannot write to .*file \(.*\): choose another path"):
        make_trainer(callbacks=[CSVLog(path=tmp_path / "file")]).train()
    with pytest.raises(UsageError, match="path of CSVLog is empty"):
        CSVLog(path="")


def test_parameters_are_taken_from_a_configuration() -> None:
    given = {"path": "logs", "batches": True}
    log = CSVLog(**validated_parameters(CSVLog, given, source="test", section="callbacks.csv_log"))
    assert (log.path, log.batches) == ("logs", True)


def test_one_object_can_log_two_trainings(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    log = CSVLog()
    trainers = [
        make_trainer(callbacks=[log], epochs=epochs, run=RunDirectory.create(root=tmp_path)) for epochs in (3, 1)
    ]
    for trainer in trainers:
        trainer.train()
    for trainer in trainers:
        assert_same(read(trainer.run.path / "epochs.csv"), trainer.epoch_scores)


NUMBERS = st.integers(min_value=0, max_value=12)
VALUES = st.dictionaries(st.sampled_from(["train/loss", "a", "é", "x,y", 'q"q']), st.floats(), max_size=4)


@settings(max_examples=60, deadline=None)
@given(updates=st.lists(st.dictionaries(NUMBERS, VALUES, min_size=1, max_size=3), max_size=8))
def test_whatever_comes_in_whatever_order_the_file_has_it_all(
    updates: list[dict[int, dict[str, float]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows: dict[int, dict[str, float]] = {}
    folder = tmp_path_factory.mktemp("table")
    table = CSVLog.table(folder / "grown", "epoch", lambda number: rows.get(number, {}))
    for update in updates:
        for number, values in update.items():
            rows[number] = {**rows.get(number, {}), **values}
        table.write(update)
    anew = CSVLog.table(folder / "anew", "epoch", lambda number: rows.get(number, {}))
    anew.begin(rows)
    assert anew.path.exists() == table.path.exists() == any(rows.values())
    if anew.path.exists():
        assert table.path.read_bytes() == anew.path.read_bytes()
        header, *written = lines(table.path)
        found = {
            int(row[0]): {name: cell for name, cell in zip(header[1:], row[1:], strict=True) if cell} for row in written
        }
        assert found == {
            number: {name: repr(value) for name, value in values.items()} for number, values in rows.items() if values
        }
