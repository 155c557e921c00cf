"""Where the numbers of training go: the metric history, and everybody who tracks scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from artifact_torch.core.artifacts import Artifact
from artifact_torch.core.metrics import MetricHistory, merge_metrics
from artifact_torch.core.results import ValidationResults, draw_figures, score_names, track
from artifact_torch.core.split import DataSplit
from artifact_torch.core.state import TrainingState
from artifact_torch.core.temporary import remove, temporary_path
from artifact_torch.errors import PluginError
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

    def artifact(self, artifact: Artifact, value: Any, split: DataSplit, run: Path) -> None:
        """Record an artifact of the step that was just made; see ``Trainer.track``."""
        state, name = self._state, f"batch/{artifact.name}"
        scores = {key.partition("/")[2]: number for key, number in score_names(split, artifact, value).items()}
        recorded = self._metrics.of_step(state.step)
        if shared := sorted(recorded.keys() & scores.keys()):
            raise PluginError(
                f"There is a number named {shared[0]!r} for step {state.step} already: give one of them another name."
            )
        if scores:
            self._metrics.record_step(state.step, {key: float(number) for key, number in scores.items()})
        results = ValidationResults(epoch=state.epoch, step=state.step)
        results.of_split(split).add(Artifact(artifact.kind, name), value)
        drawings = temporary_path(run / "drawings")  # made only if there is a figure to draw
        try:
            draw_figures(results, drawings)
            drawn = results.of_split(split).of_kind(artifact.kind)[name]
            track(self._hooks, Artifact(artifact.kind, name), drawn, split, epoch=state.epoch, step=state.step)
        finally:
            remove(drawings)

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
