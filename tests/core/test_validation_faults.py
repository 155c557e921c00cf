"""A training with validation in the background that is killed, at whatever instant, ends as one that was left alone."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SERVER = Path(__file__).with_name("validation_fault_server.py")


def started(folder, mode, seed):
    return subprocess.Popen(
        [sys.executable, SERVER, folder, mode, str(seed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def end_of(folder, mode, seed):
    process = started(folder, mode, seed)
    _, talk = process.communicate(timeout=200)
    assert process.returncode == 0, talk
    return json.loads((folder / "end.json").read_text())


def children_of(pid):
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():  # a process is the child of the thread that has started it
        with contextlib.suppress(OSError):  # the thread has ended
            found += [int(each) for each in (thread / "children").read_text().split()]
    return found


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def killed_and_resumed(folder, seed, epoch, delay):
    """Kill a training some seconds after it has told an epoch, see that its processes end, and go on with it."""
    process = started(folder, "background", seed)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == epoch:
            break
    workers = children_of(process.pid)
    assert workers
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 20
    while any(is_running(worker) for worker in workers):  # they see the end of their standard input
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return end_of(folder, "background", seed)


@pytest.mark.slow
def test_in_the_background_a_training_that_is_killed_ends_as_one_inline_that_is_not(tmp_path):
    inline = end_of(tmp_path / "inline", "inline", 0)
    assert 2 < inline["epochs"] < 20
    assert inline["learning_rate"] < 1e-3
    assert killed_and_resumed(tmp_path / "killed", 0, epoch=4, delay=0.1) == inline


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_seed_and_the_instant_of_death_the_end_is_the_same(tmp_path, seed):
    inline = end_of(tmp_path / "inline", "inline", seed)
    assert end_of(tmp_path / "background", "background", seed) == inline
    generator = random.Random(seed)
    for number in range(4):
        epoch, delay = generator.randint(1, max(1, inline["epochs"] - 1)), generator.uniform(0.0, 0.6)
        assert killed_and_resumed(tmp_path / f"killed-{number}", seed, epoch, delay) == inline


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["inline", "background"])
def test_memory_is_flat_over_three_hundred_rounds(tmp_path, mode):
    code = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from judging import JudgingPlan, EVERY_KIND
from artifact_torch import Callback, RunDirectory, Trainer, ValidationRoutine, hookimpl
from artifact_torch.testing import TinyModel, tiny_loader

def now():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

class Look(Callback):
    @hookimpl
    def execute_epoch_postprocessing(self, trainer):
        if trainer.state.epoch in (150, 300):  # until then garbage that awaits its collection still adds to it
            from matplotlib import pyplot
            print(now(), len(pyplot.get_fignums()), flush=True)

routine = ValidationRoutine(plans=[JudgingPlan(EVERY_KIND)], mode=sys.argv[2])
Trainer(TinyModel(), tiny_loader(), epochs=300, validation=routine, callbacks=[Look()], device="cpu",
        run=RunDirectory.create("memory", root=sys.argv[3]), use_installed_plugins=False).train()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, SERVER.parent, mode, tmp_path], check=True, capture_output=True, text=True
    )
    (early, figures), (late, figures_late) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert figures == figures_late == 0
    assert late - early < 5e6
