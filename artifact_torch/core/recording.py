"""Where the numbers of training go: the metric history, and everybody who tracks scores."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from artifact_torch.core.data import DataSplit
from artifact_torch.core.metrics import MetricHistory, merge_metrics
from artifact_torch.core.state import TrainingState
from artifact_torch.plugin.hooks import Answer, Hooks
from artifact_torch.plugin.specs import TrackingHooks

__all__ = ["Recorder"]

_LOSS = {"loss": "the trainer"}


class Recorder:
    """Records the metrics of the training split.

    Args:
        metrics: the history that they are added to.
        state: where training stands.
        hooks: those who track.
    """

    def __init__(self, metrics: MetricHistory, state: TrainingState, hooks: Hooks) -> None:
        self._metrics = metrics
        self._state = state
        self._hooks = hooks

    def batch(self, loss: float, others: Mapping[str, float | Tensor]) -> None:
        """Record the metrics of the step that was just made, the loss first."""
        values = {"loss": loss, **self.merged([_answer("log_batch_metrics", others)], "log_batch_metrics")}
        self._metrics.record_step(self._state.step, values)
        self._track({f"batch/{name}": value for name, value in values.items()})

    def epoch_loss(self, loss: float) -> None:
        """Record the mean loss of the epoch."""
        self._record({"loss": loss})

    def epoch(self, others: Mapping[str, float | Tensor]) -> None:
        """Record the metrics of the epoch besides its loss and its validation."""
        self._record(self.merged([_answer("log_epoch_metrics", others)], "log_epoch_metrics"))

    def merged(self, answers: list[Answer[Mapping[str, float | Tensor]]], hook: str) -> dict[str, float]:
        """What several plugins returned from a metric hook, in one mapping.

        Raises:
            PluginError: two of them used one name, or one that is recorded already; or a value is not one number.
        """
        taken = _LOSS if hook == "log_batch_metrics" else self._recorded_by()
        return merge_metrics(answers, hook, taken)

    def _record(self, values: Mapping[str, float]) -> None:
        self._metrics.record_epoch(self._state.epoch, {f"train/{name}": value for name, value in values.items()})
        self._track(values)

    def _recorded_by(self) -> dict[str, str]:
        """Who has recorded which metric of the training split in this epoch."""
        recorded = self._metrics.of_epoch(self._state.epoch)
        scores = [name.removeprefix("train/") for name in recorded if name.startswith("train/")]
        return {**dict.fromkeys(scores, "validation"), **_LOSS}

    def _track(self, values: Mapping[str, float]) -> None:
        epoch, step = self._state.epoch, self._state.step
        for name, value in values.items():
            self._hooks.notify(TrackingHooks.track_score, name, value, DataSplit.TRAIN, epoch, step)


def _answer(hook: str, values: Mapping[str, float | Tensor]) -> Answer[Mapping[str, float | Tensor]]:
    """What the trainer's own method for a hook has returned; a subclass may have written it."""
    return Answer(f"_{hook}", values, hook)
