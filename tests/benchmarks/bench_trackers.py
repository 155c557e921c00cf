"""What each tracker costs a training that records one score in each step, and ten; run by ``make bench``.

A VAE of about 100,000 parameters, batches of 256. Trainings without and with a tracker take turns. Processor time of a
step in the process that trains, once the tracker is open; seconds until it is, which training does not wait for; and
seconds that the end of training waits for it. The first pair of trainings is left out: it makes MLflow's database.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from bench_training import Features, Setting
from tables import Row, report

from artifact_torch import Callback, InMemoryDataLoader, MirrorTracker, RunDirectory, Trainer, hookimpl, registry
from artifact_torch.plugin.discovery import discover

ROWS, COLUMNS, ROUNDS, EPOCHS = 50_000, 20, 2, 4
SETTING = Setting("VAE, batch 256", 200, 256)
PARAMETERS: dict[str, dict[str, Any]] = {"wandb": {"mode": "offline"}}


class Numbers(Callback):
    """So many numbers in each step, and the processor time of each epoch."""

    def __init__(self, count: int, *, is_followed: bool) -> None:
        self.count = count
        self.is_followed = is_followed
        self.seconds: list[float] = []

    @hookimpl
    def log_batch_metrics(self) -> dict[str, float]:
        return {f"number_{number}": 0.5 * number for number in range(self.count - 1)}  # beside the loss

    @hookimpl
    def on_train_start(self, trainer: Trainer) -> None:
        """Wait until trackers are open."""
        start = time.perf_counter()
        while self.is_followed and not list(trainer.run.path.glob("trackers/*.json")):
            time.sleep(0.01)
        self.opening = time.perf_counter() - start

    @hookimpl(tryfirst=True)
    def execute_epoch_preprocessing(self) -> None:
        self._start = time.process_time()

    @hookimpl(trylast=True)
    def execute_epoch_postprocessing(self) -> None:
        self.seconds.append(time.process_time() - self._start)

    @hookimpl(trylast=True)
    def on_train_end(self) -> None:
        self.ended = time.perf_counter()


class Measured(NamedTuple):
    """What was seen of one training: the seconds of a step in each epoch after the first, of the start and the end."""

    steps: list[float]
    opening: float
    closing: float


def training(features: torch.Tensor, count: int, trackers: list[MirrorTracker], root: Path) -> Measured:
    """Train once."""
    numbers = Numbers(count, is_followed=bool(trackers))
    trainer = Trainer(
        SETTING.model(),
        InMemoryDataLoader(Features(features=features), batch_size=SETTING.batch_size, shuffle=True),
        epochs=EPOCHS,
        device="cpu",
        log_every=1,
        run=RunDirectory.create(root=root),
        use_installed_plugins=False,
        callbacks=[numbers],
        trackers=trackers,
    )
    trainer.train()
    closing = time.perf_counter() - numbers.ended
    steps = -(-ROWS // SETTING.batch_size)
    return Measured([seconds / steps for seconds in numbers.seconds[1:]], numbers.opening, closing)


def compared(features: torch.Tensor, count: int, tracker_class: type[MirrorTracker], name: str) -> list[Row]:
    """Rows of a step, the start and the end."""
    without, mirrored = list[Measured](), list[Measured]()
    with tempfile.TemporaryDirectory() as root:
        os.environ["HOME"] = root  # where the clients of artifact-experiment write
        for number in range(ROUNDS + 1):
            plain = training(features, count, [], Path(root, "runs"))
            followed = training(features, count, [tracker_class(**PARAMETERS.get(name, {}))], Path(root, "runs"))
            if number:
                without.append(plain)
                mirrored.append(followed)
    what = f"{name}, {count} {'score' if count == 1 else 'scores'} a step"
    step, plain_step = (
        statistics.median([each for found in all_found for each in found.steps]) for all_found in (mirrored, without)
    )
    opening = statistics.median([found.opening for found in mirrored])
    closing, plain_closing = (
        statistics.median([found.closing for found in all_found]) for all_found in (mirrored, without)
    )
    return [
        Row(f"a step: {what} (no tracker)", plain_step * 1e6, step * 1e6, "us"),
        Row(f"until it is open: {what} (a step)", plain_step * 1e3, opening * 1e3, "ms"),
        Row(f"at the end: {what} (no tracker)", plain_closing * 1e3, closing * 1e3, "ms"),
    ]


def main() -> None:
    torch.set_num_threads(1)
    logging.getLogger("artifact_torch").setLevel(logging.ERROR)
    features = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))
    rows = list[Row]()
    for entry in discover("trackers"):
        tracker_class = registry.get("trackers", entry.qualified_name)
        if issubclass(tracker_class, MirrorTracker):
            for count in (1, 10):
                rows += compared(features, count, tracker_class, entry.name)
                print(f"{entry.name} is measured", file=sys.stderr)
    report("trackers", sorted(rows, key=lambda row: row.name.partition(":")[0]))


if __name__ == "__main__":
    main()
