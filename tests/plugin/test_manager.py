"""The plugins of one trainer: registered whole or not at all, called in a known order, apart from other trainers'."""

from __future__ import annotations

import pytest

from artifact_torch import PluginError, PluginSelection, hookimpl
from artifact_torch.plugin.hooks import Answer
from artifact_torch.plugin.manager import Plugins
from artifact_torch.plugin.specs import LoopHooks, RunHooks, TrackingHooks, ValidationHooks
from artifact_torch.testing import HookRecorder

HOOKS = """
from artifact_torch import hookimpl
events = []
@hookimpl
def should_stop(trainer):
    return "{name}"
"""


def stopping(name, **mark):
    return type(name, (), {"should_stop": hookimpl(lambda _self: name, **mark)})()


def plugins_of(*objects):
    plugins = Plugins()
    for each in objects:
        plugins.register(each)
    return plugins


def reasons(plugins):
    return [answer.value for answer in plugins.hooks.each(LoopHooks.should_stop, trainer=None)]


def test_a_misspelt_hook_is_refused_naming_plugin_and_hook():
    class Misspelt:
        @hookimpl
        def on_train_strat(self, trainer):
            pass

    with pytest.raises(PluginError, match=r"'Misspelt' cannot be used: .*on_train_strat"):
        plugins_of(Misspelt())


def test_an_unknown_argument_is_refused_naming_plugin_hook_and_argument():
    class Curious:
        @hookimpl
        def on_train_start(self, trainer, optimizer):
            pass

    with pytest.raises(PluginError, match=r"'Curious' cannot be used: .*on_train_start.*optimizer"):
        plugins_of(Curious())


def test_a_wrapper_that_does_not_yield_is_refused():
    class Flat:
        @hookimpl(wrapper=True)
        def on_train_start(self):
            return None

    with pytest.raises(PluginError, match=r"'Flat' cannot be used: .*on_train_start"):
        plugins_of(Flat())


@pytest.mark.parametrize("bad", ["on_train_strat", "on_train_start"])
def test_a_refused_plugin_takes_no_part(bad):
    events = []

    def with_unknown_argument(self, nonsense):
        pass

    members = {
        "should_stop": hookimpl(lambda _self: events.append("called")),
        bad: hookimpl(with_unknown_argument),
    }
    plugins = plugins_of(HookRecorder())
    with pytest.raises(PluginError):
        plugins.register(type("HalfGood", (), members)())
    reasons(plugins)
    assert events == []
    assert plugins.names() == ["HookRecorder"]
    plugins.register(HookRecorder())


def test_an_object_is_registered_once():
    recorder = HookRecorder()
    with pytest.raises(PluginError, match="'HookRecorder_2' cannot be used: it is registered already, as 'HookR"):
        plugins_of(recorder, recorder)


def test_plugins_of_one_class_get_numbered_names():
    plugins = plugins_of(HookRecorder(), HookRecorder(), HookRecorder())
    assert sorted(plugins.names()) == ["HookRecorder", "HookRecorder_2", "HookRecorder_3"]


def test_a_plugin_may_be_named():
    recorder, plugins = HookRecorder(), Plugins()
    assert plugins.register(recorder, "mine") == "mine"
    assert plugins.name_of(recorder) == "mine"
    assert plugins.name_of(HookRecorder()) is None


def test_an_object_without_hooks_takes_no_part():
    plugins = plugins_of(object())
    assert plugins.hooks.implementations("should_stop") == ()
    assert reasons(plugins) == []


def test_two_managers_do_not_meet():
    first, second = plugins_of(stopping("one")), plugins_of(stopping("two"))
    assert reasons(first) == ["one"]
    assert reasons(second) == ["two"]


def test_an_implementation_may_take_fewer_arguments_in_any_order():
    class Selective:
        @hookimpl
        def track_score(self, step, name):
            return (name, step)

        @hookimpl
        def on_train_end(self):
            return "nothing"

        @hookimpl
        def on_exception(self, error):
            return error

    hooks = plugins_of(Selective()).hooks
    arguments = {"name": "n", "value": 1.0, "split": "train", "epoch": 2, "step": 3}
    assert hooks.each(TrackingHooks.track_score, **arguments) == [Answer("Selective", ("n", 3), "track_score")]
    assert hooks.each(TrackingHooks.track_score, *arguments.values())[0].value == ("n", 3)
    assert hooks.each(RunHooks.on_train_end, trainer=1, reason=2)[0].value == "nothing"
    assert hooks.each(RunHooks.on_exception, 1, error=2)[0].value == 2


@pytest.mark.parametrize("wrapped", [False, True])
def test_every_way_to_call_keeps_the_documented_order(wrapped):
    class Wrapper:
        @hookimpl(wrapper=True)
        def should_stop(self):
            return (yield)

    plugins = plugins_of(stopping("last", trylast=True), stopping("middle"), stopping("first", tryfirst=True))
    if wrapped:
        plugins.register(Wrapper())
    order = ["first", "middle", "last"]
    assert [(answer.plugin, answer.value) for answer in plugins.hooks.each(LoopHooks.should_stop, trainer=None)] == [
        (name, name) for name in order
    ]
    around = ["Wrapper"] if wrapped else []
    assert [each.plugin for each in plugins.hooks.implementations("should_stop")] == around + order
    assert [each.position for each in plugins.hooks.implementations("should_stop")][len(around) :] == [
        "tryfirst",
        "",
        "trylast",
    ]


