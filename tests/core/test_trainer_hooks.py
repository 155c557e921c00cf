"""Every hook: when it is called, with what, and what a subclass or a plugin can do there."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from artifact_torch import (
    ArrayCallback,
    ArrayCollectionCallback,
    Callback,
    DataSplit,
    PlotCallback,
    PlotCollectionCallback,
    PluginError,
    RunDirectory,
    ScoreCallback,
    ScoreCollectionCallback,
    Trainer,
    ValidationResults,
    ValidationRoutine,
    hookimpl,
)
from artifact_torch.plugin.specs import SPECIFICATIONS
from artifact_torch.testing import HookRecorder, TinyModel, tiny_loader

TRAIN, VALIDATION = DataSplit.TRAIN, DataSplit.VALIDATION


def figure():
    from matplotlib import pyplot

    return pyplot.figure()


def loader_callback(base, name, value, split=VALIDATION):
    members = {
        "reset": lambda _self: None,
        "update": lambda *_: None,
        "compute": lambda _self: value(),
    }
    return type(base.__name__, (base,), members)(name, split=split)


class AnsweringRecorder(HookRecorder):
    """Records every call, and has a state of its own in checkpoints."""

    @hookimpl
    def on_save_checkpoint(self, trainer):
        super().on_save_checkpoint(trainer)
        return {"answer": 42}


class Lossless(TinyModel):
    """Forgets its loss."""

    def forward(self, batch):
        return {"prediction": super().forward(batch)["prediction"]}


def trainer_with(model, recorder, folder, **options):
    return Trainer(
        model,
        tiny_loader(32),
        epochs=2,
        log_every=2,
        device="cpu",
        callbacks=[recorder],
        run=RunDirectory.create("hooks", root=folder),
        params={"model.width": 3},
        use_installed_plugins=False,
        **options,
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two epochs of two batches that exercise every hook, a checkpoint that is saved and read, and a failed run."""
    folder = tmp_path_factory.mktemp("hooks")
    recorder = AnsweringRecorder()
    routine = ValidationRoutine(
        period=2,
        val_loader=tiny_loader(16, seed=1),
        callbacks=[
            loader_callback(ScoreCallback, "score", lambda: 0.5),
            loader_callback(ArrayCallback, "array", lambda: np.arange(3)),
            loader_callback(PlotCallback, "plot", figure),
            loader_callback(ScoreCollectionCallback, "scores", lambda: {"a": 1.0}),
            loader_callback(ArrayCollectionCallback, "arrays", lambda: {"a": np.arange(2)}),
            loader_callback(PlotCollectionCallback, "plots", lambda: {"a": figure()}),
            loader_callback(ScoreCallback, "train_score", lambda: 2.5, TRAIN),
        ],
    )
    trainer = trainer_with(TinyModel(), recorder, folder, validation=routine)
    trainer.train()
    trainer.save_checkpoint()
    trainer.load_checkpoint()
    failed = HookRecorder()
    failing = trainer_with(Lossless(), failed, folder)
    with pytest.raises(Exception, match="returned no 'loss'") as raised:
        failing.train()
    return SimpleNamespace(
        trainer=trainer,
        routine=routine,
        calls=recorder.calls,
        names=recorder.names,
        failed=failed,
        failing=failing,
        error=raised.value,
    )


BATCH = [
    *["execute_batch_preprocessing", "on_before_optimizer_step", "execute_batch_postprocessing"],
    "should_stop_in_epoch",
]
LOGGED_BATCH = [*BATCH[:2], "log_batch_metrics", "track_score", *BATCH[2:]]
DOCUMENTED_ORDER = [
    *["get_validation_period", "get_train_loader_callbacks", "get_val_loader_callbacks"],
    *["get_validation_plan", "get_validation_plan"],
    *["track_params", "on_train_start"],
    *["execute_epoch_preprocessing", *BATCH, *LOGGED_BATCH],
    *["track_score", "log_epoch_metrics", "execute_epoch_postprocessing", "should_stop", "should_stop_in_epoch"],
    *["execute_epoch_preprocessing", *BATCH, *LOGGED_BATCH],
    *["track_score", "on_evaluation_start", "on_validation_start", "execute_validation", "on_evaluation_end"],
    "on_validation_end",
    *["track_score", "track_score", "track_array", "track_plot"],
    *["track_score_collection", "track_array_collection", "track_plot_collection"],
    *["log_epoch_metrics", "execute_epoch_postprocessing", "should_stop"],
    *["on_evaluation_start", "on_evaluation_end", "track_file", "on_train_end"],
    *["on_save_checkpoint", "on_load_checkpoint"],
]


