"""A process that imports torch once and forks a child for each fault, so that hundreds of faults are affordable.

It reads one JSON object a line from stdin, does what ``"fault"`` says in a child, and answers with one line.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path

import torch

from artifact_torch import CheckpointError
from artifact_torch.core.checkpoint import CheckpointStore, Retention
from artifact_torch.core.checkpoint_writer import CheckpointWriter

FILE_EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.listdir", "os.scandir", "fcntl.flock"}


def state_of(step, size):
    return {
        "weights": torch.full((size,), float(step)),
        "bias": torch.full((10,), float(step)),
        "step": step,
        "text": f"step {step}, " * 50,
    }


def about_of(step):
    return {"step": step, "scores": {f"score {n}": step + n for n in range(80)}}


def save(writer, step, background, size, keep=2):
    """Save a state that is changed as soon as the call is over, as training would."""
    state = state_of(step, size)
    keep = Retention(newest=keep)
    writer.save(state, step, about=about_of(step), keep=keep, background=background)
    state["weights"].fill_(-1)
    state["step"] = -1


def last_step(store):
    return max((int(path.name.split("-")[-1]) for path in store.paths()), default=0)


def killed_while_saving(report, folder, background, delay):
    """Save without end; report each step whose checkpoint is safe."""
    store = CheckpointStore(Path(folder))
    writer = CheckpointWriter(store)
    first = last_step(store) + 1
    for step in range(first, first + 10_000):
        save(writer, step, background, size=250_000)
        safe = step - background  # the next save waits for one in the background
        if safe >= first:
            report(safe)


def killed_at_event(report, folder, background, event):
    """Save once, deleting three older ones, and be killed before the given access to a file."""
    store = CheckpointStore(Path(folder))
    for step in range(1, 5):
        save(CheckpointWriter(store), step, False, size=100, keep=10)
    report(4)
    left = event

    def count(name, _arguments):
        nonlocal left
        if name in FILE_EVENTS:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(count)
    writer = CheckpointWriter(store)
    save(writer, 5, background, size=100)
    writer.wait()
    report(5)


def killed_while_sweeping(report, folder, event):
    """Be killed before the given access to a file while the litter of others is removed."""
    left = event

    def count(name, _arguments):
        nonlocal left
        if name in FILE_EVENTS:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(count)
    CheckpointStore(Path(folder)).sweep()
    report(1)


def disk_full(report, folder, background, limit):
    """Save once with room, and once without; report what is said then."""
    writer = CheckpointWriter(CheckpointStore(Path(folder)))
    save(writer, 1, False, size=100, keep=1)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        save(writer, 2, background, size=100, keep=1)
        writer.wait()
    except (OSError, CheckpointError) as error:
        report(f"{type(error).__name__}: {error}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


FAULTS = {function.__name__: function for function in (killed_while_saving, killed_at_event, killed_while_sweeping)}
FAULTS["disk_full"] = disk_full


def run(fault, delay=None, **arguments):
    """Run a fault in a child, killed after ``delay`` seconds if that is given; what it reported, and how it ended."""
    reader, written = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        status = 1
        with contextlib.suppress(BrokenPipeError):
            options = arguments if delay is None else {**arguments, "delay": delay}
            FAULTS[fault](lambda value: os.write(written, f"{json.dumps(value)}\n".encode()), **options)
            status = 0
        os._exit(status)
    os.close(written)
    reports = b""
    deadline = time.monotonic() + (60 if delay is None else delay)
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([reader], [], [], left)[0]:
            break
        if not (chunk := os.read(reader, 1 << 16)):
            break
        reports += chunk
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    while chunk := os.read(reader, 1 << 16):
        reports += chunk
    os.close(reader)
    return {"reports": [json.loads(line) for line in reports.splitlines()], "status": status}


def main():
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
