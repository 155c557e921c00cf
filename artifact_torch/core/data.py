"""Batches: data sets, loaders with a reproducible order, and placement on a device."""

from __future__ import annotations

import copy
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from typing import Any, Generic, cast

import torch
import torch.utils.data
from torch import Tensor
from typing_extensions import TypeVar

from artifact_torch.core.model import ModelInput
from artifact_torch.errors import DataError, UsageError

__all__ = [
    "BatchLoader",
    "DataLoader",
    "DataSplit",
    "Dataset",
    "InMemoryDataLoader",
    "IterableDataset",
    "to_device",
]

SampleT = TypeVar("SampleT")
SampleT_co = TypeVar("SampleT_co", covariant=True)
InputT = TypeVar("InputT", bound=ModelInput, default=Any)
NestedT = TypeVar("NestedT")


class DataSplit(StrEnum):
    """Which part of the data a result belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    ALL = "all"


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
    resume in the middle of an epoch without repeating or missing a sample.
    """

    @abstractmethod
    def batches(self, epoch: int, *, start: int = 0, device: torch.device | None = None) -> Iterator[InputT]:
        """The batches of one epoch, placed on ``device``.

        Args:
            epoch: number of the epoch, from 0.
            start: how many batches to leave out at the beginning (already seen before an interruption).
            device: where to place the tensors; None leaves them where they are.
        """

    def use_seed(self, seed: int) -> None:
        """Take a trainer's seed."""

    def description(self) -> dict[str, Any]:
        """What the batches depend on."""
        return {}

    @abstractmethod
    def __len__(self) -> int:
        """The number of batches in an epoch; TypeError if it is not known."""

    def __iter__(self) -> Iterator[InputT]:
        return self.batches(0)


