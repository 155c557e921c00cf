"""Trainings that are killed or told to stop at any instant: they end as if nothing had happened."""

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

SERVER = Path(__file__).with_name("training_fault_server.py")
CASES = ["bf16, a data set that draws", "a data set that draws", "bf16, two workers", "two workers"]
SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(scope="module")
def ask():
    """Asks the server, which is started once."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )

    def ask(**request):
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield ask
    process.stdin.close()
    process.wait()


@pytest.fixture(scope="module")
def whole(ask, tmp_path_factory):
    """The end of a training that is left alone, and its seconds from the first batch on."""
    known = {}

    def whole(case):
        if case not in known:
            folder = tmp_path_factory.mktemp("whole")
            pid = ask(train=case, folder=str(folder))
            wait_for(folder / "training", ask, pid)
            start = time.monotonic()
            assert ask(wait=pid) == 0, (folder / "talk.txt").read_text()
            known[case] = json.loads((folder / "end.json").read_text()), time.monotonic() - start
        return known[case]

    return whole


def wait_for(path, ask, pid):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)  # another process is at work


def finished(ask, case, folder):
    pid = ask(train=case, folder=str(folder))
    assert ask(wait=pid) == 0, (folder / "talk.txt").read_text()
    return json.loads((folder / "end.json").read_text())


def killed(ask, whole, case, folder, kills, generator):
    """Kill a training so often, each time going on from what is left, and then let it end."""
    expected, seconds = whole(case)
    done = 0
    while done < kills:
        (folder / "training").unlink(missing_ok=True)
        pid = ask(train=case, folder=str(folder))
        wait_for(folder / "training", ask, pid)
        time.sleep(generator.uniform(0, 0.6 * seconds))  # a random instant is what is tested
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        code = ask(wait=pid)
        assert code in (0, -signal.SIGKILL), (folder / "talk.txt").read_text()
        if code == 0:  # it was faster
            break
        done += 1
    assert finished(ask, case, folder) == expected if not (folder / "end.json").exists() else True
    assert json.loads((folder / "end.json").read_text()) == expected
    assert not list(folder.glob("*/*/checkpoints/.writing-*"))
    return done


@pytest.mark.lengthy
@pytest.mark.parametrize("case", [CASES[1], CASES[3]])
def test_a_training_that_is_killed_ends_as_if_it_had_not_been(ask, whole, tmp_path, case):
    killed(ask, whole, case, tmp_path, 2, random.Random(1))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_training_that_is_killed_at_ten_instants_ends_as_if_it_had_not_been(ask, whole, tmp_path, case):
    generator, done = random.Random(2), 0
    for number in range(100):
        folder = tmp_path / str(number)
        folder.mkdir()
        done += killed(ask, whole, case, folder, min(3, 10 - done), generator)
        if done >= 10:
            return
    raise AssertionError(f"only {done} trainings could be killed")


def interrupted(ask, whole, case, folder, number, own_signal=None, delay=None):
    """Whether a training was interrupted by a signal and not over before; checks how it ended and goes on."""
    expected, _ = whole(case)
    request = {"train": case, "folder": str(folder)}
    pid = ask(**request, **({} if own_signal is None else {"signal": [number, *own_signal]}))
    if delay is not None:
        wait_for(folder / "training", ask, pid)
        time.sleep(delay)  # a random instant is what is tested
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    code = ask(wait=pid)
    talk = (folder / "talk.txt").read_text()
    if delay is not None and (code == 0 or (folder / "end.json").exists() or is_finished(folder)):
        return False
    assert code == 128 + number, talk
    (record,) = folder.glob("*/*/run.json")
    assert json.loads(record.read_text())["status"] == "interrupted"
    assert "Interrupted: training can go on from" in (record.parent / "log.txt").read_text()
    assert finished(ask, case, folder) == expected
    return True


def is_finished(folder):
    """Whether the signal came when training was over, and was the program's to deal with."""
    (record,) = folder.glob("*/*/run.json")
    return json.loads(record.read_text())["status"] == "finished"


@pytest.mark.lengthy
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(("where", "count"), [("batch", 4), ("validation", 2), ("save", 9)])
def test_a_signal_saves_and_training_goes_on_exactly(ask, whole, tmp_path, number, where, count):
    assert interrupted(ask, whole, CASES[1], tmp_path, int(number), own_signal=(where, count))


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("case", [CASES[1], CASES[3]])
def test_a_signal_at_ten_instants_saves_and_training_goes_on_exactly(ask, whole, tmp_path, number, case):
    generator, done = random.Random(3), 0
    _, seconds = whole(case)
    for attempt in range(100):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        done += interrupted(ask, whole, case, folder, int(number), delay=generator.uniform(0, 0.9 * seconds))
        if done == 10:
            return
    raise AssertionError(f"only {done} trainings could be interrupted")


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(("where", "counts"), [("batch", (1, 2, 5, 8)), ("validation", (1, 3)), ("save", range(1, 15))])
def test_a_signal_anywhere_saves_and_training_goes_on_exactly(ask, whole, tmp_path, number, where, counts):
    for count in counts:
        folder = tmp_path / str(count)
        folder.mkdir()
        assert interrupted(ask, whole, CASES[1], folder, int(number), own_signal=(where, count))
