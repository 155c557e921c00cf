"""The checks of a plugin's contract that train: what fails is told with its place, and nothing is left behind."""

from __future__ import annotations

import logging
import os
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from artifact_torch.testing import ContractError, NotApplicable, NotJudged, checks_of, outcome_of, run_check


def reason(entry, check, error=ContractError, **options):
    with pytest.raises(error) as caught:
        run_check(entry, check, **options)
    assert type(caught.value) is error
    return str(caught.value)


def only_fails(entry, check, **options):
    """Why a check fails that no other one of this plugin fails with."""
    outcomes = {name: outcome_of(entry, name, **options) for name in checks_of(entry)}
    assert {name for name, outcome in outcomes.items() if outcome.outcome == "failed"} == {check}
    return outcomes[check].reason


COUNTING = """
class Part(Callback):
    changes_training = True

    def __init__(self) -> None:
        self.steps = 0

    @hookimpl
    def on_before_optimizer_step(self, trainer):
        self.steps += 1
        for parameter in trainer.model.parameters():
            parameter.grad += self.steps

    @hookimpl
    def on_save_checkpoint(self):
        return {save}

    @hookimpl
    def on_load_checkpoint(self, state):
        {load}
"""


def test_state_that_is_kept_and_restored_passes(entry_of):
    source = COUNTING.format(save="{'steps': self.steps}", load="self.steps = state['steps']")
    entry = entry_of("callbacks", source)
    run_check(entry, "state")
    assert reason(entry, "neutrality", NotApplicable) == "It declares changes_training = True."


@pytest.mark.parametrize(
    ("save", "load", "told"),
    [
        (
            "{'steps': self.steps}",
            "pass",
            "does not take back the state that it saved: steps was 8, and after loading is 0. Restore in",
        ),
        (
            "{'nested': [torch.tensor([self.steps, 2])]}",
            "pass",
            r"nested.0 was \[8, 2\], and after loading is \[0, 2\]",
        ),
        ("None", "pass", "goes on from a checkpoint otherwise than without a break: train/loss of epoch 3 is "),
        ("{'steps': {self.steps}}", "pass", "set is neither a tensor nor a plain value"),
        ("{'steps': self.steps}", "self.steps = state['step']", "failed in on_load_checkpoint.*KeyError: 'step'"),
    ],
)
def test_state_that_gets_lost_is_told(entry_of, save, load, told):
    entry = entry_of("callbacks", COUNTING.format(save=save, load=load))
    with pytest.raises(ContractError, match=told):
        run_check(entry, "state")


@pytest.mark.lengthy
def test_a_stopper_that_counts_for_itself_decides_otherwise_after_a_break(entry_of):
    source = """
class Part(EarlyStopper):
    def __init__(self) -> None:
        self.asked = 0

    def check(self, trainer):
        self.asked += 1
        return "asked three times" if self.asked == 3 else None
"""
    told = only_fails(entry_of("stoppers", source), "state")
    assert "the reason to stop is all 3 epochs are done, and without a break Part: asked three times" in told


@pytest.mark.lengthy
def test_what_a_module_still_has_of_an_earlier_training_does_not_pass_for_restored(entry_of, good):
    source = good["plugins"].replace("steps.update(state)", "pass")
    assert "does not take back the state that it saved: done was 8, and after loading" in only_fails(
        entry_of("plugins", source), "state"
    )


SLOW = """
class Part(Callback):
    @hookimpl
    def {hook}(self, trainer):
        {condition}time.sleep({seconds})
"""


@pytest.mark.lengthy
def test_a_hook_of_the_loop_over_its_budget_is_told_with_both_times(entry_of):
    source = SLOW.format(hook="execute_batch_preprocessing", condition="", seconds=0.004)
    entry = entry_of("callbacks", source)
    told = only_fails(entry, "time_budget")
    assert told.startswith("The callback 'part' takes ")
    assert " ms a call in execute_batch_preprocessing, and its budget is 1 ms" in told
    run_check(entry, "time_budget", time_budget=1.0)


@pytest.mark.parametrize(
    ("hook", "condition"),
    [("execute_epoch_postprocessing", ""), ("execute_batch_postprocessing", "if trainer.state.step == 1: ")],
)
def test_what_is_done_once_an_epoch_or_at_first_is_not_counted(entry_of, hook, condition):
    run_check(entry_of("callbacks", SLOW.format(hook=hook, condition=condition, seconds=0.1)), "time_budget")


ACTING = """
class Part(Callback):
    calls = 0

    @hookimpl
    def {hook}(self, trainer):
        self.calls += 1
        {act}
"""


