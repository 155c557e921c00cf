"""The hooks of the hot loop: resolved on request, called by position."""

from __future__ import annotations

import pytest

from artifact_torch import hookimpl
from artifact_torch.plugin.dispatch import LoopDispatch
from artifact_torch.plugin.manager import Plugins
from artifact_torch.testing import HookRecorder

HOOKS = {
    "execute_batch_preprocessing": ("batch_preprocessing", ("trainer", "batch")),
    "on_before_optimizer_step": ("before_optimizer_step", ("trainer",)),
    "execute_batch_postprocessing": ("batch_postprocessing", ("trainer", "batch", "model_output")),
}


def noting(name, events):
    def execute_batch_preprocessing(self, batch):
        events.append(name)

    members = {"execute_batch_preprocessing": hookimpl(execute_batch_preprocessing)}
    return type(name, (), members)()


def function(dispatch, hook):
    return getattr(dispatch, HOOKS[hook][0])


@pytest.mark.parametrize("hook", HOOKS)
def test_without_implementations_there_is_nothing_to_call(hook):
    assert function(LoopDispatch(Plugins()), hook) is None


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_implementations_get_the_arguments_of_the_specification_by_position(hook, wrapped):
    events = []

    def wrapper(self):
        events.append("before")
        answers = yield
        events.append("after")
        return answers

    recorder, plugins = HookRecorder(), Plugins()
    plugins.register(recorder)
    if wrapped:
        plugins.register(type("Wrapper", (), {hook: hookimpl(wrapper, wrapper=True)})())
    names = HOOKS[hook][1]
    function(LoopDispatch(plugins), hook)(*names)
    assert recorder.calls == [(hook, dict(zip(names, names, strict=True)))]
    assert events == (["before", "after"] if wrapped else [])


@pytest.mark.parametrize("hook", HOOKS)
def test_a_plugin_registered_later_takes_part_at_once(hook):
    plugins, recorder = Plugins(), HookRecorder()
    dispatch = LoopDispatch(plugins)
    plugins.register(recorder)
    function(dispatch, hook)(*HOOKS[hook][1])
    assert recorder.names == [hook]


def test_implementations_run_in_the_order_of_the_manager_and_are_counted():
    events, plugins = [], Plugins()
    for name in ("last", "middle", "first"):
        plugins.register(noting(name, events))
    dispatch = LoopDispatch(plugins)
    for _ in range(5):
        dispatch.batch_preprocessing("trainer", {})
    assert events == ["first", "middle", "last"] * 5
    assert [(row.plugin, row.hook, row.calls) for row in plugins.close_ledger(epoch=1)] == [
        (name, "execute_batch_preprocessing", 5) for name in ("last", "middle", "first")
    ]
    assert plugins.close_ledger(epoch=2) == []


def test_an_error_ends_the_call_and_says_whose_it_is():
    plugins, recorder = Plugins(), HookRecorder()
    plugins.register(recorder)

    class Failing:
        @hookimpl
        def on_before_optimizer_step(self):
            raise ValueError("no gradient")

    plugins.register(Failing())
    with pytest.raises(ValueError, match="no gradient") as raised:
        LoopDispatch(plugins).before_optimizer_step("trainer")
    assert raised.value.__notes__ == ["In the plugin 'Failing', hook on_before_optimizer_step."]
    assert recorder.calls == []
