"""Runs reach MLflow whatever happens: a server that goes and comes, kills, doubles, two processes on a new database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import torch
from artifact_torch_mlflow import MLflowTracker

from artifact_torch import Callback, DataSplit, RunDirectory, Trainer, hookimpl, sync_to
from artifact_torch.testing import TinyModel, tiny_loader

TRAINING = """
import logging, os, signal, sys, time
from artifact_torch import Callback, Trainer, hookimpl
from artifact_torch.testing import TinyModel, tiny_loader
from artifact_torch_mlflow import MLflowTracker

class Kill(Callback):
    @hookimpl
    def execute_epoch_postprocessing(self, trainer):
        if trainer.state.epoch == int(sys.argv[2]):
            while not (trainer.run.path / "trackers" / "mlflow.json").exists():
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)

handlers = [logging.NullHandler()]
logging.getLogger().handlers[:] = handlers
tracker = MLflowTracker()
tracker.close_seconds = 300.0  # two processes import MLflow and make a database at once
trainer = Trainer(TinyModel(), tiny_loader(16), epochs=3, device="cpu", trackers=[tracker], callbacks=[Kill()])
with open(sys.argv[1], "w") as file:
    file.write(str(trainer.run.path))
trainer.train()
assert logging.getLogger().handlers == handlers
assert not [name for name in os.environ if name.startswith("MLFLOW_")]
"""


class AtEpochs(Callback):
    """Does something after epochs."""

    def __init__(self, **actions):
        self.actions = {int(name.removeprefix("epoch_")): action for name, action in actions.items()}

    @hookimpl
    def execute_epoch_postprocessing(self, trainer):
        self.actions.get(trainer.state.epoch, lambda: None)()


def make_trainer(root, *, tracker=None, callbacks=(), epochs=4):
    torch.manual_seed(0)
    trackers = [] if tracker is None else [tracker]
    return Trainer(
        TinyModel(),
        tiny_loader(16),
        epochs=epochs,
        run=RunDirectory.create(root=root),
        trackers=trackers,
        callbacks=callbacks,
        device="cpu",
        use_installed_plugins=False,
    )


def weights(trainer):
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


def is_complete(found, run):
    """Whether MLflow has each number of a run once, at its step and time, and no other."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    names = [line["name"] if line["name"].startswith("batch/") else f"{line['split']}/{line['name']}" for line in lines]
    expected = sorted(
        [name, line["step"], round(line["time"] * 1000), repr(float(line["value"]))]
        for name, line in zip(names, lines, strict=True)
    )
    there = sorted(
        [key, step, time, repr(float(value))]
        for key, values in found["metrics"].items()
        for step, time, value in values
    )
    return there == expected


@pytest.fixture
def run(runs_root):
    run = RunDirectory.create("faulty", root=runs_root)
    run.begin([], seed=0)
    return run


def place_of(run):
    """How far a run's tracker has come, in bytes of its records."""
    state = run / "trackers" / "mlflow.json"
    return json.loads(state.read_text())["place"] if state.exists() else {}


