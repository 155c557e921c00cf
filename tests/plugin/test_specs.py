"""The specifications: documented, typed, each hook once, and recorded by the testing kit."""

from __future__ import annotations

import inspect

import pluggy
import pytest

from artifact_torch.plugin.manager import Plugins
from artifact_torch.plugin.markers import PROJECT
from artifact_torch.plugin.specs import SPECIFICATIONS
from artifact_torch.testing import HookRecorder

HOOKS = [(name, function) for each in SPECIFICATIONS for name, function in vars(each).items() if name[0] != "_"]
NAMES = [name for name, _ in HOOKS]


def test_each_hook_is_specified_once_and_known_to_the_manager():
    assert len(set(NAMES)) == len(NAMES)
    manager = pluggy.PluginManager(PROJECT)
    for specification in SPECIFICATIONS:
        manager.add_hookspecs(specification)
    assert {name for name in vars(manager.hook) if not name.startswith("_")} == set(NAMES)


@pytest.mark.parametrize(("name", "function"), HOOKS, ids=NAMES)
def test_a_hook_says_when_it_is_called_and_types_its_arguments(name, function):
    signature = inspect.signature(function)
    assert inspect.getdoc(function).startswith("Called ")
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in list(signature.parameters.values())[1:]:
        assert parameter.annotation is not inspect.Parameter.empty
        assert parameter.default is inspect.Parameter.empty


@pytest.mark.parametrize(("name", "function"), HOOKS, ids=NAMES)
def test_the_recorder_takes_every_argument_of_every_hook(name, function):
    recorder, plugins = HookRecorder(), Plugins()
    plugins.register(recorder)
    names = list(inspect.signature(function).parameters)[1:]
    plugins.call(name, **{argument: f"the {argument}" for argument in names})
    assert recorder.calls == [(name, {argument: f"the {argument}" for argument in names})]


def test_a_plugin_may_be_a_module_level_function_holder():
    module = type(pytest)("hooks_module")
    exec(
        "from artifact_torch import hookimpl\n@hookimpl\ndef on_train_start(trainer):\n    return trainer", vars(module)
    )
    plugins = Plugins()
    assert plugins.register(module) == "hooks_module"
    assert plugins.call("on_train_start", trainer=5) == [5]
