"""The rate that is found is the one that is trained with, and nothing else is changed by the search."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from artifact_torch_callbacks import EMA, BatchSizeFinder, LearningRateFinder
from torch import Tensor, nn
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from artifact_torch import Callback, InMemoryDataLoader, Model, Trainer, UsageError, find_learning_rate, hookimpl
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters
from artifact_torch.testing import TinyModel

MakeTrainer = Callable[..., Trainer]
EPOCHS, BATCHES = 2, 7
FEATURES = torch.randn(26, 4, generator=torch.Generator().manual_seed(5))


class Net(Model):
    """Everything that a step changes: weights, statistics, a buffer that is replaced, a counter, random numbers."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2))
            self.head = nn.Linear(8, 4)
        self.register_buffer("last", torch.zeros(()))
        self.calls = 0

    def forward(self, batch: Any) -> Any:
        self.calls += 1
        self.last = batch["features"].mean()
        output = self.head(self.body(batch["features"]))
        return {"output": output, "loss": (output - batch["features"]).square().mean()}


class Constant(TinyModel):
    """Learns nothing."""

    def forward(self, batch: Any) -> Any:
        output = super().forward(batch)
        return {**output, "loss": 0.0 * output["loss"] + 1.0}


def loader() -> InMemoryDataLoader[Any]:
    batches: Any = {"features": FEATURES}
    return InMemoryDataLoader(batches, batch_size=4, shuffle=True)


def adam(model: Any, rate: float = 1e-3) -> torch.optim.Optimizer:
    groups = [{"params": model.body.parameters(), "lr": rate / 10}, {"params": model.head.parameters(), "lr": rate}]
    return torch.optim.Adam(groups)


def trainer_of(make_trainer: MakeTrainer, *callbacks: Callback | str, rate: float = 1e-3, **options: Any) -> Trainer:
    model = Net()
    return make_trainer(model, loader(), epochs=EPOCHS, callbacks=callbacks, optimizer=adam(model, rate), **options)


def finder(**options: Any) -> LearningRateFinder:
    return LearningRateFinder(**{"lowest": 1e-5, "steps": 30, **options})


class Rates(Callback):
    """The learning rates of each step."""

    def __init__(self) -> None:
        self.seen: list[list[float]] = []

    @hookimpl
    def on_before_optimizer_step(self, trainer: Trainer) -> None:
        self.seen.append([float(group["lr"]) for group in trainer.optimizer.param_groups])


