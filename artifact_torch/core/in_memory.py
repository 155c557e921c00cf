"""Batches of tensors that are in memory: no Python runs for a single sample."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from typing import Any, Generic, Self, cast

import torch
from torch import Tensor
from typing_extensions import TypeVar

from artifact_torch.core.data import BatchLoader, check_batch_size
from artifact_torch.core.model import ModelInput
from artifact_torch.core.random_state import epoch_generator
from artifact_torch.core.storage import JsonDict
from artifact_torch.errors import DataError, UsageError

__all__ = ["InMemoryDataLoader"]

InputT = TypeVar("InputT", bound=ModelInput, default=Any)

_CHECKED_ROWS = 4096


class InMemoryDataLoader(BatchLoader[InputT], Generic[InputT]):
    """Batches of tensors that are in memory: one permutation an epoch, one gather a batch, no Python per sample.

    The tensors are not copied. They may be on an accelerator already, which is fastest if they fit.

    Args:
        tensors: entry name -> tensor of shape ``(samples, ...)``; a batch has the same names and shape
            ``(batch, ...)``.
        batch_size: samples in a batch.
        shuffle: draw a new order each epoch. Without it, batches are views of the tensors.
        drop_last: leave out a last batch that is smaller than the others.
        weights: of shape ``(samples,)``: an epoch draws as many samples as there are, with replacement, each in
            proportion to its weight. Takes the place of ``shuffle``.
        pin_memory: where there is a CUDA device, hand batches over in page-locked memory, so that copying them to the
            device goes on beside the computation; without shuffling, the tensors are copied to such memory once.
        seed: seed of the private generator that draws the order; None takes the trainer's.

    Raises:
        DataError: there is no tensor, or they differ in their number of samples, or there are no samples, or the
            weights cannot be used.
        UsageError: ``batch_size`` is not positive, or ``drop_last`` would leave no batch.
    """

    def __init__(
        self,
        tensors: InputT,
        *,
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        weights: Tensor | None = None,
        pin_memory: bool = False,
        seed: int | None = None,
    ) -> None:
        self._tensors = cast("dict[str, Tensor]", dict(tensors))
        sizes = {name: len(tensor) for name, tensor in self._tensors.items()}
        if len(set(sizes.values())) != 1:
            found = ", ".join(f"{name} has {size}" for name, size in sizes.items()) or "there is none"
            raise DataError(f"The tensors of an in-memory loader need one common number of samples: {found}.")
        self.num_samples = next(iter(sizes.values()))
        if self.num_samples == 0:
            raise DataError("An in-memory loader needs at least one sample, and its tensors are empty.")
        self._shuffle = shuffle
        self._drop_last = drop_last
        self._weights = None if weights is None else _checked_weights(weights, self.num_samples)
        self._pin_memory = pin_memory and torch.cuda.is_available()
        self._seed = seed
        self._trainer_seed = 0
        self._checksums: JsonDict | None = None
        self.batch_size = self._checked(batch_size)
        if self._pin_memory and not self._draws:
            self._tensors = {name: tensor.pin_memory() for name, tensor in self._tensors.items()}

    def __len__(self) -> int:
        full, rest = divmod(self.num_samples, self.batch_size)
        return full + (rest > 0 and not self._drop_last)

    def batches(self, epoch: int, *, start: int = 0, device: torch.device | None = None) -> Iterator[InputT]:
        items = tuple(self._tensors.items())
        order = self._order(epoch, items[0][1].device) if self._draws else None
        size = self.batch_size
        for first in range(start * size, len(self) * size, size):
            if order is None:
                batch = {name: tensor[first : first + size] for name, tensor in items}
            else:
                chosen = order[first : first + size]
                batch = {name: tensor.index_select(0, chosen) for name, tensor in items}
                if self._pin_memory:
                    batch = {name: tensor.pin_memory() for name, tensor in batch.items()}
            if device is not None and device.type != "cpu":
                batch = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
            yield cast("InputT", batch)

    def use_seed(self, seed: int) -> None:
        self._trainer_seed = seed

    def with_batch_size(self, batch_size: int) -> Self:
        other = copy.copy(self)
        other.batch_size = self._checked(batch_size)
        return other

    def description(self) -> JsonDict:
        if self._checksums is None:
            entries = self._tensors if self._weights is None else {**self._tensors, "the weights": self._weights}
            self._checksums = {f"data of {name!r}": _checksum(tensor) for name, tensor in entries.items()}
        return {
            "class": type(self).__qualname__,
            "samples": self.num_samples,
            "batch_size": self.batch_size,
            "shuffle": self._shuffle,
            "drop_last": self._drop_last,
            "weighted": self._weights is not None,
            "seed": self.seed if self._draws else None,
            **self._checksums,
        }

    @property
    def seed(self) -> int:
        """The seed of the order: the loader's own, or the trainer's."""
        return self._trainer_seed if self._seed is None else self._seed

    @property
    def _draws(self) -> bool:
        return self._shuffle or self._weights is not None

    def _order(self, epoch: int, device: torch.device) -> Tensor:
        """The samples of an epoch in their order, shape ``(samples,)``."""
        generator = epoch_generator(self.seed, epoch)
        # Half the memory and half the time of 64 bits, and the same order.
        dtype = torch.int32 if self.num_samples < 2**31 else torch.int64
        if self._weights is None:
            return torch.randperm(self.num_samples, generator=generator, dtype=dtype).to(device)
        # By inversion of the distribution function, for torch.multinomial takes no more than 2**24 weights.
        sums = self._weights.cumsum(0)
        drawn = torch.rand(self.num_samples, generator=generator, dtype=torch.float64) * sums[-1]
        last = int(torch.searchsorted(sums, sums[-1]))
        return torch.searchsorted(sums, drawn, right=True).clamp_(max=last).to(device, dtype)

    def _checked(self, batch_size: int) -> int:
        check_batch_size(batch_size)
        if self._drop_last and self.num_samples < batch_size:
            raise UsageError(
                f"drop_last leaves no batch: there are {self.num_samples} samples and batch_size is {batch_size}."
            )
        return batch_size


def _checked_weights(weights: Tensor, num_samples: int) -> Tensor:
    if weights.shape != (num_samples,):
        raise DataError(f"weights needs shape ({num_samples},), one weight a sample, and has {tuple(weights.shape)}.")
    exact = weights.detach().to("cpu", torch.float64)
    if not bool(torch.isfinite(exact).all()) or bool((exact < 0).any()) or not bool(exact.any()):
        raise DataError("weights must be finite and not negative, and one of them above 0.")
    return exact


def _checksum(tensor: Tensor) -> str:
    """A short text that changes with shape, type and content; of long tensors, with a sample of rows only."""
    rows = tensor
    if len(tensor) > _CHECKED_ROWS:
        rows = tensor[torch.linspace(0, len(tensor) - 1, _CHECKED_ROWS, dtype=torch.float64).long().to(tensor.device)]
    content = rows.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    kind = f"{tuple(tensor.shape)} {tensor.dtype} ".encode()
    return hashlib.sha256(kind + content).hexdigest()[:16]
