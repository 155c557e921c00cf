"""What each tracker costs a training that records one score in each step, and ten; run by ``make bench``.

A VAE of about 100,000 parameters, batches of 256. Trainings without and with a tracker take turns. Wall time of a step,
as training sees it (its own thread waits for nothing, but the tracker's thread may hold the interpreter), and seconds
that the end of training waits for the tracker. A tracker's own start is before the first step and in none of them.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from typing import Any

import torch
from bench_training import Features, Setting
from tables import Row, report

from artifact_torch import Callback, InMemoryDataLoader, MirrorTracker, RunDirectory, Trainer, hookimpl, registry
from artifact_torch.plugin.discovery import discover

ROWS, COLUMNS, ROUNDS, EPOCHS = 50_000, 20, 3, 3
SETTING = Setting("VAE, batch 256", 200, 256)
PARAMETERS: dict[str, dict[str, Any]] = {"wandb": {"mode": "offline"}}


class Numbers(Callback):
    """So many numbers in each step, and the wall time of each epoch."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.seconds: list[float] = []

    @hookimpl
    def log_batch_metrics(self) -> dict[str, float]:
        return {f"number_{number}": 0.5 * number for number in range(self.count - 1)}  # beside the loss

    @hookimpl(tryfirst=True)
    def execute_epoch_preprocessing(self) -> None:
        self._start = time.perf_counter()

    @hookimpl(trylast=True)
    def execute_epoch_postprocessing(self) -> None:
        self.seconds.append(time.perf_counter() - self._start)

    @hookimpl(trylast=True)
    def on_train_end(self) -> None:
        self.ended = time.perf_counter()


def training(features: torch.Tensor, count: int, trackers: list[MirrorTracker]) -> tuple[float, float]:
    """Microseconds of a step after the first epoch, and seconds from the end of training until all has arrived."""
    numbers = Numbers(count)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            SETTING.model(),
            InMemoryDataLoader(Features(features=features), batch_size=SETTING.batch_size, shuffle=True),
            epochs=EPOCHS,
            device="cpu",
            log_every=1,
            run=RunDirectory.create(root=folder),
            use_installed_plugins=False,
            callbacks=[numbers],
            trackers=trackers,
        )
        trainer.train()
        closing = time.perf_counter() - numbers.ended
    steps = -(-ROWS // SETTING.batch_size)
    return min(numbers.seconds[1:]) / steps * 1e6, closing


def main() -> None:
    torch.set_num_threads(1)
    logging.getLogger("artifact_torch").setLevel(logging.ERROR)
    features = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))
    steps, closings = list[Row](), list[Row]()
    for entry in discover("trackers"):
        tracker_class = registry.get("trackers", entry.qualified_name)
        if not issubclass(tracker_class, MirrorTracker):
            continue
        for count in (1, 10):
            without, mirrored = list[tuple[float, float]](), list[tuple[float, float]]()
            for _ in range(ROUNDS):
                without.append(training(features, count, []))
                mirrored.append(training(features, count, [tracker_class(**PARAMETERS.get(entry.name, {}))]))
            what = f"{entry.name}, {count} {'score' if count == 1 else 'scores'} a step (no tracker)"
            first, second = (
                [statistics.median(each) for each in zip(*found, strict=True)] for found in (without, mirrored)
            )
            steps.append(Row(what, first[0], second[0], "us"))
            closings.append(Row(what, first[1] * 1e3, second[1] * 1e3, "ms"))
    report("trackers", steps)
    print("\nfrom the end of training until everything has arrived")
    report("trackers-closing", closings)


if __name__ == "__main__":
    main()
