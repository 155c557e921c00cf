"""What a plugin changes behind the back of the training is put back and told, once, unless it says that it does so."""

from __future__ import annotations

import sys

import pytest
import torch

from artifact_torch import ValidationRoutine, hookimpl
from artifact_torch.testing import tiny_loader

DOING = """
import random
import numpy as np
import torch
from artifact_torch import hookimpl
{declared}
generator, seen = torch.Generator(), []

@hookimpl
def {hook}({arguments}):
    {body}
"""

PUT_BACK = "which was put back. Put back what a hook changes, or declare changes_training = True."
DRAWN = (
    "so that training with it differs from training without it. Use a generator of its own, or declare "
    "changes_training = True."
)


def told(what, hook, consequence=PUT_BACK):
    return f"The plugin 'faulty' (acme-faulty 1.0) {what} in {hook}, {consequence}"


@pytest.fixture(autouse=True)
def _surroundings():
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)


@pytest.fixture
def manners(install_plugin, warned):
    """Trains with a plugin that does something in a hook, and gives the warnings."""

    def train(body, hook, *, arguments="trainer", declared="", **options):
        install_plugin(DOING.format(body=body, hook=hook, arguments=arguments, declared=declared))
        validation = ValidationRoutine(val_loader=tiny_loader())
        return warned(validation=validation, **{"epochs": 3, "callbacks": ["loss"], **options})

    return train


# Of a batch, of an epoch, and around the training.
HOOKS = [
    "on_train_start",
    "execute_epoch_preprocessing",
    "execute_batch_preprocessing",
    "on_before_optimizer_step",
    "log_batch_metrics",
    "execute_batch_postprocessing",
    "on_validation_end",
    "log_epoch_metrics",
    "execute_epoch_postprocessing",
    "should_stop",
    "on_train_end",
]

