"""The checks of a plugin's contract: a good plugin keeps all, and one made to break one of them is told which and why."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from artifact_torch import UsageError
from artifact_torch.plugin.discovery import GROUPS, discover
from artifact_torch.testing import ContractError, NotApplicable, NotJudged, checks_of, outcome_of, run_check

COMPONENT_CHECKS = ("loads", "signatures", "construction", "state", "pickling", "time_budget", "neutrality")

HEAD = """
from __future__ import annotations

import time
from typing import Any, Literal

import click
import torch
from torch import nn

from artifact_torch import ArtifactGroup, Callback, EarlyStopper, Model, ModelOutput, Options, Tracker, UsageError, hookimpl

"""

GOOD = {
    "callbacks": """
class Part(Callback):
    def __init__(self, *, every: int = 2, label: str | None = None) -> None:
        self.every, self.seen = every, torch.zeros(2)

    @hookimpl
    def execute_batch_postprocessing(self, trainer):
        if trainer.state.step % self.every == 0:
            self.seen += 1

    @hookimpl
    def log_epoch_metrics(self):
        return {"seen": self.seen.sum()}

    @hookimpl
    def on_save_checkpoint(self):
        return {"seen": self.seen}

    @hookimpl
    def on_load_checkpoint(self, state):
        self.seen = state["seen"]
""",
    "stoppers": """
class Part(EarlyStopper):
    def __init__(self, *, epochs: int, mode: Literal["min", "max"], factor: float, strict: bool, names: list[str]) -> None:
        assert (epochs, mode, factor, strict, names) == (1, "min", 0.5, True, [])
        self.epochs = epochs

    def check(self, trainer):
        return "enough" if trainer.state.epochs_completed >= self.epochs else None
""",
    "trackers": """
class Part(Tracker):
    def __init__(self, folder: str = "scores") -> None:
        self.folder = folder

    @hookimpl
    def track_score(self, name, value):
        print(name, value)
        with open("scores.csv", "a") as file:
            print(name, value, file=file)
""",
    "plugins": """
steps = {"done": 0}

@hookimpl
def execute_batch_postprocessing():
    steps["done"] += 1

@hookimpl
def should_stop():
    return "there were enough steps" if steps["done"] >= 100 else None

@hookimpl
def on_save_checkpoint():
    return dict(steps)

@hookimpl
def on_load_checkpoint(state):
    steps.update(state)
""",
    "models": """
class Part(Model[Any, ModelOutput]):
    def __init__(self, *, columns: list[str], width: int = 3) -> None:
        super().__init__()
        self.columns, self.width = columns, width
        self.layers = nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))

    def config(self):
        return {"columns": self.columns, "width": self.width}

    def forward(self, batch):
        return {"loss": self.layers(batch["features"]).mean()}
""",
    "artifact_groups": """
class Data(Options):
    file: str

class Validation(Options):
    period: int = 1

class Part(ArtifactGroup[Data, Validation]):
    data_options, validation_options, model_class = Data, Validation, Model
    default_model, sample_suffix = "mine", ".csv"

    def load(self): ...
    def default_settings(self): ...
    def model_factory(self, model_class): ...
    def build_trainer(self, model, parts): ...
    def conclude(self, trainer, num_samples): ...
    @classmethod
    def generate(cls, model, params, path): ...
""",
    "commands": """
@click.command()
def Part():
    "Count the parts."
