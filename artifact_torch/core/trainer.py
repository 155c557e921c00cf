"""The trainer: the loop, its public interface, and the methods that a subclass may override."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, NoReturn

import pandas as pd
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import TypeVar

from artifact_torch.core.callback import Callback
from artifact_torch.core.checkpoint import CheckpointStore, read_state
from artifact_torch.core.components import chosen_components
from artifact_torch.core.data import BatchLoader, DataSplit
from artifact_torch.core.device import resolve_device
from artifact_torch.core.interruption import Interrupted, SignalWatch
from artifact_torch.core.lifecycle import guarded_run, record_times
from artifact_torch.core.loss import EpochLoss, training_loss
from artifact_torch.core.metrics import MetricHistory, merge_metrics
from artifact_torch.core.model import Model, ModelInput, ModelOutput
from artifact_torch.core.optimizer import adam
from artifact_torch.core.results import ValidationResults, track_results
from artifact_torch.core.run import RunDirectory
from artifact_torch.core.state import TrainingState, capture, restore
from artifact_torch.core.stopper import EarlyStopper
from artifact_torch.core.tracker import Tracker
from artifact_torch.core.validation import ValidationRoutine
from artifact_torch.errors import UsageError
from artifact_torch.plugin.dispatch import LoopDispatch
from artifact_torch.plugin.drift import check_plugin_set
from artifact_torch.plugin.hooks import Answer
from artifact_torch.plugin.ledger import DEFAULT_TIME_SHARE, PluginTime
from artifact_torch.plugin.manager import Plugins
from artifact_torch.plugin.selection import PluginSelection
from artifact_torch.plugin.specs import LoopHooks, MetricHooks, TrackingHooks

__all__ = ["Trainer", "TrainingResult"]

InputT = TypeVar("InputT", bound=ModelInput, default=Any)
OutputT = TypeVar("OutputT", bound=ModelOutput, default=Any)

_LOSS = {"loss": "the trainer"}
logger = logging.getLogger("artifact_torch")


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How training went.

    Attributes:
        reason: why it ended, in words.
        epochs: epochs completed, those before a resume included.
        steps: optimizer steps done, those before a resume included.
        seconds: time in ``train``, validation included, over all processes that worked on the run.
        run_directory: where everything about the run is.
    """

    reason: str
    epochs: int
    steps: int
    seconds: float
    run_directory: Path


