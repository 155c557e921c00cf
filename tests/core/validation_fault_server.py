"""Trains the tiny model with plans whose artifacts take their time; run by ``test_validation_faults``.

``python validation_fault_server.py FOLDER MODE SEED`` goes on from the newest checkpoint of FOLDER/run if there is one,
and writes FOLDER/end.json when training has ended.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from judging import PLOT, JudgingPlan, scores
from torch.optim.lr_scheduler import ReduceLROnPlateau

from artifact_torch import Artifact, Callback, EarlyStopper, RunDirectory, Trainer, ValidationRoutine, hookimpl
from artifact_torch.testing import TinyModel, tiny_loader


class Deciding(EarlyStopper):
    """Looks at the score of every third epoch, and stops when it is large."""

    def check(self, trainer):
        if trainer.state.epochs_completed % 3:
            return None
        score = trainer.latest_score("validation/slow")
        return "the weights are large" if score is not None and score > 0.095 else None


class Saving(Callback):
    """Saves a checkpoint after each epoch, and says so."""

    @hookimpl
    def execute_epoch_postprocessing(self, trainer):
        trainer.save_checkpoint()
        print(trainer.state.epoch, flush=True)


def main(folder: Path, mode: str, seed: int) -> None:
    torch.set_num_threads(1)
    folder.mkdir(exist_ok=True)
    known = folder / "run.txt"
    resumed = known.exists()
    run = RunDirectory.open(Path(known.read_text())) if resumed else RunDirectory.create("faults", root=folder)
    known.write_text(str(run.path))
    plan = JudgingPlan([*scores("slow", "x"), Artifact(PLOT, "slow")], parameters={"seconds": 0.15})
    trainer = Trainer(
        TinyModel(dropout=0.3),
        tiny_loader(seed=seed),
        epochs=20,
        seed=seed,
        device="cpu",
        run=run,
        scheduler=lambda optimizer, _: ReduceLROnPlateau(optimizer, "max", patience=0, threshold=0.3),
        scheduler_metric="validation/x",
        validation=ValidationRoutine(plans=[plan], mode=mode, period=2, rounds_in_flight=3),
        callbacks=[Saving()],
        stoppers=[Deciding()],
        use_installed_plugins=False,
    )
    if resumed and run.checkpoints.paths():
        trainer.load_checkpoint()
    result = trainer.train()
    history = trainer.validation_results
    end = {
        "reason": result.reason,
        "epochs": result.epochs,
        "weights": [parameter.tolist() for parameter in trainer.model.parameters()],
        "metrics": json.loads(trainer.epoch_scores.to_json(double_precision=15)),
        "scores": history.scores.drop(columns="plan").to_dict("list"),
        "plots": [(plot.name, plot.epoch, plot.open().size) for plot in history.plots],
        "learning_rate": trainer.optimizer.param_groups[0]["lr"],
    }
    (folder / "end.json").write_text(json.dumps(end, default=str))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