""",
}


@pytest.fixture
def entry_of(install):
    """Installs one plugin of a kind, with the source of its module, and returns its entry."""

    def make(kind, source, *, value=None, **options):
        value = value or ("acme_parts" if kind == "plugins" else "acme_parts:Part")
        install("acme-parts", {GROUPS[kind]: {"part": value}}, acme_parts=HEAD + source, **options)
        (entry,) = [entry for entry in discover(kind) if entry.distribution == "acme-parts"]
        return entry

    return make


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


@pytest.mark.slow
@pytest.mark.parametrize("kind", GOOD)
def test_a_good_plugin_passes_every_check_of_its_kind(entry_of, kind, capsys):
    entry = entry_of(kind, GOOD[kind])
    outcomes = {check: outcome_of(entry, check) for check in checks_of(entry)}
    unlike = {check: outcome for check, outcome in outcomes.items() if outcome.outcome != "passed"}
    if kind == "plugins":
        assert unlike.pop("pickling").outcome == "not applicable"
    assert unlike == {}
    assert capsys.readouterr().out == ""


def test_the_checks_are_known_from_metadata_alone(entry_of):
    entry = entry_of("callbacks", "raise RuntimeError('was imported')")
    assert checks_of(entry) == COMPONENT_CHECKS
    assert "acme_parts" not in sys.modules


def test_an_unknown_check_is_refused_with_the_known_ones(entry_of):
    entry = entry_of("commands", GOOD["commands"])
    with pytest.raises(UsageError, match=r"no check 'state' of a command: known are loads, help\."):
        run_check(entry, "state")


# Loading.


@pytest.mark.parametrize(
    ("kind", "source", "told"),
    [
        ("callbacks", "import no_such_library", "No module named 'no_such_library' (.*acme_parts.py:13)"),
        ("callbacks", "raise SystemExit('bye')", "SystemExit: bye"),
        ("callbacks", "class Part: pass", "The callback 'part' .* is not a subclass of artifact_torch.core.callback"),
        ("stoppers", "class Part(EarlyStopper): pass", "lacks methods that it has to define: check of acme_parts:Part."),
        ("artifact_groups", GOOD["artifact_groups"].replace("def load", "def lode"), "define: load of acme_parts:Part."),
        ("commands", "def Part(): pass", "is not a click command: decorate acme_parts:Part with @click.command()."),
        ("plugins", "def on_train_begin(trainer): pass", "implements no hook, and does nothing"),
        (
            "callbacks",
            "class Part(Callback): pass\ntorch.set_default_dtype(torch.float64)",
            "changes torch's default dtype to torch.float64 when it is imported",
        ),
    ],
)
def test_what_cannot_be_loaded_is_told_once_and_nothing_else_is_judged(entry_of, kind, source, told):
    entry = entry_of(kind, source)
    with pytest.raises(ContractError, match=told.replace("(.*", r"\(.*").replace("13)", r"13\)")):
        run_check(entry, "loads")
    sys.modules.pop("acme_parts", None)
    second = checks_of(entry)[1]
    assert reason(entry, second, NotJudged) == "This presupposes the check 'loads', which fails."


def test_a_plugin_for_another_version_of_the_core_does_not_load(entry_of):
    entry = entry_of("callbacks", GOOD["callbacks"], requires=["artifact-torch>=99"])
    assert "requires artifact-torch>=99" in reason(entry, "loads")


# Signatures.


@pytest.mark.parametrize(
    ("constructor", "told"),
    [
        ("self, **options: Any", "it is built with **options, of which nobody knows what to set"),
        ("self, *sizes: int", "it is built with *sizes, of which nobody knows what to set"),
        ("self, size: int = 1, /", "it takes the parameter 'size' by position only"),
        ("self, size=1", "its parameter 'size' has no type to check values against"),
        ("self, size: Size = 1", "the types of its parameters cannot be looked up (NameError: name 'Size' is not"),
    ],
)
def test_a_constructor_that_no_configuration_can_call_is_told_with_its_place(entry_of, constructor, told):
    entry = entry_of("callbacks", f"class Part(Callback):\n    def __init__({constructor}) -> None: ...\n")
    told_as = reason(entry, "signatures")
    assert told in told_as
    assert "acme_parts.py:14)." in told_as


def test_the_parameters_of_a_model_are_those_that_a_configuration_sets(entry_of):
    source = """
import functools

