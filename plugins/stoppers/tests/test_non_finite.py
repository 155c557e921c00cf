from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import pytest
import torch
from artifact_torch_stoppers import NonFinite

from artifact_torch import Callback, EarlyStopper, ScoreCallback, Trainer, UsageError, ValidationRoutine, hookimpl
from artifact_torch.testing import TinyInput, TinyOutput, tiny_loader


class Overflowing(ScoreCallback):
    """The mean of the square of an exponential of the prediction, which becomes infinite in half precision."""

    def reset(self) -> None:
        self.largest = 0.0

    def update(self, batch: TinyInput, model_output: TinyOutput) -> None:
        self.largest = max(self.largest, float((1e6 * model_output["prediction"].abs()).half().square().max()))

    def compute(self) -> float:
        return self.largest


def test_training_stops_when_validation_gives_no_number(make_trainer: Callable[..., Trainer]) -> None:
    validation = ValidationRoutine(val_loader=tiny_loader(16), callbacks=[Overflowing("overflowing")])
    trainer = make_trainer(
        epochs=10, validation=validation, stoppers=[NonFinite(score="validation/overflowing", epochs=2)]
    )
    result = trainer.train()
    assert result.epochs == 2
    assert result.reason == ("NonFinite: validation/overflowing is inf (epoch 2), and NaN or infinite for 2 epochs")


def test_a_single_epoch_is_enough_by_default(
    reason_after: Callable[[Sequence[float | None], EarlyStopper], str | None],
) -> None:
    assert reason_after([1.0, -math.inf], NonFinite(score="train/watched")) == "train/watched is -inf (epoch 2)"
    assert reason_after([-math.inf, 1.0], NonFinite(score="train/watched")) is None


class NoNumbers(Callback):
    """Makes the loss of the third epoch's batches infinite."""

    changes_training = True

    @hookimpl
    def execute_batch_preprocessing(self, trainer: Trainer, batch: Mapping[str, torch.Tensor]) -> None:
        if trainer.state.epoch == 3:
            batch["target"] = torch.full_like(batch["target"], math.inf)  # type: ignore[index]


def test_an_epoch_whose_losses_were_all_left_out_stops_training(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer(epochs=9, callbacks=[NoNumbers()], stoppers=[NonFinite()], on_nonfinite="skip")
    result = trainer.train()
    assert (result.epochs, result.reason) == (3, "NonFinite: train/loss is nan (epoch 3)")


def test_a_number_of_epochs_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="NonFinite needs at least 1 epoch, not 0"):
        NonFinite(epochs=0)
