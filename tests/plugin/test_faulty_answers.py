"""An answer that a hook cannot take is told with the plugin, what it returned and what it should return."""

from __future__ import annotations

import pytest
import torch

from artifact_torch import CheckpointError, Period, PluginError, ValidationRoutine
from artifact_torch.testing import tiny_loader

ANSWERING = """
from artifact_torch import ScoreCallback, hookimpl

class Long:
    def __repr__(self):
        return "long\\n" * 250_000

class Count(ScoreCallback):
    def reset(self): pass
    def update(self, batch, model_output): pass
    def compute(self): return 1.0
    def __repr__(self): return "<Count>"

@hookimpl
def {hook}():
    import torch
    return {answer}
"""

REASON = "a reason in words"
PERIOD = "a number of epochs, 1 or more, or a text such as '200 steps'"
PLAN = "a ValidationPlan of the split train, or a list of them"
CALLBACKS = "a list of callbacks over a loader, such as ScoreCallback"
METRICS = "a mapping from names to numbers"

# Hook, what it returns, how that is shown, what it should be.
WRONG = [
    ("should_stop", "3", "3 (int)", REASON),
    ("should_stop", "True", "True (bool)", REASON),
    ("should_stop", "['enough']", "['enough'] (list)", REASON),
    ("should_stop", "Long()", f"{('long ' * 16)} ... (Long)", REASON),
    ("get_validation_period", "0", "0 (int)", PERIOD),
    ("get_validation_period", "-2", "-2 (int)", PERIOD),
    ("get_validation_period", "True", "True (bool)", PERIOD),
    ("get_validation_period", "'2'", "'2' (str)", PERIOD),
    ("get_validation_period", "2.5", "2.5 (float)", PERIOD),
    ("get_validation_plan", "['MEAN']", "['MEAN'] (list)", PLAN),
    ("get_train_loader_callbacks", "Count('n', split='train')", "<Count> (Count)", CALLBACKS),
    ("get_train_loader_callbacks", "[Count]", "[<class 'acme_faulty.Count'>] (list)", CALLBACKS),
    ("get_val_loader_callbacks", "'loss'", "'loss' (str)", CALLBACKS),
    ("get_val_loader_callbacks", "[Count('n'), 3]", "[<Count>, 3] (list)", CALLBACKS),
    ("execute_validation", "{}", "{} (dict)", "ValidationResults"),
    ("log_batch_metrics", "3.0", "3.0 (float)", METRICS),
    ("log_batch_metrics", "torch.zeros(2, 2)", "tensor([[0., 0.], [0., 0.]]) (Tensor)", METRICS),
    ("log_epoch_metrics", "[('a', 1.0)]", "[('a', 1.0)] (list)", METRICS),
    ("on_save_checkpoint", "[1, 2]", "[1, 2] (list)", "a mapping"),
]


def live(make_trainer):
    """Everything that takes an answer."""
    validation = ValidationRoutine(val_loader=tiny_loader())
    trainer = make_trainer(epochs=1, log_every=1, use_installed_plugins=True, validation=validation)
    trainer.train()
    trainer.save_checkpoint()


@pytest.mark.parametrize(
    ("hook", "answer", "shown", "wanted"), WRONG, ids=[f"{hook}-{answer[:12]}" for hook, answer, *_ in WRONG]
)
def test_an_answer_of_the_wrong_type_is_refused(install_plugin, make_trainer, hook, answer, shown, wanted):
    install_plugin(ANSWERING.format(hook=hook, answer=answer))
    with pytest.raises(PluginError) as error:
        live(make_trainer)
    assert str(error.value) == (
        f"The plugin 'faulty' (acme-faulty 1.0) returned {shown} from {hook}: return {wanted}, or None."
    )


NO_NUMBERS = {"'high'": "high", "None": None, "[1.0]": [1.0], "torch.zeros(2)": torch.zeros(2)}


@pytest.mark.parametrize("hook", ["log_batch_metrics", "log_epoch_metrics"])
@pytest.mark.parametrize(("written", "value"), NO_NUMBERS.items(), ids=NO_NUMBERS)
def test_a_metric_that_is_not_one_number_is_refused_by_name(install_plugin, make_trainer, hook, written, value):
    install_plugin(ANSWERING.format(hook=hook, answer=f"{{'speed': {written}}}"))
    with pytest.raises(PluginError) as error:
        live(make_trainer)
    with pytest.raises((TypeError, ValueError, RuntimeError)) as reason:
        float(value)
    assert str(error.value) == (
        f"The plugin 'faulty' (acme-faulty 1.0) returned 'speed' from {hook} with a value that is not one number: "
        f"{reason.value}."
    )


