"""Callbacks: components that take part in training through hooks, and computations over a data loader."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from typing_extensions import TypeVar

from artifact_torch.core.artifacts import ArtifactKind
from artifact_torch.core.model import ModelInput, ModelOutput
from artifact_torch.core.split import DataSplit
from artifact_torch.errors import UsageError
from artifact_torch.plugin.markers import hookimpl
from artifact_torch.plugin.period import Period
from artifact_torch.plugin.registry import registry

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from artifact_torch.core.artifacts import Plot
    from artifact_torch.core.results import ValidationResults
    from artifact_torch.core.trainer import Trainer
    from artifact_torch.core.validation import ValidationRoutine

__all__ = [
    "ArrayCallback",
    "ArrayCollectionCallback",
    "BatchCallback",
    "Callback",
    "EpochCallback",
    "LoaderCallback",
    "PlotCallback",
    "PlotCollectionCallback",
    "ScoreCallback",
    "ScoreCollectionCallback",
    "TrackedResult",
    "TrackingCallback",
    "ValidationCallback",
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

    priority: int = 0
    """Of several plugins, those with a higher priority are called first; set it on the class or on an object.

    Those of equal priority are called in the order in which they were given. A hook that is marked ``tryfirst`` or
    ``trylast`` comes before or after all that are not, whatever their priority.
    """

    batch_period: Period | None = None
    """How often the hooks of a batch are called, the optimizer's step included; for every batch if None.

    In the steps in which it is not due, a callback with a period is not called and costs nothing. A period of epochs
    is due in the first step of an epoch, one of seconds in the first step after so much time.
    """


class EpochCallback(Callback):
    """Acts before and after epochs; a subclass overrides either method or both.

    ::

        class PrintLoss(EpochCallback):
            def after_epoch(self, trainer: Trainer) -> None:
                print(trainer.state.epoch, trainer.latest_score("train/loss"))

    Args:
        period: every how many epochs it acts, or after how much time, such as ``"10 minutes"``.

    Raises:
        UsageError: the period is none, or is counted in steps.
    """

    def __init__(self, *, period: int | str | Period = 1) -> None:
        self.period = Period.of(period)
        if self.period.unit == "steps":
            raise UsageError(f"{type(self).__name__} acts around epochs, and its period is {self.period}: use epochs.")
        self._acted_at: float | None = None

    def before_epoch(self, trainer: Trainer) -> None:
        """Called before the first batch of an epoch; not again in an epoch that is resumed."""

    def after_epoch(self, trainer: Trainer) -> None:
        """Called after the epoch's validation and metrics."""

    @hookimpl
    def execute_epoch_preprocessing(self, trainer: Trainer) -> None:
        if self._is_due(trainer):
            self.before_epoch(trainer)

    @hookimpl
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        if self._is_due(trainer):
            self._acted_at = trainer.seconds
            self.after_epoch(trainer)

    def _is_due(self, trainer: Trainer) -> bool:
        if self.period.unit == "epochs":
            return trainer.state.epoch % self.period.number == 0
        if self._acted_at is None:
            self._acted_at = trainer.seconds
        return trainer.seconds - self._acted_at >= self.period.number


class _ChosenHooks(Callback):
    """Of its plain methods, only those that a subclass overrides become hooks: what is not there is never called."""

    _hooks_of: ClassVar[Mapping[str, Callable[..., None]]] = {}
    """Method -> the hook that calls it."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for method, hook in cls._hooks_of.items():
            if method in vars(cls) and "_hooks_of" not in vars(cls):  # the family itself overrides nothing
                setattr(cls, hook.__name__.lstrip("_"), hook)


@hookimpl(specname="execute_batch_preprocessing")
def _execute_batch_preprocessing(self: BatchCallback, trainer: Trainer, batch: ModelInput) -> None:
    self.before_batch(trainer, batch)


@hookimpl(specname="execute_batch_postprocessing")
def _execute_batch_postprocessing(
    self: BatchCallback, trainer: Trainer, batch: ModelInput, model_output: ModelOutput
) -> None:
    self.after_batch(trainer, batch, model_output)


class BatchCallback(_ChosenHooks):
    """Acts before and after training batches; a subclass overrides either method or both.

    ::

        class PrintLoss(BatchCallback):
            def after_batch(self, trainer: Trainer, batch: ModelInput, model_output: ModelOutput) -> None:
                print(trainer.state.step, float(model_output["loss"]))


        Trainer(model, train_loader, epochs=10, callbacks=[PrintLoss(period="100 steps")])

    Args:
        period: how often, such as ``"100 steps"``; see ``batch_period``. By default for every batch.

    Raises:
        UsageError: the period is none.
    """

    _hooks_of = {"before_batch": _execute_batch_preprocessing, "after_batch": _execute_batch_postprocessing}

    def __init__(self, *, period: int | str | Period | None = None) -> None:
        self.batch_period = None if period is None else Period.of(period)

    def before_batch(self, trainer: Trainer, batch: ModelInput) -> None:
        """Called before the model sees a batch, whose entries may be replaced."""

    def after_batch(self, trainer: Trainer, batch: ModelInput, model_output: ModelOutput) -> None:
        """Called last for a batch, after the optimizer's step if one was due."""


