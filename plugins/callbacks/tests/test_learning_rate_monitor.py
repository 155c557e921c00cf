from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from artifact_torch_callbacks import LearningRateMonitor
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, OneCycleLR

from artifact_torch import Callback, Trainer, hookimpl
from artifact_torch import registry as components
from artifact_torch.testing import TinyModel

MakeTrainer = Callable[..., Trainer]


class RatesOfSteps(Callback):
    """Writes down the learning rate with which each step is made."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    @hookimpl
    def on_before_optimizer_step(self, trainer: Trainer) -> None:
        self.rates.append(trainer.optimizer.param_groups[0]["lr"])


def halving(optimizer: torch.optim.Optimizer, num_steps: int) -> LambdaLR:
    return LambdaLR(optimizer, lambda step: 0.5**step)


def two_groups(*names: str, **options: Any) -> tuple[TinyModel, torch.optim.Optimizer]:
    """A model, and an optimizer with a group for its weight and one for its bias."""
    model = TinyModel()
    groups: list[dict[str, Any]] = [
        {"params": [parameter], "lr": lr} for parameter, lr in zip(model.parameters(), (0.1, 0.2), strict=True)
    ]
    for group, name in zip(groups, names, strict=False):
        group["name"] = name
    return model, torch.optim.SGD(groups, **options)


def test_it_is_found_by_name_and_records_with_logged_batches_and_epochs(make_trainer: MakeTrainer) -> None:
    assert components.get("callbacks", "learning_rate_monitor") is LearningRateMonitor
    trainer = make_trainer(callbacks=["learning_rate_monitor"], log_every=2)
    trainer.train()
    assert trainer.batch_metrics["learning_rate"].to_dict() == {2: 0.001, 4: 0.001, 6: 0.001, 8: 0.001}
    assert trainer.epoch_scores["train/learning_rate"].to_dict() == {1: 0.001, 2: 0.001}


@pytest.mark.parametrize(("accumulate", "log_every"), [(1, 1), (1, 3), (2, 1), (3, 1)])
def test_the_rate_of_a_batch_is_the_one_with_which_its_step_was_made(
    make_trainer: MakeTrainer, accumulate: int, log_every: int
) -> None:
    reference = RatesOfSteps()
    trainer = make_trainer(
        callbacks=[LearningRateMonitor(), reference],
        scheduler=halving,
        scheduler_interval="step",
        accumulate=accumulate,
        log_every=log_every,
    )
    trainer.train()
    assert reference.rates[:3] == [0.001, 0.0005, 0.00025]
    assert trainer.batch_metrics["learning_rate"].tolist() == reference.rates[log_every - 1 :: log_every]


def test_the_rate_of_an_epoch_is_the_one_before_the_scheduler_of_epochs_moves_on(make_trainer: MakeTrainer) -> None:
    model = TinyModel()
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = ExponentialLR(optimizer, 0.1)
    trainer = make_trainer(model, optimizer=optimizer, scheduler=scheduler, callbacks=[LearningRateMonitor()], epochs=3)
    trainer.train()
    assert trainer.epoch_scores["train/learning_rate"].tolist() == pytest.approx([1e-3, 1e-4, 1e-5])


def test_what_another_callback_sets_for_a_step_is_seen(make_trainer: MakeTrainer) -> None:
    class WarmUp(Callback):
        changes_training = True

        @hookimpl
        def on_before_optimizer_step(self, trainer: Trainer) -> None:
            trainer.optimizer.param_groups[0]["lr"] = 0.01 * (trainer.state.step + 1)

    trainer = make_trainer(callbacks=[LearningRateMonitor(), WarmUp()], log_every=1, epochs=1)
    trainer.train()
    assert trainer.batch_metrics["learning_rate"].tolist() == [0.01, 0.02, 0.03, 0.04]


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        ((), ["/0", "/1"]),
        (("weights", "biases"), ["/weights", "/biases"]),
        (("weights",), ["/weights", "/1"]),
        (("all", "all"), ["/all-0", "/all-1"]),
    ],
)
def test_groups_have_a_column_each(make_trainer: MakeTrainer, names: tuple[str, ...], columns: list[str]) -> None:
    model, optimizer = two_groups(*names)
    trainer = make_trainer(model, optimizer=optimizer, callbacks=[LearningRateMonitor()], log_every=4)
    trainer.train()
    found = trainer.batch_metrics.loc[4].to_dict()
    assert found.pop("loss") > 0
    assert found == {f"learning_rate{columns[0]}": 0.1, f"learning_rate{columns[1]}": 0.2}
    assert {f"train/{name}" for name in found} < set(trainer.epoch_scores)


def test_one_group_has_one_column_whatever_its_name(make_trainer: MakeTrainer) -> None:
    model = TinyModel()
    optimizer = torch.optim.SGD([{"params": model.parameters(), "name": "all"}], lr=0.1)
    trainer = make_trainer(model, optimizer=optimizer, callbacks=[LearningRateMonitor()])
    trainer.train()
    assert list(trainer.epoch_scores) == ["train/loss", "train/learning_rate"]


def test_a_group_that_is_added_in_training_is_seen(make_trainer: MakeTrainer) -> None:
    model = TinyModel()

    class Thaw(Callback):
        changes_training = True

        @hookimpl
        def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
            if trainer.state.epoch == 1:
                trainer.optimizer.add_param_group({"params": [model.layers[1].bias], "lr": 0.5})

    optimizer = torch.optim.SGD([model.layers[1].weight], lr=0.1)
    trainer = make_trainer(model, optimizer=optimizer, callbacks=[LearningRateMonitor(), Thaw()])
    trainer.train()
    scores = trainer.epoch_scores
    assert scores.loc[1].dropna().to_dict() == {"train/loss": scores["train/loss"][1], "train/learning_rate": 0.1}
    assert (scores.loc[2, "train/learning_rate/0"], scores.loc[2, "train/learning_rate/1"]) == (0.1, 0.5)


@pytest.mark.parametrize(
    ("make_optimizer", "momentum", "weight_decay"),
    [
        (lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.8, weight_decay=0.01), 0.8, 0.01),
        (lambda parameters: torch.optim.AdamW(parameters, betas=(0.7, 0.9), weight_decay=0.02), 0.7, 0.02),
        (lambda parameters: torch.optim.Rprop(parameters), None, None),
    ],
    ids=["SGD", "AdamW", "Rprop"],
)
def test_momentum_and_weight_decay_are_recorded_where_there_are_any(
    make_trainer: MakeTrainer, make_optimizer: Any, momentum: float | None, weight_decay: float | None
) -> None:
    model = TinyModel()
    monitor = LearningRateMonitor(momentum=True, weight_decay=True)
    trainer = make_trainer(model, optimizer=make_optimizer(model.parameters()), callbacks=[monitor], log_every=1)
    trainer.train()
    for found, prefix in ((trainer.batch_metrics.loc[1], ""), (trainer.epoch_scores.loc[1], "train/")):
        assert found.get(f"{prefix}momentum") == momentum
        assert found.get(f"{prefix}weight_decay") == weight_decay
        assert f"{prefix}learning_rate" in found


def test_neither_is_recorded_without_being_asked_for(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[LearningRateMonitor()], log_every=1)
    trainer.train()
    assert list(trainer.batch_metrics) == ["loss", "learning_rate"]


def test_a_rate_that_is_a_tensor_is_read(make_trainer: MakeTrainer) -> None:
    model = TinyModel()
    optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.25))
    trainer = make_trainer(model, optimizer=optimizer, callbacks=[LearningRateMonitor()], log_every=4)
    trainer.train()
    assert trainer.batch_metrics["learning_rate"].tolist() == [0.25, 0.25]


def test_a_training_that_is_resumed_within_an_epoch_records_the_same(make_trainer: MakeTrainer) -> None:
    def trainer_of(*others: Callback) -> Trainer:
        return make_trainer(
            callbacks=[LearningRateMonitor(momentum=True), *others],
            scheduler=lambda optimizer, steps: OneCycleLR(optimizer, 0.1, total_steps=steps),
            scheduler_interval="step",
            log_every=1,
        )

    class SaveInStep(Callback):
        @hookimpl
        def execute_batch_postprocessing(self, trainer: Trainer) -> None:
            if trainer.state.step == 3:
                self.checkpoint = trainer.save_checkpoint()

    saving = SaveInStep()
    whole, resumed = trainer_of(saving), trainer_of()
    whole.train()
    resumed.load_checkpoint(saving.checkpoint)
    resumed.train()
    assert resumed.batch_metrics.equals(whole.batch_metrics)
    assert resumed.epoch_scores.equals(whole.epoch_scores)
    assert whole.batch_metrics["momentum"].nunique() > 3
