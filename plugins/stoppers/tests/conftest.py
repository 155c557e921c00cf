"""Trainings in which scripted values are recorded as scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from artifact_torch import Callback, EarlyStopper, Trainer, hookimpl
from artifact_torch.testing import TinyModel, tiny_loader


class Scripted(Callback):
    """Records each score's values, by epoch, as ``train/<name>``; None records nothing in that epoch."""

    def __init__(self, scores: Mapping[str, Sequence[float | None]]) -> None:
        self.scores = scores

    @hookimpl
    def log_epoch_metrics(self, trainer: Trainer) -> Mapping[str, float]:
        place = trainer.state.epoch - 1
        values = {name: values[place] for name, values in self.scores.items() if place < len(values)}
        return {name: value for name, value in values.items() if value is not None}


@pytest.fixture
def scripted() -> Callable[..., Callback]:
    """Makes a callback that records scripted values, as ``scripted(watched=[3.0, None, 1.0])``."""

    def make(**scores: Sequence[float | None]) -> Callback:
        return Scripted(scores)

    return make


@pytest.fixture(scope="session")
def without_training() -> Callable[[], Trainer]:
    """A trainer that has recorded nothing yet; the same one each time, since many are asked for."""
    trainer = Trainer(TinyModel(), tiny_loader(16), epochs=100, device="cpu", use_installed_plugins=False)

    def forget() -> Trainer:
        trainer.metrics = type(trainer.metrics)()
        trainer.state = type(trainer.state)()
        return trainer

    return forget


@pytest.fixture(scope="session")
def reason_after(without_training: Callable[[], Trainer]) -> Callable[..., str | None]:
    """What a stopper says after epochs in which values were recorded as ``train/watched``."""

    def reason_after(values: Sequence[float | None], stopper: EarlyStopper) -> str | None:
        trainer = without_training()
        for epoch, value in enumerate(values, start=1):
            record(trainer, epoch, value)
        return stopper.check(trainer)

    return reason_after


@pytest.fixture(scope="session")
def stop_epoch(without_training: Callable[[], Trainer]) -> Callable[..., int | None]:
    """The epoch in which a stopper ends a training with these values as ``train/watched``; None if it never does."""

    def stop_epoch(values: Sequence[float | None], stopper: EarlyStopper) -> int | None:
        trainer = without_training()
        for epoch, value in enumerate(values, start=1):
            record(trainer, epoch, value)
            if stopper.check(trainer) is not None:
                return epoch
        return None

    return stop_epoch


def record(trainer: Trainer, epoch: int, value: float | None) -> None:
    trainer.metrics.record_epoch(epoch, {} if value is None else {"train/watched": value})
    trainer.state.epoch = trainer.state.epochs_completed = epoch
