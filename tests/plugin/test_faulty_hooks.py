"""Hooks that could never be called, or not as they are written, are told before training, each with its line."""

from __future__ import annotations

import inspect

import pytest

from artifact_torch import Callback, hookimpl
from artifact_torch.plugin.inspection import HOOKS

IMPORT = "from artifact_torch import hookimpl\n\n\n"

# What is wrong -> the source, the message, and a text in the line that it names.
FUNCTIONS = {
    "wrong hook": (
        "@hookimpl\ndef on_train_strat(trainer): pass",
        "there is no hook 'on_train_strat': did you mean 'on_train_start'?",
    ),
    "unlike hook": (
        "@hookimpl\ndef before_everything(trainer): pass",
        "there is no hook 'before_everything': `artifact-torch list-hooks` shows them",
    ),
    "wrong specname": (
        "@hookimpl(specname='on_train_strat')\ndef begin(trainer): pass",
        "there is no hook 'on_train_strat': did you mean 'on_train_start'?",
    ),
    "misspelt argument": (
        "@hookimpl\ndef on_train_start(trainr): pass",
        "on_train_start has no argument 'trainr': did you mean 'trainer'?",
    ),
    "unknown argument": (
        "@hookimpl\ndef log_batch_metrics(trainer, lr): pass",
        "log_batch_metrics has no argument 'lr': it has trainer, batch, model_output",
    ),
    "keyword-only": (
        "@hookimpl\ndef on_train_end(trainer, *, reason): pass",
        "on_train_end takes 'reason' by keyword only, and arguments come by position: remove the * before it",
    ),
    "default": (
        "@hookimpl\ndef track_score(name, value, step=0): pass",
        "track_score gives 'step' a default, so that it would never be passed: remove the default",
    ),
    "**": (
        "@hookimpl\ndef track_score(name, **others): pass",
        "track_score takes **others, which stays empty: name the arguments it needs; it has name, value, split, epoch, "
        "step",
    ),
    "*": (
        "@hookimpl\ndef on_train_start(*arguments): pass",
        "on_train_start takes *arguments, which stays empty: name the arguments it needs; it has trainer",
    ),
    "async": (
        "@hookimpl\nasync def on_train_start(trainer): pass",
        "on_train_start is an async function, which nobody awaits: write it with def",
    ),
    "async generator": (
        "@hookimpl\nasync def on_train_start(trainer): yield",
        "on_train_start is an async function, which nobody awaits: write it with def",
    ),
    "yield without mark": (
        "@hookimpl\ndef should_stop(trainer): yield 'now'",
        "should_stop has a yield, so that its body would not run: remove it, or mark the hook with wrapper=True",
    ),
    "wrapper without yield": (
        "@hookimpl(wrapper=True)\ndef on_train_start(trainer): pass",
        "on_train_start is marked as a wrapper and has no yield: yield once where the other implementations run",
    ),
    "old wrapper without yield": (
        "@hookimpl(hookwrapper=True)\ndef on_train_start(trainer): pass",
        "on_train_start is marked as a wrapper and has no yield: yield once where the other implementations run",
    ),
    "wrapped state": (
        "@hookimpl(wrapper=True)\ndef on_save_checkpoint(trainer): return (yield)",
        "on_save_checkpoint cannot be wrapped, because it is called for one plugin at a time: remove wrapper=True",
    ),
    "no mark": (
        "def on_train_start(trainer): pass",
        "on_train_start is named like a hook and is not marked: add @hookimpl, or give it another name",
    ),
}


