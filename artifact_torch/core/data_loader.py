"""Batches of data sets, read in this process or in others."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Self, cast

import torch
import torch.utils.data
from torch.utils.data import default_collate
from typing_extensions import TypeVar

from artifact_torch.core.data import BatchLoader, Dataset, IterableDataset, check_batch_size
from artifact_torch.core.model import ModelInput
from artifact_torch.core.random_state import CpuRandomState, derived_seed, epoch_generator, seed_cpu
from artifact_torch.core.storage import JsonDict
from artifact_torch.core.transfer import pinned, to_device
from artifact_torch.errors import DataError, UsageError

__all__ = ["DataLoader"]

SampleT = TypeVar("SampleT")
InputT = TypeVar("InputT", bound=ModelInput, default=Any)


class DataLoader(BatchLoader[InputT], Generic[InputT]):
    """Batches of a ``Dataset`` or an ``IterableDataset``.

    What a data set draws from the global generators of Python, numpy and torch depends on the seed, the epoch and the
    batch alone: the samples are the same with any number of workers and after a resume, and the random state of
    training is not touched.

    Args:
        dataset: samples are mappings with the entries of the model's input, unless ``collate`` makes them so.
        batch_size: samples in a batch.
        shuffle: draw a new order each epoch (an iterable data set has an order of its own and refuses it).
        drop_last: leave out a last batch that is smaller than the others.
        num_workers: processes that read samples; 0 reads them in this one.
        collate: turns a list of samples into a batch; by default tensors, arrays and numbers are stacked.
        pin_memory: read into page-locked memory, for faster copies to a GPU.
        seed: seed of the order and of what the data set draws; None takes the trainer's.

    Raises:
        UsageError: an argument is out of range, or ``shuffle`` is asked of an iterable data set.
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
        seed: int | None = None,
    ) -> None:
        check_batch_size(batch_size)
        if num_workers < 0:
            raise UsageError(f"num_workers must be 0 or more, not {num_workers}.")
        if isinstance(dataset, IterableDataset) and shuffle:
            raise UsageError("An iterable data set has an order of its own: shuffle inside it, or use a Dataset.")
        self._dataset = dataset
        self.batch_size = batch_size
        self._shuffle = shuffle
        self._drop_last = drop_last
        self._num_workers = num_workers
        self._collate: Callable[[list[Any]], Any] = collate or default_collate
        self._pin_memory = pin_memory and torch.cuda.is_available()
        self._seed = seed
        self._trainer_seed = 0

    @property
    def num_workers(self) -> int:
        """Processes that read samples; 0 if this one does."""
        return self._num_workers

    def __len__(self) -> int:
        if isinstance(self._dataset, IterableDataset):
            raise TypeError("the number of batches of an iterable data set is not known before it is read")
        full, rest = divmod(len(self._dataset), self.batch_size)
        return full + (rest > 0 and not self._drop_last)

    def batches(self, epoch: int, *, start: int = 0, device: torch.device | None = None) -> Iterator[InputT]:
        batches = self._read_in_workers(epoch, start) if self._num_workers else self._read_here(epoch, start)
        for batch in batches:
            yield cast("InputT", batch if device is None else to_device(batch, device))

    def use_seed(self, seed: int) -> None:
        self._trainer_seed = seed

    def with_batch_size(self, batch_size: int) -> Self:
        check_batch_size(batch_size)
        other = copy.copy(self)
        other.batch_size = batch_size
        return other

    def description(self) -> JsonDict:
        samples = None if isinstance(self._dataset, IterableDataset) else len(self._dataset)
        return {
            "class": type(self).__qualname__,
            "data set": type(self._dataset).__qualname__,
            "samples": samples,
            "batch_size": self.batch_size,
            "shuffle": self._shuffle,
            "drop_last": self._drop_last,
            "seed": self.seed,
        }

    @property
    def seed(self) -> int:
        """The seed of the order: the loader's own, or the trainer's."""
        return self._trainer_seed if self._seed is None else self._seed

    def _read_here(self, epoch: int, start: int) -> Iterator[Any]:
        """Batches read in this process, whose random state is put back after each."""
        if isinstance(self._dataset, IterableDataset):
            yield from self._read_through(self._dataset, epoch, start)
            return
        fetched = _Fetching(self._dataset, self.seed, epoch)
        training = CpuRandomState()
        for number, indices in self._indices(epoch, start):
            with training.kept():
                batch = self._collate(fetched.__getitems__((number, indices)))
            yield self._pinned(batch)

    def _read_through(self, dataset: IterableDataset[Any], epoch: int, start: int) -> Iterator[Any]:
        """Batches of an iterable data set, which is read from the beginning: those already seen are left out."""
        own = CpuRandomState.seeded(self._epoch_seed(epoch))
        with own.in_force():
            samples = iter(dataset)
        for number in itertools.count():
            with own.in_force():
                read = list(itertools.islice(samples, self.batch_size))
                complete = len(read) == self.batch_size
                batch = self._collate(read) if read and (complete or not self._drop_last) else None
            if batch is not None and number >= start:
                yield self._pinned(batch)
            if not complete:
                return

    def _read_in_workers(self, epoch: int, start: int) -> Iterator[Any]:
        # A private generator: torch would otherwise draw the workers' seed from the global one, and training would
        # depend on how often the loader was iterated.
        common: dict[str, Any] = {
            "collate_fn": self._collate,
            "num_workers": self._num_workers,
            "pin_memory": self._pin_memory,
            "generator": torch.Generator().manual_seed(0),
        }
        skipped = 0
        if isinstance(self._dataset, IterableDataset):
            # It cannot be entered in the middle: what was already seen is read again and left out.
            skipped = start
            source = _Iterable(self._dataset, self.batch_size, self._epoch_seed(epoch))
            reader: Any = torch.utils.data.DataLoader(
                source, batch_size=self.batch_size, drop_last=self._drop_last, **common
            )
        else:
            source = _Fetching(self._dataset, self.seed, epoch)
            batches: Any = list(self._indices(epoch, start))  # each is handed to the source as it is
            reader = torch.utils.data.DataLoader(source, batch_sampler=batches, **common)
        try:
            for number, batch in enumerate(reader):
                if number >= skipped:
                    yield batch
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise DataError(
                f"A process that reads data has died ({str(error).splitlines()[0]}): read with num_workers=0 to see "
                "the reason, or with fewer of them if memory is short."
            ) from error

    def _indices(self, epoch: int, start: int) -> Iterator[tuple[int, list[int]]]:
        """The number of each batch that is left, and its samples."""
        size = len(cast("Dataset[Any]", self._dataset))
        order = torch.randperm(size, generator=epoch_generator(self.seed, epoch)) if self._shuffle else None
        for number in range(start, len(self)):
            first, last = number * self.batch_size, min((number + 1) * self.batch_size, size)
            yield number, list(range(first, last)) if order is None else order[first:last].tolist()

    def _epoch_seed(self, epoch: int) -> int:
        return derived_seed(self.seed, epoch)

    def _pinned(self, batch: Any) -> Any:
        return pinned(batch) if self._pin_memory else batch