def test_hooks_are_called_in_the_documented_order(recorded):
    assert recorded.names == DOCUMENTED_ORDER


def test_a_failing_run_calls_on_exception_then_on_train_end(recorded):
    assert recorded.failed.names[-3:] == ["execute_batch_preprocessing", "on_exception", "on_train_end"]


def tracked(name, value, split=VALIDATION, epoch=2, step=4):
    return {"name": name, "value": value, "split": split, "epoch": epoch, "step": step}


def expected_calls(recorded):
    """Hook -> the arguments of each of its calls, as documented; None stands for any value."""
    trainer, routine = recorded.trainer, recorded.routine
    by_trainer, by_routine = {"trainer": trainer}, {"routine": routine}
    batch = {"trainer": trainer, "batch": None, "model_output": None}
    return {
        "get_validation_period": [by_routine],
        "get_validation_plan": [by_routine | {"split": TRAIN}, by_routine | {"split": VALIDATION}],
        "get_train_loader_callbacks": [by_routine],
        "get_val_loader_callbacks": [by_routine],
        "track_params": [{"params": {"model.width": 3}}],
        "on_train_start": [by_trainer],
        "execute_epoch_preprocessing": [by_trainer] * 2,
        "execute_batch_preprocessing": [{"trainer": trainer, "batch": None}] * 4,
        "on_before_optimizer_step": [by_trainer] * 4,
        "execute_batch_postprocessing": [batch] * 4,
        "log_batch_metrics": [batch] * 2,
        "log_epoch_metrics": [by_trainer] * 2,
        "execute_epoch_postprocessing": [by_trainer] * 2,
        "should_stop": [by_trainer] * 2,
        "should_stop_in_epoch": [by_trainer] * 5,
        "on_evaluation_start": [by_trainer] * 2,
        "on_evaluation_end": [by_trainer] * 2,
        "on_validation_start": [by_trainer],
        "execute_validation": [{"routine": routine, "trainer": trainer}],
        "on_validation_end": [{"trainer": trainer, "results": None}],
        "on_artifacts_awaited": [],
        "track_score": [
            tracked("batch/loss", None, TRAIN, epoch=1, step=2),
            tracked("loss", None, TRAIN, epoch=1, step=2),
            tracked("batch/loss", None, TRAIN),
            tracked("loss", None, TRAIN),
            tracked("train_score", 2.5, TRAIN),
            tracked("score", 0.5),
        ],
        "track_score_collection": [tracked("scores", {"a": 1.0})],
        "track_array": [tracked("array", None)],
        "track_array_collection": [tracked("arrays", None)],
        "track_plot": [tracked("plot", None)],
        "track_plot_collection": [tracked("plots", None)],
        "track_file": [{"name": "model", "path": trainer.run.model_path, "split": TRAIN, "epoch": 2, "step": 4}],
        "on_train_end": [{"trainer": trainer, "reason": "all 2 epochs are done"}],
        "on_save_checkpoint": [by_trainer],
        "on_load_checkpoint": [{"trainer": trainer, "state": {"answer": 42}}],
        "on_exception": [{"trainer": recorded.failing, "error": recorded.error}],
    }


ALL_HOOKS = [name for each in SPECIFICATIONS for name in vars(each) if not name.startswith("_")]


@pytest.mark.parametrize("hook", ALL_HOOKS)
def test_hook(recorded, hook):
    calls = recorded.failed.calls if hook == "on_exception" else recorded.calls
    found = [arguments for name, arguments in calls if name == hook]
    expected = expected_calls(recorded)[hook]
    assert len(found) == len(expected)
    for arguments, wanted in zip(found, expected, strict=True):
        assert arguments.keys() == wanted.keys()
        for name, value in wanted.items():
            assert value is None or arguments[name] == value, name


