"""A batch size, found before the first step."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, Self

import torch

from artifact_torch import BatchLoader, Callback, UsageError, find_batch_size, hookimpl

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["BatchSizeFinder"]

logger = logging.getLogger("artifact_torch")


class BatchSizeFinder(Callback):
    """Looks for a batch size when a training begins, and trains with it.

    It times steps as ``artifact_torch.find_batch_size`` does, which the command ``artifact-torch find-batch-size``
    calls without training. All that training depends on is as before afterwards but the size of the training loader's
    batches; the learning rate is not adapted to it (``LearningRateFinder`` looks for one after this callback, whatever
    their order). A training that is resumed goes on with the size of its checkpoint, and does not look again.

    What is fastest depends on the machine and on what else it does, so two trainings may find different sizes and then
    differ: for a result to be repeated, give the size itself. ``limit_batches`` counts batches of the size that is
    found.

    The size is logged and stands in ``run.json`` as ``batch_size_finder``, with what each size costs. It takes the time
    of ``steps`` and two more with each size.

    Args:
        choose: the smallest size that is nearly as fast as the fastest one (``"fastest"``), or the largest one that was
            tried and fits into the memory (``"largest"``).
        lowest: the first size tried, in samples; it is doubled again and again.
        highest: a bound of the sizes, in samples; without one they end with the memory, the number of training samples
            or, on a CPU, when they are no faster any more.
        steps: how many optimizer steps to time with each size.

    Raises:
        UsageError: an argument cannot be used; or, when training starts, its schedule was made for a number of steps,
            or its loader cannot change the size of its batches.

    Example::

        trainer = Trainer(model, train_loader, epochs=3, callbacks=[BatchSizeFinder(highest=32, steps=2)])
        trainer.train()
        print(trainer.run.record["batch_size_finder"])
    """

    changes_training = True
    priority = 1  # before a learning rate is looked for

    def __init__(
        self,
        *,
        choose: Literal["fastest", "largest"] = "fastest",
        lowest: int = 16,
        highest: int | None = None,
        steps: int = 10,
    ) -> None:
        if choose not in ("fastest", "largest"):
            raise UsageError(f"BatchSizeFinder can choose the 'fastest' or the 'largest' size, not {choose!r}.")
        if lowest < 1 or steps < 1:
            raise UsageError(f"lowest and steps of BatchSizeFinder must be at least 1, not {lowest} and {steps}.")
        if highest is not None and highest < lowest:
            raise UsageError(f"highest of BatchSizeFinder must be at least lowest, {lowest} samples, not {highest}.")
        self.choose = choose
        self.lowest = lowest
        self.highest = highest
        self.steps = steps
        self._found: int | None = None

    @hookimpl(tryfirst=True)  # before anybody who would take the steps for those of training
    def on_train_start(self, trainer: Trainer) -> None:
        if trainer.state.step or trainer.state.batch_in_epoch:
            return
        if getattr(trainer.scheduler, "total_steps", None) is not None:
            raise UsageError(
                f"A {type(trainer.scheduler).__qualname__} is made for a number of steps, and BatchSizeFinder changes "
                "it: use another schedule, or find the size before, with artifact_torch.find_batch_size."
            )
        trainer.train_loader = loader = _original(trainer.train_loader)
        before: int | None = getattr(loader, "batch_size", None)
        logger.info("Looking for a batch size from %d on.", self.lowest)
        table = find_batch_size(trainer, lowest=self.lowest, highest=self.highest, steps=self.steps)
        self._found = table.suggestion if self.choose == "fastest" else table.largest
        trainer.train_loader = _Resized(loader, self._found)
        logger.info("The batch size is %d now, and was %s: it is the %s.", self._found, before, self.choose)
        sizes = [asdict(row) for row in table.rows]
        trainer.run.update(
            batch_size_finder={
                "found": self._found,
                "before": before,
                "choose": self.choose,
                "too_large": table.too_large,
                "sizes": sizes,
            }
        )

    @hookimpl
    def on_save_checkpoint(self) -> dict[str, Any]:
        return {"found": self._found}

    @hookimpl
    def on_load_checkpoint(self, trainer: Trainer, state: Mapping[str, Any]) -> None:
        self._found = state["found"]
        loader = _original(trainer.train_loader)
        trainer.train_loader = loader if self._found is None else _Resized(loader, self._found)


class _Resized(BatchLoader[Any]):
    """A loader with batches of another size.

    It describes itself as the one that it was made of: what a checkpoint is compared with is what the user has given,
    and the size that was found is this callback's state.
    """

    def __init__(self, loader: BatchLoader[Any], batch_size: int) -> None:
        self.loader = loader
        self.batch_size = batch_size
        self._resized = loader.with_batch_size(batch_size)

    def batches(self, epoch: int, *, start: int = 0, device: torch.device | None = None) -> Iterator[Any]:
        return self._resized.batches(epoch, start=start, device=device)

    def __len__(self) -> int:
        return len(self._resized)

    def use_seed(self, seed: int) -> None:
        self.loader.use_seed(seed)
        self._resized.use_seed(seed)

    def description(self) -> dict[str, Any]:
        return self.loader.description()

    def with_batch_size(self, batch_size: int) -> Self:
        return type(self)(self.loader, batch_size)


def _original(loader: BatchLoader[Any]) -> BatchLoader[Any]:
    return loader.loader if isinstance(loader, _Resized) else loader
