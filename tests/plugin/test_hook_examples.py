"""The example of every hook: executed as a module of its own, in a real training, with the effect that it promises."""

from __future__ import annotations

import functools
import json
import types
from pathlib import Path

import numpy as np
import pytest

from artifact_torch import (
    ArrayCallback,
    ArrayCollectionCallback,
    ArtifactKind,
    DataSplit,
    MissingLossError,
    Period,
    PlotCallback,
    PlotCollectionCallback,
    RunDirectory,
    ScoreCallback,
    ScoreCollectionCallback,
    Trainer,
    ValidationRoutine,
)
from artifact_torch.plugin.documentation import document_hooks
from artifact_torch.testing import TinyModel, TinyPlan, tiny_loader

EXAMPLES = {hook.name: hook.example for hook in document_hooks()}
MOST_LINES = 10


def figure():
    from matplotlib import pyplot

    return pyplot.figure(figsize=(1, 1))


KINDS = [
    (ScoreCallback, "score", lambda: 0.5),
    (ScoreCollectionCallback, "scores", lambda: {"a": 1.0, "b": 2.0}),
    (ArrayCallback, "array", lambda: np.arange(3)),
    (ArrayCollectionCallback, "arrays", lambda: {"a": np.array([np.nan])}),
    (PlotCallback, "plots/plot", figure),
    (PlotCollectionCallback, "plots", lambda: {"a": figure()}),
]


def computing(base, name, value):
    members = {"reset": lambda _self: None, "update": lambda *_: None, "compute": lambda _self: value()}
    return type(base.__name__, (base,), members)(name)


class Routine(ValidationRoutine):
    """Validates all six kinds of artifacts."""

    def __init__(self, plans):
        callbacks = [computing(base, name, value) for base, name, value in KINDS]
        loader = tiny_loader(16, seed=1)
        super().__init__(period=2, val_loader=loader, callbacks=callbacks, plans=plans, mode="background")


class Lossless(TinyModel):
    """Forgets its loss."""

    def forward(self, batch):
        return {"prediction": super().forward(batch)["prediction"]}


def example_module(hook, calls):
    """The example as a module, with the one change that it says when its implementation is called."""
    module = types.ModuleType(f"example_of_{hook}")
    exec(compile(EXAMPLES[hook], module.__name__, "exec"), vars(module))
    implementation = getattr(module, hook)

    @functools.wraps(implementation)  # pluggy passes the arguments that the wrapped function names
    def counted(*arguments):
        calls.append(hook)
        return implementation(*arguments)

    setattr(module, hook, counted)
    return module


def trainer_with(module, model, *, awaited=False):
    return Trainer(
        model,
        tiny_loader(32),
        epochs=2,
        log_every=2,
        validation=Routine(plans=[TinyPlan(kinds=[ArtifactKind.SCORE])] if awaited else []),
        callbacks=[module],
        device="cpu",
        run=RunDirectory.create("examples"),
        params={"model.width": 3},
        use_installed_plugins=False,
    )


def trained(hook, calls):
    """A trainer after two epochs with the example, a checkpoint that was saved and read, and the example's module."""
    module = example_module(hook, calls)
    if hook == "on_exception":
        trainer = trainer_with(module, Lossless())
        with pytest.raises(MissingLossError, match="returned no 'loss'"):
            trainer.train()
        assert trainer.run.record["status"] == "failed"
        return trainer, module
    trainer = trainer_with(module, TinyModel(), awaited=hook == "on_artifacts_awaited")
    result = trainer.train()
    trainer.save_checkpoint()
    trainer.load_checkpoint()
    assert (result.reason, result.epochs, result.steps) == ("all 2 epochs are done", 2, 4)
    assert trainer.run.record["status"] == "finished"
    return trainer, module


def text_of(path):
    return path.read_text(encoding="utf-8")


def weights_of(trainer):
    return [parameter.tolist() for parameter in trainer.model.parameters()]


def differs_from_a_plain_training(it):
    plain = trainer_with(types.ModuleType("nothing"), TinyModel())
    plain.train()
    return weights_of(it.trainer) != weights_of(plain)


def saves_every_thousand_steps(it):
    it.trainer.state.step = 1000
    it.module.execute_batch_postprocessing(it.trainer)
    saved = [path.name for path in it.trainer.run.checkpoints.paths()]
    return saved == ["0001-step-000000004", "0002-step-000001000"]


def saves_rounded_weights(it):
    saved = TinyModel.load(it.run / "model")
    rounded = [parameter.data.bfloat16().float().tolist() for parameter in it.trainer.model.parameters()]
    return [parameter.tolist() for parameter in saved.parameters()] == rounded != weights_of(it.trainer)


def stops_after_an_hour(it):
    it.trainer.state.seconds = 3601.0
    return it.module.should_stop_in_epoch(it.trainer) == "an hour is over"


