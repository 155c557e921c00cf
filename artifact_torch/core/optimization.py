"""From the losses of batches to new parameters: precision, accumulation, clipping, the step, the schedule."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, cast

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from typing_extensions import TypeVar

from artifact_torch.core.nonfinite import NonFiniteGuard, NonFinitePolicy
from artifact_torch.core.storage import JsonDict
from artifact_torch.errors import DivergedError, UsageError

__all__ = ["Optimization", "OptimizationOptions", "OptimizationSettings", "SchedulerInterval", "with_step_ends"]

Precision = Literal["fp32", "bf16", "fp16"]
SchedulerInterval = Literal["epoch", "step"]
BatchT = TypeVar("BatchT", default=Any)

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_SMALLEST_SCALE = 2.0**-14


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizationSettings:
    """How a step is made; see ``OptimizationOptions`` and ``Trainer`` for the meaning of each.

    Raises:
        UsageError: a value is out of range.
    """

    accumulate: int = 1
    clip_gradient_norm: float | None = None
    clip_gradient_value: float | None = None
    precision: Precision = "fp32"
    on_nonfinite: NonFinitePolicy = "stop"
    skip_limit: int = 25
    scheduler_interval: SchedulerInterval = "epoch"
    scheduler_metric: str | None = None

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise UsageError(f"accumulate must be at least 1 batch for each step, not {self.accumulate}.")
        for name in ("clip_gradient_norm", "clip_gradient_value"):
            bound = getattr(self, name)
            if bound is not None and not bound > 0:
                raise UsageError(f"{name} must be above 0, not {bound}; None does not clip.")
        if self.skip_limit < 1:
            raise UsageError(f"skip_limit must be at least 1 step, not {self.skip_limit}.")
        _check_choice("precision", self.precision, ("fp32", "bf16", "fp16"))
        _check_choice("on_nonfinite", self.on_nonfinite, ("stop", "skip", "raise"))
        _check_choice("scheduler_interval", self.scheduler_interval, ("epoch", "step"))


class OptimizationOptions(TypedDict, total=False):
    """How a step is made, as keyword arguments of every trainer.

    Attributes:
        accumulate: batches for each optimizer step; their gradients are averaged.
        clip_gradient_norm: scale gradients down to this total norm (2-norm over all parameters); None does not.
        clip_gradient_value: limit each number of a gradient to this absolute value; None does not.
        precision: ``"bf16"`` and ``"fp16"`` let torch choose the type of each operation in the forward pass
            (``torch.autocast``); parameters stay as they are. ``"fp16"`` scales the loss so that gradients do not
            vanish, and leaves out steps in which they overflow.
        on_nonfinite: what to do if a loss or a gradient is NaN or infinite, which is seen before the optimizer steps:
            ``"stop"`` ends training, ``"skip"`` leaves the step out, ``"raise"`` is like ``"stop"`` and waits for an
            accelerator in every step, so that the error comes from the step itself.
        skip_limit: how many steps in a row may be skipped before training ends.
    """

    accumulate: int
    clip_gradient_norm: float | None
    clip_gradient_value: float | None
    precision: Precision
    on_nonfinite: NonFinitePolicy
    skip_limit: int


class Optimization:
    """Makes optimizer steps out of losses. A step may take the mean gradient of several batches.

    Args:
        model: whose parameters are trained.
        optimizer: makes the step.
        scheduler: changes the learning rate after each step or epoch.
        settings: how a step is made.
        device: where the parameters are.
        place: says for messages where training stands.

    Attributes:
        accumulated: batches whose gradients wait for the next step.

    Raises:
        UsageError: the parts do not fit.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: LRScheduler | None,
        settings: OptimizationSettings,
        device: torch.device,
        diverged: Callable[[str], DivergedError],
    ) -> None:
        _check_optimizer(model, optimizer)
        _check_scheduler(scheduler, optimizer, settings)
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.settings = settings
        # Steps come before the schedule here; torch would warn of the contrary after a resume, and where the first step
        # is left out.
        vars(optimizer)["_opt_called"] = True
        self.accumulated = 0
        self._model = model
        self._device = device
        self._diverged = diverged
        self._parameters: list[nn.Parameter] = []
        dtype = _DTYPES.get(settings.precision)
        self._dtype = dtype
        self._scaler = torch.amp.GradScaler(device.type) if dtype is torch.float16 else None  # type: ignore[reportPrivateImportUsage]
        # An optimizer that can leave a step out by itself, on the device, need not be waited for.
        leaves_out = bool(getattr(optimizer, "_step_supports_amp_scaling", False))
        deferred = device.type != "cpu" and leaves_out and self._scaler is None
        self.guard = NonFiniteGuard(settings.on_nonfinite, settings.skip_limit, deferred=deferred, diverged=diverged)

    def begin_epoch(self) -> None:
        """Look again which parameters there are; those that a step leaves alone are not to gather gradients either."""
        known = {id(parameter): parameter for parameter in self._model.parameters()}
        known |= {id(parameter): parameter for parameter in _parameters_of(self.optimizer)}
        self._parameters = list(known.values())

    def forward_context(self) -> AbstractContextManager[object]:
        """What the forward pass runs in: automatic mixed precision, unless the precision is ``"fp32"``."""
        if self._dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, self._dtype)

    def backward(self, loss: Tensor, value: float | None) -> None:
        """Add a batch's gradients to those of the step in preparation.

        Args:
            loss: of the batch, shape ``()``.
            value: the same as a number, None if it is on a device.

        Raises:
            DivergedError: it is NaN or infinite, and the policy is to stop.
        """
        if self.accumulated == 0:
            for parameter in self._parameters:
                parameter.grad = None
        if not self.guard.accepts_loss(value):
            self.accumulated += 1
            return
        if self.settings.accumulate > 1:
            loss = loss / self.settings.accumulate
        if self._scaler is not None:
            loss = self._scaler.scale(loss)
        loss.backward()
        self.accumulated += 1  # not if it fails: the next batch then begins anew

    def complete_gradients(self) -> None:
        """Make the gathered gradients those of the step: without the scale of fp16, a mean over the step's batches."""
        if self._scaler is not None and self._has_gradients():
            self._scaler.unscale_(self.optimizer)
        if self.accumulated < self.settings.accumulate:  # the last step of an epoch may have fewer batches
            torch._foreach_mul_(self._gradients(), self.settings.accumulate / self.accumulated)  # type: ignore[reportPrivateUsage]

    def step(self) -> None:
        """Make the step, unless a gradient is NaN or infinite.

        Raises:
            DivergedError: a gradient is NaN or infinite, and the policy is to stop.
        """
        gradients = self._gradients()
        norm = self._clip(gradients)
        if self._scaler is None:
            if self.guard.accepts_step(gradients, norm, self._model):
                self._step_optimizer()
        elif gradients:  # the scaler leaves out what overflows, lowers the scale, and expects that to happen
            if self.guard.accepts_step([], None, self._model):
                self._scaler.step(self.optimizer)
            self._scaler.update()
        self.accumulated = 0

    def end_step(self) -> None:
        """Move a schedule of steps on, whether the step was made or left out."""
        if self.scheduler is not None and self.settings.scheduler_interval == "step" and not self._schedule_is_over():
            self.scheduler.step()

    def end_epoch(self, metrics: Mapping[str, float], *, validated: bool) -> None:
        """Move a schedule of epochs on.

        Args:
            metrics: what was computed in this epoch.
            validated: whether that is all there will be; else a scheduler on a metric that is not among them waits.

        Raises:
            UsageError: the metric is not among them, and it never will be.
        """
        if self.scheduler is None or self.settings.scheduler_interval != "epoch":
            return
        if isinstance(self.scheduler, ReduceLROnPlateau):
            name = cast("str", self.settings.scheduler_metric)
            if name in metrics:
                self.scheduler.step(metrics[name])
            elif validated:
                raise UsageError(
                    f"The scheduler watches {name!r}, which this epoch does not have: it has {', '.join(metrics)}."
                )
        elif not self._schedule_is_over():
            self.scheduler.step()

    def check_scale(self) -> None:
        """Look at the scale of ``"fp16"``, which falls with every step that overflows; waits for the device.

        Raises:
            DivergedError: it has fallen so far that no step is made any more.
        """
        if self._scaler is not None and self._scaler.get_scale() < _SMALLEST_SCALE:
            raise self._diverged("Every gradient overflows in fp16, whatever its scale")

    def conditions(self) -> JsonDict:
        """What the steps depend on, as JSON values, to be compared when training is resumed."""
        settings = self.settings
        scheduler = self.scheduler
        return {
            "optimizer": type(self.optimizer).__qualname__,
            "scheduler": None if scheduler is None else type(scheduler).__qualname__,
            "scheduler.total_steps": getattr(scheduler, "total_steps", None),
            "scheduler_interval": settings.scheduler_interval,
            "scheduler_metric": settings.scheduler_metric,
            "accumulate": settings.accumulate,
            "clip_gradient_norm": settings.clip_gradient_norm,
            "clip_gradient_value": settings.clip_gradient_value,
            "precision": settings.precision,
            "on_nonfinite": settings.on_nonfinite,
        }

    def state_dict(self) -> JsonDict:
        """Everything but the parameters, gradients in preparation included."""
        self.begin_epoch()
        gradients = [parameter.grad for parameter in self._parameters] if self.accumulated else []
        return {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "scaler": None if self._scaler is None else self._scaler.state_dict(),
            "guard": self.guard.state_dict(),
            "accumulated": self.accumulated,
            "gradients": gradients,
        }

    def load_state_dict(self, state: JsonDict) -> None:
        """Go back to a state; one that does not fit is an error of torch, before anything else is changed."""
        self.begin_epoch()
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None and state["scheduler"] is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        if self._scaler is not None and state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])
        self.guard.load_state_dict(state["guard"])
        self.accumulated = state["accumulated"]
        if self.accumulated:
            for parameter, gradient in zip(self._parameters, state["gradients"], strict=True):
                parameter.grad = None if gradient is None else gradient.to(parameter.device)

    def _gradients(self) -> list[Tensor]:
        return [parameter.grad for parameter in self._parameters if parameter.grad is not None]

    def _has_gradients(self) -> bool:
        return any(parameter.grad is not None for parameter in self._parameters)

    def _clip(self, gradients: list[Tensor]) -> Tensor | None:
        """Clip the gradients, and return their norm before that, if it had to be computed."""
        norm = None
        if self.settings.clip_gradient_value is not None:
            nn.utils.clip_grad_value_(self._parameters, self.settings.clip_gradient_value)
        if self.settings.clip_gradient_norm is not None and gradients:
            norm = nn.utils.get_total_norm(gradients)
            nn.utils.clip_grads_with_norm_(self._parameters, self.settings.clip_gradient_norm, norm)
        return norm

    def _step_optimizer(self) -> None:
        found = self.guard.found
        if found is None:
            self.optimizer.step()
            return
        self.optimizer.found_inf = found  # type: ignore[attr-defined]  # what torch's gradient scaler sets too
        try:
            self.optimizer.step()
        finally:
            del self.optimizer.found_inf  # type: ignore[attr-defined]

    def _schedule_is_over(self) -> bool:
        """Whether a schedule of fixed length has ended; its last learning rate stays then."""
        total = getattr(self.scheduler, "total_steps", None)
        return isinstance(total, int) and cast("LRScheduler", self.scheduler).last_epoch >= total - 1