class _Fetching(torch.utils.data.Dataset[Any]):
    """Gives the samples of a whole batch, after the generators were seeded for it.

    torch hands what the sampler gives to ``__getitems__``, here the number of the batch together with its samples.
    """

    def __init__(self, dataset: Dataset[Any], seed: int, epoch: int) -> None:
        self._dataset = dataset
        self._seed = seed
        self._epoch = epoch

    def __getitem__(self, index: Any) -> Any:
        return self._dataset[index]

    def __getitems__(self, batch: tuple[int, Sequence[int]]) -> list[Any]:
        number, indices = batch
        seed_cpu(derived_seed(self._seed, self._epoch, number))
        fetch = getattr(self._dataset, "__getitems__", None)
        return [self._dataset[index] for index in indices] if fetch is None else fetch(indices)


class _Iterable(torch.utils.data.IterableDataset[Any]):
    """An iterable data set, seeded; each worker process keeps every n-th batch, so that together they give each once.

    torch takes the workers' batches in turn, so their order does not depend on the number of workers.
    """

    def __init__(self, dataset: IterableDataset[Any], batch_size: int, seed: int) -> None:
        self._dataset = dataset
        self._batch_size = batch_size
        self._seed = seed

    def __iter__(self) -> Iterator[Any]:
        worker = torch.utils.data.get_worker_info()
        if worker is None:
            yield from self._dataset
            return
        seed_cpu(self._seed)
        for number, sample in enumerate(self._dataset):
            if number // self._batch_size % worker.num_workers == worker.id:
                yield sample
