"""Data sets, and what a trainer reads batches from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Generic, Self

import torch
import torch.utils.data
from typing_extensions import TypeVar

from artifact_torch.core.model import ModelInput
from artifact_torch.core.split import DataSplit
from artifact_torch.core.storage import JsonDict
from artifact_torch.errors import UsageError

__all__ = ["BatchLoader", "DataSplit", "Dataset", "IterableDataset", "check_batch_size"]

SampleT_co = TypeVar("SampleT_co", covariant=True)
InputT = TypeVar("InputT", bound=ModelInput, default=Any)


class Dataset(torch.utils.data.Dataset[SampleT_co], ABC, Generic[SampleT_co]):
    """A data set whose samples are read by index.

    A subclass that can read many samples at once also defines ``__getitems__(indices) -> list of samples``, which a
    ``DataLoader`` then uses, once per batch.
    """

    @abstractmethod
    def __len__(self) -> int:
        """The number of samples."""

    @abstractmethod
    def __getitem__(self, index: int) -> SampleT_co:
        """One sample, ``0 <= index < len(self)``."""


class IterableDataset(torch.utils.data.IterableDataset[SampleT_co], ABC, Generic[SampleT_co]):
    """A data set that is read from start to end, in an order of its own."""

    @abstractmethod
    def __iter__(self) -> Iterator[SampleT_co]:
        """The samples of one epoch, all of them in each worker process too: a ``DataLoader`` shares them out."""


class BatchLoader(ABC, Generic[InputT]):
    """What a trainer reads batches from.

    The order of an epoch's batches depends on the loader's seed and the epoch's number alone, so that training can
    resume in the middle of an epoch without repeating or missing a sample. A loader of your own needs ``batches`` and
    ``__len__``; the other methods make it work with what a trainer offers besides.
    """

    @abstractmethod
    def batches(self, epoch: int, *, start: int = 0, device: torch.device | None = None) -> Iterator[InputT]:
        """The batches of one epoch, placed on ``device``.

        Args:
            epoch: number of the epoch, from 0.
            start: how many batches to leave out at the beginning (already seen before an interruption).
            device: where to place the tensors; None leaves them where they are.
        """

    @abstractmethod
    def __len__(self) -> int:
        """The number of batches in an epoch; TypeError if it is not known."""

    def __iter__(self) -> Iterator[InputT]:
        return self.batches(0)

    def use_seed(self, seed: int) -> None:
        """Take a trainer's seed, unless the loader was given one of its own; a trainer calls it."""

    def description(self) -> JsonDict:
        """What the batches depend on, as JSON values; compared when training is resumed."""
        try:
            return {"class": type(self).__qualname__, "batches": len(self)}
        except TypeError:
            return {"class": type(self).__qualname__}

    def with_batch_size(self, batch_size: int) -> Self:
        """The same data in batches of another size.

        Raises:
            UsageError: the loader cannot do that.
        """
        raise UsageError(
            f"{type(self).__qualname__} cannot change the size of its batches to {batch_size}: give it a method "
            "with_batch_size, or use a loader that has one."
        )


def check_batch_size(batch_size: int) -> None:
    """Refuse a batch size that is not positive, with a UsageError."""
    if batch_size < 1:
        raise UsageError(f"batch_size must be at least 1, not {batch_size}.")
