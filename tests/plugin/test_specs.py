"""The specifications: documented, typed, each hook once, recorded by the testing kit, and light to import."""

from __future__ import annotations

import inspect
import subprocess
import sys
import types

import pluggy
import pytest

from artifact_torch import hookimpl
from artifact_torch.plugin.markers import PROJECT
from artifact_torch.plugin.specs import HOOKSPEC_VERSION, OLDEST_HOOKSPEC_VERSION, SPECIFICATIONS
from artifact_torch.testing import HookRecorder

HOOKS = [(name, function) for each in SPECIFICATIONS for name, function in vars(each).items() if name[0] != "_"]
NAMES = [name for name, _ in HOOKS]


def manager_of_hooks():
    manager = pluggy.PluginManager(PROJECT)
    for specification in SPECIFICATIONS:
        manager.add_hookspecs(specification)
    return manager


def test_each_hook_is_specified_once_and_known_to_the_manager():
    assert len(set(NAMES)) == len(NAMES)
    assert {name for name in vars(manager_of_hooks().hook) if not name.startswith("_")} == set(NAMES)


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
    recorder, manager = HookRecorder(), manager_of_hooks()
    manager.register(recorder)
    arguments = {argument: f"the {argument}" for argument in list(inspect.signature(function).parameters)[1:]}
    getattr(manager.hook, name)(**arguments)
    assert recorder.calls == [(name, arguments)]


def test_the_versions_of_the_hooks_are_whole_numbers_in_order():
    assert 1 <= OLDEST_HOOKSPEC_VERSION <= HOOKSPEC_VERSION


def test_the_specifications_import_neither_torch_nor_pandas_nor_numpy():
    program = "import sys, artifact_torch.plugin.specs; print({'torch', 'pandas', 'numpy'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_a_plugin_may_be_a_module_with_functions(make_trainer):
    module, started = types.ModuleType("hooks_module"), []

    @hookimpl
    def on_train_start(trainer):
        started.append(trainer)

    module.on_train_start = on_train_start
    trainer = make_trainer(epochs=1, callbacks=[module])
    trainer.train()
    assert started == [trainer]
    assert "hooks_module" in trainer.plugins.names()