class Part(Model[Any, ModelOutput]):
    def __init__(self, *parts) -> None:
        super().__init__()

    @classmethod
    def from_data(cls, data, *, width: int = 3{more}):
        return cls(data, width)

    @classmethod
    def configurable(cls):
        return functools.partial(cls.from_data, None)

    def forward(self, batch): ...
"""
    entry = entry_of("models", source.format(more=""))
    run_check(entry, "signatures")
    told = "The model 'part' is built from data, by Part.from_data: only tests with such data can save and load it."
    assert reason(entry, "round_trip", NotJudged) == told


def test_all_that_is_wrong_with_hooks_and_constructor_is_told_at_once(entry_of):
    source = """
class Part(Callback):
    def __init__(self, size=1) -> None: ...

    @hookimpl
    def on_train_strat(self, trainer): ...

    @hookimpl
    def on_train_end(self, trainer, reson): ...

    def should_stop(self): ...
"""
    lines = reason(entry_of("callbacks", source), "signatures").splitlines()
    assert len(lines) == 4
    for told in ("'size'", "did you mean 'on_train_start'?", "did you mean 'reason'?", "should_stop"):
        assert any(told in line for line in lines), told
    assert all(line.startswith("The plugin 'part' of acme-parts 1.0 cannot be used: ") for line in lines)


def test_hooks_are_told_of_a_component_that_cannot_be_built_too(entry_of):
    source = "class Part(Callback):\n    def __init__(self): 1 / 0\n\n    @hookimpl\n    def on_train_strat(self): ..."
    assert "did you mean 'on_train_start'?" in reason(entry_of("callbacks", source), "signatures")


def test_the_hooks_of_an_installed_module_are_held_against_the_specifications(entry_of):
    entry = entry_of("plugins", "@hookimpl\ndef on_train_start(trainr): ...")
    assert "did you mean 'trainer'?" in only_fails(entry, "signatures")
    assert reason(entry, "state", NotJudged) == "This presupposes the check 'signatures', which fails."


# Construction.

NEEDY = """
class Part(Callback):
    def __init__(self, *, size: {hint}) -> None:
        if size in (1, "sample"):
            raise UsageError(f"The size must be larger, not {{size}}.")
        self.size = size
