"""What each tracker costs a training that records one score in each step, and ten; run by ``make bench``.

A VAE of about 100,000 parameters, batches of 256. A training with a tracker and one without take turns, an epoch each:
the tracker has brought everything to its service before the epoch without begins, so it rests then. The difference is
the median of those of neighbouring epochs. Wall and processor time of a step; seconds until the tracker is open, which
training does not wait for; and seconds that the end of training waits for it. The rows with no tracker on either side
say how far to trust the others.
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
from artifact_torch.core.journal import Journal
from artifact_torch.core.mirror_state import MirrorState
from artifact_torch.plugin.discovery import discover

ROWS, COLUMNS, ROUNDS, EPOCHS = 50_000, 20, 3, 9
SETTING = Setting("VAE, batch 256", 200, 256)
PARAMETERS: dict[str, dict[str, Any]] = {"wandb": {"mode": "offline"}}


class Times(NamedTuple):
    """Seconds of a step."""

    wall: float
    processor: float


class Timed(Callback):
    """Records so many numbers in each step, and takes the time of each epoch."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.times: list[Times] = []

    @hookimpl
    def log_batch_metrics(self) -> dict[str, float]:
        return {f"number_{number}": 0.5 * number for number in range(self.count - 1)}  # beside the loss

    @hookimpl(tryfirst=True)
    def execute_epoch_preprocessing(self) -> None:
        self._start = time.perf_counter(), time.process_time()

    @hookimpl(trylast=True)
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        wall, processor = time.perf_counter() - self._start[0], time.process_time() - self._start[1]
        steps = len(trainer.train_loader)
        self.times.append(Times(wall / steps, processor / steps))


class InTurns(Timed):
    """After each epoch lets another trainer train one, once the tracker rests."""

    def __init__(self, count: int, other: Trainer, *, is_followed: bool) -> None:
        super().__init__(count)
        self.other = other
        self.is_followed = is_followed

    @hookimpl
    def on_train_start(self, trainer: Trainer) -> None:
        start = time.perf_counter()
        while self.is_followed and not list(trainer.run.path.glob("trackers/*.json")):
            time.sleep(0.01)
        self.opening = time.perf_counter() - start

    @hookimpl(trylast=True)
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        super().execute_epoch_postprocessing(trainer)
        journal = Journal(trainer.run.path)
        for state in trainer.run.path.glob("trackers/*.json"):
            while not journal.is_at_end(MirrorState.read(state).place):
                time.sleep(0.05)
        time.sleep(0.5)  # for what a service's library does in its own time
        self.other.train(epochs=trainer.state.epoch)

    @hookimpl(trylast=True)
    def on_train_end(self) -> None:
        self.ended = time.perf_counter()


def trainer_of(features: torch.Tensor, callback: Timed, root: Path, trackers: list[MirrorTracker]) -> Trainer:
    """One of the two trainers."""
    return Trainer(
        SETTING.model(),
        InMemoryDataLoader(Features(features=features), batch_size=SETTING.batch_size, shuffle=True),
        epochs=EPOCHS,
        device="cpu",
        log_every=1,
        run=RunDirectory.create(root=root),
        use_installed_plugins=False,
        callbacks=[callback],
        trackers=trackers,
    )


def compared(features: torch.Tensor, count: int, tracker_class: type[MirrorTracker] | None, name: str) -> list[Row]:
    """Rows of a step, the start and the end; in each round with trainers of its own, whose memory lies elsewhere."""
    pairs, opening, closing = list[tuple[Times, Times]](), list[float](), list[float]()
    with tempfile.TemporaryDirectory() as root:
        os.environ["HOME"] = root  # where the clients of artifact-experiment write
        for _ in range(ROUNDS):
            trackers = [] if tracker_class is None else [tracker_class(**PARAMETERS.get(name, {}))]
            without = Timed(count)
            other = trainer_of(features, without, Path(root, "runs"), [])
            mirrored = InTurns(count, other, is_followed=bool(trackers))
            trainer_of(features, mirrored, Path(root, "runs"), trackers).train()
            closing.append(time.perf_counter() - mirrored.ended)
            opening.append(mirrored.opening)
            pairs += list(zip(mirrored.times, without.times, strict=True))[1:]
    what = f"{name}, {count} {'score' if count == 1 else 'scores'} a step"
    rows = list[Row]()
    for clock in Times._fields:
        plain = statistics.median(getattr(plain, clock) for _, plain in pairs) * 1e6
        added = statistics.median(getattr(ours, clock) - getattr(plain, clock) for ours, plain in pairs) * 1e6
        rows.append(Row(f"{clock} time of a step: {what} (no tracker)", plain, plain + added, "us"))
    step = rows[0].baseline / 1e3
    if tracker_class is not None:
        rows.append(Row(f"until it is open: {what} (a step)", step, statistics.median(opening) * 1e3, "ms"))
        rows.append(Row(f"at the end: {what} (a step)", step, statistics.median(closing) * 1e3, "ms"))
    return rows


def main() -> None:
    torch.set_num_threads(1)
    logging.getLogger("artifact_torch").setLevel(logging.ERROR)
    features = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))
    found: dict[str, type[MirrorTracker] | None] = {"no tracker": None}
    for entry in discover("trackers"):
        tracker_class = registry.get("trackers", entry.qualified_name)
        if issubclass(tracker_class, MirrorTracker):
            found[entry.name] = tracker_class
    rows = list[Row]()
    for name, tracker_class in found.items():
        for count in (1, 10):
            rows += compared(features, count, tracker_class, name)
            print(f"{name} is measured", file=sys.stderr)
    report("trackers", sorted(rows, key=lambda row: row.name.partition(":")[0]))


if __name__ == "__main__":
    main()