@pytest.mark.parametrize(("source", "message"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_hook_that_is_not_as_specified_is_refused_with_its_line(install_plugin, warned, source, message):
    module = install_plugin(f"{IMPORT}{source}\n")
    assert warned() == [
        f"The plugin 'faulty' of acme-faulty 1.0 cannot be used: {message} ({module.at(source.splitlines()[0])}). "
        "It was left out."
    ]


CLASS = """
from artifact_torch import Callback, EarlyStopper, Tracker, hookimpl

class Good(Callback):
    @hookimpl
    def on_train_start(self, trainer):
        pass

{source}
"""

METHODS = {
    "without self": (
        "class Part(Callback):\n    @hookimpl  # here\n    def execute_batch_preprocessing(trainer, batch): pass",
        "execute_batch_preprocessing is a method without self: add self as its first argument",
    ),
    "without any argument": (
        "class Part(Callback):\n    @hookimpl  # here\n    def on_train_start(): pass",
        "on_train_start is a method without self: add self as its first argument",
    ),
    "override without mark": (
        "class Part(Good):\n    def on_train_start(self, trainer): pass  # here",
        "Part.on_train_start overrides Good.on_train_start without the mark, and would never be called: add @hookimpl, "
        "or give it another name",
    ),
    "method without mark": (
        "class Part(Callback):\n    def on_train_end(self): pass  # here",
        "Part.on_train_end is named like a hook and is not marked: add @hookimpl, or give it another name",
    ),
    "inherited method without mark": (
        "class Base:\n    def on_train_end(self): pass  # here\nclass Part(Base, Callback): pass",
        "Part.on_train_end is named like a hook and is not marked: add @hookimpl, or give it another name",
    ),
    "static method without mark": (
        "class Part(Callback):\n    @staticmethod  # here\n    def on_train_end(): pass",
        "Part.on_train_end is named like a hook and is not marked: add @hookimpl, or give it another name",
    ),
}


@pytest.mark.parametrize(("source", "message"), METHODS.values(), ids=METHODS)
def test_a_method_that_is_not_as_specified_is_refused_with_its_line(install_plugin, refused, warned, source, message):
    module = install_plugin(CLASS.format(source=source), kind="callbacks", attribute="Part")
    problem = f"cannot be used: {message} ({module.at('# here')})."
    assert refused(callbacks=["faulty"]) == [f"The plugin 'Part' of acme-faulty 1.0 {problem}"]
    install_plugin("from acme_faulty import Part\npart = Part()\n", "beta-faulty", name="part", attribute="part")
    assert warned() == [f"The plugin 'part' of beta-faulty 1.0 {problem} It was left out."]


def test_a_stopper_that_overrides_the_hook_without_the_mark_is_refused(install_plugin, refused):
    source = "class Part(EarlyStopper):\n    def check(self, trainer): pass\n    def should_stop(self, trainer): pass"
    module = install_plugin(CLASS.format(source=source), kind="stoppers", attribute="Part")
    assert refused(stoppers=["faulty"]) == [
        "The plugin 'Part' of acme-faulty 1.0 cannot be used: Part.should_stop overrides EarlyStopper.should_stop "
        "without the mark, and would never be called: add @hookimpl, or give it another name "
        f"({module.at('def should_stop')})."
    ]


def test_a_class_is_not_taken_for_an_object(install_plugin, warned, refused):
    module = install_plugin(CLASS.format(source=""), attribute="Good")
    assert warned() == [
        "The plugin 'faulty' of acme-faulty 1.0 cannot be used: it is the class Good: give an instance of it, or a "
        f"module with functions ({module.at('class Good')}). It was left out."
    ]

    class Chosen(Callback):
        pass

    line = inspect.getsourcelines(Chosen)[1]
    assert refused(callbacks=[Chosen]) == [
        f"The plugin 'Chosen' cannot be used: it is the class {Chosen.__qualname__}: give an instance of it, or a "
        f"module with functions ({__file__}:{line})."
    ]


VERSIONS = {
    "2": "it is written for version 2 of the hooks, and this is version 1: upgrade artifact-torch",
    "0": "it is written for version 0 of the hooks, and the oldest that works is 1: upgrade the plugin",
    "'1.0'": "its hookspec_version is '1.0': write the number of a version, such as 1",
    "None": "its hookspec_version is None: write the number of a version, such as 1",
}


@pytest.mark.parametrize(("version", "message"), VERSIONS.items(), ids=VERSIONS)
def test_hooks_of_another_version_are_refused(install_plugin, warned, version, message):
    install_plugin(f"{IMPORT}hookspec_version = {version}\n\n\n@hookimpl\ndef on_train_start(): pass\n")
    assert warned() == [f"The plugin 'faulty' of acme-faulty 1.0 cannot be used: {message}. It was left out."]


NOTHING = (
    "The plugin 'faulty' of acme-faulty 1.0 implements no hook, and does nothing: mark its functions with "
    "@artifact_torch.hookimpl."
)


@pytest.mark.parametrize("source", ["", "def helper(): pass", "from os import path", "plugin = 3"])
def test_a_plugin_without_hooks_is_told(install_plugin, warned, source):
    install_plugin(source, attribute="plugin" if "plugin" in source else "")
    assert warned() == [NOTHING]


def test_functions_that_a_module_imports_are_no_hooks_of_its_own(install_plugin, warned):
    install_plugin("def on_train_start(trainer): pass\n\n\nhookspec_version = 'odd'\n", "acme-helpers", kind="models")
    install_plugin("from acme_helpers import on_train_start")
    assert warned() == [NOTHING]


def test_no_property_of_a_plugin_is_executed(install_plugin, warned):
    source = (
        "class Part(Good):\n    @property\n    def weights(self): raise AssertionError('executed')\n\npart = Part()"
    )
    install_plugin(CLASS.format(source=source), attribute="part")
    assert warned() == []


def test_a_hook_of_a_later_version_may_be_marked_optional(install_plugin, warned):
    source = "@hookimpl(optionalhook=True)\ndef on_moon(phase): pass\n\n\n@hookimpl\ndef on_train_start(): pass\n"
    install_plugin(IMPORT + source)
    assert warned() == []


MANY = f"""{IMPORT}
@hookimpl
def on_train_strat(trainer): pass

@hookimpl  # end
def on_train_end(trainer, reson, *, error): pass

def should_stop(trainer): pass
"""


def test_everything_that_is_wrong_with_an_installed_plugin_is_told_at_once(install_plugin, warned, caplog):
    module = install_plugin(MANY)
    begin = "The plugin 'faulty' of acme-faulty 1.0 cannot be used:"
    end = module.at("# end")
    assert warned() == [
        f"{begin} on_train_end has no argument 'reson': did you mean 'reason'? ({end}).\n"
        f"{begin} on_train_end has no argument 'error': it has trainer, reason ({end}).\n"
        f"{begin} there is no hook 'on_train_strat': did you mean 'on_train_start'? ({module.at('@hookimpl')}).\n"
        f"{begin} should_stop is named like a hook and is not marked: add @hookimpl, or give it another name "
        f"({module.at('def should_stop')}).\n"
        "It was left out."
    ]


def test_everything_that_is_wrong_with_what_was_chosen_is_told_at_once(install_plugin, refused, tmp_path):
    source = "class Part(Good):\n    @hookimpl\n    def on_train_ende(self): pass\n    def on_train_start(self): pass"
    module = install_plugin(CLASS.format(source=source), kind="callbacks", attribute="Part")

    class Own(Callback):
        @hookimpl
        def track_score(self, nam, value=1.0):
            pass

    own = Own()
    here = f"({__file__}:{Own.track_score.__code__.co_firstlineno})"
    part = "The plugin 'Part' of acme-faulty 1.0 cannot be used:"
    override = module.at("    def on_train_start(self): pass")
    mark = module.at("on_train_ende").rpartition(":")
    assert refused(callbacks=["faulty", own, Callback(), own]) == [
        f"{part} there is no hook 'on_train_ende': did you mean 'on_train_end'? ({mark[0]}:{int(mark[2]) - 1}).",
        f"{part} Part.on_train_start overrides Good.on_train_start without the mark, and would never be called: add "
        f"@hookimpl, or give it another name ({override}).",
        f"The plugin 'Own' cannot be used: track_score has no argument 'nam': did you mean 'name'? {here}.",
        "The plugin 'Own' cannot be used: track_score gives 'value' a default, so that it would never be passed: "
        f"remove the default {here}.",
        "The plugin 'Own_2' cannot be used: it is registered already.",
    ]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_may_be_implemented_without_arguments(make_trainer, hook):
    plugin = type("Plugin", (), {hook: hookimpl(lambda _self: None)})()
    assert make_trainer(callbacks=[plugin]).hooks.implementations(hook)[0].plugin == "Plugin"
