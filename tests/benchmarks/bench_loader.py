"""What a batch costs: our loaders beside torch's, and the in-memory loader from 1,000 to 10,000,000 rows.

Run by ``make bench``. The ways take turns; median over rounds of microseconds a batch of 256 x 20.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from statistics import median
from typing import Any

import torch
from tables import Row, report
from torch import Tensor
from torch.utils.data import DataLoader as TorchDataLoader

from artifact_torch import DataLoader, Dataset, InMemoryDataLoader, ModelInput

COLUMNS, BATCH_SIZE, ROUNDS = 20, 256, 7


class Features(ModelInput):
    features: Tensor


class PerSample(Dataset[dict[str, Tensor]]):
    """Read sample by sample, as everyone writes it."""

    def __init__(self, features: Tensor) -> None:
        self.features = features

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"features": self.features[index]}


class Fetched(PerSample):
    """Reads a whole batch at once, which then needs no collating."""

    def __getitems__(self, indices: list[int]) -> Any:
        return {"features": self.features[torch.tensor(indices)]}


def microseconds_a_batch(*ways: Callable[[int], Iterable[Any]]) -> list[float]:
    taken: list[list[float]] = [[] for _ in ways]
    epochs: Iterator[int] = iter(range(1, 10**9))
    for _ in range(ROUNDS):
        for seconds, way in zip(taken, ways, strict=True):
            batches, start = 0, time.perf_counter()
            for _ in way(next(epochs)):
                batches += 1
            seconds.append((time.perf_counter() - start) / batches)
    return [median(seconds) * 1e6 for seconds in taken]


def in_memory(rows: int) -> Callable[[int], Iterable[Any]]:
    features = torch.randn(rows, COLUMNS)
    return InMemoryDataLoader(Features(features=features), batch_size=BATCH_SIZE, shuffle=True).batches


def main() -> None:
    torch.set_num_threads(1)
    features = torch.randn(51_200, COLUMNS)
    theirs = TorchDataLoader(PerSample(features), batch_size=BATCH_SIZE, shuffle=True)
    ours = DataLoader(PerSample(features), batch_size=BATCH_SIZE, shuffle=True)
    fetched = DataLoader(Fetched(features), batch_size=BATCH_SIZE, shuffle=True, collate=lambda batch: batch)
    baseline, memory, per_sample, at_once = microseconds_a_batch(
        lambda _: theirs, in_memory(51_200), ours.batches, fetched.batches
    )
    rows = [
        Row("in-memory loader (torch's loader, sample by sample)", baseline, memory, "us"),
        Row("DataLoader, sample by sample (torch's)", baseline, per_sample, "us"),
        Row("DataLoader, a batch at once by __getitems__ (torch's, sample by sample)", baseline, at_once, "us"),
    ]
    for size in (1_000, 10_000, 100_000, 1_000_000, 10_000_000):
        (cost,) = microseconds_a_batch(in_memory(size))
        rows.append(Row(f"in-memory loader, {size:,} rows, order included (51,200 rows)", memory, cost, "us"))
    report("loader", rows)


if __name__ == "__main__":
    main()