def stops_if_the_file_is_there(it):
    (it.run / "stop").touch()
    return "file named stop" in it.trainer.train().reason


def has_its_state_back(it):
    it.module.samples["seen"] = 5
    it.trainer.load_checkpoint()
    return it.module.samples == {"seen": 0}


# Hook -> whether the example has done what it is there for. ``it`` has the trainer after the training, the example's
# module, the folder of the run and the home of all runs.
EFFECTS = {
    "on_train_start": lambda it: text_of(it.run / "model.txt") == str(it.trainer.model),
    "on_train_end": lambda it: "train/loss" in text_of(it.run / "scores.csv"),
    "on_evaluation_start": saves_rounded_weights,
    "on_evaluation_end": lambda it: text_of(it.run / "log.txt").count("Used the model of step 4.") == 2,
    "should_stop_in_epoch": stops_after_an_hour,
    "on_exception": lambda it: json.loads(text_of(it.run / "failure.json")).items() >= {"epoch": 1, "step": 0}.items(),
    "execute_epoch_preprocessing": lambda it: it.trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.0009),
    "execute_epoch_postprocessing": lambda it: (
        [line.split(",")[0] for line in text_of(it.run / "losses.csv").splitlines()] == ["1", "2"]
    ),
    "execute_batch_preprocessing": differs_from_a_plain_training,
    "on_before_optimizer_step": differs_from_a_plain_training,
    "execute_batch_postprocessing": saves_every_thousand_steps,
    "should_stop": stops_if_the_file_is_there,
    "log_batch_metrics": lambda it: it.trainer.batch_metrics["learning_rate"].tolist() == [0.001, 0.001],
    "log_epoch_metrics": lambda it: it.trainer.epoch_scores["train/weight_norm"].min() > 0,
    "get_validation_period": lambda it: it.trainer.validation.period == Period(1),
    "get_validation_plan": lambda it: it.trainer.score_history("train/weight_norm").keys() == {2},
    "get_train_loader_callbacks": lambda it: it.trainer.latest_score("train/evaluation_loss") > 0,
    "get_val_loader_callbacks": lambda it: it.trainer.latest_score("validation/held_out_loss") > 0,
    "execute_validation": lambda it: it.trainer.latest_score("validation/seconds") > 0,
    "on_validation_start": lambda it: "Validating after step 4." in text_of(it.run / "log.txt"),
    "on_validation_end": lambda it: it.trainer.latest_score("validation/mean_of_scores") == 0.5,
    "on_artifacts_awaited": lambda it: it.trainer.run.record["seconds_waited_for_validation"] > 0,
    "track_params": lambda it: json.loads(text_of(it.home / "params.jsonl")) == {"model.width": 3},
    "track_score": lambda it: "score,validation,2,4,0.5" in text_of(it.home / "scores.csv"),
    "track_score_collection": lambda it: it.module.worst_columns == [(2, "scores", "b")],
    "track_array": lambda it: it.module.history["array", DataSplit.VALIDATION][2].tolist() == [0, 1, 2],
    "track_array_collection": lambda it: "NaN in a of arrays, epoch 2." in text_of(it.run / "log.txt"),
    "track_plot": lambda it: (it.home / "latest-validation-plots-plot.png").read_bytes()[1:4] == b"PNG",
    "track_plot_collection": lambda it: it.module.thumbnails["plots/a"].size[0] > 10,
    "track_file": lambda it: (it.home / "latest-model").resolve() == it.trainer.run.model_path.resolve(),
    "on_save_checkpoint": lambda it: it.module.samples == {"seen": 64},
    "on_load_checkpoint": has_its_state_back,
}


def test_every_example_has_an_effect_to_look_for():
    assert EFFECTS.keys() == EXAMPLES.keys()


@pytest.mark.parametrize("hook", EXAMPLES)
def test_an_example_runs_in_a_training_and_has_its_effect(hook, tmp_path, monkeypatch):
    elsewhere, calls = tmp_path / "elsewhere", []
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("VALIDATION_PERIOD", "1" if hook == "get_validation_period" else "")
    trainer, module = trained(hook, calls)
    assert calls
    it = types.SimpleNamespace(trainer=trainer, module=module, run=trainer.run.path, home=tmp_path / "runs")
    assert EFFECTS[hook](it)
    assert not list(Path().iterdir())
    # What a plugin may not do without saying so is warned about with the way out.
    assert not [warning for warning in trainer.plugins.warnings if "changes_training" in warning]


@pytest.mark.parametrize("hook", EXAMPLES)
def test_an_example_is_short(hook):
    assert 2 <= len([line for line in EXAMPLES[hook].splitlines() if line.strip()]) <= MOST_LINES
