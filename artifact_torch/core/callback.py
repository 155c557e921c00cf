"""Callbacks: components that take part in training through hooks, and computations over a data loader."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from artifact_torch.core.artifacts import ArtifactKind
from artifact_torch.core.data import DataSplit
from artifact_torch.core.model import ModelInput, ModelOutput
from artifact_torch.core.period import Period
from artifact_torch.errors import UsageError
from artifact_torch.plugin.markers import hookimpl
from artifact_torch.plugin.registry import registry

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from artifact_torch.core.validation import ValidationRoutine
from typing_extensions import TypeVar

__all__ = [
    "ArrayCallback",
    "ArrayCollectionCallback",
    "Callback",
    "LoaderCallback",
    "PlotCallback",
    "PlotCollectionCallback",
    "ScoreCallback",
    "ScoreCollectionCallback",
]

ValueT = TypeVar("ValueT", default=Any)


class Callback:
    """Base of the components of kind ``callbacks``: the methods marked with ``hookimpl`` are its behaviour.

    Any method that carries the name of a hook and the mark takes part; see ``artifact_torch.plugin.specs``::

        class PrintLoss(Callback):
            @hookimpl
            def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
                print(trainer.state.epoch, trainer.latest_score("train/loss"))
    """

    changes_training: ClassVar[bool] = False
    """Whether it is meant to change what is learnt, as clipping or averaging of weights does.

    Any other callback leaves the random state and the model's modes alone; one that does not is warned about.
    """


class LoaderCallback(Callback, ABC, Generic[ValueT]):
    """A result computed over all batches of a data loader, each time validation is due.

    A subclass collects what it needs in ``update`` and gives the result in ``compute``. The routine passes over the
    loader once for all its callbacks.

    Args:
        name: the result's name in records, plots and ``epoch_scores``.
        split: the loader to pass over, the training or the validation loader.
        period: how often, in epochs or as a text such as ``"200 steps"``; as the routine if None.
    """

    kind: ClassVar[ArtifactKind]

    def __init__(
        self, name: str, *, split: DataSplit = DataSplit.VALIDATION, period: int | str | Period | None = None
    ) -> None:
        if split not in (DataSplit.TRAIN, DataSplit.VALIDATION):
            raise UsageError(f"{type(self).__name__} works on the train or the validation split, not on {split!r}.")
        self.name = name
        self.split = DataSplit(split)
        self.period = None if period is None else Period.of(period)

    @abstractmethod
    def reset(self) -> None:
        """Forget everything; called before the first batch."""

    @abstractmethod
    def update(self, batch: ModelInput, model_output: ModelOutput) -> None:
        """Take one batch and the model's output for it, computed in evaluation mode and without gradients."""

    @abstractmethod
    def compute(self) -> ValueT:
        """The result over all batches since ``reset``."""

    @hookimpl
    def get_train_loader_callbacks(self, routine: ValidationRoutine) -> Sequence[LoaderCallback]:
        return [self] if self.split is DataSplit.TRAIN else []

    @hookimpl
    def get_val_loader_callbacks(self, routine: ValidationRoutine) -> Sequence[LoaderCallback]:
        return [self] if self.split is DataSplit.VALIDATION else []


class ScoreCallback(LoaderCallback[float]):
    """Computes one number."""

    kind = ArtifactKind.SCORE


class ArrayCallback(LoaderCallback["np.ndarray"]):
    """Computes one array."""

    kind = ArtifactKind.ARRAY


class PlotCallback(LoaderCallback["Figure"]):
    """Draws one plot."""

    kind = ArtifactKind.PLOT


class ScoreCollectionCallback(LoaderCallback[Mapping[str, float]]):
    """Computes several numbers, by name."""

    kind = ArtifactKind.SCORE_COLLECTION


class ArrayCollectionCallback(LoaderCallback[Mapping[str, "np.ndarray"]]):
    """Computes several arrays, by name."""

    kind = ArtifactKind.ARRAY_COLLECTION


class PlotCollectionCallback(LoaderCallback[Mapping[str, "Figure"]]):
    """Draws several plots, by name."""

    kind = ArtifactKind.PLOT_COLLECTION


registry.require("callbacks", Callback)
