"""What TensorBoard has of runs that are trained and resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from artifact_torch_tensorboard import TensorBoardTracker
from artifact_torch_tensorboard.event_file import read_events
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator as PageAccumulator
from tensorboard.plugins.hparams import metadata as hparams

from artifact_torch import DataSplit, RunDirectory, Trainer, UsageError, sync_to
from artifact_torch.testing import MirroredRun, TinyModel, tiny_loader

Read = Callable[[Path], MirroredRun]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.create("shown", root=tmp_path / "runs", tags=["größer"])
    run.begin([], seed=0)
    return run


@pytest.fixture
def shown(run: RunDirectory) -> Path:
    """The folder of the run's event files."""
    return run.path.parents[1] / "tensorboard" / "shown" / run.path.name


def scores(run: RunDirectory, steps: range, name: str = "score", factor: float = 1.0) -> None:
    for step in steps:
        run.track_score(name, step * factor, DataSplit.TRAIN, 1, step)


def finish(run: RunDirectory, status: str = "finished") -> None:
    run.finish(status, "all is done", None)


def send(run: RunDirectory) -> int:
    return sync_to(run.path, TensorBoardTracker(), "tensorboard")


def on_page(folder: Path, tag: str) -> list[tuple[int, float]]:
    """Steps and values of a score as the page has them without fast loading, which forgets in another way."""
    found = PageAccumulator(str(folder), size_guidance={"tensors": 0}, tensor_size_guidance={"scalars": 0})
    found.Reload()
    return [(event.step, event.tensor_proto.float_val[0]) for event in found.Tensors(tag)]


def test_a_training_is_there_with_its_hyperparameters(
    tmp_path: Path, read_run: Read, hyperparameters: Callable[[Path], dict[str, object]]
) -> None:
    tracker = TensorBoardTracker(folder=str(tmp_path / "events"))
    trainer = Trainer(
        TinyModel(), tiny_loader(16), epochs=3, device="cpu", use_installed_plugins=False, trackers=[tracker],
        run=RunDirectory.create("shown", root=tmp_path / "runs"), params={"epochs": 3},
    )  # fmt: skip
    trainer.train()
    folder = tmp_path / "events" / "shown" / trainer.run.path.name
    found = read_run(folder)
    losses = trainer.epoch_scores["train/loss"].tolist()
    assert [values for _, (values,) in sorted(found.scores["train/loss"].items())] == pytest.approx(losses, rel=1e-6)
    assert found.status == "finished"
    assert hyperparameters(folder)["epochs"] == 3.0
    assert found.params["epochs"] == "3"


def test_a_value_keeps_the_time_at_which_it_was_recorded(
    run: RunDirectory, shown: Path, accumulated: Callable[[Path], EventAccumulator]
) -> None:
    scores(run, range(1, 4))
    finish(run)
    send(run)
    times = [json.loads(line)["time"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [event.wall_time for event in accumulated(shown).Scalars("train/score")] == times


def test_a_resume_takes_back_what_is_not_done_again_and_nothing_else(
    run: RunDirectory, shown: Path, read_run: Read
) -> None:
    scores(run, range(1, 5))
    scores(run, range(4, 5), "before the checkpoint")
    position = run.position()
    scores(run, range(4, 5), "after the checkpoint")
    scores(run, range(5, 9))
    finish(run, "failed")
    assert send(run) == 0
    again = RunDirectory.open(run.path)
    again.go_back(position)
    again.begin([], seed=0)
    scores(again, range(5, 7), factor=2.0)
    finish(again, "stopped")
    assert send(again) == 0
    found = read_run(shown)
    assert found.scores["train/score"] == {step: [float(step if step < 5 else 2 * step)] for step in range(1, 7)}
    assert found.scores["train/before the checkpoint"] == {4: [4.0]}
    assert "train/after the checkpoint" not in {name for name, values in found.scores.items() if values}
    assert found.status == "stopped"
    assert on_page(shown, "train/score") == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 10.0), (6, 12.0)]


def test_a_run_that_starts_again_from_nothing_has_nothing_of_what_it_did_before(
    run: RunDirectory, shown: Path, read_run: Read
) -> None:
    position = run.position()
    scores(run, range(6))
    finish(run, "failed")
    send(run)
    again = RunDirectory.open(run.path)
    again.go_back(position)
    again.begin([], seed=0)
    scores(again, range(3), factor=2.0)
    finish(again)
    send(again)
    found = read_run(shown)
    assert found.scores["train/score"] == {0: [0.0], 1: [2.0], 2: [4.0]}
    assert found.tags == {"größer"}


def test_a_resume_that_is_killed_before_it_has_written_all_again_loses_nothing(
    run: RunDirectory, shown: Path, read_run: Read
) -> None:
    scores(run, range(1, 5))
    position = run.position()
    scores(run, range(5, 9))
    finish(run, "failed")
    send(run)
    again = RunDirectory.open(run.path)
    again.go_back(position)
    again.begin([], seed=0)
    scores(again, range(5, 7))
    tracked = sorted((run.path / "trackers").glob("*.json"))[0]
    before = tracked.read_text()
    finish(again, "interrupted")
    send(again)
    tracked.write_text(before)  # what it had done is not noted
    (shown / "unfinished").write_bytes(b"a part of a file")
    send(again)
    assert read_run(shown).scores["train/score"] == {step: [float(step)] for step in range(1, 7)}


