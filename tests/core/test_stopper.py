"""Stoppers end training with a reason."""

from __future__ import annotations

import pytest

from artifact_torch import EarlyStopper, PluginError, StepStopper, hookimpl, registry


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


# Combinations.


class Epochs(After):
    """After, under a shorter name."""


class Steps(StepStopper):
    def __init__(self, steps):
        self.steps = steps

    def check(self, trainer):
        return f"{trainer.state.step} steps" if trainer.state.step >= self.steps else None


@pytest.mark.parametrize(
    ("stopper", "steps", "reason"),
    [
        (Epochs(2) | After(3), 8, "Epochs | After: Epochs: 2 epochs are enough"),
        (Epochs(3) | After(3), 12, "Epochs | After: Epochs: 3 epochs are enough; After: 3 epochs are enough"),
        (Epochs(2) & After(3), 12, "Epochs & After: Epochs: 2 epochs are enough and After: 3 epochs are enough"),
        (After(2) & ~~Epochs(4), 16, None),
        (
            After(2) & ~Epochs(4),
            8,
            "After & ~Epochs: After: 2 epochs are enough and ~Epochs: Epochs has no reason to stop",
        ),
        (Epochs(1) | After(2) | Epochs(3), 4, "Epochs | After | Epochs: Epochs: 1 epochs are enough"),
        ((Epochs(1) | After(3)) & After(2), 8, None),
        (Steps(6) | After(3), 6, "Steps | After: Steps: 6 steps"),
        (Steps(6) & After(1), 6, "Steps & After: Steps: 6 steps and After: 1 epochs are enough"),
        (Steps(2) & After(1), 4, None),
        (~~Steps(3), 3, None),
    ],
)
def test_stoppers_are_combined(make_trainer, stopper, steps, reason):
    result = make_trainer(epochs=10, stoppers=[stopper]).train()
    assert result.steps == steps
    if reason is not None:
        assert result.reason == reason


def test_a_combination_is_asked_within_epochs_only_if_a_member_is(make_trainer):
    plain, of_steps = make_trainer(stoppers=[After() | After(3)]), make_trainer(stoppers=[After() & Steps(3)])
    assert not plain.hooks.implementations("should_stop_in_epoch")
    assert of_steps.hooks.implementations("should_stop_in_epoch")


def test_a_stopper_of_steps_ends_an_epoch_where_it_stands(make_trainer):
    trainer = make_trainer(epochs=10, stoppers=[Steps(6)])
    assert trainer.train().reason == "Steps: 6 steps"
    assert trainer.run.record["status"] == "stopped"
    assert len(trainer.run.checkpoints.paths()) == 1


def test_the_other_hooks_of_a_combinations_members_are_called(make_trainer):
    class Watching(After):
        """Has a state of its own."""

        @hookimpl
        def on_train_start(self):
            self.started = True

        @hookimpl
        def on_save_checkpoint(self):
            return {"asked": len(self.asked)}

        @hookimpl
        def on_load_checkpoint(self, state):
            self.loaded = state

    first, second = Watching(2), Watching(3)
    trainer = make_trainer(epochs=10, stoppers=[first & (second | first)])
    trainer.train()
    assert first.started
    assert second.started
    assert len(first.asked) == 3  # by the combinations, in the second epoch by both, and not by itself
    trainer.load_checkpoint(trainer.save_checkpoint())
    assert second.loaded == {"asked": 1}


def test_a_stopper_of_steps_at_the_end_of_an_epoch_completes_it(make_trainer):
    trainer = make_trainer(epochs=10, stoppers=[Steps(8)])
    result = trainer.train()
    assert (result.steps, result.epochs, trainer.run.record["status"]) == (8, 2, "stopped")
    assert len(trainer.run.checkpoints.paths()) == 1
    assert trainer.epoch_scores["train/loss"].notna().all()


def test_a_stopper_of_steps_at_the_end_of_the_last_epoch_has_nothing_to_stop(make_trainer):
    trainer = make_trainer(epochs=2, stoppers=[Steps(8)])
    assert trainer.train().reason == "all 2 epochs are done"
    assert trainer.run.record["status"] == "finished"