@hookimpl(specname="on_validation_start")
def _on_validation_start(self: ValidationCallback, trainer: Trainer) -> None:
    self.before_validation(trainer)


@hookimpl(specname="on_validation_end")
def _on_validation_end(self: ValidationCallback, trainer: Trainer, results: ValidationResults) -> None:
    self.after_validation(trainer, results)


class ValidationCallback(_ChosenHooks):
    """Acts before and after validations; a subclass overrides either method or both.

    ``after_validation`` may edit the results, so a score counts only once its whole validation is there, plots
    included. Who only reads what comes takes a ``TrackingCallback``, which holds nothing up.
    """

    _hooks_of = {"before_validation": _on_validation_start, "after_validation": _on_validation_end}

    def before_validation(self, trainer: Trainer) -> None:
        """Called before a validation; the model is in evaluation mode and gradients are off."""

    def after_validation(self, trainer: Trainer, results: ValidationResults) -> None:
        """Called when a validation is complete, before its results are recorded."""


@dataclass(frozen=True, slots=True)
class TrackedResult:
    """A result on its way to trackers.

    Attributes:
        kind: what it is.
        name: its name.
        value: a number, an array or a ``Plot``, or a mapping of these for a collection.
        split: the part of the data it was computed on.
        epoch: the epoch, counted from 1; 0 before training.
        step: optimizer steps done.
    """

    kind: ArtifactKind
    name: str
    value: Any
    split: DataSplit
    epoch: int
    step: int


class TrackingCallback(Callback, ABC):
    """Is given every result as it leaves the loop, of whatever kind, in one method.

    ::

        class Console(TrackingCallback):
            def receive(self, result: TrackedResult) -> None:
                if result.kind is ArtifactKind.SCORE:
                    print(result.epoch, result.name, result.value)
    """

    @abstractmethod
    def receive(self, result: TrackedResult) -> None:
        """Take a result; those of the training loop come from it, those of a validation when they are computed."""

    @hookimpl
    def track_score(self, name: str, value: float, split: DataSplit, epoch: int, step: int) -> None:
        self.receive(TrackedResult(ArtifactKind.SCORE, name, value, split, epoch, step))

    @hookimpl
    def track_array(self, name: str, value: np.ndarray, split: DataSplit, epoch: int, step: int) -> None:
        self.receive(TrackedResult(ArtifactKind.ARRAY, name, value, split, epoch, step))

    @hookimpl
    def track_plot(self, name: str, value: Plot, split: DataSplit, epoch: int, step: int) -> None:
        self.receive(TrackedResult(ArtifactKind.PLOT, name, value, split, epoch, step))

    @hookimpl
    def track_score_collection(
        self, name: str, value: Mapping[str, float], split: DataSplit, epoch: int, step: int
    ) -> None:
        self.receive(TrackedResult(ArtifactKind.SCORE_COLLECTION, name, value, split, epoch, step))

    @hookimpl
    def track_array_collection(
        self, name: str, value: Mapping[str, np.ndarray], split: DataSplit, epoch: int, step: int
    ) -> None:
        self.receive(TrackedResult(ArtifactKind.ARRAY_COLLECTION, name, value, split, epoch, step))

    @hookimpl
    def track_plot_collection(
        self, name: str, value: Mapping[str, Plot], split: DataSplit, epoch: int, step: int
    ) -> None:
        self.receive(TrackedResult(ArtifactKind.PLOT_COLLECTION, name, value, split, epoch, step))


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
        self.period = None if period is None else Period.of_training(period)

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