def wait_until(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def forget_place(run):
    """What a kill leaves that comes after items were brought there, and before that was written down."""
    (state,) = (run.path / "trackers").glob("*.json")
    content = json.loads(state.read_text())
    state.write_text(json.dumps({**content, "place": {}}))


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back_has_everything(tmp_path, stoppable_server, reader, caplog):
    def kill():
        wait_until(lambda: place_of(trainer.run.path).get("metrics.jsonl", 0) > 0)
        stoppable_server.kill()

    def start():
        wait_until(lambda: "The tracker mlflow cannot be reached" in caplog.text)
        stoppable_server.start()

    stoppable_server.start()
    tracker = MLflowTracker(uri=stoppable_server.uri)
    plan = AtEpochs(epoch_2=kill, epoch_6=start)
    trainer = make_trainer(tmp_path / "runs", tracker=tracker, callbacks=[plan], epochs=8)
    trainer.train()
    assert "untracked" not in trainer.run.record
    found = reader.read_one(stoppable_server.uri, trainer.run.path)
    assert found["status"] == "FINISHED"
    assert is_complete(found, trainer.run.path)


@pytest.mark.slow
def test_a_server_that_is_never_there_leaves_training_alone_and_gets_all_later(
    tmp_path, stoppable_server, reader, caplog
):
    tracker = MLflowTracker(uri=stoppable_server.uri)
    tracker.close_seconds = 0.5
    trainer = make_trainer(tmp_path / "runs", tracker=tracker)
    trainer.train()
    without = make_trainer(tmp_path / "without")
    without.train()
    assert torch.equal(weights(trainer), weights(without))
    assert trainer.run.record["status"] == "finished"
    assert trainer.run.record["untracked"]["mlflow"] > 0
    assert f"`artifact-torch sync {trainer.run.path}` sends them later" in caplog.text
    stoppable_server.start()
    assert sync_to(trainer.run.path, MLflowTracker(uri=stoppable_server.uri), "mlflow") == 0
    assert is_complete(reader.read_one(stoppable_server.uri, trainer.run.path), trainer.run.path)


class SlowWay:
    """Passes calls on to a server, each two seconds after it came, and none before a run has ended."""

    def __init__(self, uri):
        self.run = None
        self.calls = 0
        way = self

        class Handler(BaseHTTPRequestHandler):
            def pass_on(self):
                way.calls += 1
                wait_until(lambda: not RunDirectory.open(way.run).is_in_progress)
                time.sleep(2)
                content = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
                headers = {name: text for name, text in self.headers.items() if name != "Accept-Encoding"}
                request = Request(uri + self.path, content, headers, method=self.command)
                try:
                    with urlopen(request) as answer:
                        status, body = answer.status, answer.read()
                except HTTPError as error:
                    status, body = error.code, error.read()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on  # noqa: N815 - as the library calls them

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.mark.slow
def test_a_server_that_takes_two_seconds_a_call_holds_nothing_up_and_has_everything(tmp_path, server, reader):
    way = SlowWay(server.uri)
    tracker = MLflowTracker(uri=way.uri)
    tracker.close_seconds = 300.0
    trainer = make_trainer(tmp_path / "runs", tracker=tracker)
    way.run = trainer.run.path
    trainer.train()  # to its end before the first call is answered
    way.server.shutdown()
    without = make_trainer(tmp_path / "without")
    without.train()
    assert torch.equal(weights(trainer), weights(without))
    assert "untracked" not in trainer.run.record
    found = reader.read_one(server.uri, trainer.run.path)
    assert found["status"] == "FINISHED"
    assert is_complete(found, trainer.run.path)
    assert way.calls > 5


FULL = """
import resource, sys
from artifact_torch import sync_to
from artifact_torch_mlflow import MLflowTracker

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
print(sync_to(sys.argv[1], MLflowTracker(), "mlflow", seconds=5))
"""


@pytest.mark.slow
def test_a_database_without_room_is_told_and_has_everything_when_there_is_some(run, runs_root, reader):
    database = runs_root / "mlflow.db"
    for step in range(1, 3001):
        run.track_score(f"score_{step % 7}", step / 3, DataSplit.TRAIN, 1, step)
    run.finish("finished", "done")
    room = database.stat().st_size + 150_000
    done = subprocess.run([sys.executable, "-c", FULL, run.path, str(room)], capture_output=True, text=True, check=True)
    left = int(done.stdout)
    assert 0 < left <= 3000
    assert f"{left} results have not reached the tracker mlflow" in done.stderr
    assert "Traceback" not in done.stderr
    assert sync_to(run.path, MLflowTracker(), "mlflow") == 0
    found = reader.read_one(f"sqlite:///{database}", run.path)
    assert found["status"] == "FINISHED"
    assert is_complete(found, run.path)


@pytest.mark.parametrize("where", ["database", "files", pytest.param("server", marks=pytest.mark.slow)])
def test_what_is_given_again_stands_there_once_also_if_it_is_no_number(run, where, tmp_path, reader, request):
    uri = {
        "database": lambda: f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}",
        "files": lambda: (tmp_path / "mlruns").as_uri(),
        "server": lambda: request.getfixturevalue("server").uri,
    }[where]()
    for step, value in enumerate([1.0, float("nan"), float("inf"), float("-inf"), 2.0], start=1):
        run.track_score("number", value, DataSplit.TRAIN, 1, step)
    run.finish("finished", "done")
    tracker = MLflowTracker(uri=uri)
    assert sync_to(run.path, tracker, "mlflow") == 0
    before = reader.read_one(uri, run.path)
    assert len(before["metrics"]["train/number"]) == 5
    forget_place(run)
    assert sync_to(run.path, tracker, "mlflow") == 0
    assert repr(reader.read_one(uri, run.path)) == repr(before)


