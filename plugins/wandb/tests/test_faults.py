"""What was recorded is in wandb's files whatever dies, and nothing of wandb is felt outside of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from artifact_torch_wandb import WandbTracker
from artifact_torch_wandb.transaction_log import keys_in

from artifact_torch import RunDirectory, TrackedItem, TrackedKind, sync_to
from artifact_torch.core.mirror import tracked_run

pytestmark = pytest.mark.lengthy

TRAINING = """
import os, signal, sys
from artifact_torch import RunDirectory, Trainer
from artifact_torch.testing.parts import TinyModel, tiny_loader
from artifact_torch_wandb import WandbTracker


class Dying(WandbTracker):
    def write(self, items):
        super().write(items)
        if max(item.step for item in items) >= 40:
            print(len(items), sorted({item.full_name for item in items})[0], flush=True)
            os.kill(os.getpid(), signal.SIGKILL)


run = RunDirectory.create("killed", root=sys.argv[1])
trainer = Trainer(TinyModel(), tiny_loader(), epochs=10**6, run=run, log_every=1, trackers=[Dying(mode="offline")])
trainer.train()
"""


@pytest.fixture
def run(tmp_path):
    run = RunDirectory.create("faults", root=tmp_path / "runs")
    run.begin([], seed=0)
    return run


def item(step, *, name="score", value=None, kind=TrackedKind.SCORE, path=None):
    value = step / 4 if kind is TrackedKind.SCORE and value is None else value
    return TrackedItem(
        kind=kind, name=name, split="train", epoch=1, step=step, time=1.7e9 + step, value=value, path=path
    )


def expected(steps):
    return {step: [step / 4] for step in steps}


def wandbs_own_processes():
    """The processes of wandb that this process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if name == "wandb-core" and int(rest.split()[1]) == os.getpid():
            found.append(int(path.parent.name))
    return found


