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


def functions(dispatch, hook):
    return getattr(dispatch, HOOKS[hook][0])


@pytest.mark.parametrize("hook", HOOKS)
def test_without_implementations_there_is_nothing_to_call(hook):
    assert functions(LoopDispatch(Plugins()), hook) == ()


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_functions_take_the_arguments_of_the_specification_by_position(hook, wrapped):
    class Wrapper:
        pass

    def wrapper(self):
        return (yield)

    recorder, plugins = HookRecorder(), Plugins()
    plugins.register(recorder)
    if wrapped:
        setattr(Wrapper, hook, hookimpl(wrapper, wrapper=True))
        plugins.register(Wrapper())
    names = HOOKS[hook][1]
    for call in functions(LoopDispatch(plugins), hook):
        call(*names)
    assert recorder.calls == [(hook, dict(zip(names, names, strict=True)))]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_plugin_registered_later_takes_part_once_hooks_are_resolved(hook):
    plugins = Plugins()
    dispatch = LoopDispatch(plugins)
    plugins.register(HookRecorder())
    assert functions(dispatch, hook) == ()
    dispatch.resolve()
    assert len(functions(dispatch, hook)) == 1


def test_an_unwrapped_implementation_of_all_arguments_is_called_directly():
    class Direct:
        @hookimpl
        def execute_batch_preprocessing(self, trainer, batch):
            pass

    direct, plugins = Direct(), Plugins()
    plugins.register(direct)
    assert functions(LoopDispatch(plugins), "execute_batch_preprocessing") == (direct.execute_batch_preprocessing,)
