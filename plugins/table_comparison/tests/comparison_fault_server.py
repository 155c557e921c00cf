"""Trains a small model of real rows, whose comparisons decide about the learning rate and the end.

``python comparison_fault_server.py RUN SEED EPOCH MOMENT`` goes on with a run from its newest checkpoint, if there is
one, and is killed in the middle of a round of validation of that epoch: ``while it waits`` for a score that decides, or
``once it has saved`` a checkpoint, with plots under way. ``test_background_equality`` runs it, and trains with the same
trainer in its own process.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import cache
from pathlib import Path

import numpy as np
import torch
from artifact_torch_table_comparison import ComparisonArtifacts, TableComparisonValidationRoutine, read_csv
from artifact_torch_table_comparison.data import portal_path
from artifact_torch_tabular_models import TableVAE
from torch.optim.lr_scheduler import ReduceLROnPlateau

from artifact_torch import Callback, InMemoryDataLoader, RunDirectory, Trainer, hookimpl, registry

SCORE = "validation/MEAN_JS_DISTANCE"
EPOCHS, PERIOD, LEARNING_RATE = 60, 2, 2e-2
ARTIFACTS = ComparisonArtifacts(plots=["MEAN_ALIGNMENT"], dpi=30)
LEFT_OUT = ["day", "year", "plot_id", "species_id", "genus", "species", "taxa", "plot_type"]  # four columns are enough


class Saving(Callback):
    """Saves a checkpoint after each epoch, and writes down the learning rate of each."""

    @hookimpl
    def log_epoch_metrics(self, trainer):
        return {"learning_rate": trainer.optimizer.param_groups[0]["lr"]}

    @hookimpl
    def execute_epoch_postprocessing(self, trainer):
        trainer.save_checkpoint()


class DyingWhileItWaits(Callback):
    """Kills the process when training waits for a score of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    @hookimpl
    def on_artifacts_awaited(self, trainer, left):
        if trainer.state.epoch == self.epoch and left:
            os.kill(os.getpid(), signal.SIGKILL)


class DyingOnceItHasSaved(Callback):
    """Kills the process when the checkpoint of an epoch is there: it is called after ``Saving``."""

    def __init__(self, epoch):
        self.epoch = epoch

    @hookimpl
    def execute_epoch_postprocessing(self, trainer):
        if trainer.state.epoch == self.epoch:
            os.kill(os.getpid(), signal.SIGKILL)


MOMENTS = {"while it waits": DyingWhileItWaits, "once it has saved": DyingOnceItHasSaved}


@cache
def rows():
    """Three hundred rows to learn and half as many to hold out, of the table of the demo."""
    table = read_csv(portal_path(), drop=LEFT_OUT)
    chosen = np.random.default_rng(0).choice(len(table), size=450, replace=False)
    return table.take(chosen[:300]), table.take(chosen[300:])


def trainer_of(run: RunDirectory, mode: str, seed: int, *callbacks: Callback) -> Trainer:
    """The trainer of a run, which goes on from the run's newest checkpoint."""
    train, held_out = rows()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = TableVAE.from_table(train, latent_size=2, hidden_size=16, decoder_size=8)
    trainer = Trainer(
        model,
        InMemoryDataLoader(model.encode(train.frame), batch_size=50, shuffle=True),
        epochs=EPOCHS,
        optimizer=torch.optim.Adam(model.parameters(), lr=LEARNING_RATE),
        scheduler=lambda optimizer, _: ReduceLROnPlateau(optimizer, factor=0.3, patience=0),
        scheduler_metric=SCORE,
        validation=TableComparisonValidationRoutine(
            train, held_out, artifacts=ARTIFACTS, seed=seed, period=PERIOD, mode=mode
        ),
        stoppers=[registry.get("stoppers", "patience")(score=SCORE, epochs=3)],
        callbacks=[Saving(), *callbacks],
        device="cpu",
        seed=seed,
        log_every=5,
        run=run,
        use_installed_plugins=False,
    )
    if run.checkpoints.paths():
        trainer.load_checkpoint()
    return trainer


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, seed, epoch, moment = sys.argv[1:]
    trainer_of(RunDirectory.open(Path(folder)), "background", int(seed), MOMENTS[moment](int(epoch))).train()
