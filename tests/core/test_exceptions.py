"""Whatever fails, the process is afterwards as it was before, and the first error is the one that is raised."""

from __future__ import annotations

import json
import logging
import random
import signal
import threading

import pytest
import torch

from artifact_torch import Callback, InMemoryDataLoader, OutOfMemoryError, ScoreCallback, ValidationRoutine, hookimpl
from artifact_torch.plugin.markers import hookspec  # noqa: F401 - the specifications carry its mark
from artifact_torch.plugin.specs import (
    CheckpointHooks,
    LoopHooks,
    MetricHooks,
    RunHooks,
    TrackingHooks,
    ValidationHooks,
)
from artifact_torch.testing import TinyModel, tiny_loader

# What a training calls by itself, one after the other; what is asked when a trainer is built fails there.
HOOKS = [
    *[name for hooks in (LoopHooks, MetricHooks) for name in vars(hooks) if not name.startswith("_")],
    *[
        "on_train_start",
        "on_train_end",
        "on_evaluation_start",
        "on_evaluation_end",
        "track_params",
        "track_score",
        "track_file",
    ],
    *["on_validation_start", "execute_validation", "on_validation_end", "on_save_checkpoint"],
]
NOT_CALLED_HERE = {
    "on_exception",  # called because something else failed
    "on_load_checkpoint",
    "get_validation_period",
    "get_validation_plan",
    "on_artifacts_awaited",
    "get_train_loader_callbacks",
    "get_val_loader_callbacks",
    *[name for name in vars(TrackingHooks) if name.startswith("track_") and name not in HOOKS],
}


class DeliberateError(Exception):
    """Raised on purpose."""


class Failing(Callback):
    """Fails in one hook, and leaves hooks of torch behind."""

    def __init__(self, hook, error):
        self.error = error
        self.calls = 0

        def fail(_):
            self.calls += 1
            raise self.error

        fail.__name__ = hook
        setattr(type(self), hook, hookimpl(fail))

    @hookimpl(tryfirst=True)
    def execute_batch_preprocessing(self, trainer):
        if not hasattr(self, "left"):
            self.left = [module.register_forward_hook(lambda *_: None) for module in trainer.model.modules()]


class Teardown(Callback):
    """Counts the ends."""

    def __init__(self):
        self.called = []

    @hookimpl
    def on_exception(self, error):
        self.called.append(error)

    @hookimpl
    def on_train_end(self):
        self.called.append("end")


class Saving(Callback):
    @hookimpl
    def execute_epoch_postprocessing(self, trainer):
        trainer.save_checkpoint(background=True)


class Score(ScoreCallback):
    def reset(self):
        pass

    def update(self, batch, model_output):
        pass

    def compute(self):
        return 1.0


def surroundings(model):
    log = logging.getLogger("artifact_torch")
    return {
        "modes": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) + len(module._backward_hooks) for module in model.modules()],
        "gradients": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "log": (log.handlers.copy(), log.level, log.filters.copy()),
        "threads": set(threading.enumerate()),
        "random": (random.getstate(), torch.get_rng_state().tolist()),
        "autocast": torch.is_autocast_enabled("cpu"),
    }


def build(make_trainer, *callbacks, model=None, **options):
    teardown = Teardown()
    options = {
        "validation": ValidationRoutine(val_loader=tiny_loader()),
        "deterministic": True,
        "precision": "bf16",
        "accumulate": 3,
        "log_every": 1,
        **options,
    }
    return make_trainer(model, callbacks=[*callbacks, teardown, Score("score"), Saving()], **options), teardown


def test_every_hook_is_dealt_with():
    kinds = (LoopHooks, MetricHooks, RunHooks, TrackingHooks, ValidationHooks, CheckpointHooks)
    assert {name for kind in kinds for name in vars(kind) if not name.startswith("_")} == {*HOOKS, *NOT_CALLED_HERE}


