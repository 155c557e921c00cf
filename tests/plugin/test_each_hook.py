"""Each hook on its own, in a real training: when it is called, with what, and what its answer does.

The order of all calls and their arguments stand in tests/core/test_trainer_hooks.py.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from artifact_torch import (
    ArtifactKind,
    CheckpointError,
    DataSplit,
    Period,
    PluginError,
    ScoreCallback,
    ValidationResults,
    ValidationRoutine,
    hookimpl,
)
from artifact_torch.plugin.specs import SPECIFICATIONS
from artifact_torch.testing import TinyPlan, tiny_loader

TRAIN, VALIDATION = DataSplit.TRAIN, DataSplit.VALIDATION


class NumberOfSamples(ScoreCallback):
    """Counts the samples of a loader."""

    def reset(self):
        self.count = 0

    def update(self, batch, model_output):
        assert model_output["loss"].shape == ()
        self.count += len(batch["features"])

    def compute(self):
        return float(self.count)


class Answering:
    """Gives one artifact as the result of every validation."""

    def __init__(self, kind, name, value):
        self.results = ValidationResults()
        self.results.of_split(VALIDATION).of_kind(kind)[name] = value

    @hookimpl
    def execute_validation(self):
        return self.results


def figure():
    from matplotlib import pyplot

    return pyplot.figure(figsize=(1, 1))


def is_open(figure):
    from matplotlib import pyplot

    return pyplot.fignum_exists(figure.number)


# Run.


def test_hook_on_evaluation_start(make_trainer):
    seen = []

    class Plugin:
        @hookimpl
        def on_evaluation_start(self, trainer):
            seen.append(("evaluated", trainer.state.step, trainer.model.training))

        @hookimpl
        def on_validation_start(self):
            seen.append("validated")

    routine = ValidationRoutine(val_loader=tiny_loader(16), callbacks=[NumberOfSamples("samples")], period=2)
    trainer = make_trainer(epochs=2, callbacks=[Plugin()], validation=routine)
    trainer.train()
    assert seen == [("evaluated", 8, True), "validated", ("evaluated", 8, True)]  # the second before it is saved
    with trainer.evaluating(), trainer.evaluating():
        assert len(seen) == 4


def test_hook_on_evaluation_end(make_trainer):
    weights = []

    class Half:
        """Evaluates half of the weights."""

        @hookimpl
        def on_evaluation_start(self, trainer):
            weights.append(trainer.model.layers[1].weight.clone())
            trainer.model.layers[1].weight.data.mul_(0.5)

        @hookimpl
        def on_evaluation_end(self, trainer):
            trainer.model.layers[1].weight.data.copy_(weights[-1])

    plain, halved = make_trainer(), make_trainer(callbacks=[Half()])
    plain.train()
    halved.train()
    assert torch.equal(plain.model.layers[1].weight, halved.model.layers[1].weight)
    saved = type(halved.model).load(halved.run.model_path)
    assert torch.equal(saved.layers[1].weight, halved.model.layers[1].weight / 2)
    with pytest.raises(ValueError, match="while evaluating"), halved.evaluating():
        raise ValueError("while evaluating")
    assert torch.equal(plain.model.layers[1].weight, halved.model.layers[1].weight)


def test_hook_on_train_start(make_trainer):
    seen = []

    class Plugin:
        @hookimpl
        def on_train_start(self, trainer):
            seen.append((trainer.state.step, trainer.model.training, trainer.run.record["status"]))

    trainer = make_trainer(callbacks=[Plugin()])
    assert not seen
    trainer.train()
    assert seen == [(0, True, "running")]


def test_hook_on_train_end(make_trainer):
    seen = []

    class Plugin:
        @hookimpl
        def on_train_end(self, trainer, reason):
            seen.append((trainer.state.epochs_completed, reason, trainer.run.model_path.is_dir()))
            raise ValueError("the first of two")

    class Other:
        @hookimpl
        def on_train_end(self):
            seen.append("the other one too")
            raise ValueError("the second of two")

    trainer = make_trainer(callbacks=[Plugin(), Other()])
    with pytest.raises(ValueError, match="the first of two"):
        trainer.train()
    assert seen == [(2, "all 2 epochs are done", True), "the other one too"]


def test_hook_on_exception(make_trainer):
    seen, broken = [], ValueError("the training's own")

    class Plugin:
        @hookimpl
        def execute_epoch_preprocessing(self, trainer):
            if trainer.state.epoch == 2:
                raise broken

        @hookimpl
        def on_exception(self, trainer, error):
            seen.append((error is broken, trainer.state.step))
            raise RuntimeError("cannot even do this")

        @hookimpl
        def on_train_end(self):
            seen.append("end")

    class Other:
        @hookimpl
        def on_exception(self):
            seen.append("the other one too")

    with pytest.raises(ValueError, match="the training's own"):
        make_trainer(callbacks=[Plugin(), Other()]).train()
    assert seen == [(True, 4), "the other one too", "end"]


# Loop.


def test_hook_execute_epoch_preprocessing(make_trainer):
    seen = []

    class Plugin:
        @hookimpl
        def execute_epoch_preprocessing(self, trainer):
            seen.append((trainer.state.epoch, trainer.state.step))
            trainer.optimizer.param_groups[0]["lr"] = 0.0

    trainer = make_trainer(callbacks=[Plugin()])
    trainer.train()
    assert seen == [(1, 0), (2, 4)]
    assert not any(parameter.any() for parameter in trainer.model.parameters())


def test_hook_execute_epoch_postprocessing(make_trainer):
    seen = []

    class Plugin:
        @hookimpl
        def execute_epoch_postprocessing(self, trainer):
            seen.append((trainer.state.epochs_completed, trainer.epoch_scores["train/loss"].index.tolist()))
            trainer.save_checkpoint()

    trainer = make_trainer(callbacks=[Plugin()])
    trainer.train()
    assert seen == [(1, [1]), (2, [1, 2])]
    resumed = make_trainer()
    resumed.load_checkpoint(trainer.run.checkpoints.paths()[0])
    assert (resumed.state.epochs_completed, resumed.state.batch_in_epoch) == (1, 0)
    assert resumed.epoch_scores.index.tolist() == [1]


def test_hook_execute_batch_preprocessing(make_trainer):
    seen = []

    class Plugin:
        @hookimpl
        def execute_batch_preprocessing(self, trainer, batch):
            seen.append((trainer.state.step, batch["features"].shape))
            batch["target"] = torch.zeros_like(batch["target"])

    class Losing:
        @hookimpl
        def execute_batch_preprocessing(self, batch):
            del batch["target"]

    trainer = make_trainer(epochs=1, callbacks=[Plugin()])
    trainer.train()
    assert seen == [(step, (16, 3)) for step in range(4)]
    assert trainer.latest_score("train/loss") == 0.0
    with pytest.raises(PluginError, match="target"):
        make_trainer(callbacks=[Losing()]).train()


def test_hook_on_before_optimizer_step(make_trainer):
    seen = []

    class Plugin:
        @hookimpl
        def on_before_optimizer_step(self, trainer):
            gradients = [parameter.grad for parameter in trainer.model.parameters()]
            seen.append((trainer.state.step, any(bool(gradient.any()) for gradient in gradients)))
            for gradient in gradients:
                gradient.zero_()

    trainer = make_trainer(epochs=1, callbacks=[Plugin()])
    trainer.train()
    assert seen == [(step, True) for step in range(4)]
    assert not any(parameter.any() for parameter in trainer.model.parameters())


def test_hook_execute_batch_postprocessing(make_trainer):
    seen = []

    class Plugin:
        @hookimpl
        def execute_batch_postprocessing(self, trainer, batch, model_output):
            assert batch["features"].shape == (16, 3)
            assert model_output["prediction"].shape == (16, 1)
            seen.append((trainer.state.step, len(trainer.batch_metrics)))

    make_trainer(epochs=1, log_every=2, callbacks=[Plugin()]).train()
    assert seen == [(1, 0), (2, 1), (3, 1), (4, 2)]


def test_hook_should_stop(make_trainer):
    asked = []

    class Plugin:
        @hookimpl
        def should_stop(self, trainer):
            asked.append(trainer.state.epochs_completed)
            return "two are enough" if trainer.state.epochs_completed == 2 else None

    class Other:
        @hookimpl
        def should_stop(self, trainer):
            return "it is late" if trainer.state.epochs_completed == 2 else None

    result = make_trainer(epochs=9, callbacks=[Plugin(), Other()]).train()
    assert asked == [1, 2]
    assert (result.epochs, result.reason) == (2, "Plugin: two are enough; Other: it is late")


# Metrics.


def test_hook_log_batch_metrics(make_trainer):
    class Plugin:
        @hookimpl
        def log_batch_metrics(self, trainer, batch, model_output):
            return {"samples": len(batch["features"]), "same_loss": model_output["loss"], "at": trainer.state.step}

    class Rival:
        @hookimpl
        def log_batch_metrics(self):
            return {"samples": 1}

    trainer = make_trainer(epochs=1, log_every=2, callbacks=[Plugin()])
    trainer.train()
    assert trainer.batch_metrics.index.tolist() == [2, 4]
    assert trainer.batch_metrics["samples"].tolist() == [16, 16]
    assert trainer.batch_metrics["at"].tolist() == [2, 4]
    assert trainer.batch_metrics["same_loss"].tolist() == trainer.batch_metrics["loss"].tolist()
    with pytest.raises(PluginError, match=r"'Plugin'.*'Rival'.*'samples'"):
        make_trainer(log_every=1, callbacks=[Plugin(), Rival()]).train()


def test_hook_log_epoch_metrics(make_trainer):
    class Plugin:
        @hookimpl
        def log_epoch_metrics(self, trainer):
            return {"epoch_squared": torch.tensor(float(trainer.state.epoch**2))}

    trainer = make_trainer(callbacks=[Plugin()])
    trainer.train()
    assert trainer.epoch_scores["train/epoch_squared"].tolist() == [1.0, 4.0]
    recorded = [json.loads(line) for line in (trainer.run.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["value"] for line in recorded if line["name"] == "epoch_squared"] == [1.0, 4.0]


# Validation.


def test_hook_get_validation_period(make_trainer):
    asked = []

    class Plugin:
        @hookimpl
        def get_validation_period(self, routine):
            asked.append(routine.period)
            return 2

    class Later:
        @hookimpl
        def get_validation_period(self):
            raise AssertionError("the first answer counts")

    routine = ValidationRoutine(callbacks=[NumberOfSamples("samples", split=TRAIN)])
    trainer = make_trainer(epochs=4, callbacks=[Plugin(), Later()], validation=routine)
    assert asked == [Period(1)]
    trainer.train()
    assert trainer.epoch_scores["train/samples"].dropna().index.tolist() == [2, 4]


def test_hook_get_validation_plan(make_trainer):
    asked = []

    class Plugin:
        @hookimpl
        def get_validation_plan(self, routine, split):
            asked.append((routine, split))
            return TinyPlan(split, [ArtifactKind.SCORE]) if split is VALIDATION else None

    class Later:
        @hookimpl
        def get_validation_plan(self, split):
            assert split is TRAIN, "the first answer counts"

    routine = ValidationRoutine(mode="inline")
    trainer = make_trainer(epochs=1, callbacks=[Plugin(), Later()], validation=routine)
    assert asked == [(routine, TRAIN), (routine, VALIDATION)]
    trainer.train()
    assert trainer.latest_score("validation/weight_norm") > 0


@pytest.mark.parametrize("plugin_gives", [None, [], ["tiny"]])
def test_plans_of_a_plugin_take_the_place_of_a_domains_and_not_of_those_that_were_given(make_trainer, plugin_gives):
    kinds = {"default": ArtifactKind.SCORE, "given": ArtifactKind.ARRAY, "tiny": ArtifactKind.SCORE}

    def plan(name, split):
        plan = TinyPlan(split, [kinds[name]])
        plan.name = name
        return plan

    class Domain(ValidationRoutine):
        def _default_plan(self, split):
            return plan("default", split)

    class Plugin:
        @hookimpl
        def get_validation_plan(self, split):
            if plugin_gives is None or split is TRAIN:
                return None
            return [plan(name, split) for name in plugin_gives]

    routine = Domain(mode="inline", plans=[plan("given", VALIDATION)])
    make_trainer(epochs=1, callbacks=[Plugin()], validation=routine)
    found = [(each.split, each.name) for each in routine.plans]
    of_validation = ["default", "given"] if plugin_gives is None else ["given", *plugin_gives]
    assert found == [(TRAIN, "default"), *((VALIDATION, name) for name in of_validation)]


def test_hook_get_train_loader_callbacks(make_trainer):
    class Plugin:
        @hookimpl
        def get_train_loader_callbacks(self):
            return [NumberOfSamples("first", split=TRAIN)]

    class Other:
        @hookimpl
        def get_train_loader_callbacks(self, routine):
            return [NumberOfSamples("second", split=TRAIN)] if routine.train_loader is None else None

    trainer = make_trainer(epochs=1, callbacks=[Plugin(), Other()])
    assert [callback.name for callback in trainer.validation.callbacks[TRAIN]] == ["first", "second"]
    trainer.train()
    assert trainer.epoch_scores.loc[1, ["train/first", "train/second"]].tolist() == [64, 64]


def test_hook_get_val_loader_callbacks(make_trainer):
    class Plugin:
        @hookimpl
        def get_val_loader_callbacks(self, routine):
            return [NumberOfSamples("first")] if routine.val_loader is not None else None

    class Other:
        @hookimpl
        def get_val_loader_callbacks(self):
            return [NumberOfSamples("second")]

    routine = ValidationRoutine(val_loader=tiny_loader(24))
    trainer = make_trainer(epochs=1, callbacks=[Plugin(), Other()], validation=routine)
    assert [callback.name for callback in trainer.validation.callbacks[VALIDATION]] == ["first", "second"]
    trainer.train()
    assert trainer.epoch_scores.loc[1, ["validation/first", "validation/second"]].tolist() == [24, 24]


def test_hook_execute_validation(make_trainer):
    class Plugin:
        @hookimpl
        def execute_validation(self, routine, trainer):
            if trainer.state.epoch == 1:
                return None
            results = ValidationResults()
            results.of_split(TRAIN).scores["half"] = routine.evaluate(trainer).scores["train/samples"] / 2
            return results

    routine = ValidationRoutine(callbacks=[NumberOfSamples("samples", split=TRAIN)])
    trainer = make_trainer(callbacks=[Plugin()], validation=routine)
    trainer.train()
    assert trainer.epoch_scores["train/samples"].dropna().to_dict() == {1: 64}
    assert trainer.epoch_scores["train/half"].dropna().to_dict() == {2: 32}


def test_hook_on_validation_start(make_trainer):
    seen = []

    class Plugin:
        @hookimpl
        def on_validation_start(self, trainer):
            seen.append((trainer.state.epoch, trainer.model.training, torch.is_grad_enabled()))

    make_trainer(epochs=3, callbacks=[Plugin(), Answering("score", "half", 0.5)]).train()
    assert seen == [(1, False, False), (2, False, False), (3, False, False)]


def test_hook_on_validation_end(make_trainer):
    class Plugin:
        @hookimpl
        def on_validation_end(self, trainer, results):
            assert (results.epoch, results.step) == (1, 4)
            results.of_split(VALIDATION).scores["double"] = 2 * results.scores["validation/half"]

    trainer = make_trainer(epochs=1, callbacks=[Plugin(), Answering("score", "half", 0.5)])
    trainer.train()
    assert trainer.latest_score("validation/double") == 1.0
    assert '"double"' in (trainer.run.path / "metrics.jsonl").read_text()


def test_hook_on_artifacts_awaited(make_trainer):
    seen = []

    class Plugin:
        @hookimpl
        def on_artifacts_awaited(self, trainer, left):
            seen.append((trainer.state.epochs_completed, left))

    routine = ValidationRoutine(mode="background", plans=[TinyPlan(kinds=[ArtifactKind.SCORE])])
    make_trainer(epochs=1, callbacks=[Plugin()], validation=routine).train()
    assert seen[0] == (1, 1)
    assert seen[-1] == (1, 0)


# Tracking.


def test_hook_track_params(make_trainer):
    seen = []

    class Plugin:
        @hookimpl
        def track_params(self, params):
            seen.append(dict(params))

        @hookimpl
        def on_train_start(self, trainer):
            seen.append(trainer.run.record["params"])

    make_trainer(params={"model.width": 3}, callbacks=[Plugin()]).train()
    assert seen == [{"model.width": 3}, {"model.width": 3}]


def test_hook_track_score(make_trainer):
    seen = []

    class Plugin:
        @hookimpl
        def track_score(self, name, value, split, epoch, step):
            seen.append((name, split, epoch, step, value))

    trainer = make_trainer(epochs=1, log_every=4, callbacks=[Plugin(), Answering("score", "half", 0.5)])
    trainer.train()
    assert seen == [
        ("batch/loss", TRAIN, 1, 4, trainer.batch_metrics["loss"][4]),
        ("loss", TRAIN, 1, 4, trainer.latest_score("train/loss")),
        ("half", VALIDATION, 1, 4, 0.5),
    ]


def test_hook_track_score_collection(make_trainer):
    seen = []

    class Plugin:
        @hookimpl
        def track_score_collection(self, name, value, split, epoch, step):
            seen.append((name, split, epoch, step, dict(value)))

    collection = {"weight": 0.5, "sex": 0.25}
    trainer = make_trainer(epochs=1, callbacks=[Plugin(), Answering("score_collection", "columns", collection)])
    trainer.train()
    assert seen == [("columns", VALIDATION, 1, 4, collection)]
    assert trainer.latest_score("validation/columns/sex") == 0.25


def test_hook_track_array(make_trainer):
    seen = []

    class Plugin:
        @hookimpl
        def track_array(self, name, value, split, epoch, step):
            seen.append((name, split, epoch, step, value.tolist()))

    trainer = make_trainer(epochs=1, callbacks=[Plugin(), Answering("array", "counts", np.arange(3))])
    trainer.train()
    assert seen == [("counts", VALIDATION, 1, 4, [0, 1, 2])]
    assert np.load(trainer.run.path / "artifacts/array/counts/epoch-1-step-4-validation.npy").tolist() == [0, 1, 2]


def test_hook_track_array_collection(make_trainer):
    seen = []

    class Plugin:
        @hookimpl
        def track_array_collection(self, name, value, split, epoch, step):
            seen.append((name, split, epoch, step, {item: array.tolist() for item, array in value.items()}))

    answering = Answering("array_collection", "counts", {"sex": np.arange(2)})
    trainer = make_trainer(epochs=1, callbacks=[Plugin(), answering])
    trainer.train()
    assert seen == [("counts", VALIDATION, 1, 4, {"sex": [0, 1]})]
    saved = trainer.run.path / "artifacts/array_collection/counts/epoch-1-step-4-validation/sex.npy"
    assert np.load(saved).tolist() == [0, 1]


def test_hook_track_plot(make_trainer):
    seen, plot = [], figure()

    class Plugin:
        @hookimpl
        def track_plot(self, name, value, split, epoch, step):
            seen.append((name, split, epoch, step, value.png()[1:4]))

    trainer = make_trainer(epochs=1, callbacks=[Plugin(), Answering("plot", "histogram", plot)])
    trainer.train()
    assert seen == [("histogram", VALIDATION, 1, 4, b"PNG")]
    assert not is_open(plot)
    assert [path.name for path in trainer.run.plot_paths()] == ["epoch-1-step-4-validation.png"]


def test_hook_track_plot_collection(make_trainer):
    seen, plots = [], {"weight": figure(), "sex": figure()}

    class Plugin:
        @hookimpl
        def track_plot_collection(self, name, value, split, epoch, step):
            seen.append((name, split, epoch, step, [(item, plot.png()[1:4]) for item, plot in value.items()]))

    trainer = make_trainer(epochs=1, callbacks=[Plugin(), Answering("plot_collection", "histograms", plots)])
    trainer.train()
    assert seen == [("histograms", VALIDATION, 1, 4, [("weight", b"PNG"), ("sex", b"PNG")])]
    assert not any(is_open(plot) for plot in plots.values())
    assert [path.name for path in trainer.run.plot_paths()] == ["sex.png", "weight.png"]


def test_hook_track_file(make_trainer):
    seen = []

    class Plugin:
        @hookimpl
        def track_file(self, name, path, split, epoch, step):
            seen.append((name, path, path.is_dir(), split, epoch, step))

        @hookimpl
        def on_train_end(self):
            seen.append("end")

    trainer = make_trainer(epochs=1, callbacks=[Plugin()])
    trainer.train()
    assert seen == [("model", trainer.run.model_path, True, TRAIN, 1, 4), "end"]


# Stopping within an epoch.


def test_hook_should_stop_in_epoch(make_trainer):
    asked = []

    class Plugin:
        @hookimpl
        def should_stop_in_epoch(self, trainer):
            asked.append(trainer.state.step)
            return "six steps are enough" if trainer.state.step == 6 else None

    trainer = make_trainer(callbacks=[Plugin()])
    result = trainer.train()
    assert (result.reason, result.steps, result.epochs) == ("Plugin: six steps are enough", 6, 1)
    assert asked == [1, 2, 3, 4, 4, 5, 6]  # after each step, and between the epochs
    assert trainer.run.record["status"] == "stopped"


# Checkpoints.


def test_hook_on_save_checkpoint(make_trainer):
    class Plugin:
        state = {"number": 1.5, "tensor": torch.arange(3), "nested": [None, {"text": "a"}]}
        loaded = None

        @hookimpl
        def on_save_checkpoint(self, trainer):
            return {**self.state, "step": trainer.state.step}

        @hookimpl
        def on_load_checkpoint(self, state):
            self.loaded = state

    plugin = Plugin()
    trainer = make_trainer(epochs=1, callbacks=[plugin])
    trainer.train()
    trainer.save_checkpoint()
    trainer.load_checkpoint()
    assert plugin.loaded.pop("tensor").tolist() == [0, 1, 2]
    assert plugin.loaded == {"number": 1.5, "nested": [None, {"text": "a"}], "step": 4}
    plugin.state = {"not": object()}
    with pytest.raises(CheckpointError, match="not"):
        trainer.save_checkpoint()
    assert len(trainer.run.checkpoints.paths()) == 1


def test_hook_on_load_checkpoint(make_trainer):
    seen = []

    class Plugin:
        def __init__(self, name):
            self.name = name

        @hookimpl
        def on_save_checkpoint(self):
            return {"name": self.name} if self.name != "silent" else None

        @hookimpl
        def on_load_checkpoint(self, trainer, state):
            seen.append((self.name, state, trainer.state.step, trainer.epoch_scores.index.tolist()))

    def build():
        return make_trainer(epochs=1, callbacks=[Plugin("first"), Plugin("second"), Plugin("silent")])

    trainer = build()
    trainer.train()
    trainer.save_checkpoint()
    assert not seen
    build().load_checkpoint(trainer.run.checkpoints.directory)
    assert sorted(seen) == [("first", {"name": "first"}, 4, [1]), ("second", {"name": "second"}, 4, [1])]


def test_every_hook_has_a_test_of_its_name():
    hooks = {name for specification in SPECIFICATIONS for name in vars(specification) if not name.startswith("_")}
    assert {f"test_hook_{hook}" for hook in hooks} == {name for name in globals() if name.startswith("test_hook_")}
