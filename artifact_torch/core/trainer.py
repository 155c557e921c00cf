"""The trainer: the loop, its public interface, and the methods that a subclass may override."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Generic, cast

import pandas as pd
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import TypeVar, Unpack

from artifact_torch.core.artifacts import Artifact, ArtifactKind
from artifact_torch.core.callback import Callback
from artifact_torch.core.checkpoint import Retention
from artifact_torch.core.clock import Clock
from artifact_torch.core.components import chosen_components
from artifact_torch.core.data import BatchLoader, DataSplit
from artifact_torch.core.device import resolve_device
from artifact_torch.core.evaluation import Evaluation
from artifact_torch.core.interruption import Interrupted, SignalWatch
from artifact_torch.core.lifecycle import guarded_run, record_times
from artifact_torch.core.limits import restricted
from artifact_torch.core.loss import EpochLoss, training_loss
from artifact_torch.core.memory import explained_memory
from artifact_torch.core.metrics import MetricHistory
from artifact_torch.core.model import Model, ModelInput, ModelOutput
from artifact_torch.core.model_tracker import ModelTracker
from artifact_torch.core.optimization import (
    Optimization,
    OptimizationOptions,
    OptimizationSettings,
    SchedulerInterval,
    with_step_ends,
)
from artifact_torch.core.optimizer import adam
from artifact_torch.core.random_state import OwnRandomState
from artifact_torch.core.recording import Recorder
from artifact_torch.core.results import ValidationResults
from artifact_torch.core.run import RunDirectory
from artifact_torch.core.saving import Saving
from artifact_torch.core.schedule import SchedulerFactory, total_steps
from artifact_torch.core.state import TrainingState
from artifact_torch.core.stopper import EarlyStopper, with_members
from artifact_torch.core.throughput import Throughput
from artifact_torch.core.tracker import Tracker
from artifact_torch.core.tracking import Tracking
from artifact_torch.core.training_result import TrainingResult
from artifact_torch.core.validating import Validating
from artifact_torch.core.validation import Part, ValidationRoutine
from artifact_torch.core.validation_history import ValidationHistory
from artifact_torch.errors import DivergedError, UsageError
from artifact_torch.plugin.dispatch import LoopDispatch
from artifact_torch.plugin.hooks import Answer
from artifact_torch.plugin.ledger import DEFAULT_TIME_SHARE, PluginTime
from artifact_torch.plugin.manager import Plugins
from artifact_torch.plugin.selection import PluginSelection
from artifact_torch.plugin.specs import LoopHooks, MetricHooks, TrackingHooks

__all__ = ["Trainer"]

InputT = TypeVar("InputT", bound=ModelInput, default=Any)
OutputT = TypeVar("OutputT", bound=ModelOutput, default=Any)

logger = logging.getLogger("artifact_torch")


class Trainer(Generic[InputT, OutputT]):
    """Trains a model, validates it on schedule, records everything in a run directory.

    ::

        trainer = Trainer(model, InMemoryDataLoader({"features": features}, batch_size=64, shuffle=True), epochs=10)
        trainer.train()
        trainer.epoch_scores

    The order of one epoch::

        execute_epoch_preprocessing
        for each batch:
            execute_batch_preprocessing -> forward -> backward
            after every accumulate-th: on_before_optimizer_step -> check, clip -> optimizer step
            -> log_batch_metrics, every log_every steps -> validation, if due -> execute_batch_postprocessing
            -> should_stop_in_epoch, after a step
        validation, if due -> log_epoch_metrics -> execute_epoch_postprocessing -> should_stop

    A checkpoint may be saved in the two postprocessing hooks, in should_stop and between two calls of the trainer:
    everything that belongs to the batch or the epoch is recorded by then.

    Args:
        model: what to train; it is moved to the device.
        train_loader: the training batches.
        epochs: how many epochs to train for, at most; counted from the first one even after a resume.
        optimizer: by default Adam with a learning rate of 1e-3, over the parameters that require gradients.
        scheduler: a learning rate scheduler of ``optimizer``, or a function that makes one of the optimizer and the
            number of steps that the whole training takes.
        scheduler_interval: whether the scheduler steps after each ``"epoch"`` or each optimizer ``"step"``.
        scheduler_metric: the column of ``epoch_scores`` that a ``ReduceLROnPlateau`` watches.
        validation: what to validate and when; by default what the callbacks and plugins ask for, each epoch.
        callbacks: objects with hook implementations, or names of installed ones that need no parameter; they are called
            in this order.
        stoppers: asked after each epoch whether to stop; objects, or names as with ``callbacks``.
        trackers: where results go besides the run directory; objects, or names as with ``callbacks``.
        model_tracker: keeps the best models of the training on disk; by default none is kept but the last.
        device: ``"auto"`` takes an accelerator if there is one.
        seed: fixes the random state of Python, numpy and torch while training, which is the trainer's own: the
            program's is put back afterwards. And the order of batches, unless the loader has a seed of its own.
        log_every: optimizer steps between two records of batch metrics.
        compile: compile the model for training with ``torch.compile``; worth its start-up for large models only.
        deterministic: let torch use deterministic algorithms only, while training.
        limit_batches: train and validate on so many batches an epoch, or on this share (a float up to 1) of them.
        overfit_batches: train on the same so many batches in every epoch, to see whether the model can learn them.
        fast_dev_run: one epoch of one batch, or of so many, to see that everything runs.
        sanity_validation: validate two batches before the first is trained on, and forget the results, so that a
            mistake in the validation shows now and not after the first epoch.
        run: the run's directory; by default a new one, ``runs/default/<run id>``, made when first needed.
        params: what to record as the run's parameters, JSON values.
        plugins: which installed plugins take part, and which run first; by default all that are not switched off by
            ``ARTIFACT_TORCH_DISABLE``, in the order of their distributions and names.
        plugin_time_share: the share of an epoch's time above which a plugin is warned about.
        use_installed_plugins: whether the plugins that act because they are installed take part.
        optimization: how a step is made, see ``OptimizationOptions``: ``accumulate``, ``clip_gradient_norm``,
            ``clip_gradient_value``, ``precision``, ``on_nonfinite``, ``skip_limit``.

    Attributes:
        plugins: who takes part.
        hooks: calls what they implement.
        throughput: how fast the epoch goes, and how long it waits for data.
        validating: what of validation is under way.
        tracking: brings the run to trackers that mirror it.

    Raises:
        UsageError: an argument is out of range, or the parts do not fit.
        PluginError: a callback, stopper or tracker cannot be used; there is one line for each thing that is wrong.
    """

    def __init__(
        self,
        model: Model[InputT, OutputT],
        train_loader: BatchLoader[InputT],
        *,
        epochs: int,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: LRScheduler | SchedulerFactory | None = None,
        scheduler_interval: SchedulerInterval = "epoch",
        scheduler_metric: str | None = None,
        validation: ValidationRoutine | None = None,
        callbacks: Sequence[Callback | str] = (),
        stoppers: Sequence[EarlyStopper | str] = (),
        trackers: Sequence[Tracker | str] = (),
        model_tracker: ModelTracker | None = None,
        device: str | torch.device = "auto",
        seed: int = 0,
        log_every: int = 50,
        compile: bool = False,
        deterministic: bool = False,
        limit_batches: int | float | None = None,
        overfit_batches: int | None = None,
        fast_dev_run: bool | int = False,
        sanity_validation: bool = False,
        run: RunDirectory | None = None,
        params: Mapping[str, Any] | None = None,
        plugins: PluginSelection | None = None,
        plugin_time_share: float = DEFAULT_TIME_SHARE,
        use_installed_plugins: bool = True,
        **optimization: Unpack[OptimizationOptions],
    ) -> None:
        if log_every < 1:
            raise UsageError(f"log_every must be at least 1 step, not {log_every}.")
        if fast_dev_run:
            epochs, limit_batches = 1, int(fast_dev_run)
        self.epochs = _checked_epochs(epochs)
        self.device = resolve_device(device)
        self.model = model.to(self.device)
        train_loader.use_seed(seed)
        self.train_loader = restricted(train_loader, limit=limit_batches, overfit=overfit_batches)
        self.seed = seed
        self.log_every = log_every
        self.deterministic = deterministic
        self.params = dict(params or {})
        self.state = TrainingState()
        self.metrics = MetricHistory()
        self.epoch_loss = EpochLoss()
        self.throughput = Throughput()
        self.random_state = OwnRandomState(seed)
        self.stop_reason = ""
        self.stops_early = False
        self.optimizer = adam(model) if optimizer is None else optimizer
        settings = OptimizationSettings(
            scheduler_interval=scheduler_interval, scheduler_metric=scheduler_metric, **optimization
        )
        if scheduler is not None and not isinstance(scheduler, LRScheduler):
            scheduler = scheduler(self.optimizer, total_steps(self.train_loader, epochs, settings.accumulate))
        self.optimization = Optimization(model, self.optimizer, scheduler, settings, self.device, self._diverged)
        self._compiled = cast("Model[InputT, OutputT]", torch.compile(model)) if compile else None
        self._run = run
        self._saving = Saving(self)
        self._clock = Clock(self.state)
        self._signals = SignalWatch()
        self.plugins = Plugins(plugins, self, time_share=plugin_time_share)
        self.model_tracker = model_tracker
        chosen = chosen_components(
            self.plugins.selection, callbacks=callbacks, stoppers=with_members(stoppers), trackers=trackers
        )
        chosen += [] if model_tracker is None else [(model_tracker, None)]
        self.plugins.set_up(chosen, installed=use_installed_plugins)
        self.hooks = self.plugins.hooks
        self._dispatch = LoopDispatch(self.plugins, self.state)
        self.tracking = Tracking(self, (tracker for tracker, _ in chosen if isinstance(tracker, Tracker)))
        self._recorder = Recorder(self.metrics, self.state, self.hooks)
        self._evaluation = Evaluation(self)
        self.validation = validation or ValidationRoutine()
        self.validation.attach(self.hooks)
        self.validation.limit_batches = limit_batches
        self._step_periods = self.validation.step_periods
        self.validating = Validating(self)
        self._sanity_validation = sanity_validation

    def train(self, epochs: int | None = None) -> TrainingResult:
        """Train until an epoch bound or a stopper ends it, and save the model in the run directory.

        After ``load_checkpoint``, training goes on from where the checkpoint was written; called again, from where it
        ended, if there is anything left to do.

        SIGINT (Ctrl-C) and SIGTERM let the batch or the epoch's validation be finished, save a checkpoint in the run
        directory and end the run as interrupted; a second signal ends it at once. A program that handles these signals
        itself keeps its own handlers.

        Args:
            epochs: how many epochs to train for in all, those that are done included; by default as the trainer was
                told before.

        Raises:
            Interrupted: a signal came; it is a ``KeyboardInterrupt``, and the state is saved.
            MissingLossError: the model's output holds no scalar loss.
            DivergedError: the loss or a gradient became NaN or infinite.
            OutOfMemoryError: the device's memory is exhausted.
        """
        if epochs is not None:
            self.epochs = _checked_epochs(epochs)
        self._evaluation.is_off = self.stops_early = False
        with (
            self._clock.running(),
            self._signals.watching(),
            guarded_run(self),
            explained_memory(self),
            self.validating.working(),
        ):
            if self._sanity_validation and self.state.step == 0:
                self.validating.rehearse()
            while not (reason := self._reason_to_stop()):
                self.plugins.watch()
                if self.state.begin_epoch():
                    self.epoch_loss = EpochLoss()
                    self._execute_epoch_preprocessing()
                self._prepare_batches()
                for batch, ends_step in self._batches():
                    self._train_one_batch(batch, ends_step)
                    self._heed_signals()
                    if ends_step and (reason := self._reason_to_stop_early()):
                        break
                if reason and not self._is_last_batch():
                    break
                self._complete_epoch()
                self._heed_signals()
                if reason and self.state.epochs_completed < self.epochs:
                    break
            self._finish(reason)
        self._evaluation.is_off = self.model_tracker is not None and self.model_tracker.restore(self)
        return TrainingResult(reason, self.state.epochs_completed, self.state.step, self.state.seconds, self.run.path)

    def validate(self) -> ValidationResults:
        """Run the validation routine now, whatever its periods, and return when all is there.

        The results are tracked, and the scores stand in ``epoch_scores``.
        """
        _ = self.run  # before the work, so that a directory that cannot be made is known at once
        results = self.validating.validate(self.validation.parts)
        self.validating.wait()
        return results

    def save_checkpoint(
        self, path: Path | str | None = None, *, keep: Retention | None = None, background: bool = False
    ) -> Path:
        """Write everything that is needed to go on with training, and return the checkpoint's directory.

        Args:
            path: a folder for checkpoints; by default the run directory's own.
            keep: which checkpoints of the folder stay once this one is safe; by default all.
            background: whether to return as soon as the state is copied, and have it written while training goes on.
                Then the directory is the one that the checkpoint will have, and ``wait_for_checkpoints`` tells when it
                is there; ``train`` does not end before.

        Raises:
            DivergedError: a parameter holds NaN or infinity, or something was found to be so on the device; nothing is
                written.
            CheckpointError: a plugin's state is not made of tensors and plain values; or an earlier checkpoint could
                not be written in the background, and nothing is saved now.
            OSError: the disk is full, failing or not writable; earlier checkpoints are untouched.
        """
        return self._saving.save(path, keep=keep, background=background)

    def wait_for_checkpoints(self) -> None:
        """Wait until the checkpoints that were saved in the background are written.

        Raises:
            CheckpointError: one of them was lost; the message names it. It is raised once.
        """
        self._saving.wait()

    def load_checkpoint(
        self, path: Path | str | None = None, *, allow_plugin_drift: bool = False, allow_changes: bool = False
    ) -> Path:
        """Go back to a checkpoint, and return its directory.

        The plugins, the settings and the data that were there when it was written are compared with those that are
        here; what differs is warned about, or refused if training would not go on as it would have then. The number of
        epochs may differ.

        Args:
            path: a checkpoint, or a folder of checkpoints, of which the newest undamaged one is taken; by default the
                run directory's own.
            allow_plugin_drift: go on although a plugin that has state in the checkpoint is not here.
            allow_changes: go on although settings or data differ.

        Raises:
            CheckpointError: there is none that is undamaged, it does not fit this trainer, a plugin that has state in
                it is not here, or settings or data differ.
        """
        self._evaluation.is_off = False  # the checkpoint's weights are those that are trained
        return self._saving.load(path, allow_plugin_drift=allow_plugin_drift, allow_changes=allow_changes)

    @property
    def scheduler(self) -> LRScheduler | None:
        """The learning rate scheduler, if there is one."""
        return self.optimization.scheduler

    @property
    def is_compiled(self) -> bool:
        """Whether the model is compiled for training."""
        return self._compiled is not None

    @property
    def run(self) -> RunDirectory:
        """The run's directory, made when it is first needed."""
        run = self._run or RunDirectory.create()
        if self.plugins.name_of(run) is None:
            self.plugins.register(run, "run_directory", source="core")
        self._run = run
        return run

    @property
    def has_run(self) -> bool:
        """Whether there is a run's directory already."""
        return self._run is not None

    @property
    def is_interrupted(self) -> bool:
        """Whether a signal has come, and training is going to end."""
        return self._signals.received is not None

    @property
    def epoch_scores(self) -> pd.DataFrame:
        """All metrics by epoch: index ``epoch`` from 1, columns such as ``train/loss``; NaN where one was not computed.

        What was validated before training stands in row 0. Scores that are being computed are waited for.
        """
        self.validating.wait_for_scores()
        return self.metrics.epoch_frame()

    @property
    def validation_results(self) -> ValidationHistory:
        """What validation has produced so far: scores as a table, and plots and arrays to be opened."""
        return ValidationHistory(self.run.path, self.state.step)

    @property
    def batch_metrics(self) -> pd.DataFrame:
        """All metrics of single batches, by ``step`` from 1: every ``log_every``-th step has a row."""
        return self.metrics.step_frame()

    @property
    def plugin_times(self) -> pd.DataFrame:
        """What plugins took: one row for each ``plugin``, ``hook`` and ``epoch``, with ``calls`` and ``seconds``.

        Epoch 0 is before the first. The epoch in progress has no rows yet.
        """
        frame = pd.DataFrame(self.plugins.ledger.rows, columns=list(PluginTime._fields))
        return frame.groupby(["plugin", "hook", "epoch"], sort=False, as_index=False).sum()

    @property
    def seconds(self) -> float:
        """The time that training has taken so far, validation included, over all processes that worked on the run."""
        return self._clock.count()

    @property
    def best_model(self) -> Model[InputT, OutputT]:
        """The best model that the model tracker has kept, a new one on this trainer's device, in evaluation mode.

        Raises:
            UsageError: there is no model tracker, or it has kept none.
        """
        if self.model_tracker is None:
            raise UsageError("No best model is kept: give the trainer a model_tracker=ModelTracker(score=...).")
        return cast("Model[InputT, OutputT]", self.model_tracker.best_model(self))

    def evaluating(self) -> AbstractContextManager[None]:
        """While the model is used for something else than training: what averages weights has put its own in.

        Validation and the saving of the model are inside it; whoever uses ``trainer.model`` in between should be, too.
        """
        return self._evaluation.going_on()

    def track(self, kind: ArtifactKind, name: str, value: object, split: DataSplit = DataSplit.TRAIN) -> None:
        """Record a result of the step that was just made, and hand it to the trackers.

        Scores stand in ``batch_metrics`` too. In the record its name is ``batch/<name>``.

        Args:
            kind: what it is.
            name: its name.
            value: a number, an array or a figure, or a mapping of these for a collection; a figure is closed.
            split: the part of the data it was computed on.

        Raises:
            PluginError: there is a number of that name for this step.
        """
        self._recorder.artifact(Artifact(kind, name), value, split, self.run.path)

    def track_file(self, name: str, path: Path, split: DataSplit = DataSplit.TRAIN) -> None:
        """Hand a file or folder that belongs to the run's results to the trackers."""
        self.hooks.notify(TrackingHooks.track_file, name, path, split, self.state.epoch, self.state.step)

    def latest_score(self, name: str) -> float | None:
        """The newest value of a column of ``epoch_scores``, or None if there is none yet.

        One that is being computed is waited for, so that what is decided by it never depends on how long that takes.

        Raises:
            ValidationError: it could not be computed.
        """
        self.validating.wait_for(name)
        return self.metrics.latest(name)

    def score_history(self, name: str) -> dict[int, float]:
        """The values of a column of ``epoch_scores`` by epoch, oldest first; waits and raises as ``latest_score``."""
        self.validating.wait_for(name)
        return self.metrics.history(name)

    # What follows may be overridden in a subclass; calling super() keeps the plugins.

    def _should_stop(self) -> str | None:
        """The reasons of all stoppers and plugins to stop now, or None to go on."""
        return _joined(self.hooks.each(LoopHooks.should_stop, trainer=self))

    def _should_stop_in_epoch(self) -> str | None:
        """The reasons of all stoppers and plugins to stop after this step, or None to go on."""
        ask = self._dispatch.stop_in_epoch
        return None if ask is None else _joined(ask(self))

    def _execute_epoch_preprocessing(self) -> None:
        self.hooks.notify(LoopHooks.execute_epoch_preprocessing, trainer=self)

    def _execute_epoch_postprocessing(self) -> None:
        self.hooks.notify(LoopHooks.execute_epoch_postprocessing, trainer=self)

    def _execute_batch_preprocessing(self, batch: InputT) -> None:
        if (call := self._dispatch.batch_preprocessing) is not None:
            call(self, batch)

    def _execute_batch_postprocessing(self, batch: InputT, model_output: OutputT) -> None:
        if (call := self._dispatch.batch_postprocessing) is not None:
            call(self, batch, model_output)

    def _log_batch_metrics(self, batch: InputT, model_output: OutputT) -> Mapping[str, float | Tensor]:
        answers = self.hooks.each(MetricHooks.log_batch_metrics, self, batch, model_output)
        return self._recorder.merged(answers, "log_batch_metrics")

    def _log_epoch_metrics(self) -> Mapping[str, float | Tensor]:
        answers = self.hooks.each(MetricHooks.log_epoch_metrics, trainer=self)
        return self._recorder.merged(answers, "log_epoch_metrics")

    # The parts of the loop.

    def _prepare_batches(self) -> None:
        self._dispatch.resolve()
        self._dispatch.turn()
        self.plugins.remember_modes()
        self.optimization.begin_epoch()
        self._forward = self.model if self._compiled is None else self._compiled

    def _batches(self) -> Iterator[tuple[InputT, bool]]:
        """The batches that are left of the epoch, and whether the optimizer steps after each."""
        done = self.state.batch_in_epoch
        batches = self.train_loader.batches(self.state.epoch, start=done, device=self.device)
        return with_step_ends(self.throughput.timed(batches), self.optimization.settings.accumulate, done)

    def _is_last_batch(self) -> bool:
        """Whether the epoch has had all batches, as far as the loader can say."""
        try:
            return self.state.batch_in_epoch >= len(self.train_loader)
        except TypeError:
            return False

    def _train_one_batch(self, batch: InputT, ends_step: bool) -> None:
        if self.state.step >= self._dispatch.next_turn:
            self._dispatch.turn()
        self._execute_batch_preprocessing(batch)
        if not self.model.training:
            self.plugins.put_back_modes()
        with self.optimization.forward_context():
            output = self._forward(batch)
        loss = training_loss(output, self.model)
        self.optimization.backward(loss, self.epoch_loss.add(loss))
        if ends_step:
            self._step_optimizer()
        self.state.batch_in_epoch += 1
        if ends_step:
            self._complete_step(batch, output)
        self._execute_batch_postprocessing(batch, output)  # last: a checkpoint saved here has the batch's metrics

    def _step_optimizer(self) -> None:
        self.optimization.complete_gradients()
        if (call := self._dispatch.before_optimizer_step) is not None:
            call(self)
        self.optimization.step()
        self.state.step += 1

    def _complete_step(self, batch: InputT, output: OutputT) -> None:
        try:
            if self.state.step % self.log_every == 0:
                self._log_batch(batch, output)  # while the optimizer has the learning rate of the step
        finally:
            self.optimization.end_step()  # a checkpoint may be saved of what has failed
        if self._step_periods and any(self.state.step % number == 0 for number in self._step_periods):
            self._validate(self.validating.due(epoch_ends=False))

    def _log_batch(self, batch: InputT, output: OutputT) -> None:
        self.settle()
        self.validating.collect()
        self._recorder.batch(output["loss"].item(), self._log_batch_metrics(batch, output))

    def settle(self) -> None:
        """See what an accelerator found to be NaN or infinite; this waits for it."""
        self.optimization.guard.settle(self.epoch_loss)
        self.optimization.check_scale()

    def _complete_epoch(self) -> None:
        state = self.state
        if state.batch_in_epoch == 0:
            raise UsageError(f"The training loader gave no batch in epoch {state.epoch}: check the data set's length.")
        self.settle()
        self._recorder.epoch_loss(self.epoch_loss.mean())
        last = state.epoch >= self.epochs
        self._validate(self.validating.rest() if last else self.validating.due(epoch_ends=True))
        self._recorder.epoch(self._log_epoch_metrics())
        self._step_scheduler()
        state.complete_epoch()
        self._clock.count()
        self._execute_epoch_postprocessing()

    def _finish(self, reason: str) -> None:
        if self.stops_early:
            self._saving.save_at_last("Stopped early")
        self._validate(self.validating.rest())  # a stopper may have ended training between two validations
        self.stop_reason = reason
        self._saving.check_finite()
        with self.evaluating():
            self.model.save(self.run.model_path)
        self.validating.wait(last=True)
        if self.model_tracker is not None:
            self.model_tracker.conclude(self)
        self.track_file("model", self.run.model_path)
        self._clock.count()
        self._heed_signals()

    def _heed_signals(self) -> None:
        """Save and end if a signal has come."""
        if self._signals.received is not None:
            self._saving.save_at_last("Interrupted")
            raise Interrupted(self._signals.received)

    def _validate(self, parts: Sequence[Part]) -> None:
        if parts:
            self.validating.validate(parts)
        self.validating.collect()

    def _step_scheduler(self) -> None:
        metric, never = self.optimization.settings.scheduler_metric, False
        if metric is not None:
            self.validating.wait_for(metric)
            never = self.validating.has_seen_all and self.metrics.newest(metric) is None
        self.optimization.end_epoch(self.metrics.of_epoch(self.state.epoch), validated=never)

    def _diverged(self, what: str) -> DivergedError:
        checkpoints = self.run.checkpoints.paths() if self.has_run else []
        kept = f"The last good checkpoint is {checkpoints[-1]}" if checkpoints else "No checkpoint was saved before"
        place = f"in epoch {self.state.epoch}, step {self.state.step + 1}"
        return DivergedError(
            f"{what} {place}: lower the learning rate, or look for extreme values in the data. {kept}."
        )

    def _reason_to_stop(self) -> str | None:
        """Why not to train another epoch, or None. An epoch that was interrupted is completed first."""
        self.stops_early = False
        if not self.state.step:
            return None
        if not self.state.batch_in_epoch:
            reason = self._should_stop()
            record_times(self)
            if reason is None and self.state.epochs_completed >= self.epochs:
                reason = f"all {self.epochs} epochs are done"
            if reason is not None:
                return reason
        return self._reason_to_stop_early()

    def _reason_to_stop_early(self) -> str | None:
        """Why to stop after this step, or None: training is then not over, and may go on another time."""
        reason = self._should_stop_in_epoch()
        self.stops_early = reason is not None
        return reason


def _joined(votes: Sequence[Answer[str]]) -> str | None:
    return "; ".join(f"{vote.plugin}: {vote.of_type(str, 'a reason in words')}" for vote in votes) or None


def _checked_epochs(epochs: int) -> int:
    if epochs < 1:
        raise UsageError(f"epochs must be at least 1, not {epochs}.")
    return epochs
