from __future__ import annotations

from collections.abc import Callable

import pytest
from artifact_torch_stoppers import MaxSteps

from artifact_torch import Trainer, UsageError, registry

MakeTrainer = Callable[..., Trainer]


def test_is_found_by_name() -> None:
    assert registry.get("stoppers", "max_steps") is MaxSteps


@pytest.mark.parametrize("steps", [1, 3, 4, 6])  # of 4 in an epoch
def test_training_stops_after_so_many_steps(make_trainer: MakeTrainer, steps: int) -> None:
    trainer = make_trainer(epochs=10, stoppers=[MaxSteps(steps=steps)])
    result = trainer.train()
    assert result.steps == steps
    is_or_are = "step is" if steps == 1 else "steps are"
    assert result.reason == f"MaxSteps: {steps} {is_or_are} done (epoch {2 if steps > 4 else 1})"


def test_a_step_of_several_batches_is_one(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(epochs=10, stoppers=[MaxSteps(steps=3)], accumulate=2)
    assert trainer.train().steps == 3
    assert trainer.state.batch_in_epoch == 2


def test_the_bound_of_the_trainer_stays_in_force(make_trainer: MakeTrainer) -> None:
    assert make_trainer(epochs=2, stoppers=[MaxSteps(steps=100)]).train().reason == "all 2 epochs are done"


def test_steps_before_a_resume_count(make_trainer: MakeTrainer) -> None:
    first = make_trainer(epochs=10, stoppers=[MaxSteps(steps=6)])
    first.train()
    second = make_trainer(epochs=10, stoppers=[MaxSteps(steps=11)])
    second.load_checkpoint(first.run.checkpoints.paths()[-1])
    assert second.train().steps == 11
    assert second.state.epoch == 3


def test_a_training_at_its_bound_makes_no_further_step(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(epochs=10, stoppers=[MaxSteps(steps=6)])
    trainer.train()
    assert trainer.train().steps == 6


def test_a_dry_run_of_one_batch_ends_by_itself(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(stoppers=[MaxSteps(steps=5)], fast_dev_run=True)
    assert trainer.train().reason == "all 1 epochs are done"


@pytest.mark.parametrize("steps", [0, -1])
def test_a_bound_below_one_is_refused(steps: int) -> None:
    with pytest.raises(UsageError, match=rf"MaxSteps needs at least 1 step, not {steps}\."):
        MaxSteps(steps=steps)
