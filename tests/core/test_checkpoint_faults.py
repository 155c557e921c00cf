"""Real faults: processes killed while they save, delete and sweep, and disks that are full."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from artifact_torch.core.checkpoint import CheckpointStore
from artifact_torch.core.storage import MANIFEST_FILE, read_about, verify_bundle

SERVER = Path(__file__).with_name("checkpoint_fault_server.py")
OTHER_FILE_SYSTEM = Path("/dev/shm")
VALID = re.compile(r"\d{4}-step-\d{9}")


@pytest.fixture(scope="module")
def cause():
    """Causes a fault in a process of its own; returns what the process reported before."""
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    if OTHER_FILE_SYSTEM.is_dir():  # a rename from there would not be one
        environment["TMPDIR"] = str(OTHER_FILE_SYSTEM)
    server = subprocess.Popen(
        [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )

    def ask(fault, folder, **arguments):
        server.stdin.write(json.dumps({"fault": fault, "folder": str(folder), **arguments}) + "\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline())

    yield ask
    server.communicate(timeout=60)


def litter(folder):
    return [path.name for path in folder.iterdir() if not VALID.fullmatch(path.name)] if folder.is_dir() else []


def check_what_is_left(folder, reported):
    """Everything under a valid name is whole, nothing that was reported is lost, and the next start tidies up.

    Returns whether there was something to tidy up.
    """
    store = CheckpointStore(folder)
    for path in store.paths():
        verify_bundle(path)
    untidy = bool(litter(folder))
    if reported or store.paths():
        loaded = store.load_newest()
        step = loaded.state["step"]
        assert loaded.skipped == ()
        assert step >= reported
        assert loaded.path.name.endswith(f"-step-{step:09d}")
        assert bool((loaded.state["weights"] == step).all())
        assert bool((loaded.state["bias"] == step).all())
        assert loaded.state["text"].startswith(f"step {step}, ")
        assert read_about(loaded.path)["step"] == step
    else:
        store.sweep()
    assert litter(folder) == []
    return untidy


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize(
    "kills", [pytest.param(10, marks=pytest.mark.lengthy), pytest.param(100, marks=pytest.mark.slow)]
)
def test_a_process_killed_while_saving_loses_nothing_it_reported(cause, tmp_path, kills, background):
    moments = random.Random(kills + background)
    folder = tmp_path / "checkpoints"
    reported = untidy = 0
    longest = 0.08
    for _ in range(kills):
        answer = cause("killed_while_saving", folder, background=background, delay=moments.uniform(0.01, longest))
        longest *= 0.85 if answer["reports"] else 1.25  # as long as a save takes, on a slow machine too
        reported = max([reported, *answer["reports"]])
        untidy += check_what_is_left(folder, reported)
    assert reported >= kills / 10
    assert untidy >= kills / 10  # otherwise the kills came too early or too late to matter


@pytest.mark.lengthy
@pytest.mark.parametrize("background", [False, True])
def test_a_process_may_be_killed_before_any_access_to_a_file_while_it_saves_and_deletes(cause, tmp_path, background):
    untidy = 0
    for event in range(200):
        folder = tmp_path / str(event)
        answer = cause("killed_at_event", folder, background=background, event=event)
        untidy += check_what_is_left(folder, max(answer["reports"]))
        if answer["status"] == 0:
            break
    assert answer["reports"] == [4, 5]
    assert [path.name[:4] for path in CheckpointStore(folder).paths()] == ["0004", "0005"]
    assert untidy > 20


def test_a_process_may_be_killed_while_it_sweeps(cause, tmp_path):
    folder = tmp_path / "checkpoints"
    event = 40
    while not litter(folder):  # until a deletion was interrupted
        event -= 1
        folder = tmp_path / str(event)
        cause("killed_at_event", folder, background=False, event=event)
    before = CheckpointStore(folder).paths()
    for event in range(50):
        answer = cause("killed_while_sweeping", folder, event=event)
        assert CheckpointStore(folder).paths() == before
        if answer["status"] == 0:
            break
    assert answer["reports"] == [1]
    assert litter(folder) == []


@pytest.mark.parametrize("background", [False, True])
def test_a_disk_that_is_full_at_any_byte_leaves_the_earlier_checkpoint(cause, tmp_path, background):
    cause("disk_full", tmp_path / "whole", background=background, limit=1 << 20)
    (second,) = CheckpointStore(tmp_path / "whole").paths()
    sizes = sorted((path.stat().st_size, path.name) for path in second.iterdir())
    largest, name = sizes[-1]
    assert name == MANIFEST_FILE  # it is written last, so the limits below stop the writing in each of the files
    for number in range(20):
        folder = tmp_path / str(number)
        limit = (largest - 1) * number // 19
        (said,) = cause("disk_full", folder, background=background, limit=limit)["reports"]
        assert "File too large" in said
        assert (said.startswith("CheckpointError") and "0002-step-000000002" in said) or not background
        assert litter(folder) == []
        loaded = CheckpointStore(folder).load_newest()
        assert (loaded.state["step"], loaded.skipped) == (1, ())