class Trainer(Generic[InputT, OutputT]):
    """Trains a model, validates it on schedule, records everything in a run directory.

    ::

        trainer = Trainer(model, InMemoryDataLoader({"features": features}, batch_size=64, shuffle=True), epochs=10)
        trainer.train()
        trainer.epoch_scores

    The order of one epoch::

        execute_epoch_preprocessing
        for each batch:
            execute_batch_preprocessing -> forward -> backward -> on_before_optimizer_step -> optimizer step
            -> log_batch_metrics, every log_every steps -> execute_batch_postprocessing
        validation, if due -> log_epoch_metrics -> execute_epoch_postprocessing -> should_stop

    A checkpoint may be saved in the two postprocessing hooks, in should_stop and between two calls of the trainer:
    everything that belongs to the batch or the epoch is recorded by then.

    Args:
        model: what to train; it is moved to the device.
        train_loader: the training batches.
        epochs: how many epochs to train for, at most; counted from the first one even after a resume.
        optimizer: by default Adam with a learning rate of 1e-3, over the parameters that require gradients.
        scheduler: a learning rate scheduler of ``optimizer``.
        scheduler_interval: whether the scheduler steps after each ``"epoch"`` or each ``"step"``.
        validation: what to validate and when; by default what the callbacks and plugins ask for, each epoch.
        callbacks: objects with hook implementations, or names of installed ones that need no parameter; they are called
            in this order.
        stoppers: asked after each epoch whether to stop; objects, or names as with ``callbacks``.
        trackers: where results go besides the run directory; objects, or names as with ``callbacks``.
        device: ``"auto"`` takes an accelerator if there is one.
        seed: fixes the random state of Python, numpy and torch when training starts.
        log_every: steps between two records of batch metrics.
        run: the run's directory; by default a new one, ``runs/default/<run id>``, made when first needed.
        params: what to record as the run's parameters, JSON values.
        plugins: which installed plugins take part, and which run first; by default all that are not switched off by
            ``ARTIFACT_TORCH_DISABLE``, in the order of their distributions and names.
        plugin_time_share: the share of an epoch's time above which a plugin is warned about.
        use_installed_plugins: whether the plugins that act because they are installed take part.

    Attributes:
        plugins: who takes part.
        hooks: calls what they implement.

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
        scheduler: LRScheduler | None = None,
        scheduler_interval: Literal["epoch", "step"] = "epoch",
        validation: ValidationRoutine | None = None,
        callbacks: Sequence[Callback | str] = (),
        stoppers: Sequence[EarlyStopper | str] = (),
        trackers: Sequence[Tracker | str] = (),
        device: str | torch.device = "auto",
        seed: int = 0,
        log_every: int = 50,
        run: RunDirectory | None = None,
        params: Mapping[str, Any] | None = None,
        plugins: PluginSelection | None = None,
        plugin_time_share: float = DEFAULT_TIME_SHARE,
        use_installed_plugins: bool = True,
    ) -> None:
        if epochs < 1 or log_every < 1:
            raise UsageError(f"epochs and log_every must be at least 1, not {epochs} and {log_every}.")
        if scheduler is not None and (optimizer is None or scheduler.optimizer is not optimizer):
            raise UsageError("The scheduler belongs to another optimizer than the trainer's: pass both, made together.")
        self.device = resolve_device(device)
        self.model = model.to(self.device)
        self.train_loader = train_loader
        self.epochs = epochs
        self.optimizer = adam(model) if optimizer is None else optimizer
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.seed = seed
        self.log_every = log_every
        self.params = dict(params or {})
        self.state = TrainingState()
        self.metrics = MetricHistory()
        self.epoch_loss = EpochLoss()
        self.stop_reason = ""
        self._run = run
        self._clock = time.monotonic()
        self._signals = SignalWatch()
        self.plugins = Plugins(plugins, self, time_share=plugin_time_share)
        chosen = chosen_components(self.plugins.selection, callbacks=callbacks, stoppers=stoppers, trackers=trackers)
        self.plugins.set_up(chosen, installed=use_installed_plugins)
        self.hooks = self.plugins.hooks
        self._dispatch = LoopDispatch(self.plugins)
        self.validation = validation or ValidationRoutine()
        self.validation.attach(self.hooks)

    def train(self) -> TrainingResult:
        """Train until an epoch bound or a stopper ends it, and save the model in the run directory.

        After ``load_checkpoint``, training goes on from where the checkpoint was written.

        SIGINT (Ctrl-C) and SIGTERM let the batch or the epoch's validation be finished, save a checkpoint in the run
        directory and end the run as interrupted; a second signal ends it at once. A program that handles these signals
        itself keeps its own handlers.

        Raises:
            Interrupted: a signal came; it is a ``KeyboardInterrupt``.
            MissingLossError: the model's output holds no scalar loss.
            DivergedError: the loss became NaN or infinite.
        """
        self._clock = time.monotonic()
        with self._signals.watching(), guarded_run(self):
            while not (reason := self._reason_to_stop()):
                self.plugins.watch()
                if self.state.begin_epoch():
                    self.epoch_loss = EpochLoss()
                    self._execute_epoch_preprocessing()
                self._dispatch.resolve()
                self.plugins.remember_modes()
                for batch in self.train_loader.batches(
                    self.state.epoch, start=self.state.step_in_epoch, device=self.device
                ):
                    self._train_one_batch(batch)
                    if self._signals.received is not None:
                        self._save_and_stop(self._signals.received)
                self._complete_epoch()
                if self._signals.received is not None:
                    self._save_and_stop(self._signals.received)
            self._finish(reason)
        return TrainingResult(reason, self.state.epochs_completed, self.state.step, self.state.seconds, self.run.path)

    def validate(self) -> ValidationResults:
        """Run the validation routine now; its results are tracked and stand in ``epoch_scores``."""
        self._open_run()  # before the work, so that a directory that cannot be made is known at once
        results = self.validation.validate(self)
        if "train/loss" in results.scores:
            raise UsageError("A score of the training split is named 'loss', like the training loss: rename it.")
        self.metrics.record_epoch(self.state.epoch, results.scores)
        self.state.validated_step = self.state.step
        track_results(self.hooks, results, epoch=self.state.epoch, step=self.state.step)
        return results

    def save_checkpoint(self, path: Path | str | None = None) -> Path:
        """Write everything that is needed to go on with training, and return the checkpoint's directory.

        Args:
            path: a folder for checkpoints; by default the run directory's own.

        Raises:
            CheckpointError: a plugin's state is not made of tensors and plain values.
            OSError: the disk is full or not writable; earlier checkpoints are untouched.
        """
        store = self.run.checkpoints if path is None else CheckpointStore(Path(path))
        return store.save(capture(self), self.state.step)

    def load_checkpoint(self, path: Path | str | None = None, *, allow_plugin_drift: bool = False) -> Path:
        """Go back to a checkpoint, and return its directory.

        The plugins that were there when it was written are compared with those that are here; what differs is warned
        about.

        Args:
            path: a checkpoint, or a folder of checkpoints, of which the newest undamaged one is taken; by default the
                run directory's own.
            allow_plugin_drift: go on although a plugin that has state in the checkpoint is not here.

        Raises:
            CheckpointError: there is none that is undamaged, it does not fit this trainer, or a plugin that has state
                in it is not here.
        """
        if path is not None and (Path(path) / "manifest.json").is_file():
            chosen, state = Path(path), read_state(Path(path))
        else:
            loaded = (self.run.checkpoints if path is None else CheckpointStore(Path(path))).load_newest()
            chosen, state = loaded.path, loaded.state
            for reason in loaded.skipped:
                logger.warning("A newer checkpoint was skipped: %s", reason)
        for warning in check_plugin_set(
            state["plugin_set"], state["plugins"], self.plugins.plugin_set(), allow=allow_plugin_drift
        ):
            self.plugins.warn(warning)
        restore(self, state)
        return chosen

    @property
    def run(self) -> RunDirectory:
        """The run's directory, made when it is first needed."""
        return self._open_run()

    @property
    def epoch_scores(self) -> pd.DataFrame:
        """All metrics by epoch: index ``epoch`` from 1, columns such as ``train/loss``; NaN where one was not computed.

        What was validated before training stands in row 0.
        """
        return self.metrics.epoch_frame()

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

    def track_file(self, name: str, path: Path, split: DataSplit = DataSplit.TRAIN) -> None:
        """Hand a file or folder that belongs to the run's results to the trackers."""
        self.hooks.notify(TrackingHooks.track_file, name, path, split, self.state.epoch, self.state.step)

    def latest_score(self, name: str) -> float | None:
        """The newest value of a column of ``epoch_scores``, or None if there is none yet."""
        return self.metrics.latest(name)

    # What follows may be overridden in a subclass; calling super() keeps the plugins.

    def _should_stop(self) -> str | None:
        """The reasons of all stoppers and plugins to stop now, or None to go on."""
        votes = self.hooks.each(LoopHooks.should_stop, trainer=self)
        return "; ".join(f"{vote.plugin}: {vote.of_type(str, 'a reason in words')}" for vote in votes) or None

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
        return merge_metrics(answers, "log_batch_metrics", _LOSS)

    def _log_epoch_metrics(self) -> Mapping[str, float | Tensor]:
        answers = self.hooks.each(MetricHooks.log_epoch_metrics, trainer=self)
        return merge_metrics(answers, "log_epoch_metrics", self._recorded_by())

    # The parts of the loop.

    def _train_one_batch(self, batch: InputT) -> None:
        self._execute_batch_preprocessing(batch)
        if not self.model.training:
            self.plugins.put_back_modes()
        output = self.model(batch)
        loss = training_loss(output, self.model)
        self.epoch_loss.add(loss)  # first, so that on the CPU no step is made with a loss that is not finite
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if (call := self._dispatch.before_optimizer_step) is not None:
            call(self)
        self.optimizer.step()
        if self.scheduler is not None and self.scheduler_interval == "step":
            self.scheduler.step()
        self.state.step += 1
        self.state.step_in_epoch += 1
        if self.state.step % self.log_every == 0:
            self._log_batch(batch, output)
        self._execute_batch_postprocessing(batch, output)  # last: a checkpoint saved here has the batch's metrics

    def _log_batch(self, batch: InputT, output: OutputT) -> None:
        self.epoch_loss.mean()  # on an accelerator, this is where a loss that is not finite is seen
        answers = [Answer("_log_batch_metrics", self._log_batch_metrics(batch, output), "log_batch_metrics")]
        values = {"loss": output["loss"].item(), **merge_metrics(answers, "log_batch_metrics", _LOSS)}
        self.metrics.record_step(self.state.step, values)
        self._track_scores({f"batch/{name}": value for name, value in values.items()})

    def _complete_epoch(self) -> None:
        state = self.state
        if state.step_in_epoch == 0:
            raise UsageError(f"The training loader gave no batch in epoch {state.epoch}: check the data set's length.")
        self._record_epoch({"loss": self.epoch_loss.mean()})
        if self.validation.is_due(state.epoch) or state.epoch >= self.epochs:
            self._validate_once()
        answers = [Answer("_log_epoch_metrics", self._log_epoch_metrics(), "log_epoch_metrics")]
        self._record_epoch(merge_metrics(answers, "log_epoch_metrics", self._recorded_by()))
        if self.scheduler is not None and self.scheduler_interval == "epoch":
            self.scheduler.step()
        state.complete_epoch()
        self._count_seconds()
        self._execute_epoch_postprocessing()

    def _finish(self, reason: str) -> None:
        self._validate_once()  # a stopper may have ended training between two validations
        self.stop_reason = reason
        self.track_file("model", self.model.save(self.run.model_path))
        self._count_seconds()

    def _save_and_stop(self, signal_number: int) -> NoReturn:
        try:
            logger.warning("Interrupted: training can go on from %s.", self.save_checkpoint())
        except OSError as error:
            logger.warning("Interrupted, and the state cannot be saved (%s): earlier checkpoints stay.", error)
        raise Interrupted(signal_number)

    def _validate_once(self) -> None:
        if self.validation.has_work and self.state.validated_step != self.state.step:
            self.validate()

    def _open_run(self) -> RunDirectory:
        run = self._run or RunDirectory.create()
        if self.plugins.name_of(run) is None:
            self.plugins.register(run, "run_directory", source="core")
        self._run = run
        return run

    def _count_seconds(self) -> None:
        now = time.monotonic()
        self.state.seconds += now - self._clock
        self._clock = now

    def _record_epoch(self, values: Mapping[str, float]) -> None:
        self.metrics.record_epoch(self.state.epoch, {f"train/{name}": value for name, value in values.items()})
        self._track_scores(values)

    def _recorded_by(self) -> dict[str, str]:
        """Who has recorded which metric of the training split in this epoch."""
        recorded = self.metrics.of_epoch(self.state.epoch)
        scores = [name.removeprefix("train/") for name in recorded if name.startswith("train/")]
        return {**dict.fromkeys(scores, "validation"), **_LOSS}

    def _track_scores(self, values: Mapping[str, float]) -> None:
        epoch, step = self.state.epoch, self.state.step
        for name, value in values.items():
            self.hooks.notify(TrackingHooks.track_score, name, value, DataSplit.TRAIN, epoch, step)

    def _reason_to_stop(self) -> str | None:
        """Why not to train another epoch, or None. An epoch that was interrupted is completed first."""
        if self.state.step_in_epoch or not self.state.epochs_completed:
            return None
        reason = self._should_stop()
        record_times(self)
        if reason is None and self.state.epochs_completed >= self.epochs:
            return f"all {self.epochs} epochs are done"
        return reason