def test_half_a_record_at_the_end_of_a_file_is_written_once_more(
    run: RunDirectory, shown: Path, read_run: Read
) -> None:
    scores(run, range(1, 6))
    finish(run)
    send(run)
    (file,) = (path for path in shown.iterdir() if path.suffix not in (".about", ".end"))
    os.truncate(file, file.stat().st_size - 5)
    assert len([event for event in read_events(file) if event.HasField("summary")]) == 4
    (state,) = (run.path / "trackers").glob("*.json")
    state.unlink()
    send(run)
    assert read_run(shown).scores["train/score"] == {step: [float(step)] for step in range(1, 6)}


def test_a_result_that_comes_late_does_not_hide_later_ones(run: RunDirectory, shown: Path, read_run: Read) -> None:
    for step in (1, 2, 3):
        run.track_array("array", np.arange(step), DataSplit.TRAIN, 1, step)
    (second,) = (path for path in run.path.rglob("*.npy") if np.load(path).size == 2)
    content = second.read_bytes()
    second.write_bytes(b"damaged")
    finish(run)
    assert send(run) == 1
    second.write_bytes(content)
    assert send(run) == 0
    assert read_run(shown).arrays == {"train/array": [1, 2, 3]}
    assert len(list(shown.glob("*.end"))) == len(list(shown.glob("*.about"))) == 1


def test_a_new_status_and_new_parameters_replace_the_old(
    run: RunDirectory, shown: Path, accumulated: Callable[[Path], EventAccumulator], read_run: Read
) -> None:
    run.track_params({"epochs": 1})
    finish(run, "failed")
    send(run)
    session = accumulated(shown).SummaryMetadata(hparams.SESSION_END_INFO_TAG).plugin_data.content
    assert hparams.parse_session_end_info_plugin_data(session).status == 2  # failure
    again = RunDirectory.open(run.path)
    again.begin([], seed=0)
    again.track_params({"epochs": 2, "note": "a | b\nc"})
    finish(again)
    send(again)
    session = accumulated(shown).SummaryMetadata(hparams.SESSION_END_INFO_TAG).plugin_data.content
    assert hparams.parse_session_end_info_plugin_data(session).status == 1  # success
    assert (read_run(shown).status, read_run(shown).params["epochs"]) == ("finished", "2")
    assert read_run(shown).params["note"] == "a \\| b c"


def test_results_of_one_name_but_different_kinds_are_all_shown(run: RunDirectory, shown: Path, read_run: Read) -> None:
    run.track_score("same", 1.0, DataSplit.TRAIN, 1, 1)
    run.track_array("same", np.arange(3), DataSplit.TRAIN, 1, 1)
    run.track_score("same (array)", 2.0, DataSplit.TRAIN, 1, 1)
    finish(run)
    send(run)
    found = read_run(shown)
    assert found.scores == {"train/same": {1: [1.0]}, "train/same (array)": {1: [2.0]}}
    assert found.arrays == {"train/same": [1]}
    assert on_page(shown, "train/same") == [(1, 1.0)]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array(["a", "b"]), "a histogram needs numbers"),
        (np.array([1j]), "a histogram needs numbers"),
        (np.array([]), "no finite value"),
        (np.array([np.nan, np.inf]), "no finite value"),
    ],
)
def test_an_array_without_a_histogram_is_left_out_and_told_once(
    run: RunDirectory, array: np.ndarray, reason: str, shown: Path, read_run: Read, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2):
        run.track_array("odd", array, DataSplit.TRAIN, 1, step)
    run.track_array("even", np.arange(4), DataSplit.TRAIN, 1, 2)
    finish(run)
    assert send(run) == 0
    told = [record.getMessage() for record in caplog.records if "train/odd" in record.getMessage()]
    assert len(told) == 1
    assert reason in told[0]
    assert read_run(shown).arrays == {"train/even": [2]}


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.float16, np.float32])
def test_a_histogram_counts_every_value(
    run: RunDirectory, dtype: type, shown: Path, accumulated: Callable[[Path], EventAccumulator]
) -> None:
    array = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)
    run.track_array("array", array, DataSplit.TRAIN, 1, 1)
    finish(run)
    send(run)
    (event,) = accumulated(shown).Histograms("train/array")
    value = event.histogram_value
    assert (value.min, value.max, value.num, value.sum, value.sum_squares) == (0, 1, 6, 4, 4)
    assert [count for count in value.bucket if count] == [2, 4]


@pytest.mark.parametrize("folder", ["file/inside", "file"])
def test_a_folder_that_cannot_be_is_refused_at_once(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write to .* is a file\): choose another folder\.$"):
        TensorBoardTracker(folder=str(tmp_path / folder))
    with pytest.raises(UsageError, match="needs the path of a folder"):
        TensorBoardTracker(folder=" ")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_refused_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="may not be written to"):
        TensorBoardTracker(folder=str(tmp_path / "events"))