class Saving(Callback):
    """Saves a checkpoint after each batch, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: list[Path] = []

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        self.paths.append(trainer.save_checkpoint(self.folder / str(len(self.paths))))


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same(one: Trainer, other: Trainer) -> None:
    ours, theirs = copied(one.model), copied(other.model)
    assert [name for name, tensor in ours.items() if not torch.equal(tensor, theirs[name])] == []


def test_training_is_that_with_the_rate_that_is_found_and_else_as_without_a_search(make_trainer: MakeTrainer) -> None:
    expected = find_learning_rate(trainer_of(make_trainer), lowest=1e-5, steps=30).suggestion
    assert expected is not None
    trainer = trainer_of(make_trainer, EMA(decay=0.5), finder(), accumulate=2)
    found_with_accumulation = find_learning_rate(trainer_of(make_trainer, accumulate=2), lowest=1e-5, steps=30)
    trainer.train()
    record = trainer.run.record["learning_rate_finder"]
    assert record["found"] == found_with_accumulation.suggestion
    for accumulate, rate in ((1, expected), (2, record["found"])):
        searched = trainer_of(make_trainer, EMA(decay=0.5), finder(), accumulate=accumulate)
        without = trainer_of(make_trainer, EMA(decay=0.5), rate=rate, accumulate=accumulate)
        searched.train()
        without.train()
        assert_same(searched, without)
        with searched.evaluating(), without.evaluating():  # nor has an average taken the steps of the search
            assert_same(searched, without)
        assert searched.model.calls == EPOCHS * BATCHES
        assert searched.metrics.history("train/loss") == without.metrics.history("train/loss")


def test_the_rate_and_the_curve_are_in_the_record_and_in_the_log(
    make_trainer: MakeTrainer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "artifact_torch")
    trainer = trainer_of(make_trainer, finder())
    trainer.train()
    record = trainer.run.record["learning_rate_finder"]
    assert (record["before"], record["lowest"], record["highest"]) == (1e-3, 1e-5, 1.0)
    curve = pd.read_csv(trainer.run.path / "learning_rates.csv")
    assert list(curve.columns) == ["learning_rate", "loss"]
    assert len(curve) == record["steps"]
    assert record["found"] == pytest.approx(
        curve["learning_rate"][(curve["learning_rate"] - record["found"]).abs().idxmin()]
    )
    assert (
        f"The learning rate is {record['found']:.3g} now, and was 0.001: the loss falls fastest there." in caplog.text
    )


SCHEDULES: dict[str, Any] = {
    "one cycle": lambda optimizer, _, rate: OneCycleLR(optimizer, [rate / 10, rate], EPOCHS * BATCHES),
    "from zero": lambda optimizer, *_: LambdaLR(optimizer, lambda step: step / 10),
    "falling": lambda optimizer, *_: ExponentialLR(optimizer, 0.9),
    "in steps": lambda optimizer, *_: StepLR(optimizer, 3, 0.5),
    "cosine": lambda optimizer, *_: CosineAnnealingLR(optimizer, EPOCHS * BATCHES),
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_a_schedule_goes_on_from_the_rate_that_is_found(make_trainer: MakeTrainer, schedule: Any) -> None:
    def options(rate: float) -> dict[str, Any]:
        return {"scheduler": lambda *given: schedule(*given, rate), "scheduler_interval": "step"}

    searched, rates = Rates(), Rates()
    trainer = trainer_of(make_trainer, searched, finder(), **options(1e-3))
    trainer.train()
    found = trainer.run.record["learning_rate_finder"]["found"]
    assert found != pytest.approx(1e-3)
    trainer_of(make_trainer, rates, rate=found, **options(found)).train()
    for ours, theirs in zip(searched.seen, rates.seen, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9)
    assert len({tuple(each) for each in rates.seen}) > 1


def test_a_schedule_on_a_metric_goes_on_from_the_rate_that_is_found(make_trainer: MakeTrainer) -> None:
    rates = Rates()
    trainer = trainer_of(
        make_trainer,
        rates,
        finder(),
        scheduler=lambda optimizer, _: ReduceLROnPlateau(optimizer, mode="max", patience=0),
        scheduler_metric="train/loss",
    )
    trainer.train(epochs=3)
    found = trainer.run.record["learning_rate_finder"]["found"]
    assert rates.seen[0] == pytest.approx([found / 10, found])
    assert trainer.optimizer.param_groups[1]["lr"] <= found / 10


def test_a_rate_in_a_tensor_is_set_in_place(make_trainer: MakeTrainer) -> None:
    model = TinyModel()
    rate = torch.tensor(0.01)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, foreach=False)
    trainer = make_trainer(model, optimizer=optimizer, callbacks=[finder()])
    trainer.train()
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(trainer.run.record["learning_rate_finder"]["found"])


def test_a_training_that_is_resumed_does_not_look_again_and_ends_the_same(
    make_trainer: MakeTrainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saving = Saving(tmp_path)
    options: dict[str, Any] = {
        "accumulate": 2,
        "scheduler": lambda optimizer, steps: OneCycleLR(optimizer, [1e-4, 1e-3], steps),
        "scheduler_interval": "step",
    }
    whole = trainer_of(make_trainer, finder(), saving, **options)
    whole.train()
    caplog.clear()
    caplog.set_level(logging.INFO, "artifact_torch")
    for path in saving.paths[::4]:  # the first one is saved before the first step
        resumed = trainer_of(make_trainer, finder(), **options)
        resumed.load_checkpoint(path)
        resumed.train()
        assert_same(resumed, whole)
    assert "Looking for" not in caplog.text


def test_a_loss_that_falls_with_no_rate_is_a_warning(
    make_trainer: MakeTrainer, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(Constant(), callbacks=[finder()])
    trainer.train()
    assert "LearningRateFinder: the loss fell with no learning rate, and it stays at 0.001." in caplog.text
    assert trainer.optimizer.param_groups[0]["lr"] == 1e-3
    assert trainer.run.record["learning_rate_finder"]["found"] is None


def test_a_batch_size_is_looked_for_before(make_trainer: MakeTrainer, caplog: pytest.LogCaptureFixture) -> None:
    assert components.get("callbacks", "learning_rate_finder") is LearningRateFinder
    caplog.set_level(logging.INFO, "artifact_torch")
    callbacks = ["learning_rate_finder", BatchSizeFinder(lowest=2, highest=8, steps=1)]
    trainer = trainer_of(make_trainer, *callbacks)
    trainer.train()
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Looking for")]
    assert said == ["Looking for a batch size from 2 on.", "Looking for a learning rate between 1e-07 and 1."]


def test_a_search_that_fails_leaves_everything_as_it_was(make_trainer: MakeTrainer) -> None:
    class Failing(Net):
        def forward(self, batch: Any) -> Any:
            if self.calls == 20:
                raise RuntimeError("no more")
            return super().forward(batch)

    model = Failing()
    before = copied(model)
    trainer = make_trainer(model, loader(), callbacks=[finder()], optimizer=adam(model))
    with pytest.raises(RuntimeError, match="no more"):
        trainer.train()
    assert [name for name, tensor in copied(model).items() if not torch.equal(tensor, before[name])] == []
    assert model.calls == 0
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [1e-4, 1e-3]


@pytest.mark.parametrize(
    ("rate", "scheduler", "message"),
    [
        (
            1e-3,
            lambda optimizer, _: SequentialLR(optimizer, [ConstantLR(optimizer), StepLR(optimizer, 2)], [3]),
            "A SequentialLR cannot be put in proportion",
        ),
        (0.0, None, "A learning rate of 0 cannot be put in proportion"),
    ],
)
def test_a_schedule_that_cannot_take_another_rate_is_refused(
    make_trainer: MakeTrainer, rate: float, scheduler: Any, message: str
) -> None:
    trainer = trainer_of(make_trainer, finder(), rate=rate, scheduler=scheduler)
    with pytest.raises(UsageError, match=message):
        trainer.train()
    assert trainer.state.step == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lowest": 0.0}, "rise from above 0, not from 0.0 to 1.0"),
        ({"lowest": 0.1, "highest": 0.01}, "not from 0.1 to 0.01"),
        ({"highest": float("inf")}, "not from 1e-07 to inf"),
        ({"steps": 19}, "at least 20, not 19"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LearningRateFinder(**options)


def test_parameters_are_taken_from_a_configuration() -> None:
    parameters = {"lowest": 1e-4, "highest": 0.5, "steps": 40}
    section = "callbacks.learning_rate_finder"
    callback = LearningRateFinder(
        **validated_parameters(LearningRateFinder, parameters, source="test", section=section)
    )
    assert (callback.lowest, callback.highest, callback.steps) == (1e-4, 0.5, 40)
