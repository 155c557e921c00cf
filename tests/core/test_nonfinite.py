"""Losses and gradients that are NaN or infinite: seen before the optimizer steps, by each policy."""

from __future__ import annotations

import math

import pytest
import torch
from torch.optim.lr_scheduler import StepLR

from artifact_torch import Callback, CheckpointError, DivergedError, hookimpl
from artifact_torch.core.nonfinite import NonFiniteGuard
from artifact_torch.testing import TinyModel

FIELDS = {torch.optim.Adam: {}, torch.optim.AdamW: {}, torch.optim.SGD: {"momentum": 0.9}}


class Breaking(TinyModel):
    """Gives a loss, or only a gradient, that is NaN, in some of its forward passes."""

    def __init__(self, what, batches):
        super().__init__(dropout=0.0)
        self.what = what
        self.batches = set(batches)
        self.passes = 0

    def forward(self, batch):
        self.passes += 1
        output = super().forward(batch)
        if self.passes in self.batches:
            if self.what == "loss":
                output["loss"] = output["loss"] * math.nan
            else:  # the derivative of a square root at 0 is infinite, times 0 is NaN
                output["loss"] = output["loss"] + torch.sqrt(0.0 * output["prediction"].square()).mean()
        return output


class States(Callback):
    """Keeps the parameters and the optimizer's state after each step."""

    def __init__(self):
        self.all = []

    @hookimpl
    def execute_batch_postprocessing(self, trainer):
        self.all.append(
            (
                [parameter.tolist() for parameter in trainer.model.parameters()],
                repr(trainer.optimizer.state_dict()["state"]),
            )
        )


def build(make_trainer, what, batches, *, deferred=False, optimizer=torch.optim.Adam, **options):
    model, states = Breaking(what, batches), States()
    fused = optimizer(model.parameters(), lr=0.1, fused=True, **FIELDS[optimizer])
    trainer = make_trainer(model, optimizer=fused, callbacks=[states], **options)
    if deferred:  # as on an accelerator; the fused optimizers of the CPU can leave a step out by themselves too
        guard = trainer.optimization.guard
        deferred_guard = NonFiniteGuard(guard.policy, guard.limit, deferred=True, diverged=trainer._diverged)
        deferred_guard.accepts_loss = lambda _: True  # on a device a loss is not known when it comes
        trainer.optimization.guard = deferred_guard
    return trainer, states


@pytest.mark.parametrize("what", ["loss", "gradient"])
@pytest.mark.parametrize("policy", ["stop", "raise"])
def test_the_step_is_not_made_and_training_ends(make_trainer, what, policy):
    trainer, states = build(make_trainer, what, [3], on_nonfinite=policy)
    with pytest.raises(DivergedError) as told:
        trainer.train()
    found = (
        "The training loss became nan" if what == "loss" else "The gradient of 'layers.1.weight' and of 1 more became"
    )
    assert str(told.value).startswith(found)
    assert "in epoch 1, step 3: lower the learning rate" in str(told.value)
    assert str(told.value).endswith("No checkpoint was saved before.")
    assert trainer.state.step == 2
    assert [parameter.tolist() for parameter in trainer.model.parameters()] == states.all[-1][0]
    assert trainer.run.record["status"] == "failed"
    assert not trainer.run.model_path.exists()


def test_the_last_good_checkpoint_is_named(make_trainer):
    trainer, _ = build(make_trainer, "loss", [6])
    path = None

    class Saving(Callback):
        @hookimpl
        def execute_epoch_postprocessing(self, trainer):
            nonlocal path
            path = trainer.save_checkpoint()

    trainer.plugins.register(Saving())
    with pytest.raises(DivergedError) as told:
        trainer.train()
    assert str(told.value).endswith(f"The last good checkpoint is {path}.")


@pytest.mark.parametrize("what", ["loss", "gradient"])
@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("optimizer", list(FIELDS))
def test_a_step_that_is_skipped_changes_nothing_and_is_counted(make_trainer, what, deferred, optimizer):
    trainer, states = build(
        make_trainer, what, [3, 6], deferred=deferred, optimizer=optimizer, on_nonfinite="skip", log_every=1
    )
    trainer.train()
    for number in (3, 6):
        assert states.all[number - 1] == states.all[number - 2]
    assert states.all[3] != states.all[2]
    assert trainer.optimization.guard.skipped == 2
    assert trainer.state.step == 8
    assert math.isfinite(trainer.epoch_scores["train/loss"].iloc[0])


