"""Stoppers end training with a reason."""

from __future__ import annotations

import pytest

from artifact_torch import EarlyStopper, PluginError, registry


class After(EarlyStopper):
    def __init__(self, epochs=2):
        self.epochs = epochs
        self.asked = []

    def check(self, trainer):
        self.asked.append((trainer.state.epochs_completed, trainer.latest_score("train/loss")))
        return f"{self.epochs} epochs are enough" if trainer.state.epochs_completed >= self.epochs else None


def test_a_stopper_ends_training_and_its_reason_is_the_result(make_trainer):
    trainer = make_trainer(epochs=10, stoppers=[After(3)])
    result = trainer.train()
    assert (result.epochs, result.reason) == (3, "After: 3 epochs are enough")
    assert trainer.run.record["reason"] == "After: 3 epochs are enough"
    assert trainer.run.record["status"] == "finished"


def test_a_stopper_is_asked_once_after_each_epoch_with_its_scores(make_trainer):
    stopper = After(3)
    trainer = make_trainer(epochs=10, stoppers=[stopper])
    trainer.train()
    losses = trainer.epoch_scores["train/loss"]
    assert stopper.asked == [(1, losses[1]), (2, losses[2]), (3, losses[3])]


def test_a_stopper_can_be_chosen_by_name(make_trainer):
    registry.add("stoppers", "test_stopper_after", After)
    assert make_trainer(epochs=10, stoppers=["test_stopper_after"]).train().epochs == 2


def test_a_stopper_writes_its_check():
    class Silent(EarlyStopper):
        pass

    with pytest.raises(TypeError, match="check"):
        Silent()


def test_what_is_not_a_stopper_is_not_registered_as_one():
    with pytest.raises(PluginError, match=r"not a subclass of artifact_torch.core.stopper.EarlyStopper"):
        registry.add("stoppers", "integer", int)
