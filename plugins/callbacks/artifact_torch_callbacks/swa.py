"""Stochastic weight averaging."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from artifact_torch import Period, UsageError, hookimpl
from artifact_torch_callbacks.averaging import Exchange, WeightAveraging

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["SWA"]

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

logger = logging.getLogger("artifact_torch")


class SWA(WeightAveraging):
    """Averages the weights that late epochs end with, all alike, and validates and saves that average.

    Stochastic weight averaging (Izmailov et al., 2018, "Averaging Weights Leads to Wider Optima and Better
    Generalization", arXiv:1803.05407): from a certain epoch on, the learning rate stays rather high, and the mean of
    the weights at the end of each epoch lies in a flatter region than any of them. On a CPU the numbers are those of
    ``torch.optim.swa_utils.AveragedModel`` to the bit. Before the first weights are taken, and if none are, the model
    is validated and saved as it is.

    What is validated, saved as the run's model or kept by a model tracker is the average. Training goes on with the
    weights themselves, and after it ``trainer.model`` holds these; within ``trainer.evaluating()`` it holds the
    average, also then. Checkpoints have both. It cannot be used together with another average, such as ``EMA``.

    The statistics of batch normalization belong to the weights that they were gathered with. For each average that is
    evaluated they are estimated anew, as ``torch.optim.swa_utils.update_bn`` does, over the training loader; what draws
    random numbers then, draws them from the trainer's seed, and no trace is left. That takes a pass over the training
    data in training mode without gradients, each time; a model without such layers is spared it. The average takes the
    memory of the parameters once more.

    Args:
        start: the first epoch whose weights are averaged, counted from 1; as a float below 1.0, the share of the epochs
            that are trained before.
        period: how often weights are taken from then on: a number of epochs, at whose end they are, or ``"50 steps"``.
        learning_rate: the learning rate of all parameters from the first epoch that is averaged, whatever the
            trainer's schedule says; None leaves it to the schedule.
        annealing_epochs: over how many epochs the learning rate goes from where it is then to ``learning_rate``;
            with 0, it is there at once.
        annealing: whether it goes there as a cosine does (``"cos"``) or evenly (``"linear"``); see
            ``torch.optim.swa_utils.SWALR``.
        update_batch_norm: whether the statistics of batch normalization are estimated anew; else they stay those of
            the weights in training.

    Raises:
        UsageError: an argument cannot be used; or, when training starts, there is another average.

    Example::

        swa = SWA(start=2, learning_rate=0.01, annealing_epochs=0)
        trainer = Trainer(model, train_loader, epochs=4, validation=validation, callbacks=[swa])
        trainer.train()
        print(swa.taken)  # the weights of three epochs are averaged
    """

    def __init__(
        self,
        *,
        start: int | float = 0.75,
        period: int | str = 1,
        learning_rate: float | None = None,
        annealing_epochs: int = 10,
        annealing: Literal["cos", "linear"] = "cos",
        update_batch_norm: bool = True,
    ) -> None:
        super().__init__()
        is_epoch = isinstance(start, int) and not isinstance(start, bool) and start >= 1
        if not is_epoch and not (isinstance(start, float) and 0 <= start < 1):
            raise UsageError(f"The start of SWA is an epoch from 1, or a share from 0.0 and below 1.0, not {start}.")
        if learning_rate is not None and not 0 < learning_rate < math.inf:
            raise UsageError(f"The learning_rate of SWA must be above 0, not {learning_rate}.")
        if annealing_epochs < 0:
            raise UsageError(f"The annealing_epochs of SWA must be at least 0, not {annealing_epochs}.")
        if annealing not in ("cos", "linear"):
            raise UsageError(f"The annealing of SWA is 'cos' or 'linear', not {annealing!r}.")
        self.start = start
        self.period = Period.of_training(period)
        self.learning_rate = learning_rate
        self.annealing_epochs = annealing_epochs
        self.annealing = annealing
        self.update_batch_norm = update_batch_norm
        self.taken = 0
        """How many times weights were taken into the average."""
        self._last_step = 0
        self._first_epoch: int | None = None
        self._rates: list[float] = []
        self._resting: list[str] = []
        self._statistics: list[tuple[str, Tensor]] | None = None

    @hookimpl
    def execute_epoch_preprocessing(self, trainer: Trainer) -> None:
        if self._first_epoch is None and trainer.state.epoch >= self._start_epoch(trainer.epochs):
            self._first_epoch, self._last_step = trainer.state.epoch, trainer.state.step
            self._rates = [float(group["lr"]) for group in trainer.optimizer.param_groups]
        self._hold_rates(trainer)

    @hookimpl
    def on_before_optimizer_step(self, trainer: Trainer) -> None:
        self._hold_rates(trainer)

    @hookimpl(tryfirst=True)  # before a checkpoint is saved, and a schedule of steps has moved on
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        self._hold_rates(trainer)
        if self.period.unit == "steps":
            self._take_if_due(trainer)

    @hookimpl(tryfirst=True)
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        self._take_if_due(trainer)

    @hookimpl
    def on_train_end(self, trainer: Trainer) -> None:
        if self.taken == 0 and trainer.stop_reason:
            logger.warning(
                "SWA has averaged nothing: training ended before weights were to be taken, from epoch %d on each %s. "
                "The model is the one that was trained: start earlier, or train longer.",
                self._first_epoch or self._start_epoch(trainer.epochs),
                self.period,
            )

    @hookimpl
    def on_save_checkpoint(self) -> dict[str, Any]:
        return {
            **super().on_save_checkpoint(),
            "taken": self.taken,
            "last_step": self._last_step,
            "first_epoch": self._first_epoch,
            "rates": self._rates,
            "resting": self._resting,
        }

    @hookimpl
    def on_load_checkpoint(self, trainer: Trainer, state: Mapping[str, Any]) -> None:
        super().on_load_checkpoint(trainer, state)
        self.taken, self._last_step, self._first_epoch = state["taken"], state["last_step"], state["first_epoch"]
        self._rates, self._resting = list(state["rates"]), list(state["resting"])

    def _begin_anew(self, trainer: Trainer) -> None:
        super()._begin_anew(trainer)
        self.taken, self._last_step, self._first_epoch = 0, 0, None
        self._rates, self._resting, self._statistics = [], [], None

    def _start_epoch(self, epochs: int) -> int:
        return self.start if isinstance(self.start, int) else math.floor(self.start * epochs) + 1

    def _before_evaluation(self, trainer: Trainer) -> None:
        if trainer.state.step != self._last_step and self._first_epoch is not None:
            self._take_if_due(trainer, epoch_ends=_has_ended(trainer))

    def _take_if_due(self, trainer: Trainer, *, epoch_ends: bool = True) -> None:
        state = trainer.state
        if self._first_epoch is None or state.step == self._last_step:
            return
        if self.period.is_due(state.epoch, state.step, epoch_ends=epoch_ends):
            self._last_step = state.step
            if self.average is None:
                self.average = self._new_average(trainer.model)
            else:
                self.average.include(self.taken)
            self.taken += 1
            self._statistics = None
            self._resting = [path for path, module in trainer.model.named_modules() if not module.training]

    def _hold_rates(self, trainer: Trainer) -> None:
        if self.learning_rate is None or self._first_epoch is None:
            return
        done = trainer.state.epoch - self._first_epoch
        share = min(1.0, done / self.annealing_epochs) if self.annealing_epochs else 1.0
        if self.annealing == "cos":
            share = (1 - math.cos(math.pi * share)) / 2
        for group, rate in zip(trainer.optimizer.param_groups, self._rates, strict=True):
            value = self.learning_rate * share + rate * (1 - share)
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(value)
            else:
                group["lr"] = value

    def _in_place(self, trainer: Trainer, exchange: Exchange) -> None:
        modules = dict(trainer.model.named_modules())
        norms = [path for path, module in modules.items() if isinstance(module, _BATCH_NORMS)]
        norms = [path for path in norms if path not in self._resting and modules[path].track_running_stats]
        if not self.update_batch_norm or not norms:
            return
        if self._statistics is None:
            self._statistics = self._estimated(trainer, norms)
        buffers = dict(trainer.model.named_buffers())
        for path, numbers in self._statistics:
            exchange.put(buffers[path], numbers)

    def _estimated(self, trainer: Trainer, norms: list[str]) -> list[tuple[str, Tensor]]:
        """The statistics of batch normalization with the weights that the model has now, by path."""
        model = trainer.model
        modules = dict(model.named_modules())
        with _undone(model), _random_state_of(trainer), torch.no_grad():
            model.train()
            for path in self._resting:
                modules[path].training = False
            for path in norms:
                module: Any = modules[path]
                module.reset_running_stats()
                module.momentum = None  # a mean over all batches
            for batch in trainer.train_loader.batches(0, device=trainer.device):
                model(batch)
            return [
                (f"{path}.{name}" if path else name, buffer.data)
                for path in norms
                for name, buffer in modules[path].named_buffers(recurse=False)
            ]


def _has_ended(trainer: Trainer) -> bool:
    """Whether the epoch has had its last batch, which is validated before the hooks of the epoch's end are called."""
    try:
        batches = len(trainer.train_loader)
    except TypeError:  # a validation that is due after the last step comes too early, one of the epoch does not
        batches = None
    return trainer.state.batch_in_epoch == batches or trainer.state.epoch in trainer.score_history("train/loss")


@contextmanager
def _undone(model: nn.Module) -> Generator[None]:
    """Let batches go through a model in training mode: modes, buffers and plain attributes are as before afterwards."""
    tables = [table for module in model.modules() for table in (vars(module), vars(module)["_buffers"])]
    contents = [(table, dict(table)) for table in tables]
    exchange = Exchange()
    try:
        for buffer in model.buffers():
            exchange.put(buffer, buffer.detach().clone())
        yield
    finally:
        exchange.undo()
        for table, content in contents:
            table.clear()
            table.update(content)


@contextmanager
def _random_state_of(trainer: Trainer) -> Generator[None]:
    """Random numbers as they are after the trainer's seed; afterwards the global state is as before."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([trainer.device] if trainer.device.type == "cuda" else []):
        try:
            random.seed(trainer.seed)
            np.random.seed(trainer.seed % 2**32)
            torch.manual_seed(trainer.seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