@pytest.mark.parametrize("deferred", [False, True])
def test_too_many_skipped_in_a_row_end_training(make_trainer, deferred):
    trainer, _ = build(
        make_trainer, "gradient", range(2, 9), deferred=deferred, on_nonfinite="skip", skip_limit=3, log_every=1
    )
    with pytest.raises(DivergedError, match="4 steps in a row had a loss or a gradient that was NaN or infinite"):
        trainer.train()


@pytest.mark.parametrize("deferred", [False, True])
def test_skipped_now_and_then_they_do_not_add_up(make_trainer, deferred):
    trainer, _ = build(
        make_trainer, "gradient", [1, 3, 5, 7], deferred=deferred, on_nonfinite="skip", skip_limit=1, log_every=1
    )
    trainer.train()
    assert trainer.optimization.guard.skipped == 4


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_stays_on_the_device_ends_training_at_the_next_log(make_trainer, what):
    trainer, states = build(make_trainer, what, [3], deferred=True, log_every=4)
    with pytest.raises(DivergedError, match="became NaN or infinite in epoch 1, step 5"):
        trainer.train()
    assert states.all[2] == states.all[1]  # the step itself was left out
    assert all(bool(parameter.isfinite().all()) for parameter in trainer.model.parameters())


def test_what_stays_on_the_device_is_seen_before_a_checkpoint_is_written(make_trainer):
    trainer, _ = build(make_trainer, "gradient", [3], deferred=True, log_every=100)

    class Saving(Callback):
        @hookimpl
        def execute_batch_postprocessing(self, trainer):
            trainer.save_checkpoint()

    trainer.plugins.register(Saving())
    with pytest.raises(DivergedError):
        trainer.train()
    assert len(trainer.run.checkpoints.paths()) == 2


@pytest.mark.filterwarnings("error:Detected call of")
def test_a_schedule_of_steps_counts_a_first_step_that_is_skipped(make_trainer):
    trainer, _ = build(
        make_trainer,
        "loss",
        [1],
        on_nonfinite="skip",
        scheduler=lambda optimizer, _: StepLR(optimizer, 1, 0.5),
        scheduler_interval="step",
        epochs=1,
    )
    trainer.train()
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**4)


def test_counts_go_on_after_a_resume(make_trainer, tmp_path):
    trainer, _ = build(make_trainer, "gradient", [2, 3], on_nonfinite="skip")
    trainer.train()
    saved = trainer.save_checkpoint(tmp_path)
    resumed, _ = build(make_trainer, "gradient", [], on_nonfinite="skip")
    resumed.load_checkpoint(saved)
    assert resumed.optimization.guard.skipped == 2
    other, _ = build(make_trainer, "gradient", [])
    with pytest.raises(CheckpointError, match="on_nonfinite was skip and is stop"):
        other.load_checkpoint(saved)


def test_a_bad_batch_spoils_the_step_that_it_belongs_to_and_no_other(make_trainer):
    trainer, states = build(make_trainer, "loss", [2], on_nonfinite="skip", accumulate=2)
    trainer.train()
    assert states.all[1] == states.all[0]
    assert states.all[3] != states.all[2]
    assert trainer.optimization.guard.skipped == 1


@pytest.mark.parametrize("kind", ["complex", "sparse", "mixed"])
def test_gradients_of_every_kind_are_looked_at(kind):
    def diverged(what):
        return DivergedError(what)

    guard = NonFiniteGuard("skip", 5, deferred=False, diverged=diverged)
    good = {
        "complex": [torch.ones(2, dtype=torch.complex64)],
        "sparse": [torch.sparse_coo_tensor([[0]], [1.0], (3,), check_invariants=True), torch.ones(2)],
        "mixed": [torch.ones(2), torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.float64)],
    }[kind]
    assert guard.accepts_step(good, None, torch.nn.Linear(1, 1))
    bad = [*good[:-1], good[-1] * math.nan]
    assert not guard.accepts_step(bad, None, torch.nn.Linear(1, 1))
    assert guard.accepts_step(good, None, torch.nn.Linear(1, 1))
