"""Who is called first: wrappers, tryfirst, trylast, plugins that come late."""

from __future__ import annotations

import pytest

from artifact_torch import (
    Callback,
    PluginError,
    ValidationResults,
    hookimpl,
)
from artifact_torch.testing import tiny_loader


def event_plugin(name, hook, events, answer=None, **mark):
    def function(self):
        events.append(name)
        return answer

    return type(name, (), {hook: hookimpl(function, **mark)})()


def wrapper_plugin(hook, events):
    def function(self):
        events.append("before")
        answer = yield
        events.append("after")
        return answer

    return type("Wrapper", (), {hook: hookimpl(function, wrapper=True)})()


WRAPPED = {
    "execute_batch_preprocessing": None,
    "on_before_optimizer_step": None,
    "execute_batch_postprocessing": None,
    "execute_epoch_postprocessing": None,
    "log_batch_metrics": {"inner": 1.0},
    "log_epoch_metrics": {"inner": 1.0},
    "should_stop": "enough",
    "execute_validation": ValidationResults(),
    "on_train_start": None,
    "on_train_end": None,
    "track_params": None,
}


@pytest.mark.parametrize("hook", WRAPPED)
def test_a_wrapper_runs_around_the_implementation(make_trainer, hook):
    events = []
    inner = event_plugin("inner", hook, events, WRAPPED[hook])
    trainer = make_trainer(
        loader=tiny_loader(16), epochs=1, log_every=1, callbacks=[wrapper_plugin(hook, events), inner]
    )
    trainer.train()
    assert events == ["before", "inner", "after"]


@pytest.mark.parametrize("hook", ["on_save_checkpoint", "on_load_checkpoint"])
def test_a_wrapper_of_the_state_of_others_is_refused(make_trainer, hook):
    with pytest.raises(PluginError, match=f"{hook} cannot be wrapped, because it is called for one plugin at a time"):
        make_trainer(callbacks=[wrapper_plugin(hook, [])])


def test_a_wrapper_may_change_what_is_recorded(make_trainer):
    class Doubling:
        @hookimpl(wrapper=True)
        def log_epoch_metrics(self):
            answers = yield
            return [{name: 2 * value for name, value in answer.items()} for answer in answers]

    inner = event_plugin("inner", "log_epoch_metrics", [], {"x": 3.0})
    trainer = make_trainer(callbacks=[Doubling(), inner])
    trainer.train()
    assert trainer.epoch_scores["train/x"].tolist() == [6.0, 6.0]


def test_a_wrapper_of_a_hot_hook_sees_the_error_inside_it(make_trainer):
    seen = []

    class Guard:
        @hookimpl(wrapper=True)
        def execute_batch_preprocessing(self, batch):
            try:
                return (yield)
            except ValueError as error:
                seen.append(str(error))
                raise

    class Broken:
        @hookimpl
        def execute_batch_preprocessing(self, batch):
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        make_trainer(callbacks=[Guard(), Broken()]).train()
    assert seen == ["inside"]


@pytest.mark.parametrize("hook", ["execute_batch_preprocessing", "log_batch_metrics", "on_train_end", "track_params"])
def test_tryfirst_runs_before_and_trylast_after_the_others(make_trainer, hook):
    events = []
    plugins = [
        event_plugin("last", hook, events, trylast=True),
        event_plugin("middle", hook, events),
        event_plugin("first", hook, events, tryfirst=True),
    ]
    make_trainer(loader=tiny_loader(16), epochs=1, log_every=1, callbacks=plugins).train()
    assert events == ["first", "middle", "last"]


def test_a_plugin_registered_during_an_epoch_takes_part_from_the_next_batch(make_trainer):
    events = []
    late = event_plugin("late", "execute_batch_preprocessing", events)

    class Registering(Callback):
        @hookimpl
        def execute_batch_postprocessing(self, trainer):
            if trainer.state.step == 1:
                trainer.plugins.register(late)

    make_trainer(callbacks=[Registering()]).train()
    assert len(events) == 2 * 4 - 1


HOT_HOOKS = ["execute_batch_preprocessing", "on_before_optimizer_step", "execute_batch_postprocessing"]


@pytest.mark.parametrize("hook", HOT_HOOKS)
@pytest.mark.parametrize("inner", [0, 2])
def test_a_wrapper_of_a_hot_hook_runs_once_around_all_implementations(make_trainer, hook, inner):
    events = []
    plugins = [event_plugin("inner", hook, events) for _ in range(inner)]
    make_trainer(loader=tiny_loader(16), epochs=1, callbacks=[*plugins, wrapper_plugin(hook, events)]).train()
    assert events == ["before", *["inner"] * inner, "after"]


def test_callbacks_are_called_in_the_order_they_are_given_in(make_trainer):
    called = []

    class Named(Callback):
        def __init__(self, name):
            self.name = name

        @hookimpl
        def on_train_start(self):
            called.append(self.name)

    make_trainer(epochs=1, callbacks=[Named("first"), Named("second"), Named("third")]).train()
    assert called == ["first", "second", "third"]