"""


def test_parameters_that_the_author_gives_are_taken_as_from_a_configuration(entry_of):
    entry = entry_of("callbacks", NEEDY.format(hint="int"))
    run_check(entry, "construction", parameters={"size": 2})
    told = reason(entry, "construction", parameters={"size": "2"})
    assert told == (
        "The callback 'part' refuses the parameters given for it: acme-parts 1.0: size = '2' in [callbacks.part]: input "
        "should be a valid integer."
    )
    assert "unknown key 'sise'" in reason(entry, "construction", parameters={"sise": 2})
    assert "are not JSON values" in reason(entry, "construction", parameters={"size": {2}})


def test_a_tuple_is_refused_since_a_configuration_has_none(entry_of):
    entry = entry_of("callbacks", NEEDY.format(hint="tuple[int, int]"))
    assert "size = [1, 2] in [callbacks.part]" in reason(entry, "construction", parameters={"size": (1, 2)})
    assert "of which there is no sample value" in reason(entry, "construction", NotJudged)


def test_sample_values_that_are_refused_leave_the_question_open(entry_of):
    entry = entry_of("callbacks", NEEDY.format(hint="int"))
    told = (
        "The callback 'part' refuses the sample size = 1 (The size must be larger, not 1.): give contract_tests its "
        "parameters={'part': {...}}."
    )
    assert reason(entry, "construction", NotJudged) == told
    assert outcome_of(entry, "state").outcome == "not judged"
    run_check(entry, "signatures")
    run_check(entry, "pickling", parameters={"size": 3})


def test_a_parameter_of_a_type_that_no_file_can_hold_is_told(entry_of):
    entry = entry_of("callbacks", NEEDY.format(hint="nn.Module"))
    assert "has a parameter of a type that no value in a configuration has" in reason(entry, "construction")


@pytest.mark.parametrize("parameters", [None, {"size": 2}])
def test_defaults_have_to_be_accepted_whatever_is_given_besides(entry_of, parameters):
    source = NEEDY.format(hint="int = 1")
    told = "The callback 'part' refuses its own defaults: The size must be larger, not 1."
    assert reason(entry_of("callbacks", source), "construction", parameters=parameters) == told


def test_a_constructor_that_fails_is_told_with_its_place(entry_of):
    entry = entry_of("callbacks", "class Part(Callback):\n    def __init__(self) -> None:\n        self.x = {}['y']\n")
    told = only_fails(entry, "construction")
    assert told.startswith("The callback 'part' cannot be built: KeyError: 'y' (")
    assert told.endswith("acme_parts.py:15).")


# State.

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
            "nested.0 was [8, 2], and after loading is [0, 2]",
        ),
        ("None", "pass", "goes on from a checkpoint otherwise than without a break: train/loss of epoch 3 is "),
        ("{'steps': {self.steps}}", "pass", "set is neither a tensor nor a plain value"),
        ("{'steps': self.steps}", "self.steps = state['step']", "failed in on_load_checkpoint.*KeyError: 'step'"),
    ],
)
def test_state_that_gets_lost_is_told(entry_of, save, load, told):
    entry = entry_of("callbacks", COUNTING.format(save=save, load=load))
    with pytest.raises(ContractError, match=told.replace("[", r"\[")):
        run_check(entry, "state")


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


def test_what_a_module_still_has_of_an_earlier_training_does_not_pass_for_restored(entry_of):
    source = GOOD["plugins"].replace("steps.update(state)", "pass")
    assert "does not take back the state that it saved: done was 8, and after loading" in only_fails(
        entry_of("plugins", source), "state"
    )


# Pickling.


def test_what_cannot_be_pickled_is_told(entry_of):
    source = "class Part(Callback):\n    def __init__(self) -> None:\n        self.shown = lambda text: text\n"
    told = only_fails(entry_of("callbacks", source), "pickling")
    assert told.startswith("The callback 'part' cannot be pickled (")
    assert "lambda" in told


def test_a_copy_of_another_class_is_told(entry_of):
    source = "class Part(Callback):\n    def __reduce__(self):\n        return (dict, ())\n"
    assert "comes back from pickle as something else, of class dict" in only_fails(
        entry_of("callbacks", source), "pickling"
    )


# Time.

SLOW = """
class Part(Callback):
    @hookimpl
    def {hook}(self, trainer):
        {condition}time.sleep({seconds})
"""


@pytest.mark.slow
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


# Neutrality.

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
            "after epoch 1, gradients is off with it and on without it",
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
        ("on_train_start", "trainer.model.layers[1].weight.data.fill_(float('nan'))", "The training loss became nan"),
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
        {act}
        return "enough" if trainer.state.epochs_completed == 2 else None
"""
    run_check(entry_of("stoppers", source.format(act="")), "neutrality")


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


# What fails in a training.


def test_an_error_in_a_hook_is_told_with_its_place(entry_of):
    source = "class Part(Callback):\n    @hookimpl\n    def on_train_start(self, trainer):\n        trainer.speed\n"
    told = reason(entry_of("callbacks", source), "state")
    assert told.startswith("In a training of the tiny model, the plugin 'Part' (acme-parts 1.0) failed in on_train_start")
    assert "no attribute 'speed' (" in told
    assert "acme_parts.py:16). " in told


def test_a_plugin_that_refuses_the_tiny_model_is_not_judged(entry_of):
    source = """
class Part(Callback):
    @hookimpl
    def on_train_start(self, trainer):
        raise UsageError("This callback is for tables.")
"""
    told = (
        "The callback 'part' refuses to work with the tiny model: This callback is for tables. If other parameters suit "
        "it, give contract_tests its parameters={'part': {...}}."
    )
    assert reason(entry_of("callbacks", source), "neutrality", NotJudged) == told


