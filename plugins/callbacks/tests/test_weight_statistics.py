from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from artifact_torch_callbacks import WeightStatistics
from matplotlib import pyplot
from torch import Tensor, nn

from artifact_torch import Callback, Model, Trainer, UsageError, hookimpl
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters
from artifact_torch.testing import TinyInput, TinyModel, TinyOutput

MakeTrainer = Callable[..., Trainer]


class Layers(Model[TinyInput, TinyOutput]):
    """Two linear layers of one shape, and a frozen one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
        self.frozen = nn.Linear(3, 1).requires_grad_(False)

    def config(self) -> dict[str, Any]:
        return {}

    def forward(self, batch: TinyInput) -> TinyOutput:
        prediction = self.frozen(self.body(batch["features"]))
        return {"prediction": prediction, "loss": nn.functional.mse_loss(prediction, batch["target"])}


class WeightsOfEpochs(Callback):
    """Keeps the parameters at the end of each epoch."""

    def __init__(self) -> None:
        self.weights: list[dict[str, np.ndarray]] = []

    @hookimpl
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        parameters = trainer.model.named_parameters()
        self.weights.append({path: each.detach().double().numpy().copy() for path, each in parameters})


def of_epoch(trainer: Trainer, epoch: int, path: str) -> dict[str, float]:
    """Statistic -> number of a parameter at the end of an epoch, as recorded."""
    row = trainer.epoch_scores.loc[epoch]
    return {what: row[f"train/weights/{what}/{path}"] for what in ("mean", "std", "norm", "zeros")}


def expected(weights: np.ndarray) -> dict[str, Any]:
    numbers = {
        "mean": weights.mean(),
        "std": weights.std(),
        "norm": np.linalg.norm(weights.ravel()),
        "zeros": (weights == 0).mean(),
    }
    return {what: pytest.approx(number, rel=1e-5, abs=1e-7, nan_ok=True) for what, number in numbers.items()}


def test_it_is_found_by_name_and_describes_each_parameter_as_numpy_does(make_trainer: MakeTrainer) -> None:
    assert components.get("callbacks", "weight_statistics") is WeightStatistics
    reference = WeightsOfEpochs()
    trainer = make_trainer(Layers(), callbacks=["weight_statistics", reference])
    trainer.train()
    for epoch, weights in enumerate(reference.weights, start=1):
        assert set(weights) == {
            f"{layer}.{each}" for layer in ("body.0", "body.2", "frozen") for each in ("weight", "bias")
        }
        for path, array in weights.items():
            assert of_epoch(trainer, epoch, path) == expected(array)
    assert trainer.batch_metrics.empty
    assert not (trainer.run.path / "artifacts").exists()


def test_layers_of_one_class_and_shape_are_told_apart(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(Layers(), callbacks=[WeightStatistics()])
    trainer.train()
    scores = trainer.epoch_scores
    assert (scores["train/weights/mean/body.0.weight"] != scores["train/weights/mean/body.2.weight"]).all()


@pytest.mark.parametrize(
    "values",
    [
        torch.tensor([0.0, 0.0, 1.0, -3.0]),
        torch.tensor([0.0, math.nan]),
        torch.tensor([1.0, math.inf]),
        torch.tensor(2.5),
        torch.zeros(2, 3),
        torch.arange(6.0).bfloat16(),
        torch.tensor([60000.0, -60000.0], dtype=torch.float16),
        torch.tensor([1e10, 3e-10], dtype=torch.float64),
        torch.tensor([0, 1, 7], dtype=torch.int64),
    ],
    ids=str,
)
def test_parameters_of_all_kinds_are_described(make_trainer: MakeTrainer, values: Tensor) -> None:
    model = TinyModel()
    model.register_parameter("given", nn.Parameter(values, requires_grad=False))
    trainer = make_trainer(model, callbacks=[WeightStatistics()])
    found = WeightStatistics().log_epoch_metrics(trainer)
    with np.errstate(invalid="ignore"):
        wanted = expected(values.double().numpy())
    assert {what: found[f"weights/{what}/given"] for what in wanted} == wanted


def test_complex_parameters_are_described_by_their_parts(make_trainer: MakeTrainer) -> None:
    model = TinyModel()
    model.register_parameter("given", nn.Parameter(torch.tensor([1 + 2j, 0 - 4j])))
    found = WeightStatistics().log_epoch_metrics(make_trainer(model))
    assert {what: found[f"weights/{what}/given"] for what in ("mean", "std", "norm", "zeros")} == expected(
        np.array([1.0, 2.0, 0.0, -4.0])
    )


def test_a_parameter_without_numbers_is_left_out(make_trainer: MakeTrainer) -> None:
    model = TinyModel()
    model.register_parameter("empty", nn.Parameter(torch.zeros(0, 3)))
    trainer = make_trainer(model, callbacks=[WeightStatistics(plot=True)], epochs=1)
    trainer.train()
    assert not [name for name in trainer.epoch_scores if "empty" in name]


def test_a_parameter_that_modules_share_is_there_once(make_trainer: MakeTrainer) -> None:
    model = Layers()
    model.body[2].weight = model.body[0].weight
    trainer = make_trainer(model, callbacks=[WeightStatistics()])
    trainer.train()
    assert "train/weights/norm/body.0.weight" in trainer.epoch_scores
    assert "train/weights/norm/body.2.weight" not in trainer.epoch_scores


@pytest.mark.parametrize("period", [2, "2 epochs"])
def test_other_epochs_are_left_out(make_trainer: MakeTrainer, period: int | str) -> None:
    trainer = make_trainer(Layers(), callbacks=[WeightStatistics(period=period, plot=True)], epochs=5)
    trainer.train()
    recorded = trainer.epoch_scores["train/weights/norm/body.0.weight"].notna()
    assert recorded[recorded].index.tolist() == [2, 4]
    drawn = sorted(path.name for path in (trainer.run.path / "artifacts" / "plot").rglob("*.png"))
    assert drawn == ["epoch-2-step-8-train.png", "epoch-4-step-16-train.png"]
    assert pyplot.get_fignums() == []


def test_a_resumed_training_records_the_same(make_trainer: MakeTrainer) -> None:
    class SaveInEpoch(Callback):
        @hookimpl
        def execute_batch_postprocessing(self, trainer: Trainer) -> None:
            if trainer.state.step == 6:
                self.checkpoint = trainer.save_checkpoint()

    saving = SaveInEpoch()
    whole = make_trainer(Layers(), callbacks=[WeightStatistics(), saving], epochs=3)
    whole.train()
    resumed = make_trainer(Layers(), callbacks=[WeightStatistics()], epochs=3)
    resumed.load_checkpoint(saving.checkpoint)
    resumed.train()
    assert resumed.epoch_scores.equals(whole.epoch_scores)


def test_training_is_the_same_with_it(make_trainer: MakeTrainer) -> None:
    with_it = make_trainer(TinyModel(dropout=0.5), callbacks=[WeightStatistics(plot=True)])
    without = make_trainer(TinyModel(dropout=0.5))
    for trainer in (with_it, without):
        trainer.train()
    assert all(map(torch.equal, with_it.model.parameters(), without.model.parameters()))
    assert with_it.epoch_scores["train/loss"].equals(without.epoch_scores["train/loss"])


def test_it_works_in_a_rehearsal(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(Layers(), callbacks=[WeightStatistics()], fast_dev_run=True)
    trainer.train()
    assert trainer.epoch_scores["train/weights/zeros/body.0.weight"].tolist() == [0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"period": "10 steps"}, "at the end of epochs, not every 10 steps: use epochs"),
        ({"period": "10 minutes"}, "at the end of epochs, not every 600 seconds: use epochs"),
        ({"period": 0}, "at least 1 epoch"),
        ({"name": ""}, "needs a name"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        WeightStatistics(**options)


def test_a_plot_without_matplotlib_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match="WeightStatistics draws with matplotlib, which is not installed: `pip"):
        WeightStatistics(plot=True)
    assert not WeightStatistics().plot


def test_parameters_are_taken_from_a_configuration() -> None:
    given = {"period": 5, "plot": True, "name": "parameters"}
    parameters = validated_parameters(WeightStatistics, given, source="test", section="callbacks.weight_statistics")
    assert WeightStatistics(**parameters).period.number == 5
