from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from artifact_torch_callbacks import Loss
from torch import nn

from artifact_torch import (
    InMemoryDataLoader,
    MissingLossError,
    Model,
    RunDirectory,
    Trainer,
    UsageError,
    ValidationRoutine,
)
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters
from artifact_torch.testing import TinyModel, tiny_loader


class OutputWithout(TinyModel):
    """A tiny model whose output in evaluation mode is scripted."""

    def __init__(self, **evaluation_output: Any) -> None:
        super().__init__()
        self.evaluation_output = evaluation_output

    def forward(self, batch: Any) -> Any:
        return super().forward(batch) if self.training else self.evaluation_output


def new_trainer(root: Path, *, model: Model | None = None, loader: Any = None, **options: Any) -> Trainer:
    validation = ValidationRoutine(val_loader=loader or tiny_loader(40, seed=1))
    return Trainer(
        model or TinyModel(),
        tiny_loader(),
        epochs=2,
        validation=validation,
        run=RunDirectory.create(root=root),
        device="cpu",
        **options,
    )


def mean_squared_error(model: TinyModel, loader: InMemoryDataLoader) -> float:
    """Over all samples at once, in evaluation mode."""
    whole = {name: torch.cat([batch[name] for batch in loader]) for name in ("features", "target")}
    with torch.no_grad():
        prediction = model.eval().layers(whole["features"])
    return float(nn.functional.mse_loss(prediction, whole["target"]))


def test_is_found_by_name_and_gives_the_mean_over_the_samples_in_evaluation_mode(tmp_path: Path) -> None:
    assert components.get("callbacks", "loss") is Loss
    trainer = new_trainer(tmp_path, model=TinyModel(dropout=0.5), callbacks=["loss"])
    trainer.train()
    expected = mean_squared_error(trainer.model, tiny_loader(40, seed=1))  # batches of 16, 16 and 8
    assert trainer.epoch_scores["validation/loss"].loc[2] == pytest.approx(expected, rel=1e-6)
    assert trainer.epoch_scores["validation/loss"].notna().all()


def test_the_training_split_is_passed_over_under_another_name(tmp_path: Path) -> None:
    trainer = new_trainer(tmp_path, model=TinyModel(dropout=0.5), callbacks=[Loss(split="train", name="evaluated")])
    trainer.train()
    expected = mean_squared_error(trainer.model, tiny_loader())
    assert trainer.epoch_scores["train/evaluated"].loc[2] == pytest.approx(expected, rel=1e-6)


def test_two_of_them_work_side_by_side(tmp_path: Path) -> None:
    callbacks = [Loss(), Loss(split="train", name="evaluated"), Loss(name="again")]
    trainer = new_trainer(tmp_path, callbacks=callbacks)
    trainer.train()
    scores = trainer.epoch_scores
    assert set(scores.columns) == {"train/loss", "train/evaluated", "validation/loss", "validation/again"}
    assert (scores["validation/again"] == scores["validation/loss"]).all()


def test_entries_that_are_no_tensors_are_passed_by_when_samples_are_counted() -> None:
    callback = Loss()
    for size, loss in ((3, 1.0), (1, 5.0)):
        batch: Any = {"names": ["a"] * 9, "scale": torch.tensor(2.0), "features": torch.zeros(size, 2)}
        callback.update(batch, {"loss": torch.tensor(loss)})
    assert callback.compute() == pytest.approx(2.0)


def test_reset_forgets_the_validation_before() -> None:
    callback = Loss()
    batch: Any = {"features": torch.zeros(4, 2)}
    callback.update(batch, {"loss": torch.tensor(100.0)})
    callback.reset()
    callback.update(batch, {"loss": torch.tensor(1.0)})
    assert callback.compute() == 1.0


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"prediction": torch.zeros(1)}, "needs a 'loss' from the model in evaluation mode, which returned prediction"),
        ({}, "which returned nothing"),
        ({"loss": torch.zeros(4)}, re.escape("got a tensor of shape (4,) as the model's 'loss'")),
        ({"loss": 0.5}, "got float as the model's 'loss'"),
    ],
)
def test_a_missing_loss_is_told_with_callback_and_split(output: dict[str, Any], message: str, tmp_path: Path) -> None:
    trainer = new_trainer(tmp_path, model=OutputWithout(**output), callbacks=["loss"])
    with pytest.raises(MissingLossError, match=f"The callback 'loss' of the validation split.*{message}"):
        trainer.train()


def test_a_batch_without_samples_to_count_is_told() -> None:
    with pytest.raises(UsageError, match="no tensor with one: it holds names"):
        Loss().update({"names": ["a"]}, {"loss": torch.tensor(1.0)})  # type: ignore[typeddict-unknown-key]


def test_a_loader_without_batches_is_told() -> None:
    with pytest.raises(UsageError, match="loader of the validation split gave no batch"):
        Loss().compute()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "test"}, "works on the train or the validation split, not on 'test'"),
        ({"split": "train"}, "the trainer's own loss.*'evaluation_loss'"),
        ({"name": ""}, "needs a name"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Loss(**options)


def test_parameters_are_taken_from_a_configuration() -> None:
    parameters = validated_parameters(
        Loss, {"split": "train", "name": "evaluated"}, source="test", section="callbacks.loss"
    )
    assert Loss(**parameters).name == "evaluated"
