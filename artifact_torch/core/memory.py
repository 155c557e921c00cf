"""A device that runs out of memory: said in one sentence, with the size of the batches."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from artifact_torch.errors import OutOfMemoryError

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer

__all__ = ["explained_memory", "is_out_of_memory"]

# The CPU's allocator has no error of its own.
_CPU_WORDS = ("can't allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is exhausted."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _CPU_WORDS)


@contextmanager
def explained_memory(trainer: Trainer) -> Generator[None]:
    """Turn the error of an exhausted memory into one that says what was tried and what to do.

    Raises:
        OutOfMemoryError: memory was exhausted.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        size = getattr(trainer.train_loader, "batch_size", None)
        batches = f" with batches of {size} samples" if isinstance(size, int) else ""
        state = trainer.state
        place = f"in epoch {state.epoch}, step {state.step + 1}"
        raise OutOfMemoryError(
            f"The memory of {trainer.device} is exhausted {place}{batches}: lower "
            "batch_size (accumulate keeps the steps as they are), use precision='bf16', or let "
            "`artifact-torch find-batch-size` find what fits."
        ) from error
