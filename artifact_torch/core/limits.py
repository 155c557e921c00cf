"""Fewer batches than a loader has: for a rehearsal, or to see whether a model can learn a few by heart."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Generic, Self

import torch
from typing_extensions import TypeVar

from artifact_torch.core.data import BatchLoader
from artifact_torch.core.model import ModelInput
from artifact_torch.core.storage import JsonDict
from artifact_torch.errors import UsageError

__all__ = ["LimitedLoader", "restricted"]

InputT = TypeVar("InputT", bound=ModelInput, default=Any)


class LimitedLoader(BatchLoader[InputT], Generic[InputT]):
    """The first batches of a loader.

    Args:
        loader: has the batches.
        batches: how many of them to give in an epoch, at most.
        repeat: give those of the first epoch in every epoch.
    """

    def __init__(self, loader: BatchLoader[InputT], batches: int, *, repeat: bool = False) -> None:
        self.loader = loader
        self._batches = batches
        self._repeat = repeat

    def batches(self, epoch: int, *, start: int = 0, device: torch.device | None = None) -> Iterator[InputT]:
        left = max(0, self._batches - start)
        reader = self.loader.batches(1 if self._repeat else epoch, start=start, device=device)
        yield from islice(reader, left)

    def __len__(self) -> int:
        return min(self._batches, len(self.loader))

    @property
    def batch_size(self) -> int | None:
        """Samples in a batch, if the loader knows."""
        return getattr(self.loader, "batch_size", None)

    def use_seed(self, seed: int) -> None:
        self.loader.use_seed(seed)

    def description(self) -> JsonDict:
        return {**self.loader.description(), "limit": self._batches, "repeated": self._repeat}

    def with_batch_size(self, batch_size: int) -> Self:
        return type(self)(self.loader.with_batch_size(batch_size), self._batches, repeat=self._repeat)


def restricted(
    loader: BatchLoader[InputT], *, limit: int | float | None = None, overfit: int | None = None
) -> BatchLoader[InputT]:
    """A loader of fewer batches, or the same loader if there is nothing to restrict.

    Args:
        loader: has the batches.
        limit: how many of them to give in an epoch, at most; or, as a float up to 1, which share of them.
        overfit: give so many, the same in every epoch.

    Raises:
        UsageError: a number is out of range, or a share is asked of a loader of unknown length.
    """
    if limit is not None:
        loader = LimitedLoader(loader, _count(loader, limit))
    if overfit is not None:
        if overfit < 1:
            raise UsageError(f"overfit_batches must be at least 1, not {overfit}.")
        loader = LimitedLoader(loader, overfit, repeat=True)
    return loader


def _count(loader: BatchLoader[Any], limit: int | float) -> int:
    if isinstance(limit, int):
        if limit < 1:
            raise UsageError(f"limit_batches must be at least 1 batch, not {limit}.")
        return limit
    if not 0 < limit <= 1:
        raise UsageError(f"limit_batches is a number of batches, or a share of them up to 1.0, not {limit}.")
    try:
        return max(1, round(len(loader) * limit))
    except TypeError as error:
        raise UsageError(
            f"limit_batches={limit} is a share of a number of batches that the loader does not know: give a number."
        ) from error