@pytest.mark.parametrize("hook", ["log_batch_metrics", "log_epoch_metrics"])
def test_a_metric_of_two_plugins_is_refused_with_both(install_plugin, make_trainer, hook):
    for distribution in ("acme-faulty", "beta-faulty"):
        install_plugin(ANSWERING.format(hook=hook, answer="{'speed': 1.0}"), distribution, name=distribution)
    with pytest.raises(PluginError) as error:
        live(make_trainer)
    assert str(error.value) == (
        f"The plugins 'acme-faulty' and 'beta-faulty' both return a metric named 'speed' from {hook}: leave one of "
        "them out, or give the metric another name."
    )


def test_a_period_that_nobody_asks_for_does_no_harm(install_plugin, make_trainer):
    install_plugin(ANSWERING.format(hook="get_validation_period", answer="3"))
    install_plugin(ANSWERING.format(hook="get_validation_period", answer="'never asked'"), "beta-other", name="other")
    assert make_trainer(use_installed_plugins=True).validation.period == Period(3)


def test_state_that_cannot_be_stored_is_refused_with_its_place(install_plugin, make_trainer):
    install_plugin(ANSWERING.format(hook="on_save_checkpoint", answer="{'a': {'b': [1, object()]}}"))
    trainer = make_trainer(use_installed_plugins=True)
    with pytest.raises(CheckpointError) as error:
        trainer.save_checkpoint()
    assert str(error.value) == (
        "Cannot save state.plugins.faulty.a.b.1: object is neither a tensor nor a plain value; convert it first."
    )
    assert trainer.run.checkpoints.paths() == []


BATCH = """
from artifact_torch import hookimpl

@hookimpl{mark}
def execute_batch_preprocessing({arguments}):
    {body}
"""

LOST = {
    "one": ("del batch['target']", "'target'"),
    "popped": ("batch.pop('features')", "'features'"),
    "all": ("batch.clear(); batch['x'] = 1", "'features', 'target'"),
    "renamed": ("batch['Features'] = batch.pop('features')", "'features'"),
}


@pytest.mark.parametrize(("body", "names"), LOST.values(), ids=LOST)
@pytest.mark.parametrize("mark", ["", "(wrapper=True)"], ids=["plain", "wrapper"])
def test_a_batch_that_has_lost_what_the_model_may_need_is_refused(install_plugin, make_trainer, body, names, mark):
    body = f"{body}; yield" if mark else body
    install_plugin(BATCH.format(mark=mark, arguments="batch", body=body))
    with pytest.raises(PluginError) as error:
        make_trainer(use_installed_plugins=True).train()
    assert str(error.value) == (
        f"The plugin 'faulty' (acme-faulty 1.0) removed {names} from the batch in execute_batch_preprocessing: replace "
        "entries, and do not remove them."
    )
    assert error.value.__notes__ == [
        "In the plugin 'faulty' (acme-faulty 1.0), hook execute_batch_preprocessing, epoch 1, step 0."
    ]


@pytest.mark.parametrize("arguments", ["batch", "batch, trainer"])
def test_a_batch_that_is_returned_is_refused_and_not_ignored(install_plugin, make_trainer, arguments):
    install_plugin(BATCH.format(mark="", arguments=arguments, body="return {**batch, 'features': 2 * batch['target']}"))
    with pytest.raises(PluginError) as error:
        make_trainer(use_installed_plugins=True).train()
    assert str(error.value) == (
        "The plugin 'faulty' (acme-faulty 1.0) returned a batch from execute_batch_preprocessing, which nobody takes: "
        "replace entries of the batch that it is given."
    )


KEEPING = ["batch['more'] = batch['target']", "batch['features'] = 2 * batch['features']", "return batch", "return 3"]


@pytest.mark.parametrize("body", KEEPING)
def test_a_batch_may_be_edited_and_gain_entries(install_plugin, warned, body):
    install_plugin(BATCH.format(mark="", arguments="batch", body=body))
    assert warned() == []
