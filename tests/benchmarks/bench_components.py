"""What each callback and each stopper costs a step of training; run by ``make bench``.

A small net, so that costs show: every installed component of the two distributions takes part in a training of its own,
and all trainings take turns, an epoch each. CPU time of the process by step, added to that of the training without a
component in the same round: the median over the rounds. What is done in due steps or once an epoch is in it.

Then what ten observers cost that are not due: no more than nothing.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import logging
import statistics
import sys
import tempfile
from collections.abc import Callable
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
    "batch_size_finder": {},
    "budget": {"hours": 1000.0},
    "freezing": {"schedule": {"encoder.0": 10**6}},
    "function": {},
    "generalization_gap": {"limit": 1e9},
    "max_epochs": {"epochs": 10**6},
    "max_steps": {"steps": 10**9},
    "metric": {},
    "threshold": {"score": "train/loss", "goal": -1.0},
    "time_limit": {"limit": "1000 hours"},
}
LEFT_OUT = {"batch_size_finder", "learning_rate_finder", "sample_preview", "function", "metric", "generalization_gap"}


def training(folder: Path, features: torch.Tensor, **options: Any) -> Callable[[], float]:
    timer = EpochClock()
    loader = InMemoryDataLoader(Features(features=features), batch_size=SETTING.batch_size, shuffle=True)
    held_out = InMemoryDataLoader(Features(features=features[:256]), batch_size=SETTING.batch_size)
    trainer = Trainer(
        SETTING.model(),
        loader,
        epochs=1,
        device="cpu",
        run=RunDirectory.create(root=folder),
        use_installed_plugins=False,
        validation=ValidationRoutine(val_loader=held_out, period=10**6),
        callbacks=[timer, *options.pop("callbacks", ())],
        **options,
    )

    def epoch() -> float:
        with contextlib.redirect_stderr(io.StringIO()):
            trainer.train(epochs=trainer.state.epochs_completed + 1)
        return timer.seconds

    return epoch


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


def in_turns(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Microseconds a step, by round."""
    steps = -(-ROWS // SETTING.batch_size)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, epoch in ways.items():
            gc.collect()
            seconds = epoch()
            if number:  # the first round warms up
                taken[name].append(seconds / steps * 1e6)
    return taken


def rows_of(taken: dict[str, list[float]]) -> list[Row]:
    baseline = taken.pop("nothing")
    alone = statistics.median(baseline)
    added = {
        name: statistics.median(ours - theirs for ours, theirs in zip(each, baseline, strict=True))
        for name, each in taken.items()
    }
    return [Row(name, alone, alone + extra, "us") for name, extra in added.items()]


def main() -> None:
    torch.set_num_threads(1)
    logging.getLogger("artifact_torch").setLevel(logging.ERROR)
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    features = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ways = {"nothing": training(folder, features)}
        for entry, component in components("callbacks").items():
            ways[f"callback {entry}"] = training(folder, features, callbacks=[component])
        for entry, component in components("stoppers").items():
            ways[f"stopper {entry}"] = training(folder, features, stoppers=[component])
        report("components", rows_of(in_turns(ways, rounds)))
        idle = {
            "nothing": training(folder, features),
            "ten observers, none due": training(folder, features, callbacks=observers(10)),
        }
        report("observers", rows_of(in_turns(idle, 3 * rounds)))


if __name__ == "__main__":
    main()