CHANGES = {
    "eval": ("trainer.model.eval()", "left the model in evaluation mode"),
    "part": ("trainer.model.layers[0].eval()", "left the model in evaluation mode"),
    "gradients": ("torch.set_grad_enabled(False)", "left gradients switched off"),
    "dtype": ("torch.set_default_dtype(torch.float64)", "changed torch's default dtype to torch.float64"),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(("body", "what"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_put_back_and_told_once(manners, hook, body, what):
    modes = []

    class Look:
        @hookimpl(tryfirst=True)
        def on_before_optimizer_step(self, trainer):
            dtype, gradients = torch.get_default_dtype(), torch.is_grad_enabled()
            modes.append((all(each.training for each in trainer.model.modules()), gradients, dtype))

    assert manners(body, hook, callbacks=["loss", Look()], log_every=4) == [told(what, hook)]
    assert modes == [(True, True, torch.float32)] * 12
    assert (torch.is_grad_enabled(), torch.get_default_dtype()) == (True, torch.float32)


@pytest.mark.parametrize(
    "hook", ["execute_epoch_preprocessing", "execute_epoch_postprocessing", "execute_batch_preprocessing"]
)
def test_a_change_in_a_late_epoch_is_seen_too(manners, hook):
    body = "if trainer.state.epoch == 5: trainer.model.eval()"
    assert manners(body, hook, epochs=6) == [told("left the model in evaluation mode", hook)]


@pytest.mark.parametrize("hook", ["on_validation_start", "execute_validation"])
def test_in_validation_it_is_training_mode_that_may_not_be_left(manners, hook):
    assert manners("trainer.model.train(); torch.set_grad_enabled(True)", hook) == [
        told("left the model in training mode", hook),
        told("left gradients switched on", hook),
    ]


def test_what_is_called_many_times_a_batch_is_watched_too(manners):
    change = told("left gradients switched off", "track_score")
    assert manners("torch.set_grad_enabled(False)", "track_score", arguments="", log_every=1) == [change]


DRAWS = {"python": "random.random()", "numpy": "np.random.rand()", "torch": "torch.rand(1)"}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize("hook", [*HOOKS, "track_score", "track_params", "track_file"])
def test_drawing_from_the_global_random_state_is_told_once(manners, hook, draw):
    assert manners(draw, hook, arguments="", log_every=4) == [told("drew from the global random state", hook, DRAWN)]


def test_seeding_the_global_random_state_is_told_like_drawing(manners):
    hook = "execute_epoch_preprocessing"
    assert manners("torch.manual_seed(7)", hook) == [told("drew from the global random state", hook, DRAWN)]


@pytest.mark.parametrize("hook", ["on_validation_start", "execute_validation"])
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_validation_may_draw_because_the_random_state_is_put_back(manners, hook, draw):
    assert manners(f"{draw}; return None", hook) == []


@pytest.mark.parametrize("hook", HOOKS)
def test_a_generator_of_its_own_is_no_reason_to_warn(manners, hook):
    body = "torch.rand(1, generator=generator); np.random.default_rng(0).random(); random.Random(0).random()"
    assert manners(f"{body}; return None", hook) == []


def test_what_is_put_back_in_the_hook_is_not_told(manners):
    body = "trainer.model.eval(); torch.set_grad_enabled(False); torch.set_grad_enabled(True); trainer.model.train()"
    assert manners(body, "execute_batch_postprocessing") == []


def test_several_changes_are_told_in_a_line_each(manners):
    hook = "execute_epoch_preprocessing"
    changes = [*CHANGES.values(), ("torch.rand(1)", "")]
    assert manners("; ".join(body for body, _ in changes), hook) == [
        told("left the model in evaluation mode", hook),
        told("left gradients switched off", hook),
        told("changed torch's default dtype to torch.float64", hook),
        told("drew from the global random state", hook, DRAWN),
    ]


@pytest.mark.parametrize("hook", ["execute_epoch_preprocessing", "execute_batch_postprocessing"])
def test_a_plugin_that_says_so_may_change_modes_and_draw(manners, hook):
    body = "seen.append(trainer.model.training); trainer.model.eval(); torch.rand(1)"
    assert manners(body, hook, declared="changes_training = True") == []
    first, *later = sys.modules["acme_faulty"].seen
    assert first
    assert not any(later)


def test_a_change_is_put_back_even_if_the_hook_fails(install_plugin, make_trainer):
    body = "torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False); raise ValueError('broken')"
    hook = "execute_batch_preprocessing"
    install_plugin(DOING.format(body=body, hook=hook, arguments="", declared=""))
    trainer = make_trainer(use_installed_plugins=True)
    with pytest.raises(ValueError, match="broken"):
        trainer.train()
    assert (torch.is_grad_enabled(), torch.get_default_dtype()) == (True, torch.float32)
    assert trainer.plugins.warnings == [
        told("left gradients switched off", hook),
        told("changed torch's default dtype to torch.float64", hook),
    ]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_well_behaved_plugin_changes_nothing_in_what_is_learnt(install_plugin, make_trainer, hook):
    alone = make_trainer()
    alone.train()
    install_plugin(DOING.format(body="return None", hook=hook, arguments="", declared=""))
    together = make_trainer(use_installed_plugins=True)
    together.train()
    assert together.plugins.warnings == []
    assert together.epoch_scores.equals(alone.epoch_scores)
    assert all(map(torch.equal, together.model.parameters(), alone.model.parameters()))


FORGETFUL = "trainer.model.eval() if trainer.state.step in (2, 6) else None"


def test_evaluation_mode_that_a_later_batch_leaves_is_put_back_before_the_next(manners):
    assert manners(FORGETFUL, "execute_batch_postprocessing") == [
        "The model was left in evaluation mode between two batches, which was put back. It was one of the plugins "
        "'faulty' (acme-faulty 1.0), or what the trainer itself calls. Put back what a hook changes, or declare "
        "changes_training = True."
    ]


@pytest.mark.parametrize(
    ("declared", "after"), [("", [True, True, True, True]), ("changes_training = True", [True, True, False, False])]
)
def test_a_later_batch_trains_in_the_mode_that_is_meant(install_plugin, make_trainer, declared, after):
    hook, arguments = "execute_batch_postprocessing", "trainer"
    install_plugin(DOING.format(body=FORGETFUL, hook=hook, arguments=arguments, declared=declared))
    modes = []

    class Look:
        changes_training = declared != ""

        @hookimpl
        def on_before_optimizer_step(self, trainer):
            modes.append(trainer.model.training)

    make_trainer(epochs=1, callbacks=[Look()], use_installed_plugins=True).train()
    assert modes == after


def test_a_trainer_that_trains_in_evaluation_mode_itself_is_left_alone(install_plugin, make_trainer):
    install_plugin(DOING.format(body="pass", hook="execute_batch_postprocessing", arguments="", declared=""))
    trainer = make_trainer(epochs=1, use_installed_plugins=True)
    preprocessing = type(trainer)._execute_epoch_preprocessing

    class Frozen(type(trainer)):
        def _execute_epoch_preprocessing(self):
            preprocessing(self)
            self.model.eval()

    trainer.__class__ = Frozen
    trainer.train()
    assert trainer.plugins.warnings == []
