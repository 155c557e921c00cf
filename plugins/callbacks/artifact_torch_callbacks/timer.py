"""Where the time of a training goes."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from artifact_torch import Callback, hookimpl
from artifact_torch_callbacks.wording import duration

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["Timer"]

_WORTH_TELLING = 0.01
_MAX_PLUGINS = 5

logger = logging.getLogger("artifact_torch")
_clock = time.monotonic


@dataclass(frozen=True, slots=True)
class _Times:
    """How far a training has come, and what of its time went where, in seconds.

    Attributes:
        step: optimizer steps done.
        seconds: the whole time.
        steps: spent in making steps.
        data: spent in waiting for the loader.
        validation: spent in validating.
        artifacts: spent in waiting for what is computed in the background.
    """

    step: int = 0
    seconds: float = 0.0
    steps: float = 0.0
    data: float = 0.0
    validation: float = 0.0
    artifacts: float = 0.0


class Timer(Callback):
    """Records what each epoch took, and logs at the end where the time of the whole training went.

    These are columns of ``epoch_scores``, in seconds:

    - ``train/epoch_seconds``, from the epoch's start to the end of its validation;
    - ``train/step_seconds``, the mean time of an optimizer step, with all that plugins do in it and without what
      follows;
    - ``train/data_seconds``, spent in waiting for the loader;
    - ``train/validation_seconds``, spent in validating, and in waiting for artifacts that are computed in the
      background.

    The summary is in the log, and says what each part came to::

        Where the time of 12 epochs and 3,600 steps went:
          making steps           1 min 20 s  64%  22.2 ms a step
          waiting for data            5.0 s   4%
          validating                   30 s  24%
          waiting for artifacts       6.0 s   5%
          the rest                    4.0 s   3%
          in all                 2 min 05 s
        Of it, plugins took: checkpoint 2.1 s (2%).

    The rest is what happens between the epochs: checkpoints, what is written down, the start and the end. What plugins
    took is a part of the lines above.

    Times go on counting where training is resumed, from what the checkpoint knew. No step is timed by itself and none
    waits for an accelerator, so it costs nothing in a step.

    Args:
        record: whether the times are columns of ``epoch_scores``; without them there is the summary only, and the
            scores of two equal trainings are equal.

    Example::

        trainer = Trainer(model, train_loader, epochs=3, validation=validation, callbacks=[Timer()])
        trainer.train()
        print(trainer.epoch_scores[["train/epoch_seconds", "train/step_seconds"]])
    """

    def __init__(self, *, record: bool = True) -> None:
        self.record = record
        self._times = _Times()  # without the batches of the epoch in progress
        self._epoch_began = _Times()
        self._plugins: dict[str, float] = {}  # seconds in other processes
        self._start: float | None = None
        self._in_epoch = False
        self._aside = 0.0  # of the time of the epoch's batches, what is no part of steps
        self._validation_began: float | None = None
        self._waited = 0.0

    @hookimpl(tryfirst=True)
    def on_train_start(self, trainer: Trainer) -> None:
        # A training that failed knows its time up to the last epoch or checkpoint only.
        self._start = _clock() - max(trainer.seconds, self._times.seconds)
        self._in_epoch = trainer.state.batch_in_epoch > 0
        self._aside, self._validation_began = 0.0, None
        self._waited = trainer.validating.seconds_waited

    @hookimpl(tryfirst=True)
    def execute_epoch_preprocessing(self, trainer: Trainer) -> None:
        self._in_epoch, self._aside = True, 0.0
        self._epoch_began = self._now(trainer)

    # Not on_validation_end: scores would be held back until the plots are there.

    @hookimpl(tryfirst=True)
    def on_validation_start(self) -> None:
        if self._start is not None:
            self._validation_began = _clock()

    @hookimpl(trylast=True)
    def on_evaluation_end(self, trainer: Trainer) -> None:
        if self._validation_began is not None:
            seconds = _clock() - self._validation_began
            self._validation_began = None
            self._times = replace(self._times, validation=self._times.validation + seconds)
            self._set_aside(trainer, seconds)

    @hookimpl
    def on_artifacts_awaited(self, trainer: Trainer) -> None:
        if self._start is not None:
            waited = trainer.validating.seconds_waited
            seconds, self._waited = waited - self._waited, waited
            self._times = replace(self._times, artifacts=self._times.artifacts + seconds)
            self._set_aside(trainer, seconds)

    @hookimpl(trylast=True)
    def log_epoch_metrics(self, trainer: Trainer) -> Mapping[str, float]:
        now, began = self._counted(trainer), self._epoch_began
        if not self.record:
            return {}
        return {
            "epoch_seconds": now.seconds - began.seconds,
            "step_seconds": (now.steps - began.steps) / max(1, now.step - began.step),
            "data_seconds": now.data - began.data,
            "validation_seconds": now.validation + now.artifacts - began.validation - began.artifacts,
        }

    @hookimpl(trylast=True)
    def on_train_end(self, trainer: Trainer) -> None:
        if self._start is not None:
            times = self._counted(trainer)
            self._start = None
            logger.info("%s", _summary(times, trainer.state.epochs_completed, self._plugin_seconds(trainer)))

    @hookimpl
    def on_save_checkpoint(self, trainer: Trainer) -> Mapping[str, Any]:
        return {
            "times": asdict(self._now(trainer)),
            "epoch_began": asdict(self._epoch_began),
            "plugins": self._plugin_seconds(trainer),
        }

    @hookimpl
    def on_load_checkpoint(self, trainer: Trainer, state: Mapping[str, Any]) -> None:
        self._times, self._epoch_began = _Times(**state["times"]), _Times(**state["epoch_began"])
        here = _seconds_by_plugin(trainer)  # what was done in this process is to count as it did then
        names = {**state["plugins"], **here}
        self._plugins = {name: state["plugins"].get(name, 0.0) - here.get(name, 0.0) for name in names}

    def _now(self, trainer: Trainer) -> _Times:
        """What was counted, and the batches of the epoch in progress."""
        times = self._times
        if self._start is None:
            return times
        times = replace(times, step=trainer.state.step, seconds=_clock() - self._start)
        throughput = trainer.throughput
        if self._in_epoch and trainer.state.batch_in_epoch and throughput.batches:
            data = throughput.waited
            steps = max(0.0, throughput.seconds - data - self._aside)
            times = replace(times, steps=times.steps + steps, data=times.data + data)
        return times

    def _counted(self, trainer: Trainer) -> _Times:
        """Count the batches of the epoch, which are over."""
        self._times = self._now(trainer)
        self._in_epoch = False
        return self._times

    def _set_aside(self, trainer: Trainer, seconds: float) -> None:
        # The loss of an epoch is recorded when its batches are over, before what is validated then.
        if self._in_epoch and "train/loss" not in trainer.metrics.of_epoch(trainer.state.epoch):
            self._aside += seconds

    def _plugin_seconds(self, trainer: Trainer) -> dict[str, float]:
        """Plugin -> seconds, over all processes, as far as epochs are over."""
        here = _seconds_by_plugin(trainer)
        names = {**self._plugins, **here}
        return {name: self._plugins.get(name, 0.0) + here.get(name, 0.0) for name in names}


def _seconds_by_plugin(trainer: Trainer) -> dict[str, float]:
    """Plugin -> seconds in this process."""
    times, found = trainer.plugin_times, dict[str, float]()
    for name, seconds in zip(times["plugin"].tolist(), times["seconds"].tolist(), strict=True):
        found[name] = found.get(name, 0.0) + seconds
    return found


def _summary(times: _Times, epochs: int, plugins: Mapping[str, float]) -> str:
    whole = max(times.seconds, 1e-9)
    parts = {
        "making steps": times.steps,
        "waiting for data": times.data,
        "validating": times.validation,
        "waiting for artifacts": times.artifacts,
    }
    parts["the rest"] = max(0.0, whole - sum(parts.values()))
    width = max(len(duration(seconds)) for seconds in (whole, *parts.values()))
    lines = [f"  {name:<21}  {duration(seconds):>{width}}  {seconds / whole:>4.0%}" for name, seconds in parts.items()]
    if times.step:
        lines[0] += f"  {times.steps / times.step * 1e3:.3g} ms a step"
    ranked = sorted(plugins.items(), key=lambda item: -item[1])[:_MAX_PLUGINS]
    told = [
        f"{name} {duration(seconds)} ({seconds / whole:.0%})"
        for name, seconds in ranked
        if seconds / whole >= _WORTH_TELLING
    ]
    return "\n".join(
        [
            f"Where the time of {_several('epoch', epochs)} and {_several('step', times.step)} went:",
            *lines,
            f"  {'in all':<21}  {duration(whole):>{width}}",
            *([f"Of it, plugins took: {', '.join(told)}."] if told else []),
        ]
    )


def _several(what: str, number: int) -> str:
    return f"{number:,} {what if number == 1 else what + 's'}"