class InMemoryDataLoader(BatchLoader[InputT]):
    """Batches of tensors that are in memory: one permutation an epoch, one gather a batch, no Python per sample.

    Args:
        tensors: entry name -> tensor of shape ``(samples, ...)``; a batch has the same names and shape
            ``(batch, ...)``.
        batch_size: samples in a batch.
        shuffle: draw a new order each epoch. Without it, batches are views of the tensors.
        drop_last: leave out a last batch that is smaller than the others.
        seed: seed of the private generator that draws the order.

    Raises:
        DataError: there is no tensor, or they differ in their number of samples, or there are no samples.
        UsageError: ``batch_size`` is not positive, or ``drop_last`` would leave no batch.
    """

    def __init__(
        self,
        tensors: InputT,
        *,
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        self._tensors = cast("dict[str, Tensor]", dict(tensors))
        sizes = {name: len(tensor) for name, tensor in self._tensors.items()}
        if len(set(sizes.values())) != 1:
            found = ", ".join(f"{name} has {size}" for name, size in sizes.items()) or "there is none"
            raise DataError(f"The tensors of an in-memory loader need one common number of samples: {found}.")
        self.num_samples = next(iter(sizes.values()))
        if self.num_samples == 0:
            raise DataError("An in-memory loader needs at least one sample, and its tensors are empty.")
        _check_batch_size(batch_size)
        if drop_last and self.num_samples < batch_size:
            raise UsageError(
                f"drop_last leaves no batch: there are {self.num_samples} samples and batch_size is {batch_size}."
            )
        self.batch_size = batch_size
        self._shuffle = shuffle
        self._drop_last = drop_last
        self._seed = seed

    def __len__(self) -> int:
        full, rest = divmod(self.num_samples, self.batch_size)
        return full + (rest > 0 and not self._drop_last)

    def batches(self, epoch: int, *, start: int = 0, device: torch.device | None = None) -> Iterator[InputT]:
        order = torch.randperm(self.num_samples, generator=_generator(self._seed, epoch)) if self._shuffle else None
        items = tuple(self._tensors.items())
        if order is not None:
            order = order.to(items[0][1].device)
        for number in range(start, len(self)):
            rows = slice(number * self.batch_size, (number + 1) * self.batch_size)
            if order is None:
                batch = {name: tensor[rows] for name, tensor in items}
            else:
                chosen = order[rows]
                batch = {name: tensor.index_select(0, chosen) for name, tensor in items}
            if device is not None and device.type != "cpu":
                batch = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
            yield cast("InputT", batch)


class DataLoader(BatchLoader[InputT]):
    """Batches of a ``Dataset`` or an ``IterableDataset``.

    Args:
        dataset: samples are mappings with the entries of the model's input, unless ``collate`` makes them so.
        batch_size: samples in a batch.
        shuffle: draw a new order each epoch (an iterable data set has an order of its own and refuses it).
        drop_last: leave out a last batch that is smaller than the others.
        num_workers: processes that read samples; 0 reads them in this one.
        collate: turns a list of samples into a batch; by default tensors, arrays and numbers are stacked.
        pin_memory: read into page-locked memory, for faster copies to a GPU.
        seed: seed of the order and of the workers.
    """

    def __init__(
        self,
        dataset: Dataset[SampleT] | IterableDataset[SampleT],
        *,
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        num_workers: int = 0,
        collate: Callable[[list[SampleT]], InputT] | None = None,
        pin_memory: bool = False,
        seed: int = 0,
    ) -> None:
        _check_batch_size(batch_size)
        if isinstance(dataset, IterableDataset) and shuffle:
            raise UsageError("An iterable data set has an order of its own: shuffle inside it, or use a Dataset.")
        self._dataset = dataset
        self.batch_size = batch_size
        self._shuffle = shuffle
        self._drop_last = drop_last
        self._num_workers = num_workers
        self._collate = collate
        self._pin_memory = pin_memory
        self._seed = seed

    def __len__(self) -> int:
        if isinstance(self._dataset, IterableDataset):
            raise TypeError("the number of batches of an iterable data set is not known before it is read")
        full, rest = divmod(len(self._dataset), self.batch_size)
        return full + (rest > 0 and not self._drop_last)

    def batches(self, epoch: int, *, start: int = 0, device: torch.device | None = None) -> Iterator[InputT]:
        reader = self._reader(epoch, start)
        # An iterable data set cannot be entered in the middle: what was already seen is read again and left out.
        skipped = start if isinstance(self._dataset, IterableDataset) else 0
        for batch in islice(reader, skipped, None):
            yield cast("InputT", batch if device is None else to_device(batch, device))

    def _reader(self, epoch: int, start: int) -> torch.utils.data.DataLoader[Any]:
        # A private generator: torch would otherwise draw the workers' seed from the global one, and training would
        # depend on how often it was iterated.
        generator = _generator(self._seed, epoch)
        common: dict[str, Any] = {
            "collate_fn": self._collate,
            "num_workers": self._num_workers,
            "pin_memory": self._pin_memory,
        }
        if isinstance(self._dataset, IterableDataset):
            return torch.utils.data.DataLoader(
                _SharedOut(self._dataset, self.batch_size),
                batch_size=self.batch_size,
                drop_last=self._drop_last,
                generator=generator,
                **common,
            )
        size = len(self._dataset)
        order: list[int] = torch.randperm(size, generator=generator).tolist() if self._shuffle else list(range(size))
        indices = [order[n * self.batch_size : (n + 1) * self.batch_size] for n in range(start, len(self))]
        return torch.utils.data.DataLoader(self._dataset, batch_sampler=indices, generator=generator, **common)


class _SharedOut(torch.utils.data.IterableDataset[Any]):
    """An iterable data set of which each worker process keeps every n-th batch, so that together they give each once.

    torch takes the workers' batches in turn, so their order does not depend on the number of workers.
    """

    def __init__(self, dataset: IterableDataset[Any], batch_size: int) -> None:
        self._dataset = dataset
        self._batch_size = batch_size

    def __iter__(self) -> Iterator[Any]:
        worker = torch.utils.data.get_worker_info()
        if worker is None:
            yield from self._dataset
            return
        for number, sample in enumerate(self._dataset):
            if number // self._batch_size % worker.num_workers == worker.id:
                yield sample


def to_device(value: NestedT, device: torch.device) -> NestedT:
    """Copy every tensor inside mappings, lists, tuples, named tuples and dataclasses to a device; keep all types."""
    return cast("NestedT", _moved(value, device))


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        mapping = cast("Mapping[Any, Any]", value)
        moved = {key: _moved(item, device) for key, item in mapping.items()}
        if type(mapping) is dict:
            return moved
        if isinstance(value, dict):  # a copy keeps what the subclass holds besides, such as a default factory
            copied = copy.copy(cast("dict[Any, Any]", value))
            copied.update(moved)
            return copied
        return cast("Any", type(mapping))(moved)
    if isinstance(value, tuple):
        items = [_moved(item, device) for item in cast("Sequence[Any]", value)]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)  # type: ignore[arg-type]
    if isinstance(value, list):
        return type(value)(_moved(item, device) for item in cast("list[Any]", value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        copied = copy.copy(value)
        for field in dataclasses.fields(value):  # frozen ones too, and those that the constructor does not take
            object.__setattr__(copied, field.name, _moved(getattr(value, field.name), device))
        return copied
    return value


def _generator(seed: int, epoch: int) -> torch.Generator:
    # One stream per (seed, epoch): the two are mixed so that seed 0 in epoch 1 differs from seed 1 in epoch 0.
    return torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise UsageError(f"batch_size must be at least 1, not {batch_size}.")