@pytest.mark.parametrize("hook", ALL_HOOKS)
def test_hook_is_documented(hook):
    (function,) = (vars(each)[hook] for each in SPECIFICATIONS if hook in vars(each))
    assert inspect.getdoc(function).startswith("Called ")


def test_batches_outputs_and_artifacts_reach_the_hooks_whole(recorded):
    (batch,) = [each for name, each in recorded.calls if name == "execute_batch_postprocessing"][:1]
    assert batch["batch"].keys() == {"features", "target"}
    assert batch["batch"]["features"].shape == (16, 3)
    assert batch["model_output"]["loss"].shape == ()
    arguments = dict(recorded.calls)
    assert arguments["track_array"]["value"].tolist() == [0, 1, 2]
    assert arguments["track_array_collection"]["value"]["a"].tolist() == [0, 1]
    assert arguments["track_plot"]["value"].png()[1:4] == b"PNG"
    assert arguments["on_validation_end"]["results"].of_split(VALIDATION).scores == {"score": 0.5}


# What is true at the moment of a call.


def test_state_at_each_hook_is_as_documented(make_trainer):
    seen = {}

    class Look(Callback):
        @hookimpl
        def on_train_start(self, trainer):
            seen["start"] = (trainer.state.epoch, trainer.state.step, trainer.model.training)

        @hookimpl
        def execute_epoch_preprocessing(self, trainer):
            seen.setdefault("epochs", []).append(trainer.state.epoch)

        @hookimpl
        def execute_batch_preprocessing(self, trainer):
            seen.setdefault("before", []).append((trainer.state.step, trainer.state.batch_in_epoch))

        @hookimpl
        def on_before_optimizer_step(self, trainer):
            weight = trainer.model.layers[1].weight
            seen["gradient"] = weight.grad is not None and bool(weight.grad.any())

        @hookimpl
        def execute_batch_postprocessing(self, trainer):
            seen.setdefault("after", []).append((trainer.state.step, len(trainer.batch_metrics)))

        @hookimpl
        def on_validation_start(self, trainer):
            seen["validation"] = (trainer.model.training, torch.is_grad_enabled())

        @hookimpl
        def log_epoch_metrics(self, trainer):
            assert trainer.epoch_scores["validation/score"].iloc[-1] == 0.5
            return {"more": 1}

        @hookimpl
        def execute_epoch_postprocessing(self, trainer):
            seen.setdefault("rows", []).append(trainer.epoch_scores["train/more"].index.tolist())

    routine = ValidationRoutine(
        val_loader=tiny_loader(16), callbacks=[loader_callback(ScoreCallback, "score", lambda: 0.5)]
    )
    make_trainer(loader=tiny_loader(32), callbacks=[Look()], validation=routine, log_every=2).train()
    assert seen["start"] == (0, 0, True)
    assert seen["epochs"] == [1, 2]
    assert seen["before"] == [(0, 0), (1, 1), (2, 0), (3, 1)]
    assert seen["after"] == [(1, 0), (2, 1), (3, 1), (4, 2)]
    assert seen["gradient"] is True
    assert seen["validation"] == (False, False)
    assert seen["rows"] == [[1], [1, 2]]


def test_batch_preprocessing_may_edit_the_batch(make_trainer):
    class Silence(Callback):
        @hookimpl
        def execute_batch_preprocessing(self, batch):
            batch["target"] = torch.zeros_like(batch["target"])

    trainer = make_trainer(callbacks=[Silence()])
    trainer.train()
    assert trainer.epoch_scores["train/loss"].tolist() == [0.0, 0.0]


def test_gradients_may_be_edited_before_the_step(make_trainer):
    class Freeze(Callback):
        @hookimpl
        def on_before_optimizer_step(self, trainer):
            for parameter in trainer.model.parameters():
                parameter.grad.zero_()

    trainer = make_trainer(callbacks=[Freeze()])
    trainer.train()
    assert all(not parameter.any() for parameter in trainer.model.parameters())


