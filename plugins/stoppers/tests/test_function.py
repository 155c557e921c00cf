from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
from artifact_torch_stoppers import FunctionStopper

from artifact_torch import Trainer, UsageError

MakeTrainer = Callable[..., Trainer]


def two_epochs_are_done(trainer: Trainer) -> bool:
    return trainer.state.epochs_completed >= 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("the moon is full", "FunctionStopper: the moon is full (epoch 1)"),
        (True, "FunctionStopper: {name} says so (epoch 1)"),
        (np.bool_(True), "FunctionStopper: {name} says so (epoch 1)"),
        (False, "all 2 epochs are done"),
        (np.bool_(False), "all 2 epochs are done"),
        (None, "all 2 epochs are done"),
        ("", "all 2 epochs are done"),
    ],
)
def test_what_the_function_returns_decides(make_trainer: MakeTrainer, answer: str | bool | None, reason: str) -> None:
    def decide(trainer: Trainer) -> str | bool | None:
        return answer

    result = make_trainer(stoppers=[FunctionStopper(function=decide)]).train()
    assert result.reason == reason.format(name=decide.__qualname__)


def test_the_function_is_asked_after_each_epoch(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(epochs=5, stoppers=[FunctionStopper(function=two_epochs_are_done)])
    result = trainer.train()
    assert (result.epochs, result.reason) == (2, "FunctionStopper: two_epochs_are_done says so (epoch 2)")


def test_what_has_no_name_is_called_by_its_class(make_trainer: MakeTrainer) -> None:
    stopper = FunctionStopper(function=functools.partial(two_epochs_are_done))
    assert make_trainer(epochs=5, stoppers=[stopper]).train().reason == "FunctionStopper: partial says so (epoch 2)"


def test_another_answer_is_refused(make_trainer: MakeTrainer) -> None:
    stopper = FunctionStopper(function=lambda trainer: trainer.latest_score("train/loss"))  # type: ignore[arg-type, return-value]
    with pytest.raises(UsageError, match=r"of FunctionStopper returned \d.*: return the reason in words, True, False"):
        make_trainer(stoppers=[stopper]).train()
