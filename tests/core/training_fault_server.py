"""A process that imports torch once and forks a child for each training that is to be killed or told to stop.

It reads one JSON object a line from stdin. ``{"train": ..., "folder": ...}`` forks a training, or goes on with the one
in the folder, and is answered with its pid; ``{"wait": pid}`` is answered with how it ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from test_exact_resume import end_of, trainer_of

from artifact_torch import Callback, Interrupted, RunDirectory, hookimpl


class Saving(Callback):
    """Saves after every second batch, by turns at once and in the background."""

    @hookimpl
    def on_train_start(self, trainer):
        (trainer.run.path.parent.parent / "training").touch()

    @hookimpl(trylast=True)
    def execute_batch_postprocessing(self, trainer):
        batch = trainer.state.batch_in_epoch
        if batch % 2:
            trainer.save_checkpoint(background=batch % 4 == 1)


class Signalling(Callback):
    """Sends a signal to its own process, once, when something has happened so often."""

    def __init__(self, number, where, count):
        self.number = number
        self.where = where
        self.left = count
        if where == "save":
            sys.addaudithook(lambda event, _: self.happened("save") if event == "os.rename" else None)

    def happened(self, where):
        if where == self.where:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.number)

    @hookimpl
    def on_before_optimizer_step(self):
        self.happened("batch")

    @hookimpl
    def on_validation_start(self):
        self.happened("validation")


def train(folder, case, own_signal):
    records = sorted(folder.glob("*/*/run.json"))
    run = RunDirectory.open(records[-1].parent) if records else RunDirectory.create(root=folder)
    callbacks = [Saving()] if own_signal is None else [Saving(), Signalling(*own_signal)]
    trainer = trainer_of(case, folder, *callbacks, run=run)
    if run.checkpoints.paths():
        trainer.load_checkpoint()
    ended = end_of(trainer)
    (folder / "end.json").write_text(json.dumps(ended))


def child(request):
    os.setsid()  # so that its workers can be killed with it
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    folder = Path(request["folder"])
    with (folder / "talk.txt").open("a") as talk:
        os.dup2(talk.fileno(), 1)
        os.dup2(talk.fileno(), 2)
        try:
            train(folder, request["train"], request.get("signal"))
        except Interrupted as interrupted:
            os._exit(interrupted.exit_code)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    os._exit(0)


def main():
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:  # torch imports much when it is first used: once, before the forks
        end_of(trainer_of("plain", Path(folder)))
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                child(request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