def with_step_ends(batches: Iterable[BatchT], accumulate: int, done: int = 0) -> Generator[tuple[BatchT, bool]]:
    """Each batch of an epoch, and whether the optimizer steps after it: after every n-th, and after the last.

    To know the last one, whatever a loader says about its length, the next batch is read ahead; with ``accumulate`` 1
    that is not needed.

    Args:
        batches: those that are left of the epoch.
        accumulate: batches for each step.
        done: how many batches the epoch has had already.
    """
    if accumulate == 1:
        for batch in batches:
            yield batch, True
        return
    ahead: Iterator[BatchT] = iter(batches)
    number = done
    for batch in ahead:
        held = batch
        for following in ahead:
            number += 1
            yield held, number % accumulate == 0
            held = following
        yield held, True


def _parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{name} is one of {', '.join(map(repr, known))}, not {value!r}.")


def _check_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    own = {id(parameter) for parameter in model.parameters()}
    if not any(id(parameter) in own and parameter.requires_grad for parameter in _parameters_of(optimizer)):
        raise UsageError(
            "The optimizer holds no parameter of the model that requires gradients, so nothing would be learnt: build "
            "it from model.parameters() of the very model that the trainer gets."
        )


def _check_scheduler(
    scheduler: LRScheduler | None, optimizer: torch.optim.Optimizer, settings: OptimizationSettings
) -> None:
    if scheduler is None:
        if settings.scheduler_metric is not None:
            raise UsageError(f"scheduler_metric={settings.scheduler_metric!r} needs a ReduceLROnPlateau as scheduler.")
        return
    if scheduler.optimizer is not optimizer:
        raise UsageError("The scheduler belongs to another optimizer than the trainer's: pass both, made together.")
    on_metric = isinstance(scheduler, ReduceLROnPlateau)
    if on_metric != (settings.scheduler_metric is not None):
        raise UsageError(
            "ReduceLROnPlateau needs scheduler_metric, the column of epoch_scores that it watches, for example "
            "'validation/loss'."
            if on_metric
            else f"scheduler_metric is for ReduceLROnPlateau, and the scheduler is {type(scheduler).__qualname__}."
        )
    if on_metric and settings.scheduler_interval == "step":
        raise UsageError("ReduceLROnPlateau watches a metric of epochs: leave scheduler_interval at 'epoch'.")
