"""An error that leaves a hook ends training, untouched but for a note: whose it is, in which hook, and when."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from artifact_torch import DataSplit, PluginError, ValidationResults, ValidationRoutine, hookimpl
from artifact_torch.core.results import ArtifactKind
from artifact_torch.plugin.inspection import HOOKS
from artifact_torch.plugin.specs import RunHooks

RAISING = """
from artifact_torch import hookimpl

@hookimpl
def {hook}():
    raise {error}
"""

# The epoch and the step in which a hook is first called, in a training of one epoch with four logged steps.
PLACES = {
    "get_validation_period": (0, 0),
    "get_train_loader_callbacks": (0, 0),
    "get_val_loader_callbacks": (0, 0),
    "get_validation_plan": (0, 0),
    "track_params": (0, 0),
    "on_train_start": (0, 0),
    "execute_epoch_preprocessing": (1, 0),
    "execute_batch_preprocessing": (1, 0),
    "on_before_optimizer_step": (1, 0),
    "log_batch_metrics": (1, 1),
    "track_score": (1, 1),
    "execute_batch_postprocessing": (1, 1),
    "on_validation_start": (1, 4),
    "execute_validation": (1, 4),
    "on_validation_end": (1, 4),
    "track_score_collection": (1, 4),
    "track_array": (1, 4),
    "track_array_collection": (1, 4),
    "track_plot": (1, 4),
    "track_plot_collection": (1, 4),
    "log_epoch_metrics": (1, 4),
    "execute_epoch_postprocessing": (1, 4),
    "should_stop": (1, 4),
    "should_stop_in_epoch": (1, 1),
    "on_evaluation_start": (1, 4),
    "on_evaluation_end": (1, 4),
    "track_file": (1, 4),
    "on_train_end": (1, 4),
    "on_save_checkpoint": (1, 4),
    "on_load_checkpoint": (1, 4),
}


@pytest.fixture(autouse=True)
def _figures():
    yield
    from matplotlib import pyplot

    pyplot.close("all")  # of a validation that failed before its plots were tracked


class EveryKind(ValidationRoutine):
    """Gives one artifact of each kind."""

    def evaluate(self, trainer):
        from matplotlib import pyplot

        results = ValidationResults()
        values = {ArtifactKind.SCORE: 1.0, ArtifactKind.ARRAY: np.zeros(2), ArtifactKind.PLOT: pyplot.figure()}
        for kind, value in values.items():
            results.of_split(DataSplit.VALIDATION).of_kind(kind)["one"] = value
            results.of_split(DataSplit.VALIDATION).of_kind(ArtifactKind(f"{kind}_collection"))["some"] = {"a": value}
        return results


def note(hook, epoch, step, plugin="'faulty' (acme-faulty 1.0)"):
    return f"In the plugin {plugin}, hook {hook}, epoch {epoch}, step {step}."


def notes(error):
    return getattr(error.value, "__notes__", [])


def test_the_places_are_those_of_all_hooks():
    elsewhere = {"on_exception", "on_artifacts_awaited"}  # in test_teardown, and called for artifacts in the background
    assert PLACES.keys() == HOOKS.keys() - elsewhere


def live(make_trainer):
    """Everything that calls a hook: a trainer is built, trains, and writes and reads a checkpoint."""
    trainer = make_trainer(epochs=1, log_every=1, use_installed_plugins=True, validation=EveryKind())
    trainer.train()
    trainer.save_checkpoint()
    trainer.load_checkpoint()


@pytest.mark.parametrize(("hook", "place"), PLACES.items(), ids=PLACES)
def test_an_error_of_each_hook_carries_a_note(install_plugin, make_trainer, tmp_path, hook, place):
    source = RAISING.format(hook=hook, error=f"ValueError('broken in {hook}')")
    if hook == "on_load_checkpoint":
        source += "\n@hookimpl\ndef on_save_checkpoint():\n    return {'a': 1}\n"
    install_plugin(source)
    with pytest.raises(ValueError, match="broken") as error:
        live(make_trainer)
    assert str(error.value) == f"broken in {hook}"
    assert notes(error) == [note(hook, *place)]
    for path in tmp_path.glob("runs/default/*/run.json"):
        record = json.loads(path.read_text())
        if "checkpoint" in hook:
            assert record["status"] == "finished"
        else:
            assert (record["status"], record["traceback"].splitlines()[-1]) == ("failed", note(hook, *place))
        if not hook.startswith("on_train_end") and record["status"] == "failed":
            assert record["reason"] == f"ValueError: broken in {hook}"


@pytest.mark.parametrize("hook", ["execute_batch_postprocessing", "should_stop", "track_score", "on_train_end"])
def test_an_interruption_from_a_plugin_ends_the_run_as_interrupted(install_plugin, make_trainer, hook):
    install_plugin(RAISING.format(hook=hook, error="KeyboardInterrupt"))
    trainer = make_trainer(use_installed_plugins=True, log_every=1)
    with pytest.raises(KeyboardInterrupt) as error:
        trainer.train()
    assert trainer.run.record["status"] == "interrupted"
    assert [each.partition(", epoch")[0] for each in notes(error)] == [
        f"In the plugin 'faulty' (acme-faulty 1.0), hook {hook}"
    ]


def test_an_exit_from_a_plugin_fails_the_run(install_plugin, make_trainer):
    install_plugin(RAISING.format(hook="execute_epoch_preprocessing", error="SystemExit(0)"))
    trainer = make_trainer(use_installed_plugins=True)
    with pytest.raises(SystemExit) as error:
        trainer.train()
    assert notes(error) == [note("execute_epoch_preprocessing", 1, 0)]
    assert (trainer.run.record["status"], trainer.run.record["reason"]) == ("failed", "SystemExit: 0")


def test_a_megabyte_of_message_is_cut_where_a_person_reads_it(install_plugin, make_trainer):
    install_plugin(RAISING.format(hook="on_train_start", error="ValueError('many\\n ' + 'x' * 1_000_000)"))
    trainer = make_trainer(use_installed_plugins=True)
    with pytest.raises(ValueError, match="many"):
        trainer.train()
    reason = f"ValueError: many {'x' * 295} ... (1,000,005 characters)"
    assert trainer.run.record["reason"] == reason
    log = (trainer.run.path / "log.txt").read_text()
    assert f"Training ended after 0 epochs: {reason}." in log
    assert len(log) < 10_000
    assert "x" * 1_000_000 in trainer.run.record["traceback"]


def test_an_error_without_a_message_that_can_be_shown_does_not_spoil_the_end(install_plugin, make_trainer):
    ended = []
    after = type("After", (), {"on_train_end": hookimpl(lambda _self, reason: ended.append(reason))})()
    source = "class Unshown(Exception):\n    def __str__(self): raise TypeError\n"
    install_plugin(source + RAISING.format(hook="on_train_start", error="Unshown"))
    trainer = make_trainer(use_installed_plugins=True, callbacks=[after])
    with pytest.raises(sys.modules["acme_faulty"].Unshown):
        trainer.train()
    assert ended == [trainer.run.record["reason"]] == ["Unshown: its message cannot be shown"]


def test_of_a_hook_inside_a_hook_the_inner_one_is_noted_first(install_plugin, make_trainer):
    install_plugin(RAISING.format(hook="on_validation_start", error="ValueError('inner')"))

    class Outer:
        @hookimpl
        def execute_epoch_preprocessing(self, trainer):
            trainer.validate()

    trainer = make_trainer(use_installed_plugins=True, callbacks=[Outer()], validation=EveryKind())
    with pytest.raises(ValueError, match="inner") as error:
        trainer.train()
    assert notes(error) == [
        note("on_validation_start", 1, 0),
        note("execute_epoch_preprocessing", 1, 0, plugin="'Outer'"),
    ]
    assert error.value.artifact_torch_plugin == (
        "'faulty' (acme-faulty 1.0) failed in on_validation_start, epoch 1, step 0"
    )


def test_an_error_of_the_training_itself_is_blamed_on_no_plugin(install_plugin, make_trainer):
    install_plugin(RAISING.format(hook="on_exception", error="error").replace("()", "(error)"))

    class Broken(EveryKind):
        def evaluate(self, trainer):
            raise ValueError("the routine's own")

    trainer = make_trainer(use_installed_plugins=True, validation=Broken())
    with pytest.raises(ValueError, match="the routine's own") as error:
        trainer.train()
    assert notes(error) == []
    assert not hasattr(error.value, "artifact_torch_plugin")


def test_hooks_that_a_validation_calls_outside_of_training_say_where_training_stands(install_plugin, make_trainer):
    install_plugin(RAISING.format(hook="on_validation_end", error="ValueError('broken')"))
    trainer = make_trainer(use_installed_plugins=True, validation=EveryKind())
    with pytest.raises(ValueError, match="broken") as error:
        trainer.validate()
    assert notes(error) == [note("on_validation_end", 0, 0)]


# A plugin that registers another one.


class Counting:
    def __init__(self):
        self.steps = []

    @hookimpl
    def execute_batch_postprocessing(self, trainer):
        self.steps.append(trainer.state.step)


def registering(hook, at_step, other):
    def register(_self, trainer):
        if trainer.state.step == at_step:
            trainer.plugins.register(other)

    return type("Registering", (), {hook: hookimpl(register)})()


@pytest.mark.parametrize(
    ("hook", "at_step", "steps"),
    [
        ("on_train_start", 0, list(range(1, 9))),
        ("execute_epoch_preprocessing", 4, [5, 6, 7, 8]),
        ("on_before_optimizer_step", 2, [3, 4, 5, 6, 7, 8]),
        ("execute_batch_postprocessing", 2, [3, 4, 5, 6, 7, 8]),
        ("execute_batch_postprocessing", 8, []),
        ("should_stop", 4, [5, 6, 7, 8]),
    ],
)
def test_a_plugin_that_is_registered_in_a_hook_acts_from_the_next_call_on(make_trainer, hook, at_step, steps):
    counting = Counting()
    trainer = make_trainer(callbacks=[registering(hook, at_step, counting)])
    trainer.train()
    assert counting.steps == steps
    assert trainer.plugins.warnings == []


def test_a_faulty_plugin_that_is_registered_in_a_hook_names_both(make_trainer):
    class Faulty:
        @hookimpl
        def on_train_ende(self):
            pass

    trainer = make_trainer(callbacks=[registering("execute_batch_postprocessing", 2, Faulty())])
    with pytest.raises(PluginError) as error:
        trainer.train()
    line = Faulty.on_train_ende.__code__.co_firstlineno
    assert str(error.value) == (
        "The plugin 'Faulty' cannot be used: there is no hook 'on_train_ende': did you mean 'on_train_end'? "
        f"({__file__}:{line})."
    )
    assert notes(error) == [note("execute_batch_postprocessing", 1, 2, plugin="'Registering'")]


def test_a_plugin_that_is_registered_twice_is_refused_with_its_name(make_trainer):
    counting = Counting()
    trainer = make_trainer(callbacks=[counting, registering("on_train_start", 0, counting)])
    with pytest.raises(PluginError) as error:
        trainer.train()
    assert str(error.value) == "The plugin 'Counting_2' cannot be used: it is registered already, as 'Counting'."


def test_a_call_in_which_a_plugin_is_registered_keeps_who_it_has_begun_with(make_trainer):
    ended = type("Ended", (), {"on_train_start": hookimpl(lambda _self: 1 / 0)})()
    trainer = make_trainer(callbacks=[registering("on_train_start", 0, ended)])
    trainer.train()
    with pytest.raises(ZeroDivisionError):
        trainer.hooks.notify(RunHooks.on_train_start, trainer=trainer)
