"""What each callback and each stopper costs a step of training; run by ``make bench``.

A small net: every installed component of the two distributions takes part in a training of its own, and all trainings
take turns, an epoch each. What a component takes is counted by the trainer itself, for each call of its hooks
(``trainer.plugin_times``): the lowest of the rounds, as if nothing else ran, divided by the steps.
What is done in due steps or once an epoch is in it, the audit of each hook's first call too. The baseline is a step of
the training without a component.

Then what ten observers cost in a step in which none is due: the one comparison that the loop makes for all of them.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import logging
import sys
import tempfile
import timeit
from pathlib import Path
from typing import Any

import torch
from bench_training import EpochClock, Features, Setting
from tables import Row, report

from artifact_torch import InMemoryDataLoader, RunDirectory, Trainer, ValidationRoutine, registry
from artifact_torch.plugin.discovery import discover

ROWS, COLUMNS, ROUNDS = 20_000, 20, 15
SETTING = Setting("small, batch 256", 24, 256)

# What a component needs to be built; those that work before the first step, or need another model, are left out.
PARAMETERS: dict[str, dict[str, Any]] = {
    "budget": {"amount": 1000.0},
    "freezing": {"epochs": {"encoder.0": 10**6}},
    "max_epochs": {"epochs": 10**6},
    "max_steps": {"steps": 10**9},
    "threshold": {"score": "train/loss", "goal": -1.0},
    "time_limit": {"limit": "1000 hours"},
}
LEFT_OUT = {"batch_size_finder", "learning_rate_finder", "sample_preview", "function", "metric", "generalization_gap"}


def trainer_of(folder: Path, features: torch.Tensor, **options: Any) -> Trainer:
    loader = InMemoryDataLoader(Features(features=features), batch_size=SETTING.batch_size, shuffle=True)
    held_out = InMemoryDataLoader(Features(features=features[:256]), batch_size=SETTING.batch_size)
    return Trainer(
        SETTING.model(),
        loader,
        epochs=1,
        device="cpu",
        run=RunDirectory.create(root=folder),
        use_installed_plugins=False,
        validation=ValidationRoutine(val_loader=held_out, period=10**6),
        **options,
    )


def one_epoch(trainer: Trainer) -> float:
    """Train another epoch, and return the seconds that plugins took in it, its start and its end left out."""
    before = len(trainer.plugins.ledger.rows)
    with contextlib.redirect_stderr(io.StringIO()):
        trainer.train(epochs=trainer.state.epochs_completed + 1)
    rows = trainer.plugins.ledger.rows[before:]
    return sum(row.seconds for row in rows if row.plugin != "run_directory" and not row.hook.startswith("on_train"))


def components(kind: str) -> dict[str, Any]:
    """The components of the standard distribution, built."""
    return {
        entry.name: registry.get(kind, entry.qualified_name)(**PARAMETERS.get(entry.name, {}))
        for entry in discover(kind)
        if entry.distribution == f"artifact-torch-{kind}" and entry.name not in LEFT_OUT
    }


def observers(count: int) -> list[Any]:
    statistics_of = importlib.import_module("artifact_torch_callbacks").GradientStatistics
    return [statistics_of(name=f"gradients_{number}", period=f"{10**6} steps") for number in range(count)]


def main() -> None:
    torch.set_num_threads(1)
    logging.getLogger("artifact_torch").setLevel(logging.ERROR)
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    features = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))
    steps = -(-ROWS // SETTING.batch_size)
    with tempfile.TemporaryDirectory() as name:
        folder, clock = Path(name), EpochClock()
        alone = trainer_of(folder, features, callbacks=[clock])
        trainers = {
            f"{kind.removesuffix('s')} {entry}": trainer_of(folder, features, **{kind: [component]})
            for kind in ("callbacks", "stoppers")
            for entry, component in components(kind).items()
        }
        step: list[float] = []
        taken: dict[str, list[float]] = {each: [] for each in trainers}
        for number in range(rounds + 1):
            one_epoch(alone)
            for each, trainer in trainers.items():
                gc.collect()
                seconds = one_epoch(trainer)
                if number:  # the first round warms up
                    taken[each].append(seconds / steps * 1e6)
            step.append(clock.seconds / steps * 1e6)
        baseline = min(step)
        report("components", [Row(each, baseline, baseline + min(found), "us") for each, found in taken.items()])
        idle = trainer_of(folder, features, callbacks=observers(10))
        idle.train()
        report("observers", [observers_at_rest(alone, idle)])


def observers_at_rest(alone: Trainer, observed: Trainer) -> Row:
    """What the loop does in each step for observers: with none, and with ten of which none is due."""

    def look(trainer: Trainer) -> float:
        state, dispatch = trainer.state, trainer._dispatch

        def loop() -> None:
            for _ in range(1000):
                if state.step >= dispatch.next_turn:
                    dispatch.turn()
                for call in (
                    dispatch.batch_preprocessing,
                    dispatch.before_optimizer_step,
                    dispatch.batch_postprocessing,
                ):
                    if call is not None:
                        call(trainer, None, None)

        return min(timeit.repeat(loop, number=1, repeat=200)) * 1e6

    return Row("1000 steps with ten observers, none due (without them)", look(alone), look(observed), "us")


if __name__ == "__main__":
    main()