def test_a_wrapper_runs_once_around_all_and_may_change_the_answers():
    events = []

    class Wrapper:
        @hookimpl(wrapper=True)
        def should_stop(self):
            events.append("before")
            answers = yield
            events.append(answers)
            return [*answers, "more"]

    plugins = plugins_of(stopping("one"), stopping("two"), Wrapper())
    answers = plugins.hooks.each(LoopHooks.should_stop, trainer=None)
    assert [(answer.plugin, answer.value) for answer in answers] == [
        ("two", "two"),
        ("one", "one"),
        ("Wrapper", "more"),
    ]
    assert events == ["before", ["two", "one"]]


def test_what_the_user_orders_runs_before_all_others():
    plugins = Plugins(PluginSelection(order=("last", "middle")))
    marks = [("first", {"tryfirst": True}), ("middle", {}), ("last", {"trylast": True})]
    plugins.set_up([(stopping(name, **mark), None) for name, mark in marks], installed=False)
    assert reasons(plugins) == ["last", "middle", "first"]


def test_answers_of_none_are_left_out():
    plugins = plugins_of(HookRecorder(), stopping("one"), HookRecorder())
    assert reasons(plugins) == ["one"]


def test_of_a_first_result_hook_the_first_answer_counts():
    def period(value, **mark):
        return type(f"P{value}", (), {"get_validation_period": hookimpl(lambda _self: value, **mark)})()

    plugins = plugins_of(period(2), period(3, tryfirst=True), period(None, tryfirst=True))
    answer = plugins.hooks.first(ValidationHooks.get_validation_period, routine=None)
    assert answer == Answer("P3", 3, "get_validation_period")
    assert Plugins().hooks.first(ValidationHooks.get_validation_period, routine=None) is None


def test_calling_all_goes_on_after_errors_and_returns_them():
    def raising(error):
        def on_train_end(self):
            raise error

        return type("Raising", (), {"on_train_end": hookimpl(on_train_end)})()

    errors = [ValueError("one"), RuntimeError("two")]
    recorders = [HookRecorder(), HookRecorder()]
    plugins = plugins_of(recorders[0], raising(errors[0]), raising(errors[1]), recorders[1])
    raised = plugins.hooks.teardown(RunHooks.on_train_end, trainer=None, reason="")
    assert sorted(map(str, raised)) == ["one", "two"]
    assert [recorder.names for recorder in recorders] == [["on_train_end"]] * 2


# Plugins that act because they are installed.


def installed(name):
    return {"artifact_torch.plugins": {name: f"hooks_{name}"}}


def test_installed_plugins_are_loaded_in_the_order_of_distribution_and_name(install):
    install("b-tools", installed("b"), hooks_b=HOOKS.format(name="b"))
    both = {"artifact_torch.plugins": {"z": "hooks_z", "c": "hooks_c"}}
    install("a-tools", both, hooks_z=HOOKS.format(name="z"), hooks_c=HOOKS.format(name="c"))
    plugins = Plugins()
    plugins.load_installed()
    assert reasons(plugins) == ["c", "z", "b"]
    assert plugins.names() == ["c", "z", "b"]
    assert [(each["distribution"], each["name"]) for each in plugins.plugin_set()] == [
        ("a-tools", "c"),
        ("a-tools", "z"),
        ("b-tools", "b"),
    ]
    assert plugins.warnings == []


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_library_of_acme", "ModuleNotFoundError"),
        (
            "from artifact_torch import hookimpl\n@hookimpl\ndef on_train_strat(trainer): pass",
            "cannot be used: there is no hook 'on_train_strat': did you mean 'on_train_start'?",
        ),
    ],
)
def test_a_broken_installed_plugin_is_left_out_by_name_and_the_others_work(
    install, source, reason, make_trainer, caplog
):
    install("bad-tools", installed("bad"), version="0.3", hooks_bad=source)
    install("good-tools", installed("good"), hooks_good=HOOKS.format(name="good"))
    trainer = make_trainer(use_installed_plugins=True)
    (warning,) = trainer.plugins.warnings
    assert warning.startswith("The plugin 'bad' of bad-tools 0.3 cannot be ")
    assert reason in warning
    assert warning.endswith("It was left out.")
    result = trainer.train()
    assert result.reason == "good: good"
    assert warning in (trainer.run.path / "log.txt").read_text()
    good, bad = [each for each in trainer.run.record["plugins"] if each["distribution"] != "artifact-torch"]
    assert good == {"name": "good", "source": "installed", "distribution": "good-tools", "version": "1.0"}
    assert (bad["name"], bad["source"], bad["version"]) == ("bad", "left out", "0.3")
    assert reason in bad["reason"]


def test_installed_plugins_of_one_name_both_act(install):
    for name in ("a", "b"):
        entry_points = {"artifact_torch.plugins": {"same": f"hooks_same_{name}"}}
        install(f"{name}-tools", entry_points, **{f"hooks_same_{name}": HOOKS.format(name=name)})
    plugins = Plugins()
    plugins.load_installed()
    assert plugins.names() == ["a-tools:same", "b-tools:same"]
    assert reasons(plugins) == ["a", "b"]


def test_installed_plugins_can_be_left_out(install, make_trainer):
    install("a-tools", installed("a"), hooks_a=HOOKS.format(name="a"))
    assert make_trainer(use_installed_plugins=False).train().epochs == 2
