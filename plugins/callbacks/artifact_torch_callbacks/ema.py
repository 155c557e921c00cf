"""The exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from artifact_torch import Period, UsageError, hookimpl
from artifact_torch_callbacks.averaging import Average, WeightAveraging

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["EMA"]


class EMA(WeightAveraging):
    """Averages the weights over the steps, the latest ones counting most, and validates and saves that average.

    After an optimizer step, ``average = decay * average + (1 - decay) * weight`` for each parameter that requires
    gradients; the numbers are those of ``torch.optim.swa_utils.get_ema_multi_avg_fn`` to the bit. (Polyak and Juditsky,
    1992, "Acceleration of Stochastic Approximation by Averaging", average all steps alike.) The average begins with the
    weights that training begins with. A step that was left out because of a loss or a gradient that is not finite is
    not averaged.

    What is validated, saved as the run's model or kept by a model tracker is the average. Training goes on with the
    weights themselves, and after it ``trainer.model`` holds these; within ``trainer.evaluating()`` it holds the
    average, also then. Checkpoints have both. It cannot be used together with another average, such as ``SWA``.

    It takes the memory of the parameters once more, and one pass over them in a step that is due. To validate copies
    nothing.

    Args:
        decay: the share of the average that stays in a step, from 0 up to, but not including, 1. It looks back over
            about ``1 / (1 - decay)`` averaged steps.
        period: how often to average, in optimizer steps, such as ``"10 steps"``; the decay is that of each time.
        warm_up: whether the decay is lower at first, ``min(decay, (1 + n) / (10 + n))`` for the n-th time from 0, so
            that the first weights are soon forgotten (as ``num_updates`` of
            ``tf.train.ExponentialMovingAverage`` does). Times at which a step was left out count.
        buffers: whether to use the model's buffers, such as the statistics of batch normalization, as they are
            (``"copy"``), or to average them like the weights (``"average"``); of those, only floating-point ones that
            are finite when training begins.

    Raises:
        UsageError: an argument cannot be used; or, when training starts, there is another average.

    Example::

        trainer = Trainer(model, train_loader, epochs=3, validation=validation, callbacks=[EMA(decay=0.9)])
        trainer.train()
        with trainer.evaluating():
            print(trainer.model.layers[1].weight)  # averaged
    """

    def __init__(
        self,
        *,
        decay: float = 0.999,
        period: str = "1 step",
        warm_up: bool = False,
        buffers: Literal["copy", "average"] = "copy",
    ) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise UsageError(f"The decay of EMA is at least 0 and below 1, not {decay}.")
        if buffers not in ("copy", "average"):
            raise UsageError(f"The buffers of EMA are taken as 'copy' or 'average', not {buffers!r}.")
        self.decay = decay
        self.period = Period.of(period)
        if self.period.unit != "steps":
            raise UsageError(f"EMA averages after optimizer steps, and its period is {self.period}: use steps.")
        self.warm_up = warm_up
        self.buffers = buffers
        self._first_step = 0
        self._handle: RemovableHandle | None = None
        self._is_made = False
        self._left_out: Tensor | None = None
        """1.0 if the optimizer left the step out by itself, else 0.0; None if it makes each that it is called for."""

    @hookimpl
    def on_train_start(self, trainer: Trainer) -> None:
        super().on_train_start(trainer)
        if self.average is None:
            self.average = self._new_average(trainer.model)
            self._first_step = trainer.state.step
        self._detach()
        # The trainer counts the steps that are left out too. The optimizer's own hook is called for one that is made,
        # or with the finding that it was left out on the device; a class over another one may call it twice.
        self._handle = trainer.optimizer.register_step_post_hook(self._note_step)

    @hookimpl(tryfirst=True)  # before a checkpoint is saved
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        self._take_step(trainer)

    @hookimpl
    def on_train_end(self) -> None:
        self._detach()

    @hookimpl
    def on_save_checkpoint(self) -> dict[str, Any]:
        return {**super().on_save_checkpoint(), "first_step": self._first_step}

    @hookimpl
    def on_load_checkpoint(self, trainer: Trainer, state: Mapping[str, Any]) -> None:
        super().on_load_checkpoint(trainer, state)
        self._first_step = state["first_step"]

    def _new_average(self, model: nn.Module) -> Average:
        return Average(model, self._trained, buffers=self.buffers == "average")

    def _before_evaluation(self, trainer: Trainer) -> None:
        self._take_step(trainer)  # within an epoch, the hooks of the batch come after

    def _note_step(self, optimizer: Optimizer, *_arguments: object) -> None:
        self._is_made, self._left_out = True, getattr(optimizer, "found_inf", None)

    def _take_step(self, trainer: Trainer) -> None:
        if not self._is_made or self.average is None:
            return
        self._is_made = False
        step, number = trainer.state.step, self.period.number
        if step % number == 0:
            share = 1 - self._decay_at(step // number - self._first_step // number - 1)
            self.average.approach(share if self._left_out is None else share * (1 - self._left_out))

    def _decay_at(self, number: int) -> float:
        return min(self.decay, (1 + number) / (10 + number)) if self.warm_up else self.decay

    def _detach(self) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
        self._is_made, self._left_out = False, None
