"""Trackers of installed plugins work in a process of their own, whatever becomes of it or of training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from artifact_torch import DataSplit, MirrorTracker, RunDirectory, hookimpl, registry, sync_to
from artifact_torch.core import mirror_process
from artifact_torch.core.mirror import Mirror
from artifact_torch.core.mirror_process import MirrorProcess, recipe_of

PLUGIN = '''
"""A tracker that writes a line for each thing that it is told, and fails as it is asked to."""

import json, os, sys, time
from pathlib import Path
from artifact_torch import MirrorTracker


class Lines(MirrorTracker):
    batch_size = 10

    def __init__(self, folder, fault="", client=None):
        self.path = Path(folder, "lines.jsonl")
        self.fault = fault

    def open(self, run, remembered):
        self.note(event="open", process=os.getpid(), torch="torch" in sys.modules)
        return {}

    def write(self, items):
        deaths = self.path.with_name("deaths")
        if self.fault == "dies" or (self.fault == "dies once" and not deaths.exists()):
            deaths.touch()
            os._exit(3)
        if self.fault == "hangs":
            self.note(event="hang", process=os.getpid())
            time.sleep(1000)
        if self.fault.startswith("is slow"):
            time.sleep(float(self.fault.split()[-1]))
        if self.fault == "fails":
            raise ConnectionError("the token topsecretvalue is refused")
        for item in items:
            self.note(event=item.kind, name=item.full_name, step=item.step, value=item.value)

    def close(self, run):
        self.note(event="close", status=run.status)

    def note(self, **event):
        with self.path.open("a") as file:
            file.write(json.dumps(event) + "\\n")
'''

TRAINING = """
import os, signal, sys
from artifact_torch import Callback, RunDirectory, Trainer, hookimpl
from artifact_torch.testing import TinyModel, tiny_loader
from acme_lines import Lines

class End(Callback):
    @hookimpl
    def on_train_start(self):
        if sys.argv[2] == "at once":
            os.kill(os.getpid(), signal.SIGKILL)

    @hookimpl
    def execute_epoch_postprocessing(self, trainer):
        if trainer.state.epoch == 2:
            if sys.argv[2] == "exit":
                sys.exit(5)
            os.killpg(0, signal.SIGTERM) if sys.argv[2] == "group" else os.kill(os.getpid(), int(sys.argv[2]))

if __name__ == "__main__":
    run = RunDirectory.create("ended", root=sys.argv[1])
    trackers = [Lines(sys.argv[1], *sys.argv[3:])]
    Trainer(TinyModel(), tiny_loader(16), epochs=4, run=run, trackers=trackers, callbacks=[End()], device="cpu").train()