@pytest.mark.parametrize(
    ("hook", "act", "told"),
    [
        (
            "on_before_optimizer_step",
            "nn.utils.clip_grad_norm_(trainer.model.parameters(), 1e-3)",
            r"after epoch 1, train/loss is [\d.]+ with it and [\d.]+ without it",
        ),
        ("on_train_start", "torch.rand(1)", r"drew from the global random state in on_train_start"),
        (
            "execute_batch_postprocessing",
            "self.calls == 2 and torch.rand(1)",
            "after epoch 1, the random state of torch is at",
        ),
        (
            "execute_batch_postprocessing",
            "import random; self.calls == 2 and random.random()",
            "after epoch 1, the random state of python is at",
        ),
        (
            "execute_batch_postprocessing",
            "import numpy; self.calls == 2 and numpy.random.rand()",
            "after epoch 1, the random state of numpy is at",
        ),
        ("execute_epoch_postprocessing", "trainer.model.eval()", "left the model in evaluation mode"),
        (
            "execute_batch_postprocessing",
            "self.calls == 4 and trainer.model.layers[0].eval()",
            "after epoch 1, the mode of layers.0 is evaluation with it and training without it",
        ),
        ("execute_epoch_preprocessing", "torch.set_grad_enabled(False)", "left gradients switched off"),
        (
            "execute_batch_postprocessing",
            "self.calls == 4 and torch.set_grad_enabled(False)",
            "after epoch 1, the grad mode is off with it and on without it",
        ),
        (
            "execute_batch_postprocessing",
            "self.calls == 4 and torch.set_default_dtype(torch.float64)",
            "after epoch 1, the default dtype is torch.float64 with it and torch.float32 without it",
        ),
        (
            "on_train_end",
            "trainer.model.layers[1].bias.data += 1",
            r"after epoch 3, layers.1.bias is \[.*\] with it and \[.*\] without it",
        ),
        ("execute_epoch_postprocessing", "trainer.epochs = 4", "trains for more epochs than the trainer was told to"),
        (
            "on_train_start",
            "trainer.model.layers[1].weight.data.fill_(float('nan'))",
            "breaks the training of the tiny model: The tr",
        ),
    ],
)
def test_what_changes_training_is_told_with_the_place(entry_of, hook, act, told):
    entry = entry_of("callbacks", ACTING.format(hook=hook, act=act))
    with pytest.raises(ContractError, match=told):
        run_check(entry, "neutrality")


def test_a_stopper_that_ends_training_early_is_compared_as_far_as_it_went(entry_of):
    source = """
class Part(EarlyStopper):
    def check(self, trainer):
        return "enough" if trainer.state.epochs_completed == 2 else None
"""
    run_check(entry_of("stoppers", source), "neutrality")


def test_what_a_stopper_changes_as_it_ends_training_is_told(entry_of):
    source = """
class Part(EarlyStopper):
    def check(self, trainer):
        trainer.model.layers[1].weight.data.zero_()
        return "enough"
"""
    assert "after epoch 1, layers.1.weight is [[0.0, 0.0, 0.0]] with it and" in reason(
        entry_of("stoppers", source), "neutrality"
    )


def test_a_plugin_may_say_when_to_validate(entry_of):
    source = "class Part(Callback):\n    @hookimpl\n    def get_validation_period(self): return 2\n"
    run_check(entry_of("callbacks", source), "neutrality")


def test_an_error_in_a_hook_is_told_with_its_place(entry_of, first_line):
    source = "class Part(Callback):\n    @hookimpl\n    def on_train_start(self, trainer):\n        trainer.speed\n"
    told = reason(entry_of("callbacks", source), "state")
    assert told.startswith(
        "In a training of the tiny model, the plugin 'Part' (acme-parts 1.0) failed in on_train_start"
    )
    assert "no attribute 'speed' (" in told
    assert f"acme_parts.py:{first_line + 3}). " in told


def test_a_plugin_that_refuses_the_tiny_model_is_not_judged(entry_of):
    source = """
class Part(Callback):
    @hookimpl
    def on_train_start(self, trainer):
        raise UsageError("This callback is for tables.")
"""
    told = (
        "The callback 'part' refuses to work with the tiny model: This callback is for tables. If other parameters "
        "suit it, give contract_tests its parameters={'part': {...}}."
    )
    assert reason(entry_of("callbacks", source), "neutrality", NotJudged) == told


@pytest.mark.lengthy
def test_nothing_global_is_changed_and_nothing_is_left_behind(entry_of, tmp_path, monkeypatch, caplog, good):
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    monkeypatch.delenv("ARTIFACT_TORCH_HOME")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", None)  # so that TMPDIR is looked at again
    entry = entry_of("trackers", good["trackers"])

    def looked_at():
        drawn = (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist())
        level = logging.getLogger("artifact_torch").level
        return (*drawn, torch.get_default_dtype(), torch.is_grad_enabled(), Path.cwd(), dict(os.environ), level)

    caplog.set_level(logging.ERROR, logger="artifact_torch")
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            before = looked_at()
            for check in checks_of(entry):
                run_check(entry, check)
            assert looked_at() == before
    finally:
        torch.set_default_dtype(torch.float32)
    assert list(working.iterdir()) == list((tmp_path / "temporary").iterdir()) == []


def test_the_environment_is_put_back_after_a_failure_too(entry_of):
    before = os.environ["ARTIFACT_TORCH_HOME"]
    reason(entry_of("callbacks", ACTING.format(hook="on_train_start", act="torch.rand(1)")), "neutrality")
    assert os.environ["ARTIFACT_TORCH_HOME"] == before