@pytest.mark.parametrize("error", [DeliberateError("on purpose"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
@pytest.mark.parametrize("hook", HOOKS)
def test_after_an_error_in_a_hook_the_process_is_as_before(make_trainer, hook, error):
    error.__traceback__ = None
    failing = type("Failing", (Failing,), {})(hook, error)
    trainer, teardown = build(make_trainer, failing)
    trainer.model.layers[0].eval()
    before = surroundings(trainer.model)
    with pytest.raises(type(error)) as raised:
        trainer.train()
    assert raised.value is error
    assert failing.calls >= 1
    assert surroundings(trainer.model) == before
    assert teardown.called == ([] if hook == "on_train_end" else [error]) + ["end"]
    record = json.loads((trainer.run.path / "run.json").read_text())
    assert record["status"] == ("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
    assert type(error).__name__ in record["traceback"]


class Parts(TinyModel):
    """Fails in its forward or its backward pass, the second time."""

    def __init__(self, part):
        super().__init__()
        self.part = part
        self.passes = 0

    def forward(self, batch):
        self.passes += 1
        output = super().forward(batch)
        if self.passes == 2 and self.part == "forward":
            raise DeliberateError(self.part)
        if self.passes == 2 and self.part == "backward":
            output["loss"].register_hook(self.fail)
        if self.passes == 2 and self.part == "loss":
            del output["loss"]
        if self.passes == 2 and self.part == "memory":
            torch.empty(10**15)
        return output

    @staticmethod
    def fail(_gradient):
        raise DeliberateError("backward")


class FailingOptimizer(torch.optim.SGD):
    def step(self, closure=None):
        raise DeliberateError("optimizer")


class FailingLoader(InMemoryDataLoader):
    def batches(self, epoch, *, start=0, device=None):
        yield from list(super().batches(epoch, start=start, device=device))[:2]
        raise DeliberateError("loader")


@pytest.mark.parametrize("part", ["forward", "backward", "loss", "memory", "optimizer", "loader", "scheduler"])
def test_after_an_error_outside_of_hooks_the_process_is_as_before(make_trainer, part):
    model, options = Parts(part), {}
    if part == "optimizer":
        options["optimizer"] = FailingOptimizer(model.parameters(), lr=0.1)
    if part == "loader":
        options["loader"] = FailingLoader(tiny_loader()._tensors, batch_size=16)
    if part == "scheduler":

        def rate(step):
            if step == 2:
                raise DeliberateError("scheduler")
            return 1.0

        options["scheduler"] = lambda optimizer, _steps: torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    trainer, teardown = build(make_trainer, model=model, **options)
    before = surroundings(model)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - which one is checked below
        trainer.train()
    expected = {"loss": "MissingLossError", "memory": "OutOfMemoryError"}.get(part, "DeliberateError")
    assert type(raised.value).__name__ == expected
    assert surroundings(model) == before
    assert teardown.called == [raised.value, "end"]
    assert trainer.run.record["status"] == "failed"


def test_exhausted_memory_is_told_with_the_size_of_the_batches(make_trainer):
    trainer = make_trainer(Parts("memory"))
    with pytest.raises(OutOfMemoryError) as told:
        trainer.train()
    assert str(told.value).startswith(
        "The memory of cpu is exhausted in epoch 1, step 2 with batches of 16 samples: lower batch_size"
    )


def test_once_the_cause_is_gone_training_goes_on(make_trainer):
    whole = make_trainer(TinyModel())
    whole.train()
    model = Parts("forward")
    trainer = make_trainer(model)
    with pytest.raises(DeliberateError):
        trainer.train()
    assert trainer.train().epochs == 2
    assert trainer.state.step == 8


def test_two_trainers_in_one_process_do_not_meet(make_trainer):
    alone = make_trainer(epochs=3)
    alone.train()

    class Training(Callback):
        """Trains another model between two epochs."""

        @hookimpl
        def execute_epoch_postprocessing(self, trainer):
            inner.pop().train()

    inner = [make_trainer(epochs=1, seed=seed) for seed in range(3)]  # building a model draws random numbers
    outer = make_trainer(epochs=3, callbacks=[Training()])
    outer.train()
    assert all(map(torch.equal, alone.model.parameters(), outer.model.parameters()))


def test_training_by_turns_is_training_at_a_stretch(make_trainer):
    alone = make_trainer(epochs=4)
    alone.train()
    first, second = make_trainer(epochs=4), make_trainer(epochs=4)
    for epochs in (1, 2, 3, 4):
        for trainer in (first, second):
            trainer.train(epochs=epochs)
            torch.rand(3), random.random()
    for trainer in (first, second):
        assert all(map(torch.equal, alone.model.parameters(), trainer.model.parameters()))
        assert trainer.epoch_scores.equals(alone.epoch_scores)