"""


@pytest.fixture
def lines(install, tmp_path, monkeypatch):
    """The class of an installed tracker."""
    install("acme-lines", {"artifact_torch.trackers": {"lines": "acme_lines:Lines"}}, acme_lines=PLUGIN)
    return registry.get("trackers", "lines")


@pytest.fixture
def run(tmp_path):
    run = RunDirectory.create("mirrored", root=tmp_path / "runs")
    run.begin([], seed=0)
    return run


def told(folder):
    return [json.loads(line) for line in (folder / "lines.jsonl").read_text().splitlines()]


def steps(folder):
    return [event["step"] for event in told(folder) if event["event"] == "score" and event["name"] == "train/loss"]


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def process_of(tracker, run, *, seconds=60.0):
    recipe = recipe_of(tracker)
    assert recipe is not None
    return MirrorProcess(recipe, "lines", run.path, seconds=seconds)


def scores(run, count, start=0):
    for number in range(start, start + count):
        run.track_score("loss", float(number), DataSplit.TRAIN, 1, number + 1)


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_training_is_mirrored_by_another_process_which_does_not_import_torch(make_trainer, lines, tmp_path):
    trainer = make_trainer(trackers=[lines(tmp_path)])  # a path, which is no JSON value
    trainer.train()
    plain = make_trainer()
    plain.train()
    events = told(tmp_path)
    assert events[0]["process"] != os.getpid()
    assert not events[0]["torch"]
    assert steps(tmp_path) == [4, 8]
    assert events[-1] == {"event": "close", "status": "finished"}
    assert "untracked" not in trainer.run.record
    assert not is_alive(events[0]["process"])
    for name, tensor in plain.model.state_dict().items():
        assert torch.equal(tensor, trainer.model.state_dict()[name])


def test_a_class_that_is_not_installed_or_has_other_arguments_works_in_this_process(lines, tmp_path):
    class Own(MirrorTracker):
        def open(self, run, remembered):
            return {}

        def write(self, items):
            pass

        def close(self, run):
            pass

    assert recipe_of(Own()) is None
    assert recipe_of(lines(str(tmp_path), client=object())) is None
    staying = lines(str(tmp_path))
    staying.stays_in_process = True
    assert recipe_of(staying) is None
    expected = {"tracker": "acme-lines:lines", "positional": [str(tmp_path)], "named": {"fault": "dies"}}
    assert recipe_of(lines(tmp_path, fault="dies")) == expected


def test_a_process_that_dies_is_started_again_and_nothing_is_missing(lines, run, tmp_path, caplog):
    mirror = process_of(lines(tmp_path, "dies once"), run)
    mirror.start()
    scores(run, 25)
    wait_until(lambda: "is started again" in caplog.text)
    run.finish("finished", "done")
    assert mirror.end() == 0
    assert steps(tmp_path) == list(range(1, 26))
    assert "The tracker lines: its process ended with code 3; it is started again" in caplog.text


def test_a_process_that_dies_each_time_leaves_all_for_later(lines, run, tmp_path, caplog):
    mirror = process_of(lines(tmp_path, "dies"), run)
    mirror.start()
    scores(run, 25)
    wait_until(lambda: "it is not started again" in caplog.text)
    run.finish("finished", "done")
    assert mirror.end() == 25
    assert len([event for event in told(tmp_path) if event["event"] == "open"]) == 3
    assert "25 results have not reached the tracker lines (its process ended with code 3)" in caplog.text
    assert sync_to(run.path, lines(tmp_path), "lines") == 0
    assert steps(tmp_path) == list(range(1, 26))


def test_a_process_that_hangs_is_killed_at_the_end(lines, run, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(mirror_process, "GRACE_SECONDS", 0.1)
    mirror = process_of(lines(tmp_path, "hangs"), run, seconds=0.1)
    mirror.start()
    scores(run, 3)
    wait_until(lambda: (tmp_path / "lines.jsonl").exists() and told(tmp_path)[-1]["event"] == "hang")
    run.finish("finished", "done")
    assert mirror.end() == 3
    assert "3 results have not reached the tracker lines (it has not answered for 0.2 s)" in caplog.text
    assert not is_alive(told(tmp_path)[-1]["process"])


def test_what_goes_wrong_in_the_process_is_told_here_without_secrets(lines, run, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("ACME_TOKEN", "topsecretvalue")
    mirror = process_of(lines(tmp_path, "fails"), run, seconds=1.0)
    mirror.start()
    scores(run, 3)
    run.finish("finished", "done")
    assert mirror.end() == 3
    assert "The tracker lines cannot be reached (ConnectionError: the token *** is refused)" in caplog.text
    assert "topsecretvalue" not in caplog.text


def test_a_tracker_that_cannot_be_built_there_is_told_and_all_is_kept(lines, run, tmp_path, caplog):
    recipe = {**(recipe_of(lines(tmp_path)) or {}), "named": {"unknown": 1}}
    mirror = MirrorProcess(recipe, "lines", run.path, seconds=5.0)
    mirror.start()
    scores(run, 3)
    run.finish("finished", "done")
    assert mirror.end() == 3
    assert "The tracker lines cannot be built in a process of its own: TypeError: Lines" in caplog.text


def test_a_process_that_cannot_be_started_is_told_and_all_is_kept(lines, run, tmp_path, monkeypatch, caplog):
    mirror = process_of(lines(tmp_path), run)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    mirror.start()
    scores(run, 3)
    run.finish("finished", "done")
    assert mirror.end() == 3
    assert "(no process can be started for it: No such file or directory)" in caplog.text


def trained(tmp_path, *arguments):
    """Run a training in a process group of its own; its exit code, errors and run."""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, str(tmp_path), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        start_new_session=True,
    )
    (run,) = (tmp_path / "ended").iterdir()
    return done.returncode, done.stderr, run


@pytest.mark.parametrize("fault", ["", pytest.param("is slow 0.5", marks=pytest.mark.slow)])
def test_a_training_that_is_killed_has_all_it_recorded_in_the_mirror_as_killed(lines, tmp_path, fault):
    code, _, run = trained(tmp_path, str(int(signal.SIGKILL)), fault)
    assert code == -signal.SIGKILL
    wait_until(lambda: (tmp_path / "lines.jsonl").exists() and told(tmp_path)[-1]["event"] == "close")
    assert told(tmp_path)[-1]["status"] == "killed"
    recorded = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps(tmp_path) == [line["step"] for line in recorded if line["name"] == "loss"]
    assert steps(tmp_path) == [1, 2]
    process = told(tmp_path)[0]["process"]
    wait_until(lambda: not is_alive(process))
    assert sync_to(run, lines(tmp_path), "lines") == 0
    assert len(steps(tmp_path)) == len(set(steps(tmp_path)))


def test_a_training_that_is_killed_before_its_first_step_is_in_the_mirror_as_killed(lines, tmp_path):
    code, _, _ = trained(tmp_path, "at once")
    assert code == -signal.SIGKILL
    wait_until(lambda: (tmp_path / "lines.jsonl").exists() and told(tmp_path)[-1]["event"] == "close")
    assert told(tmp_path)[-1]["status"] == "killed"


def test_a_signal_to_all_processes_ends_training_first_and_the_mirror_has_all(lines, tmp_path):
    code, errors, run = trained(tmp_path, "group")
    assert code == 1, errors  # the command line makes 143 of it
    assert "SIGTERM was received" in errors
    assert told(tmp_path)[-1] == {"event": "close", "status": "interrupted"}
    assert RunDirectory.open(run).record["status"] == "interrupted"
    assert steps(tmp_path) == [1, 2]


@pytest.mark.slow
def test_a_training_that_leaves_by_sys_exit_has_all_in_the_mirror(lines, tmp_path):
    code, errors, run = trained(tmp_path, "exit")
    assert code == 5, errors
    assert told(tmp_path)[-1] == {"event": "close", "status": "failed"}
    assert RunDirectory.open(run).record["status"] == "failed"
    assert steps(tmp_path) == [1, 2]


@pytest.mark.slow
def test_ctrl_c_ends_training_and_the_mirror_has_all(lines, tmp_path):
    code, errors, run = trained(tmp_path, str(int(signal.SIGINT)))
    assert code == 1, errors  # the command line makes 130 of it
    assert "SIGINT was received" in errors
    assert told(tmp_path)[-1] == {"event": "close", "status": "interrupted"}
    assert RunDirectory.open(run).record["status"] == "interrupted"


def test_a_mirror_waits_until_another_process_has_ended_with_the_run(lines, run, tmp_path):
    slow = process_of(lines(tmp_path, "is slow 0.3"), run)
    slow.start()
    scores(run, 25)
    wait_until(lambda: steps(tmp_path) if (tmp_path / "lines.jsonl").exists() else [])
    run.finish("finished", "done")
    second = Mirror(lines(tmp_path), "lines", run.path, seconds=60.0)
    second.start()
    assert slow.end() == 0
    assert second.end() == 0
    assert steps(tmp_path) == list(range(1, 26))
    assert [event["event"] for event in told(tmp_path) if event["event"] != "score"] == ["open", "close"] * 2


def test_a_resume_waits_until_the_process_that_outlived_the_training_has_ended(lines, tmp_path, make_trainer):
    class Save:
        @hookimpl
        def execute_epoch_postprocessing(self, trainer):
            if trainer.state.epoch == 1:
                trainer.save_checkpoint()
            if trainer.state.epoch == 2:
                raise RuntimeError("broken")

    trainer = make_trainer(trackers=[lines(tmp_path)], callbacks=[Save()], epochs=3)
    with pytest.raises(RuntimeError, match="broken"):
        trainer.train()
    run = trainer.run
    late = process_of(lines(tmp_path, "is slow 0.3"), run)  # as if it had been killed
    late.start()
    wait_until(lambda: sum(event["event"] == "open" for event in told(tmp_path)) == 2)
    again = make_trainer(trackers=[lines(tmp_path)], epochs=3)
    again.load_checkpoint(run.checkpoints.paths()[0])
    late.ask_to_end()
    again.train()
    late.end()
    events = [event["event"] for event in told(tmp_path) if event["event"] in ("open", "close")]
    assert events == ["open", "close"] * 3
    assert sorted(set(steps(tmp_path))) == [4, 8, 12]
