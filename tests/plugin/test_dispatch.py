"""The hooks of the hot loop: resolved on request, called by position."""

from __future__ import annotations

import pytest

from artifact_torch import PluginError, hookimpl
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


class Periodic:
    """Notes the steps in which its hooks are called."""

    def __init__(self, period, name=None):
        self.batch_period = period
        self.steps = []
        self.__name__ = name or "Periodic"

    @hookimpl
    def execute_batch_preprocessing(self, trainer):
        self.steps.append(("before", trainer.state.step + 1))

    @hookimpl
    def on_before_optimizer_step(self, trainer):
        self.steps.append(("gradients", trainer.state.step + 1))

    @hookimpl
    def execute_batch_postprocessing(self, trainer):
        self.steps.append(("after", trainer.state.step))


def due(*steps):
    return [(what, step) for step in steps for what in ("before", "gradients", "after")]


@pytest.mark.parametrize(
    ("period", "steps"),
    [("3 steps", (3, 6)), ("1 step", range(1, 9)), ("5 steps", (5,)), ("9 steps", ()), (1, (1, 5)), (2, (5,))],
)
def test_a_plugin_with_a_period_is_called_in_due_steps_only(make_trainer, period, steps):
    periodic = Periodic(period)
    trainer = make_trainer(callbacks=[periodic])
    trainer.train()
    assert periodic.steps == due(*steps)
    assert trainer.plugin_times.query("hook == 'on_before_optimizer_step'")["calls"].sum() == len(steps)


def test_periods_of_several_plugins_do_not_meet(make_trainer):
    two, three, always = Periodic("2 steps"), Periodic("3 steps"), Periodic(None)
    make_trainer(callbacks=[two, always, three]).train()
    assert two.steps == due(2, 4, 6, 8)
    assert three.steps == due(3, 6)
    assert always.steps == due(*range(1, 9))


def test_a_step_of_several_batches_is_due_as_a_whole(make_trainer):
    periodic = Periodic("2 steps")
    make_trainer(callbacks=[periodic], accumulate=2).train()
    calls = ["before", "after", "before", "gradients", "after"]
    assert [what for what, _ in periodic.steps] == calls * 2
    assert [step for _, step in periodic.steps] == [2, 1, 2, 2, 2, 4, 3, 4, 4, 4]


def test_a_period_of_seconds_is_due_in_the_first_step_after_so_much_time(make_trainer, monkeypatch):
    from artifact_torch.plugin import dispatch

    now = iter(range(1000))  # a second a look
    monkeypatch.setattr(dispatch.time, "monotonic", lambda: next(now))
    periodic = Periodic("3 seconds")
    make_trainer(callbacks=[periodic]).train()
    steps = [step for what, step in periodic.steps if what == "before"]
    assert 1 <= len(steps) <= 3
    assert periodic.steps == due(*steps)


def test_a_period_holds_where_a_wrapper_is(make_trainer):
    class Wrapper:
        @hookimpl(wrapper=True)
        def execute_batch_preprocessing(self):
            return (yield)

    periodic = Periodic("4 steps")
    make_trainer(callbacks=[periodic, Wrapper()]).train()
    assert periodic.steps == due(4, 8)


def test_a_resumed_training_is_due_at_the_same_steps(make_trainer):
    class Save:
        @hookimpl
        def execute_batch_postprocessing(self, trainer):
            if trainer.state.step == 5 and not trainer.run.checkpoints.paths():
                trainer.save_checkpoint()

    trainer = make_trainer(callbacks=[Periodic("3 steps"), Save()])
    trainer.train()
    periodic = Periodic("3 steps")
    again = make_trainer(callbacks=[periodic, Save()], run=trainer.run)
    again.load_checkpoint()
    again.train()
    assert periodic.steps == due(6)


def test_a_period_that_is_none_is_refused(make_trainer):
    with pytest.raises(PluginError, match="its batch_period is wrong: 'often' is no period"):
        make_trainer(callbacks=[Periodic("often")])


def test_a_due_step_stays_due_until_it_ends_whatever_is_registered_in_its_middle(make_trainer):
    class Number:
        """Its first call in an epoch is watched, and all is resolved again after that."""

        @hookimpl
        def log_batch_metrics(self):
            return {"number": 1.0}

    periodic = Periodic("2 steps")
    make_trainer(callbacks=[Number(), periodic], log_every=2).train()
    assert periodic.steps == due(2, 4, 6, 8)


# Priority.


def test_a_higher_priority_is_called_first_and_marks_count_more(make_trainer):
    events = []

    def plugin(name, priority=None, **mark):
        def execute_epoch_preprocessing(self):
            events.append(name)

        members = {"execute_epoch_preprocessing": hookimpl(execute_epoch_preprocessing, **mark)}
        return type(name, (), members if priority is None else {**members, "priority": priority})()

    plugins = [
        plugin("first_given"),
        plugin("low", -5),
        plugin("last", 99, trylast=True),
        plugin("high", 10),
        plugin("second_given", 0),
        plugin("first", -99, tryfirst=True),
    ]
    trainer = make_trainer(epochs=1, callbacks=plugins)
    trainer.train()
    assert events == ["first", "high", "first_given", "second_given", "low", "last"]
    found = trainer.hooks.implementations("execute_epoch_preprocessing")
    assert [each.priority for each in found] == [-99, 10, 0, 0, -5, 99]


def test_a_priority_that_is_no_number_is_refused(make_trainer):
    plugin = noting("Plugin", [])
    plugin.priority = "high"
    with pytest.raises(PluginError, match="its priority is 'high': give a whole number"):
        make_trainer(callbacks=[plugin])
