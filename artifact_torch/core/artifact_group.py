"""Artifact groups: what a domain (tables, images, texts) adds so that an experiment can be run from a description."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic

from typing_extensions import TypeVar

from artifact_torch.core.callback import Callback
from artifact_torch.core.components import TrainerOptions
from artifact_torch.core.model import GenerationParams, Model
from artifact_torch.core.model_tracker import ModelTracker
from artifact_torch.core.options import Options, TrainingSettings
from artifact_torch.core.run import RunDirectory
from artifact_torch.core.stopper import EarlyStopper
from artifact_torch.core.tracker import Tracker
from artifact_torch.core.trainer import Trainer
from artifact_torch.errors import UsageError
from artifact_torch.plugin.ledger import DEFAULT_TIME_SHARE
from artifact_torch.plugin.registry import registry
from artifact_torch.plugin.selection import PluginSelection

__all__ = ["ArtifactGroup", "Conclusion", "TrainerParts"]

DataOptionsT = TypeVar("DataOptionsT", bound=Options, default=Any)
ValidationOptionsT = TypeVar("ValidationOptionsT", bound=Options, default=Any)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerParts:
    """What an experiment hands to a group's trainer besides the model and the data."""

    settings: TrainingSettings
    seed: int
    run: RunDirectory
    params: Mapping[str, Any]
    callbacks: Sequence[Callback]
    stoppers: Sequence[EarlyStopper]
    trackers: Sequence[Tracker] = ()
    model_tracker: ModelTracker | None = None
    plugins: PluginSelection | None = None
    plugin_time_share: float = DEFAULT_TIME_SHARE

    @property
    def trainer_options(self) -> TrainerOptions:
        """What every trainer takes: ``Trainer(model, loader, epochs=..., **parts.trainer_options)``."""
        return {
            "callbacks": self.callbacks,
            "stoppers": self.stoppers,
            "trackers": self.trackers,
            "model_tracker": self.model_tracker,
            "run": self.run,
            "params": self.params,
            "plugins": self.plugins,
            "plugin_time_share": self.plugin_time_share,
        }


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a group says at the end of an experiment.

    Attributes:
        scores: how good the result is, by name.
        meaning: how to read the scores, in a few words.
        samples: the file of generated samples, if the model generates.
        plots: the files of plots, by name.
        files: what else was made, by name, such as a file of predictions.
    """

    scores: dict[str, float] = field(default_factory=dict[str, float])
    meaning: str = ""
    samples: Path | None = None
    plots: dict[str, Path] = field(default_factory=dict[str, Path])
    files: dict[str, Path] = field(default_factory=dict[str, Path])


class ArtifactGroup(ABC, Generic[DataOptionsT, ValidationOptionsT]):
    """Base of the components of kind ``artifact_groups``.

    An instance serves one experiment. It is built from the validated sections ``[data]`` and ``[validation]``, then
    asked in this order: ``load``, ``default_settings``, ``model_factory``, ``build_trainer`` and, after training,
    ``conclude``. Everything that can be wrong with the user's input is refused before ``build_trainer``.
    """

    data_options: ClassVar[type[Options]]
    """The keys of the section ``[data]``."""

    validation_options: ClassVar[type[Options]]
    """The keys of the section ``[validation]``."""

    model_class: ClassVar[type[Model]]
    """What a model must be a subclass of to be used here."""

    default_model: ClassVar[str]
    """The model taken if the section ``[model]`` names none."""

    sample_suffix: ClassVar[str]
    """The suffix of files of samples, such as ``.csv``; empty if its models generate nothing."""

    file_options: ClassVar[type[Options] | None] = None
    """Which files ``judge_files`` compares; None if the group judges trained models only."""

    def __init__(self, data: DataOptionsT, validation: ValidationOptionsT, *, seed: int) -> None:
        self.data = data
        self.validation = validation
        self.seed = seed

    @abstractmethod
    def load(self) -> Sequence[str]:
        """Read the data; return warnings, a sentence each.

        Raises:
            DataError: the data cannot be used; the message says what to do.
        """

    @abstractmethod
    def default_settings(self) -> TrainingSettings:
        """Training settings that suit the loaded data."""

    @abstractmethod
    def model_factory(self, model_class: type[Model]) -> Callable[..., Model]:
        """What builds an untrained model for the loaded data.

        It is called with the section ``[model]`` as keyword arguments; its signature says which are allowed.
        """

    @abstractmethod
    def build_trainer(self, model: Model, parts: TrainerParts) -> Trainer:
        """A trainer of the model on the loaded data, with this domain's validation."""

    @abstractmethod
    def conclude(self, trainer: Trainer, num_samples: int | None) -> Conclusion:
        """Judge the trained model, and generate samples if it can: ``num_samples``, or as many as it was trained on."""

    @classmethod
    @abstractmethod
    def generate(cls, model: Model, params: GenerationParams, path: Path) -> None:
        """Write samples of a trained model to a file, whole or not at all."""

    @classmethod
    def judge_files(cls, files: Any, validation: ValidationOptionsT, *, seed: int, folder: Path) -> Conclusion:
        """Compute the artifacts of files, without a model; for a group that has ``file_options``.

        Args:
            files: the validated ``file_options``.
            validation: which artifacts.
            seed: chooses rows where there are too many.
            folder: where plots and arrays are written.

        Raises:
            DataError: a file cannot be used; the message says what to do.
        """
        raise UsageError(f"{cls.__qualname__} cannot judge files without a model.")


registry.require("artifact_groups", ArtifactGroup)
