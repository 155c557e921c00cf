"""What clients of artifact-experiment lose by themselves arrives, whatever fails in them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading

import numpy as np
import pytest
from artifact_torch_artifact_experiment import ArtifactExperimentTracker
from artifact_torch_artifact_experiment.worker import WatchedClient

from artifact_torch import (
    ArtifactTorchError,
    DataSplit,
    RunDirectory,
    TrackedItem,
    TrackedKind,
    Trainer,
    UsageError,
    sync_to,
)
from artifact_torch.core.mirror import tracked_run
from artifact_torch.testing.parts import TinyModel, tiny_loader


@pytest.fixture
def run(tmp_path):
    run = RunDirectory.create("tables", root=tmp_path / "runs")
    run.begin([], seed=0)
    return run


@pytest.fixture
def client():
    from artifact_experiment.tracking import InMemoryTrackingClient

    return InMemoryTrackingClient.build(experiment_id="tables", run_id="mine")


def item(step, value=0.5, name="score"):
    return TrackedItem(kind=TrackedKind.SCORE, name=name, split="train", epoch=1, step=step, time=1.7e9, value=value)


def scores_of(client):
    """Name of each score -> value, as the client's run has them."""
    return {path.split("scores/", 1)[1].rpartition("/")[0]: value for path, value in client.run.scores.items()}


def test_a_client_alone_drops_its_queue_and_this_is_why_it_is_waited_for(client):
    for step in range(300):
        client.log_score(1.0, name=f"score/{step}")
    client.stop()
    assert len(scores_of(client)) < 300


def test_the_filesystem_client_shows_no_button_in_a_terminal(run, capsys):
    run.finish("finished", "done")
    assert sync_to(run.path, ArtifactExperimentTracker(), "files") == 0
    assert "".join(capsys.readouterr()) == ""


def test_everything_is_there_before_the_client_is_stopped(run):
    for step in range(1, 301):
        run.track_score("score", step / 2, DataSplit.TRAIN, 1, step)
    run.finish("finished", "done")
    tracker = ArtifactExperimentTracker(backend="in_memory")
    assert sync_to(run.path, tracker, "memory") == 0
    expected = {f"train/score/epoch-1-step-{step}": step / 2 for step in range(1, 301)}
    assert scores_of(tracker.client) == expected
    assert not tracker.client.run.is_active


def test_a_result_that_fails_is_raised_and_does_not_end_the_clients_thread(run, client, monkeypatch):
    tracker = ArtifactExperimentTracker(client=client)
    tracker.open(tracked_run(run.path), {})
    write = client.run.log_score

    def picky(path, score):
        if score == 13.0:
            raise ValueError("that one I do not take")
        write(path=path, score=score)

    monkeypatch.setattr(client.run, "log_score", picky)
    with pytest.raises(ValueError, match="that one I do not take"):
        tracker.write([item(1), item(2, value=13.0), item(3)])
    tracker.write([item(1), item(3)])
    assert set(scores_of(client)) == {"train/score/epoch-1-step-1", "train/score/epoch-1-step-3"}
    monkeypatch.undo()
    tracker.write([item(2, value=13.0)])
    assert len(scores_of(client)) == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_thread_of_a_given_client_is_noticed_and_the_run_keeps_what_is_left(run, client, caplog):
    thread = client._logger_worker._thread
    client.queue.queue.put(object())  # what it does not know ends it, as any failure does
    thread.join()
    run.track_score("score", 1.0, DataSplit.TRAIN, 1, 1)
    run.finish("finished", "done")
    assert sync_to(run.path, ArtifactExperimentTracker(client=client), "mine", seconds=0.5) == 1
    assert "The thread in which the InMemoryTrackingClient writes has died" in caplog.text
    client.log_score(1.0, name="theirs")
    with pytest.raises(ArtifactTorchError, match="build another client"):
        WatchedClient(client).drain()
    tracker = ArtifactExperimentTracker()
    assert sync_to(run.path, tracker, "mine") == 0


def test_a_thread_that_dies_meanwhile_is_replaced_by_another_client(run, home):
    tracker = ArtifactExperimentTracker()
    tracker.open(tracked_run(run.path), {})
    tracker.write([item(1)])
    first = tracker.client
    first._logger_worker.stop()
    with pytest.raises(ArtifactTorchError, match="has died"):
        tracker.write([item(1), item(2)])
    tracker.write([item(1), item(2)])
    assert tracker.client is not first
    run.finish("finished", "done")
    tracker.close(tracked_run(run.path))
    folder = home / "artifact_ml" / "tables" / run.path.name / "artifacts" / "scores" / "train" / "score"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "epoch-1-step-1": "value\n0.5\n",
        "epoch-1-step-2": "value\n0.5\n",
    }


def test_a_client_that_is_given_is_drained_left_open_and_left_as_it_was(run, client):
    process = client._logger_worker._process_item
    tracker = ArtifactExperimentTracker(client=client)
    tracker.open(tracked_run(run.path), {})
    client.log_score(7.0, name="their/own")
    tracker.write([item(1)])
    run.finish("finished", "done")
    tracker.close(tracked_run(run.path))
    assert client.run.is_active
    assert client._logger_worker._process_item == process
    assert scores_of(client) == {"their/own": 7.0, "train/score/epoch-1-step-1": 0.5}
    client.stop()


