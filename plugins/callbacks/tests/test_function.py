from __future__ import annotations

import functools
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from artifact_torch_callbacks import FunctionCallback

from artifact_torch import ConfigError, PluginError, Trainer, UsageError, hookimpl
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters
from artifact_torch.plugin.specs import SPECIFICATIONS

MakeTrainer = Callable[..., Trainer[Any, Any]]
HOOKS = [name for each in SPECIFICATIONS for name in vars(each) if not name.startswith("_")]


def test_functions_are_called_as_the_hooks_of_their_names(make_trainer: MakeTrainer) -> None:
    assert components.get("callbacks", "function") is FunctionCallback
    called: list[Any] = []
    callback = FunctionCallback(
        on_train_start=lambda: called.append("start"),
        execute_batch_postprocessing=lambda model_output, trainer: called.append(
            (trainer.state.step, model_output["loss"].shape)
        ),
        log_epoch_metrics=lambda trainer: {"twice": 2.0 * trainer.state.epoch},
        should_stop=lambda: "once is enough",
        on_train_end=lambda reason: called.append(reason),
    )
    trainer = make_trainer(callbacks=[callback])
    result = trainer.train()
    reason = "FunctionCallback: once is enough"
    assert called == ["start", *((step, torch.Size([])) for step in (1, 2, 3, 4)), reason]
    assert (result.epochs, result.reason) == (1, reason)
    assert trainer.epoch_scores["train/twice"].tolist() == [2.0]


def test_only_hooks_that_are_given_take_part(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[FunctionCallback(on_train_end=lambda: None)])
    active = [hook for hook in HOOKS if any(each.source == "chosen" for each in trainer.hooks.implementations(hook))]
    assert active == ["on_train_end"]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_can_be_given(make_trainer: MakeTrainer, hook: str) -> None:
    make_trainer(callbacks=[FunctionCallback(**{hook: lambda: None})]).train()


class Counting:
    def __init__(self) -> None:
        self.epochs: list[int] = []

    def count(self, trainer: Trainer) -> None:
        self.epochs.append(trainer.state.epoch)

    def __call__(self, trainer: Trainer) -> None:
        self.count(trainer)


def test_whatever_can_be_called_can_be_given(make_trainer: MakeTrainer) -> None:
    def count_into(counting: Counting, trainer: Trainer) -> None:
        counting.count(trainer)

    first, second, third = Counting(), Counting(), Counting()
    functions = [first.count, second, functools.partial(count_into, third)]
    callbacks = [FunctionCallback(execute_epoch_postprocessing=function) for function in functions]
    make_trainer(callbacks=callbacks).train()
    assert first.epochs == second.epochs == third.epochs == [1, 2]


def test_a_function_may_be_given_twice_and_stays_as_it_is(make_trainer: MakeTrainer) -> None:
    epochs: list[int] = []

    def note(trainer: Trainer) -> None:
        epochs.append(trainer.state.epoch)

    callback = FunctionCallback(execute_epoch_preprocessing=note, execute_epoch_postprocessing=note)
    make_trainer(callbacks=[callback]).train()
    assert epochs == [1, 1, 2, 2]
    assert vars(note) == {}


def test_the_mark_says_whether_it_comes_first_or_last(make_trainer: MakeTrainer) -> None:
    order: list[str] = []

    @hookimpl(trylast=True)
    def last() -> None:
        order.append("last")

    @hookimpl(tryfirst=True)
    def first() -> None:
        order.append("first")

    functions = [last, lambda: order.append("between"), first]
    make_trainer(callbacks=[FunctionCallback(on_train_start=function) for function in functions]).train()
    assert order == ["first", "between", "last"]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_period_spares_the_calls_in_between(make_trainer: MakeTrainer, accumulate: int) -> None:
    steps: list[int] = []
    callback = FunctionCallback(
        batch_period="3 steps", on_before_optimizer_step=lambda trainer: steps.append(trainer.state.step + 1)
    )
    make_trainer(callbacks=[callback], epochs=2 * accumulate, accumulate=accumulate).train()
    assert steps == [3, 6]


