"""Every hook of the framework, in classes by subject.

A plugin implements any of them as functions of a module or methods of an object, marked with
``artifact_torch.hookimpl``. An implementation may take fewer arguments than its specification, in any order, by name.
Implementations run in the order of their plugins' distributions and names, ``tryfirst`` before and ``trylast`` after
the others.

``versionadded`` is 1.0 for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifact_torch.plugin.markers import hookspec

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from torch import Tensor

    from artifact_torch.core.callback import LoaderCallback
    from artifact_torch.core.data import DataSplit
    from artifact_torch.core.model import ModelInput, ModelOutput
    from artifact_torch.core.results import ValidationPlan, ValidationResults
    from artifact_torch.core.trainer import Trainer
    from artifact_torch.core.validation import ValidationRoutine


class RunHooks:
    """Around a whole training run."""

    @hookspec
    def on_train_start(self, trainer: Trainer) -> None:
        """Called once, before the first batch, with the model on its device."""

    @hookspec
    def on_train_end(self, trainer: Trainer, reason: str) -> None:
        """Called once, after the last batch or after a failure; ``reason`` says in words why training ended.

        It is called even if ``on_train_start`` or the training itself raised: release what was taken there.
        """

    @hookspec
    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        """Called when training fails or is interrupted, before ``on_train_end``. The error is raised afterwards."""


class LoopHooks:
    """Inside the training loop. The hot path: what is done here is done for every batch."""

    @hookspec
    def execute_epoch_preprocessing(self, trainer: Trainer) -> None:
        """Called before the first batch of an epoch; ``trainer.state.epoch`` counts from 1."""

    @hookspec
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        """Called after an epoch's last batch, its validation and its metrics: ``trainer.epoch_scores`` has its row."""

    @hookspec
    def execute_batch_preprocessing(self, trainer: Trainer, batch: ModelInput) -> None:
        """Called before the model sees a batch, which is on the device: replace entries of ``batch`` to change it.

        Do not change the tensors themselves: without shuffling they may be views of the data set.
        """

    @hookspec
    def on_before_optimizer_step(self, trainer: Trainer) -> None:
        """Called after the backward pass and before the optimizer's step: gradients are there and may be edited."""

    @hookspec
    def execute_batch_postprocessing(self, trainer: Trainer, batch: ModelInput, model_output: ModelOutput) -> None:
        """Called last for a batch; ``trainer.state.step`` counts the optimizer steps done, this one included.

        A step that is logged has its row in ``trainer.batch_metrics``.
        """

    @hookspec
    def should_stop(self, trainer: Trainer) -> str | None:
        """Called after each epoch: a reason to stop training, in words, or None. All reasons are collected."""


class MetricHooks:
    """Numbers that are recorded with the loss. Two plugins that return one name are an error naming both."""

    @hookspec
    def log_batch_metrics(
        self, trainer: Trainer, batch: ModelInput, model_output: ModelOutput
    ) -> Mapping[str, float | Tensor] | None:
        """Called after the optimizer's step, every ``log_every`` steps: name -> number or tensor of shape ``()``."""

    @hookspec
    def log_epoch_metrics(self, trainer: Trainer) -> Mapping[str, float | Tensor] | None:
        """Called at the end of each epoch, after its validation: name -> number or tensor of shape ``()``."""


class ValidationHooks:
    """What is validated, when, and with what."""

    @hookspec(firstresult=True)
    def get_validation_period(self, routine: ValidationRoutine) -> int | None:
        """Called when a trainer takes a routine: validate every so many epochs. The first answer counts."""

    @hookspec(firstresult=True)
    def get_validation_plan(self, routine: ValidationRoutine, split: DataSplit) -> ValidationPlan | None:
        """Called when a trainer takes a routine: the artifacts of a split. The first answer counts."""

    @hookspec
    def get_train_loader_callbacks(self, routine: ValidationRoutine) -> Sequence[LoaderCallback] | None:
        """Called when a trainer takes a routine: what to compute over the training loader. All answers are joined."""

    @hookspec
    def get_val_loader_callbacks(self, routine: ValidationRoutine) -> Sequence[LoaderCallback] | None:
        """Called when a trainer takes a routine: what to compute over the validation loader. All answers are joined."""

    @hookspec(firstresult=True)
    def execute_validation(self, routine: ValidationRoutine, trainer: Trainer) -> ValidationResults | None:
        """Called when validation is due and by ``trainer.validate()``: the results, in place of the routine's own."""

    @hookspec
    def on_validation_start(self, trainer: Trainer) -> None:
        """Called before validation; the model is in evaluation mode and gradients are off."""

    @hookspec
    def on_validation_end(self, trainer: Trainer, results: ValidationResults) -> None:
        """Called after validation, before its results are tracked."""


class TrackingHooks:
    """Results on their way out of the loop. The run directory is the first implementation of all of them.

    ``name`` is the artifact's name, ``epoch`` the epoch and ``step`` the optimizer step it was computed after, each 0
    before training.
    """

    @hookspec
    def track_params(self, params: Mapping[str, Any]) -> None:
        """Called once at the start of training with the experiment's parameters, JSON values by dotted name."""

    @hookspec
    def track_score(self, name: str, value: float, split: DataSplit, epoch: int, step: int) -> None:
        """Called with every number: the loss, metrics, validation scores."""

    @hookspec
    def track_score_collection(
        self, name: str, value: Mapping[str, float], split: DataSplit, epoch: int, step: int
    ) -> None:
        """Called with every collection of numbers, for example one a column."""

    @hookspec
    def track_array(self, name: str, value: np.ndarray, split: DataSplit, epoch: int, step: int) -> None:
        """Called with every array."""

    @hookspec
    def track_array_collection(
        self, name: str, value: Mapping[str, np.ndarray], split: DataSplit, epoch: int, step: int
    ) -> None:
        """Called with every collection of arrays."""

    @hookspec
    def track_plot(self, name: str, value: Figure, split: DataSplit, epoch: int, step: int) -> None:
        """Called with every plot; the figure is closed once all trackers have had it."""

    @hookspec
    def track_plot_collection(
        self, name: str, value: Mapping[str, Figure], split: DataSplit, epoch: int, step: int
    ) -> None:
        """Called with every collection of plots; the figures are closed once all trackers have had them."""

    @hookspec
    def track_file(self, name: str, path: Path, split: DataSplit, epoch: int, step: int) -> None:
        """Called with every file that belongs to the run's results: generated samples, the trained model."""


class CheckpointHooks:
    """A plugin's own state in checkpoints."""

    @hookspec
    def on_save_checkpoint(self, trainer: Trainer) -> Mapping[str, Any] | None:
        """Called when a checkpoint is written: this plugin's state, of tensors, numbers, texts, lists and mappings."""

    @hookspec
    def on_load_checkpoint(self, trainer: Trainer, state: Mapping[str, Any]) -> None:
        """Called when a checkpoint is read, with what this same plugin returned from ``on_save_checkpoint``."""


SPECIFICATIONS = (RunHooks, LoopHooks, MetricHooks, ValidationHooks, TrackingHooks, CheckpointHooks)