# Models, artifact groups and commands.


def test_a_model_whose_parameters_are_not_all_in_its_config_is_told(entry_of):
    source = GOOD["models"].replace(', "width": self.width', "")
    entry = entry_of("models", source)
    run_check(entry, "round_trip")
    assert "has shape (5, 2), and Part expects (3, 2)" in reason(
        entry, "round_trip", parameters={"columns": ["a"], "width": 5}
    )
    assert "columns was ['a']" not in reason(entry, "round_trip", parameters={"columns": ["a"], "width": 5})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('return {"columns": self.columns, ', "return {'columns': [], "), None),
        (
            ("self.columns, self.width = columns, width", "self.columns, self.width = [*columns, 'x'], width"),
            "another one after it was saved and loaded: columns.1 was absent, and is x. Return every",
        ),
        (
            ("    def forward", "    def load_state_dict(self, state, *rest):\n        pass\n\n    def forward"),
            "another one after it was saved and loaded: layers.0.weight was ",
        ),
    ],
)
def test_a_model_that_comes_back_as_another_one_is_told(entry_of, change, told):
    entry = entry_of("models", GOOD["models"].replace(*change))
    if told is None:
        run_check(entry, "round_trip")
    else:
        assert told in only_fails(entry, "round_trip")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("default_model, sample_suffix", "default_mode, sample_suffix"), "default_model is missing, and has to be the"),
        (('".csv"', '"csv"'), "sample_suffix is 'csv', and has to be a suffix such as '.csv'"),
        (("Validation, Model\n", "Validation, Data\n"), "model_class is <class 'acme_parts.Data'>, and has to be a sub"),
        (("= Data, Validation, Model", "= dict, Validation, Model"), "and has to be a subclass of artifact_torch.Opt"),
    ],
)
def test_an_attribute_that_a_group_lacks_is_told(entry_of, change, told):
    assert told in only_fails(entry_of("artifact_groups", GOOD["artifact_groups"].replace(*change)), "attributes")


def test_every_attribute_of_a_group_is_looked_at():
    import inspect

    from artifact_torch import ArtifactGroup
    from artifact_torch.testing.checks import _GROUP_ATTRIBUTES

    assert set(_GROUP_ATTRIBUTES) == set(inspect.get_annotations(ArtifactGroup))


def test_a_default_of_another_type_than_its_own_is_told(entry_of):
    source = GOOD["artifact_groups"].replace("period: int = 1", "period: int = '1'")
    assert "refuses its own defaults: acme-parts 1.0: period = '1' in [validation]" in only_fails(
        entry_of("artifact_groups", source), "options"
    )


def test_options_without_defaults_are_not_judged(entry_of):
    source = GOOD["artifact_groups"].replace("period: int = 1", "period: int")
    told = "has keys without a default in each of its sections: data.file, validation.period."
    assert told in reason(entry_of("artifact_groups", source), "options", NotJudged)


def test_a_command_without_help_is_told(entry_of):
    entry = entry_of("commands", "@click.command()\ndef Part(): ...\n")
    assert only_fails(entry, "help") == (
        "The command 'part' has no text of help: write a docstring under @click.command()."
    )


# What checks leave behind.


def test_nothing_global_is_changed_and_nothing_is_left_behind(entry_of, tmp_path, monkeypatch):
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    monkeypatch.delenv("ARTIFACT_TORCH_HOME")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", None)  # so that TMPDIR is looked at again
    entry = entry_of("trackers", GOOD["trackers"])

    def looked_at():
        drawn = (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist())
        return (*drawn, torch.get_default_dtype(), torch.is_grad_enabled(), Path.cwd(), dict(os.environ))

    monkeypatch.setattr(torch, "_no_such_attribute", None, raising=False)
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