def test_two_runs_reach_one_client_by_turns(tmp_path, client):
    for number in (1, 2):
        run = RunDirectory.create("tables", root=tmp_path / "runs")
        run.begin([], seed=0)
        run.track_score(f"score_{number}", float(number), DataSplit.TRAIN, 1, 1)
        run.finish("finished", "done")
        assert sync_to(run.path, ArtifactExperimentTracker(client=client), "mine") == 0
    assert sorted(scores_of(client).values()) == [1.0, 2.0]


def test_a_training_is_handed_over(run, tmp_path):
    run = RunDirectory.create("tables", root=tmp_path / "runs")
    tracker = ArtifactExperimentTracker(backend="in_memory")
    trainer = Trainer(TinyModel(), tiny_loader(), epochs=2, run=run, trackers=[tracker])
    trainer.train()
    scores = scores_of(tracker.client)
    assert scores["train/loss/epoch-2-step-8"] == trainer.epoch_scores["train/loss"].iloc[-1]
    assert any("train/model/epoch-2-step-8/" in name for name in tracker.client.run.files)


def test_arrays_and_plots_arrive_as_such(run, tmp_path, client):
    from matplotlib.image import imread

    from artifact_torch.core.artifacts import Plot
    from artifact_torch.testing.tracker_conformance import _png

    (tmp_path / "plot.png").write_bytes(_png(8, 6, 100))
    run.track_plot("plot", Plot(tmp_path / "plot.png"), DataSplit.TRAIN, 1, 1)
    run.track_array("array", np.eye(2), DataSplit.TRAIN, 1, 1)
    run.finish("finished", "done")
    assert sync_to(run.path, ArtifactExperimentTracker(client=client), "mine") == 0
    (array,) = client.run.arrays.values()
    np.testing.assert_array_equal(array, np.eye(2))
    (figure,) = client.run.plots.values()
    figure.savefig(tmp_path / "again.png")
    pixels = imread(tmp_path / "again.png")
    assert pixels.shape == (6, 8, 4)
    np.testing.assert_allclose(pixels[..., :3], 100 / 255, atol=1 / 255)


@pytest.mark.lengthy
@pytest.mark.parametrize(
    ("status", "expected"), [("finished", "FINISHED"), ("failed", "FAILED"), ("interrupted", "KILLED")]
)
def test_mlflow_has_the_scores_and_is_told_how_the_run_has_ended(run, tmp_path, monkeypatch, status, expected):
    import mlflow
    from artifact_experiment.tracking import MlflowTrackingClient

    address = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setattr(MlflowTrackingClient.build.__globals__["MlflowRunAdapter"], "_tracking_uri", None)
    monkeypatch.chdir(tmp_path)
    run.track_score("a@b//c", 0.5, DataSplit.TRAIN, 1, 3)
    run.finish(status, "done")
    for name in ("first", "second"):  # the second finds a run that has ended
        assert sync_to(run.path, ArtifactExperimentTracker(backend="mlflow"), name) == 0
    service = mlflow.MlflowClient(address)
    found = service.search_runs([service.get_experiment_by_name("tables").experiment_id])
    assert {each.info.run_name for each in found} == {run.path.name, f"{run.path.name}-2"}
    assert {each.info.status for each in found} == {expected}
    metrics = {"artifact_ml/artifacts/scores/train/a_x40_b/_x_/c/epoch-1-step-3": 0.5}
    assert [each.data.metrics for each in found] == [metrics] * 2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"backend": "neptune"}, "The backend 'neptune' of ArtifactExperimentTracker is none"),
        ({"client": 3}, "The client of ArtifactExperimentTracker is a int"),
        ({"backend": "mlflow"}, "set MLFLOW_TRACKING_URI"),
    ],
    ids=str,
)
def test_a_parameter_that_is_wrong_is_refused(parameters, message, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UsageError, match=message):
        ArtifactExperimentTracker(**parameters)


def test_a_login_within_an_address_is_refused(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://user:secret@mlflow.example.org")
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_USERNAME") as caught:
        ArtifactExperimentTracker(backend="mlflow")
    assert "secret" not in str(caught.value)


def test_that_artifact_experiment_is_missing_is_said_at_once(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(UsageError, match="pip install artifact-experiment"):
        ArtifactExperimentTracker()


def test_a_client_of_another_make_is_refused(run):
    class Other:
        queue = None

        def log_score(self, score, name): ...

    with pytest.raises(UsageError, match="The client Other cannot be watched"):
        ArtifactExperimentTracker(client=Other()).open(tracked_run(run.path), {})


def test_artifact_experiment_is_imported_when_a_run_is_opened_and_not_before():
    code = (
        "import sys; from artifact_torch_artifact_experiment import ArtifactExperimentTracker;"
        "ArtifactExperimentTracker();"
        "assert not {'artifact_experiment', 'mlflow', 'matplotlib', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_is_left_running(run):
    before = threading.active_count()
    run.finish("finished", "done")
    assert sync_to(run.path, ArtifactExperimentTracker(backend="in_memory"), "memory") == 0
    assert threading.active_count() <= before
