"""Options: validated values that a configuration file or a command line gives."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from torch import nn
from torch.optim import Optimizer

from artifact_torch.core.optimization import OptimizationOptions, SchedulerInterval
from artifact_torch.core.optimizer import OptimizerName, make_optimizer
from artifact_torch.core.schedule import SchedulerFactory, schedule_of
from artifact_torch.errors import UsageError
from artifact_torch.plugin.ledger import DEFAULT_TIME_SHARE
from artifact_torch.plugin.period import Period
from artifact_torch.plugin.selection import PluginSelection

__all__ = ["OptionPath", "Options", "PluginOptions", "TrainingOptions", "TrainingSettings", "ValidationOptions"]


ScheduleName = Literal["one_cycle", "plateau", "constant"]


class Options(BaseModel):
    """Base of a section of a configuration: unknown keys are refused, and values are not converted between types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _beside_the_configuration(path: Path, info: ValidationInfo) -> Path:
    folder: Path | None = info.context.get("folder") if info.context else None
    return path if folder is None else folder / path.expanduser()


OptionPath = Annotated[Path, Field(strict=False), AfterValidator(_beside_the_configuration)]
"""A path; a relative one is meant from the folder of the configuration file."""


class TrainingArguments(OptimizationOptions):
    """The arguments of a trainer that settings hold: ``Trainer(model, loader, **settings.arguments)``."""

    epochs: int
    scheduler: SchedulerFactory | None
    scheduler_interval: SchedulerInterval
    scheduler_metric: str | None
    device: str
    log_every: int
    compile: bool
    deterministic: bool
    limit_batches: int | float | None
    overfit_batches: int | None
    fast_dev_run: bool | int
    sanity_validation: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How to train, with every choice made.

    Attributes:
        epochs: how many epochs to train for, at most.
        batch_size: samples in a batch.
        learning_rate: the highest learning rate of the schedule.
        schedule: ``"one_cycle"`` rises to the learning rate and falls to nearly zero over the whole training, step by
            step (Smith and Topin, 2018, "Super-Convergence"); ``"plateau"`` divides it by ten when ``schedule_metric``
            has not fallen for ten epochs; ``"constant"`` keeps it.
        schedule_metric: the column of ``epoch_scores`` that ``"plateau"`` watches.
        optimizer: see ``make_optimizer``.
        weight_decay: see ``make_optimizer``.
        device: a torch device, or ``"auto"``.
        log_every: steps between two records of batch metrics.
        others: what else ``Trainer`` takes under these names.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    schedule: ScheduleName = "one_cycle"
    schedule_metric: str = "train/loss"
    optimizer: OptimizerName = "adam"
    weight_decay: float = 0.0
    device: str = "auto"
    log_every: int = 50
    accumulate: int = 1
    clip_gradient_norm: float | None = None
    clip_gradient_value: float | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    on_nonfinite: Literal["stop", "skip", "raise"] = "stop"
    skip_limit: int = 25
    compile: bool = False
    deterministic: bool = False
    limit_batches: int | float | None = None
    overfit_batches: int | None = None
    fast_dev_run: bool | int = False
    sanity_validation: bool = False

    @property
    def arguments(self) -> TrainingArguments:
        """The same as a trainer takes it, the optimizer excepted, which is made of the model."""
        return {
            "epochs": self.epochs,
            "scheduler": schedule_of(self),
            "scheduler_interval": "step" if self.schedule == "one_cycle" else "epoch",
            "scheduler_metric": self.schedule_metric if self.schedule == "plateau" else None,
            "device": self.device,
            "log_every": self.log_every,
            "accumulate": self.accumulate,
            "clip_gradient_norm": self.clip_gradient_norm,
            "clip_gradient_value": self.clip_gradient_value,
            "precision": self.precision,
            "on_nonfinite": self.on_nonfinite,
            "skip_limit": self.skip_limit,
            "compile": self.compile,
            "deterministic": self.deterministic,
            "limit_batches": self.limit_batches,
            "overfit_batches": self.overfit_batches,
            "fast_dev_run": self.fast_dev_run,
            "sanity_validation": self.sanity_validation,
        }

    def optimizer_of(self, model: nn.Module) -> Optimizer:
        """The optimizer of a model."""
        return make_optimizer(model, self.optimizer, learning_rate=self.learning_rate, weight_decay=self.weight_decay)


class TrainingOptions(Options):
    """The section ``[training]``; what is left out is chosen by the artifact group to suit the data."""

    epochs: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)
    learning_rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    schedule: ScheduleName | None = None
    schedule_metric: str | None = None
    optimizer: OptimizerName | None = None
    weight_decay: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    device: str | None = None
    log_every: int | None = Field(default=None, ge=1)
    accumulate: int | None = Field(default=None, ge=1)
    clip_gradient_norm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    clip_gradient_value: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    precision: Literal["fp32", "bf16", "fp16"] | None = None
    on_nonfinite: Literal["stop", "skip", "raise"] | None = None
    skip_limit: int | None = Field(default=None, ge=1)
    compile: bool | None = None
    deterministic: bool | None = None
    limit_batches: int | float | None = Field(default=None, gt=0)
    overfit_batches: int | None = Field(default=None, ge=1)
    fast_dev_run: bool | int | None = None
    sanity_validation: bool | None = None
    standard_callbacks: bool = True

    def settled(self, defaults: TrainingSettings) -> TrainingSettings:
        """These options, with ``defaults`` where they leave the choice open."""
        chosen = {name: value for name, value in self if name != "standard_callbacks" and value is not None}
        return dataclasses.replace(defaults, **chosen)


def _checked_period(given: int | str | None) -> int | str | None:
    if given is not None:
        try:
            Period.of_training(given)
        except UsageError as error:
            raise ValueError(str(error).rstrip(".")) from error
    return given


class ValidationOptions(Options):
    """What the section ``[validation]`` holds whatever the artifact group; a group adds its artifacts.

    Attributes:
        period: validate every so many epochs, or every ``"200 steps"``; the group chooses if left out.
        max_rows: how many rows of each split to judge, at most.
        mode: where artifacts are computed: in the ``background``, ``inline``, or ``auto``, whichever suits the machine.
        workers: how many processes compute artifacts in the background.
        artifact_seconds: how long one artifact may take in the background.
    """

    period: Annotated[int | str | None, AfterValidator(_checked_period)] = None
    max_rows: int = Field(default=10_000, ge=2)
    mode: Literal["auto", "background", "inline"] = "auto"
    workers: int = Field(default=1, ge=1)
    artifact_seconds: float = Field(default=600.0, gt=0)


class PluginOptions(Options):
    """The section ``[plugins]``: which installed plugins take part, see ``PluginSelection``.

    Attributes:
        disable: names of plugins or distributions to leave out.
        only: of the plugins that act because they are installed, the only ones to let act.
        order: plugins that run before all others, in this order.
        time_share: the share of an epoch's time above which a plugin is warned about.
    """

    disable: list[str] = []
    only: list[str] | None = None
    order: list[str] = []
    time_share: float = Field(default=DEFAULT_TIME_SHARE, gt=0, le=1)

    def selection(self) -> PluginSelection:
        """The section as a trainer takes it."""
        only = None if self.only is None else tuple(self.only)
        return PluginSelection(tuple(self.disable), only, tuple(self.order))
