"""Whether costs stay flat as things grow: rows, steps in an epoch, epochs of metrics; run by ``make bench``."""

from __future__ import annotations

import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from bench_training import COLUMNS, EpochClock, Features, Setting

from artifact_torch import InMemoryDataLoader, RunDirectory, Trainer
from artifact_torch.core.metrics import MetricHistory

SMALL = Setting("small", 24, 256)
clock = time.process_time


def step_by_rows(rows: int, folder: Path) -> tuple[float, float]:
    """Microseconds a step, over 200 steps of one epoch; and bytes of memory for each byte of the tensors."""
    features = torch.randn(rows, COLUMNS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loader = InMemoryDataLoader(Features(features=features), batch_size=min(256, rows), shuffle=True)
    batches = min(200, len(loader))
    timer, taken = EpochClock(), list[float]()
    trainer = Trainer(
        SMALL.model(),
        loader,
        epochs=1,
        device="cpu",
        limit_batches=batches,
        run=RunDirectory.create(root=folder),
        use_installed_plugins=False,
        callbacks=[timer],
    )
    for epoch in range(1, 6):
        trainer.train(epochs=epoch)
        taken.append(timer.seconds / batches * 1e6)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return statistics.median(taken), grown / features.nbytes


def step_by_epoch_length(steps: int, folder: Path) -> float:
    """Microseconds a step, all that belongs to an epoch included."""
    features = torch.randn(steps * 256, COLUMNS)
    loader = InMemoryDataLoader(Features(features=features), batch_size=256, shuffle=True)
    epochs = max(3, 1000 // steps)
    trainer = Trainer(
        SMALL.model(),
        loader,
        epochs=epochs,
        device="cpu",
        run=RunDirectory.create(root=folder),
        use_installed_plugins=False,
    )
    start = clock()
    trainer.train()
    return (clock() - start) / (epochs * steps) * 1e6


def record_by_epochs(epochs: int) -> float:
    """Microseconds to record the metrics of an epoch and to ask for the newest, in a history of so many epochs."""
    history = MetricHistory()
    values = {f"train/metric_{n}": float(n) for n in range(5)}
    for epoch in range(epochs):
        history.record_epoch(epoch, values)
    start = clock()
    for epoch in range(epochs, epochs + 2000):
        history.record_epoch(epoch, values)
        history.latest("train/metric_3")
        history.of_epoch(epoch)
    return (clock() - start) / 2000 * 1e6


def main() -> None:
    torch.set_num_threads(1)
    found: dict[str, dict[int, float]] = {"rows": {}, "steps in an epoch": {}, "epochs of metrics": {}}
    memory: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as name:
        for rows in (1_000, 10_000, 100_000, 1_000_000, 10_000_000):
            found["rows"][rows], memory[rows] = step_by_rows(rows, Path(name))
        for steps in (1, 10, 100, 1000):
            found["steps in an epoch"][steps] = step_by_epoch_length(steps, Path(name))
    for epochs in (1, 100, 10_000):
        found["epochs of metrics"][epochs] = record_by_epochs(epochs)
    for what, figures in found.items():
        print(f"{what:<20}" + "".join(f"{size:>14,}" for size in figures))
        print(f"{'  us':<20}" + "".join(f"{value:>14.1f}" for value in figures.values()))
    print(f"memory of the loader and an epoch's order, as a share of the tensors, 10,000,000 rows: {memory[10**7]:.2f}")
    if len(sys.argv) > 1:
        record = {"us": found, "memory": memory}
        (Path(sys.argv[1]) / "benchmark-size.json").write_text(json.dumps(record, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
