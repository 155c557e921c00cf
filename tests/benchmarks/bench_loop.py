"""What the loader and the loop cost, beside what one would write by hand; run by ``make bench``.

Each pair is measured in turns in one process, so that the ratio holds on a busy machine too.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch
from tables import Row, report
from torch import nn
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import TensorDataset

from artifact_torch import (
    Callback,
    InMemoryDataLoader,
    Model,
    ModelInput,
    ModelOutput,
    RunDirectory,
    Trainer,
    adam,
    hookimpl,
)

ROWS, COLUMNS, BATCH_SIZE, ROUNDS = 51_200, 20, 256, 7
STEPS = ROWS // BATCH_SIZE


class Features(ModelInput):
    features: torch.Tensor


class Small(Model[Features, ModelOutput]):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(COLUMNS, 64), nn.ReLU(), nn.Linear(64, COLUMNS))

    def forward(self, batch: Features) -> ModelOutput:
        return {"loss": nn.functional.mse_loss(self.layers(batch["features"]), batch["features"])}


class EpochClock(Callback):
    """Takes the time of an epoch, from before its first batch until its metrics are recorded."""

    seconds = 0.0

    @hookimpl
    def execute_epoch_preprocessing(self) -> None:
        self._start = time.perf_counter()

    @hookimpl
    def execute_epoch_postprocessing(self) -> None:
        self.seconds = time.perf_counter() - self._start


def timed(work: Callable[[], None]) -> Callable[[], float]:
    def seconds() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return seconds


def microseconds_a_step(*works: Callable[[], float]) -> list[float]:
    """The median over rounds of the seconds that each work says it took, divided by its steps; they take turns."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for taken, work in zip(seconds, works, strict=True):
            taken.append(work())
    return [median(taken) / STEPS * 1e6 for taken in seconds]


def loaders(features: torch.Tensor) -> list[float]:
    ours = InMemoryDataLoader(Features(features=features), batch_size=BATCH_SIZE, shuffle=True)
    theirs = TorchDataLoader(TensorDataset(features), batch_size=BATCH_SIZE, shuffle=True)
    epochs: Iterator[int] = iter(range(10**9))

    def read_ours() -> None:
        for _ in ours.batches(next(epochs)):
            pass

    def read_theirs() -> None:
        for _ in theirs:
            pass

    return microseconds_a_step(timed(read_theirs), timed(read_ours))


def loops(features: torch.Tensor, folder: Path) -> list[float]:
    loader = InMemoryDataLoader(Features(features=features), batch_size=BATCH_SIZE, shuffle=True)
    bare, model = Small(), Small()
    optimizer = adam(bare)
    run = RunDirectory.create(root=folder)
    clock = EpochClock()
    trainer = Trainer(model, loader, epochs=1, run=run, device="cpu", callbacks=[clock], use_installed_plugins=False)

    def train_by_hand() -> None:
        for batch in loader.batches(1):
            loss = bare(batch)["loss"]
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    def train() -> float:
        trainer.epochs = trainer.state.epochs_completed + 1
        trainer.train()
        return clock.seconds

    train_by_hand()
    train()
    return microseconds_a_step(timed(train_by_hand), train)


def main() -> None:
    torch.set_num_threads(1)
    features = torch.randn(ROWS, COLUMNS)
    with tempfile.TemporaryDirectory() as folder:
        measured = {
            "loader, a batch of 256 x 20 (torch's DataLoader)": loaders(features),
            "loop, a step of a small net (written by hand)": loops(features, Path(folder)),
        }
    report("loop", [Row(name, baseline, ours, "us") for name, (baseline, ours) in measured.items()])


if __name__ == "__main__":
    main()