@pytest.mark.parametrize("changes_training", [False, True])
def test_a_function_that_changes_training_has_to_say_so(make_trainer: MakeTrainer, changes_training: bool) -> None:
    callback = FunctionCallback(changes_training=changes_training, execute_epoch_preprocessing=lambda: torch.rand(1))
    trainer = make_trainer(callbacks=[callback])
    trainer.train()
    assert bool(trainer.plugins.warnings) is not changes_training


def test_state_of_functions_is_kept_in_checkpoints(make_trainer: MakeTrainer) -> None:
    def counting(counts: dict[str, int]) -> FunctionCallback:
        def count() -> None:
            counts["epochs"] = counts.get("epochs", 0) + 1

        return FunctionCallback(
            execute_epoch_postprocessing=count,
            on_save_checkpoint=lambda: counts,
            on_load_checkpoint=lambda state: counts.update(state),
        )

    first = make_trainer(callbacks=[counting({})])
    first.train()
    counts: dict[str, int] = {}
    resumed = make_trainer(epochs=5, callbacks=[counting(counts)])
    resumed.load_checkpoint(first.save_checkpoint())
    resumed.train()
    assert counts == {"epochs": 5}


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({"on_epoch_end": print}, "cannot take 'on_epoch_end', for there is no such hook: "),
        ({"on_train_ends": print}, "did you mean 'on_train_end'?"),
        ({"zzz": print}, "`artifact-torch list-hooks` shows them"),
        ({"_HOOKS": print}, "no such hook"),
        ({"on_train_end": "print"}, "takes a function as on_train_end, and not 'print': give a lambda"),
        ({"on_train_end": None}, "and not None"),
        ({"on_train_end": dict}, "and not <class 'dict'>"),
        ({"on_train_end": dict.update}, "which arguments"),
        ({"batch_period": "often"}, "'often' is no period"),
    ],
)
def test_what_cannot_be_called_as_a_hook_is_refused(functions: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        FunctionCallback(**functions)


def test_an_argument_that_a_hook_does_not_have_is_told_with_its_line(make_trainer: MakeTrainer) -> None:
    def end(trianer: Trainer) -> None:
        pass

    callback = FunctionCallback(on_train_end=end)
    with pytest.raises(
        PluginError, match=r"no argument 'trianer': did you mean 'trainer'\? \(.*test_function.py:\d+\)"
    ):
        make_trainer(callbacks=[callback])


def test_an_error_in_a_function_names_the_callback_and_the_hook(make_trainer: MakeTrainer) -> None:
    def fail() -> None:
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more") as raised:
        make_trainer(callbacks=[FunctionCallback(execute_epoch_preprocessing=fail)]).train()
    assert "FunctionCallback" in raised.value.__notes__[0]
    assert "execute_epoch_preprocessing, epoch 1, step 0" in raised.value.__notes__[0]


def test_without_a_function_it_is_refused_before_there_is_a_run(make_trainer: MakeTrainer, tmp_path: Any) -> None:
    parameters = validated_parameters(FunctionCallback, {}, source="test", section="callbacks.function")
    callback = FunctionCallback(**parameters)
    with pytest.raises(UsageError, match=r"has no function\. It is for Python, .* In a configuration, choose another"):
        make_trainer(callbacks=[callback])
    assert not (tmp_path / "runs").exists()


def test_a_configuration_can_give_no_function() -> None:
    given = {"on_train_end": "print"}
    with pytest.raises(ConfigError, match=r"unknown key 'on_train_end' in \[callbacks.function\]"):
        validated_parameters(FunctionCallback, given, source="test", section="callbacks.function")


def test_it_can_be_pickled_if_it_is_empty() -> None:
    pickle.loads(pickle.dumps(FunctionCallback()))
