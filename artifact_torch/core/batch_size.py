"""A good batch size, found by training for a moment with ever larger batches."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from artifact_torch.core.data import BatchLoader
from artifact_torch.core.limits import LimitedLoader
from artifact_torch.core.memory import is_out_of_memory
from artifact_torch.core.trial import trial, trial_steps
from artifact_torch.errors import OutOfMemoryError, UsageError

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer

__all__ = ["BatchSizeRow", "BatchSizeTable", "find_batch_size"]

_GOOD_SHARE = 0.9
_WARM_UP_STEPS = 2
_PATIENCE = 3


@dataclass(frozen=True, slots=True)
class BatchSizeRow:
    """What one batch size costs.

    Attributes:
        batch_size: samples in a batch.
        seconds_per_step: the median over the steps, the reading of their batches included.
        samples_per_second: how many samples of training that makes.
        peak_memory: bytes that tensors took on the device, at most; None where that is not known, as on the CPU.
    """

    batch_size: int
    seconds_per_step: float
    samples_per_second: float
    peak_memory: int | None


@dataclass(frozen=True, slots=True)
class BatchSizeTable:
    """What each batch size costs.

    Attributes:
        rows: the sizes that fit, in rising order; at least one.
        too_large: the size that exhausted the memory; None if none did.
    """

    rows: tuple[BatchSizeRow, ...]
    too_large: int | None

    @property
    def suggestion(self) -> int:
        """The smallest size with at least 90 % of the most samples per second."""
        most = max(row.samples_per_second for row in self.rows)
        return next(row.batch_size for row in self.rows if row.samples_per_second >= _GOOD_SHARE * most)

    @property
    def largest(self) -> int:
        """The largest size that was tried and fits."""
        return self.rows[-1].batch_size

    def frame(self) -> pd.DataFrame:
        """One row for each size, with the columns of ``BatchSizeRow``."""
        columns = ["batch_size", "seconds_per_step", "samples_per_second", "peak_memory"]
        return pd.DataFrame([[getattr(row, name) for name in columns] for row in self.rows], columns=columns)


def find_batch_size(
    trainer: Trainer, *, lowest: int = 16, highest: int | None = None, steps: int = 10
) -> BatchSizeTable:
    """Train for some steps with each of ever larger batches, and see how fast that is and how much memory it takes.

    The size doubles until the next one would be above ``highest`` or the number of training samples, or until the
    memory is exhausted. On the CPU, where that would end the process or make it crawl, it also ends after three sizes
    in a row that are no faster than a smaller one, unless ``highest`` is given.

    It leaves no trace: model, optimizer, random state and the trainer's counters are as before, no run directory is
    made, and no plugin is called. What the trainer limits, as with ``limit_batches``, is not limited here. The model is
    not compiled for it.

    Args:
        trainer: as it is before training.
        lowest: the first size.
        highest: a bound of the sizes.
        steps: how many optimizer steps to time with each size.

    Raises:
        UsageError: an argument is out of range, or the loader cannot change the size of its batches or has none.
        OutOfMemoryError: not even the first size fits.
        MissingLossError: the model's output holds no scalar loss.
    """
    if lowest < 1:
        raise UsageError(f"lowest must be at least 1 sample, not {lowest}.")
    if highest is not None and highest < lowest:
        raise UsageError(f"highest must be at least lowest, {lowest} samples, not {highest}.")
    if steps < 1:
        raise UsageError(f"steps must be at least 1, not {steps}.")
    loader = trainer.train_loader
    while isinstance(loader, LimitedLoader):
        loader = loader.loader
    samples = _number_of_samples(loader)
    if samples == 0:
        raise UsageError("The training loader has no samples: check the data set's length.")
    bounds = [bound for bound in (highest, samples) if bound is not None]
    patience = _PATIENCE if trainer.device.type == "cpu" and highest is None else None
    rows: list[BatchSizeRow] = []
    size = lowest if samples is None else min(lowest, samples)
    while not bounds or size <= min(bounds):
        try:
            seconds, memory = _measured(trainer, loader, size, samples, steps)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            seconds, memory = None, None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # what one size left is in the way of the next one's larger pieces
        if seconds is None:
            if not rows:
                raise OutOfMemoryError(
                    f"The memory of {trainer.device} is exhausted with batches of {size} samples already: start with "
                    "a lower size (lowest), or use precision='bf16'."
                )
            return BatchSizeTable(tuple(rows), size)
        if not seconds:  # an iterable data set has no batch of this size
            break
        step = statistics.median(seconds)
        accumulate = trainer.optimization.settings.accumulate
        rows.append(BatchSizeRow(size, step, size * accumulate / step, memory))
        if patience is not None and _is_no_faster(rows, patience):
            break
        size *= 2
    if not rows:
        raise UsageError(f"The training loader gave no full batch of {size} samples: lower lowest, or add data.")
    return BatchSizeTable(tuple(rows), None)


def _measured(
    trainer: Trainer, loader: BatchLoader[Any], size: int, samples: int | None, steps: int
) -> tuple[list[float], int | None]:
    """The seconds of each step, and the bytes at most; no seconds if there is no batch of that size."""
    on_cuda = trainer.device.type == "cuda"
    seconds: list[float] = []
    batches = _full_batches(loader.with_batch_size(size), None if samples is None else samples // size, trainer.device)
    with trial(trainer):
        if on_cuda:
            torch.cuda.reset_peak_memory_stats(trainer.device)
        start = time.perf_counter()
        for _ in trial_steps(trainer, batches, limit=_WARM_UP_STEPS + steps):
            if trainer.device.type != "cpu":
                torch.accelerator.synchronize(trainer.device)
            now = time.perf_counter()
            seconds.append(now - start)
            start = now
        memory = torch.cuda.max_memory_allocated(trainer.device) if on_cuda else None
    return seconds[_WARM_UP_STEPS:], memory


def _full_batches(loader: BatchLoader[Any], count: int | None, device: torch.device) -> Iterator[Any]:
    """The full batches of one epoch after the other; where their number is not known, all but the last one.

    Args:
        loader: has the batches.
        count: how many full ones an epoch has; None if that is not known.
        device: where to place them.
    """
    for epoch in itertools.count(1):
        batches = loader.batches(epoch, device=device)
        full = (
            (batch for batch, _ in itertools.pairwise(batches)) if count is None else itertools.islice(batches, count)
        )
        empty = True
        for batch in full:
            empty = False
            yield batch
        if empty:
            return


def _number_of_samples(loader: BatchLoader[Any]) -> int | None:
    """How many there are for training; None if the loader does not know."""
    try:
        return len(loader.with_batch_size(1))
    except TypeError:
        return None


def _is_no_faster(rows: list[BatchSizeRow], patience: int) -> bool:
    """Whether none of the last sizes is faster than all before them."""
    if len(rows) <= patience:
        return False
    best = max(row.samples_per_second for row in rows[:-patience])
    return all(row.samples_per_second <= best for row in rows[-patience:])