def test_a_run_that_was_begun_and_not_remembered_is_found_again(run, runs_root, reader):
    run.track_score("score", 1.0, DataSplit.TRAIN, 1, 1)
    run.finish("finished", "done")
    assert sync_to(run.path, MLflowTracker(), "mlflow") == 0
    (run.path / "trackers" / "mlflow.json").unlink()
    assert sync_to(run.path, MLflowTracker(), "mlflow") == 0
    found = reader.read_one(f"sqlite:///{runs_root / 'mlflow.db'}", run.path)
    assert is_complete(found, run.path)


def test_a_run_that_was_deleted_there_goes_on_in_a_new_one(run, runs_root, reader, caplog):
    from mlflow import MlflowClient

    uri = f"sqlite:///{runs_root / 'mlflow.db'}"
    run.track_score("score", 1.0, DataSplit.TRAIN, 1, 1)
    run.finish("finished", "done")
    assert sync_to(run.path, MLflowTracker(), "mlflow") == 0
    deleted = reader.read_one(uri, run.path)["id"]
    MlflowClient(tracking_uri=uri).delete_run(deleted)
    run.track_score("score", 2.0, DataSplit.TRAIN, 2, 2)
    assert sync_to(run.path, MLflowTracker(), "mlflow") == 0
    assert f"The MLflow run {deleted} is not there any more: a new one takes what comes" in caplog.text
    found = reader.read_one(uri, run.path)
    assert found["id"] != deleted
    assert [value for _, _, value in found["metrics"]["train/score"]] == [2.0]
    (run.path / "trackers" / "mlflow.json").unlink()  # as the message says
    assert sync_to(run.path, MLflowTracker(), "mlflow") == 0
    assert is_complete(reader.read_one(uri, run.path), run.path)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (RuntimeError("broken"), "FAILED", "failed"),
        (KeyboardInterrupt(), "KILLED", "interrupted"),
        (SystemExit(3), "", ""),
    ],
)
def test_a_training_that_is_ended_from_within_has_its_status_and_all_it_recorded(
    runs_root, reader, error, status, words
):
    def end():
        raise error

    tracker = MLflowTracker()
    tracker.close_seconds = 300.0  # tests run side by side, and the process imports MLflow first
    trainer = make_trainer(runs_root, tracker=tracker, callbacks=[AtEpochs(epoch_2=end)])
    with pytest.raises(type(error)):
        trainer.train()
    found = reader.read_one(f"sqlite:///{runs_root / 'mlflow.db'}", trainer.run.path)
    if status:
        assert (found["status"], found["tags"]["artifact_torch.status"]) == (status, words)
    else:
        assert found["tags"]["artifact_torch.status"] == trainer.run.record["status"]
        assert found["status"] in ("FAILED", "KILLED")
    assert is_complete(found, trainer.run.path)


@pytest.mark.slow
def test_two_processes_begin_on_a_new_database_without_a_word_and_one_is_killed(tmp_path, reader):
    from mlflow import MlflowClient

    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment["ARTIFACT_TORCH_HOME"] = str(tmp_path / "runs")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TRAINING, str(tmp_path / f"path-{number}"), kill_at],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, kill_at in enumerate(["0", "3"])
    ]
    printed = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, -signal.SIGKILL], printed
    assert printed == [("", ""), ("", "")]
    finished, killed = (Path((tmp_path / f"path-{number}").read_text()) for number in range(2))
    uri = f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"
    assert is_complete(reader.read_one(uri, finished), finished)
    wait_until(lambda: reader.read_one(uri, killed)["status"] == "KILLED")  # its process outlives the training
    assert sync_to(killed, MLflowTracker(), "mlflow") == 0
    found = reader.read_one(uri, killed)
    assert (found["status"], found["tags"]["artifact_torch.status"]) == ("KILLED", "killed")
    assert is_complete(found, killed)
    assert not list((tmp_path / "runs").glob(".mlflow-*"))
    usual = MlflowClient(tracking_uri=uri).get_experiment("0")  # which MLflow makes in each store
    assert Path(usual.artifact_location).parent == tmp_path / "runs" / "mlflow-artifacts"