def test_all_reasons_to_stop_are_collected_and_named(make_trainer):
    def stopper(name, reason):
        return type(name, (Callback,), {"should_stop": hookimpl(lambda _self: reason)})()

    trainer = make_trainer(
        epochs=9, callbacks=[stopper("First", "enough"), stopper("Silent", None), stopper("Second", "too long")]
    )
    result = trainer.train()
    assert sorted(result.reason.split("; ")) == ["First: enough", "Second: too long"]
    assert result.epochs == 1


# Subclass hooks.

TRAINER_METHODS = {
    "_should_stop": None,
    "_execute_epoch_preprocessing": None,
    "_execute_epoch_postprocessing": None,
    "_execute_batch_preprocessing": None,
    "_execute_batch_postprocessing": None,
    "_log_batch_metrics": {},
    "_log_epoch_metrics": {},
}
ROUTINE_METHODS = {
    "_get_validation_period": 1,
    "_get_validation_plan": None,
    "_get_train_loader_callbacks": [],
    "_get_val_loader_callbacks": [],
    "_execute_validation": ValidationResults(),
}


def overriding(base, method, answer, *, keep):
    """A subclass of ``base`` whose ``method`` counts its calls, and whether it calls ``super()``."""

    def override(self, *arguments):
        subclass.count += 1
        return getattr(super(subclass, self), method)(*arguments) if keep else answer

    subclass = type(f"Own{base.__name__}", (base,), {method: override, "count": 0})
    return subclass


@pytest.mark.parametrize("keep", [True, False], ids=["with_super", "without_super"])
@pytest.mark.parametrize("method", TRAINER_METHODS)
def test_overriding_a_trainer_method_keeps_plugins_with_super_and_replaces_them_without(method, keep):
    recorder = HookRecorder()
    subclass = overriding(Trainer, method, TRAINER_METHODS[method], keep=keep)
    trainer = subclass(
        TinyModel(),
        tiny_loader(),
        epochs=2,
        log_every=1,
        device="cpu",
        callbacks=[recorder],
        use_installed_plugins=False,
    )
    trainer.train()
    assert subclass.count == (8 if "batch" in method else 2)
    assert recorder.names.count(method[1:]) == (subclass.count if keep else 0)


@pytest.mark.parametrize("keep", [True, False], ids=["with_super", "without_super"])
@pytest.mark.parametrize("method", ROUTINE_METHODS)
def test_overriding_a_routine_method_keeps_plugins_with_super_and_replaces_them_without(make_trainer, method, keep):
    recorder = HookRecorder()
    subclass = overriding(ValidationRoutine, method, ROUTINE_METHODS[method], keep=keep)
    score = loader_callback(ScoreCallback, "score", lambda: 0.5, TRAIN)
    trainer = make_trainer(epochs=1, callbacks=[recorder], validation=subclass(callbacks=[score]))
    trainer.train()
    assert subclass.count == (2 if method == "_get_validation_plan" else 1)
    assert recorder.names.count(method[1:]) == (subclass.count if keep else 0)


def test_a_subclass_adds_its_metrics_to_those_of_plugins():
    class Counting(Trainer):
        def _log_epoch_metrics(self):
            return {**super()._log_epoch_metrics(), "own": 1.0}

    class Plugin(Callback):
        @hookimpl
        def log_epoch_metrics(self):
            return {"plugin": 2.0}

    trainer = Counting(TinyModel(), tiny_loader(), epochs=1, device="cpu", callbacks=[Plugin()])
    trainer.train()
    assert trainer.epoch_scores.loc[1, ["train/own", "train/plugin"]].tolist() == [1.0, 2.0]


def test_a_subclass_metric_named_like_the_loss_is_refused():
    class Replacing(Trainer):
        def _log_epoch_metrics(self):
            return {"loss": 0.0}

    with pytest.raises(PluginError, match="both return a metric named 'loss'"):
        Replacing(TinyModel(), tiny_loader(), epochs=1, device="cpu").train()


# Wrappers and order.
