"""Options: validated values that a configuration file or a command line gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from artifact_torch.plugin.ledger import DEFAULT_TIME_SHARE
from artifact_torch.plugin.selection import PluginSelection

__all__ = ["OptionPath", "Options", "PluginOptions", "TrainingOptions", "TrainingSettings"]


class Options(BaseModel):
    """Base of a section of a configuration: unknown keys are refused, and values are not converted between types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _beside_the_configuration(path: Path, info: ValidationInfo) -> Path:
    folder: Path | None = info.context.get("folder") if info.context else None
    return path if folder is None else folder / path.expanduser()


OptionPath = Annotated[Path, Field(strict=False), AfterValidator(_beside_the_configuration)]
"""A path; a relative one is meant from the folder of the configuration file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How to train, with every choice made.

    Attributes:
        epochs: how many epochs to train for, at most.
        batch_size: samples in a batch.
        learning_rate: the highest learning rate of the schedule.
        schedule: ``"one_cycle"`` rises to the learning rate and falls to nearly zero over the whole training, step by
            step (Smith and Topin, 2018, "Super-Convergence"); ``"constant"`` keeps it.
        device: a torch device, or ``"auto"``.
        log_every: steps between two records of batch metrics.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    device: str = "auto"
    log_every: int = 50


class TrainingOptions(Options):
    """The section ``[training]``; what is left out is chosen by the artifact group to suit the data."""

    epochs: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)
    learning_rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    schedule: Literal["one_cycle", "constant"] | None = None
    device: str = "auto"
    log_every: int = Field(default=50, ge=1)
    standard_callbacks: bool = True

    def settled(self, defaults: TrainingSettings) -> TrainingSettings:
        """These options, with ``defaults`` where they leave the choice open."""
        return TrainingSettings(
            epochs=self.epochs or defaults.epochs,
            batch_size=self.batch_size or defaults.batch_size,
            learning_rate=self.learning_rate or defaults.learning_rate,
            schedule=self.schedule or defaults.schedule,
            device=self.device,
            log_every=self.log_every,
        )


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