def test_a_training_that_is_killed_leaves_all_that_it_had_given_away(tmp_path, read_run):
    command = [sys.executable, "-c", TRAINING, str(tmp_path / "runs")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, errors
    assert output
    (run,) = (tmp_path / "runs").glob("*/*")
    given = 0
    while given < 40:  # wandb's own process outlives the killed one, and ends once it has written everything
        given = max(read_run(run).scores.get("batch/loss", {0: []}))
    assert sync_to(run, WandbTracker(mode="offline"), "wandb") == 0
    found = read_run(run)
    recorded = [line for line in (run / "metrics.jsonl").read_text().splitlines() if '"batch/loss"' in line]
    assert len(recorded) >= 40
    assert list(found.scores["batch/loss"]) == list(range(1, len(recorded) + 1))
    assert {len(values) for values in found.scores["batch/loss"].values()} == {1}
    assert found.status == "killed"


KILL = """
class Kill(Callback):
    @hookimpl
    def log_batch_metrics(self, trainer):
        if trainer.state.step == 40:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_training_that_is_killed_is_so_in_wandb_without_more_ado(tmp_path, read_run):
    script = TRAINING.replace("import RunDirectory", "import Callback, RunDirectory, hookimpl")
    script = script.replace("Dying(mode", "WandbTracker(mode").replace("trackers=", "callbacks=[Kill()], trackers=")
    script = script.replace("run = Run", KILL + "\nrun = Run")
    process = subprocess.run([sys.executable, "-c", script, str(tmp_path / "runs")], timeout=120, check=False)
    assert process.returncode == -signal.SIGKILL
    (run,) = (tmp_path / "runs").glob("*/*")
    recorded = [line for line in (run / "metrics.jsonl").read_text().splitlines() if '"batch/loss"' in line]
    deadline = time.monotonic() + 60
    while read_run(run).status != "killed":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert list(read_run(run).scores["batch/loss"]) == list(range(1, len(recorded) + 1))


def test_after_wandbs_own_process_has_died_another_one_goes_on(run, read_run):
    tracker = WandbTracker(mode="offline")
    remembered = tracker.open(tracked_run(run.path), {})
    tracker.write([item(1), item(2)])
    while len(keys_in(run.path / "wandb")) < 2:  # written, so that it cannot die with it
        pass
    for process in wandbs_own_processes():
        os.kill(process, signal.SIGKILL)
    given = [item(2), item(3)]
    errors = 0
    while True:  # as the core does, only without pauses
        try:
            tracker.write(given)
        except BaseException:
            errors += 1
            assert errors < 10
        else:
            break
    run.finish("finished", "done")
    tracker.close(tracked_run(run.path))
    assert errors
    assert remembered == {"id": run.path.name, "project": "faults"}
    found = read_run(run.path)
    assert found.scores["train/score"] == expected(range(1, 4))
    assert found.status == "finished"


def test_a_picture_that_is_damaged_keeps_nothing_else(run, tmp_path, read_run):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    tracker = WandbTracker(mode="offline")
    tracker.open(tracked_run(run.path), {})
    with pytest.raises(Exception, match=r"bad\.png"):
        tracker.write([item(1), item(1, kind=TrackedKind.PLOT, name="plot", path=bad)])
    tracker.write([item(1), item(2)])
    tracker.close(tracked_run(run.path))
    assert read_run(run.path).scores["train/score"] == expected([1, 2])
    assert len(list((run.path / "wandb").glob("offline-run-*"))) == 1  # wandb was not blamed


OFFLINE = """
import sys
leave, hook = sys.exit, sys.excepthook
from artifact_torch import RunDirectory, Trainer
from artifact_torch.testing.parts import TinyModel, tiny_loader
from artifact_torch_wandb import WandbTracker
assert "wandb" not in sys.modules
run = RunDirectory.create("quiet", root=sys.argv[1])
tracker = WandbTracker(mode="offline")
assert "wandb" not in sys.modules
Trainer(TinyModel(), tiny_loader(), epochs=2, run=run, trackers=[tracker]).train()
assert "wandb" not in sys.modules
assert sys.exit is leave and sys.excepthook is hook
print("trained")
sys.exit(7)
"""


def test_offline_nothing_is_sent_printed_or_hooked_and_nothing_is_left_in_the_working_directory(tmp_path):
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    address = f"http://127.0.0.1:{server.getsockname()[1]}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY")
    surroundings = {**os.environ, **dict.fromkeys(names, address), "WANDB_BASE_URL": address, "NO_PROXY": ""}
    surroundings |= {"WANDB_API_KEY": "a" * 40}
    surroundings.pop("WANDB_SERVICE", None)
    working = tmp_path / "working"
    working.mkdir()
    command = [sys.executable, "-c", OFFLINE, str(tmp_path / "runs")]
    done = subprocess.run(command, cwd=working, env=surroundings, capture_output=True, text=True, timeout=120)
    assert done.returncode == 7, done.stderr
    assert done.stdout == "trained\n"
    assert "wandb" not in done.stderr
    assert list(working.iterdir()) == []
    with pytest.raises(BlockingIOError):  # nobody has knocked
        server.accept()
    server.close()


@pytest.mark.slow
def test_a_service_that_cannot_be_reached_holds_nothing_up_and_gets_the_run_later(tmp_path, read_run):
    script = OFFLINE.replace('mode="offline"', 'mode="online", upload_seconds=1.0').replace("assert sys", "#")
    surroundings = {**os.environ, "WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    surroundings.pop("WANDB_SERVICE", None)
    command = [sys.executable, "-c", script, str(tmp_path / "runs")]
    done = subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, timeout=200)
    assert done.returncode == 7, done.stderr
    assert "artifact-torch sync" in done.stderr
    assert "aaaaaaaa" not in done.stderr
    (run,) = (tmp_path / "runs").glob("*/*")
    assert not any("a" * 40 in path.read_text() for path in run.rglob("*.json"))
    assert sync_to(run, WandbTracker(mode="offline"), "wandb") == 0
    assert len(read_run(run).scores["train/loss"]) == 2
