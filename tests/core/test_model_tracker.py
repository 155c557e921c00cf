"""The best models of a training: which are kept, what they hold, and that they survive."""

from __future__ import annotations

import json
import math

import pytest
import torch

from artifact_torch import (
    ArtifactKind,
    DataSplit,
    ModelTracker,
    UsageError,
    ValidationRoutine,
    hookimpl,
    load_model,
)
from artifact_torch.core.model_tracker import read_kept
from artifact_torch.testing import TinyModel, TinyPlan


class Sequence:
    """Records a sequence of numbers as a score of the training split, and remembers the weights of each epoch."""

    def __init__(self, *values, name="number"):
        self.values = values
        self.name = name
        self.weights = {}

    @hookimpl
    def log_epoch_metrics(self, trainer):
        self.weights[trainer.state.epoch] = trainer.model.layers[1].weight.detach().clone()
        value = self.values[trainer.state.epoch - 1]
        return None if value is None else {self.name: value}


def kept_epochs(trainer):
    return [model.epoch for model in trainer.model_tracker.kept]


@pytest.mark.parametrize(
    ("values", "options", "epochs"),
    [
        ((3, 1, 2, 4), {}, [2]),
        ((3, 1, 2, 4), {"mode": "max"}, [4]),
        ((3, 1, 2, 4), {"keep": 2}, [2, 3]),
        ((3, 1, 2, 4), {"keep": 9}, [2, 3, 1, 4]),
        ((1, 1, 1, 1), {}, [1]),
        ((math.nan, 2, math.inf, 3), {"keep": 3}, [2, 4]),
        ((-math.inf, 2, 3, 4), {}, [2]),
        ((0, 2, 0, 3), {"keep": 2}, [1, 3]),
        ((None, 2, None, 1), {"keep": 3}, [4, 2]),
        ((math.nan,) * 4, {}, []),
    ],
)
def test_the_best_models_are_kept_with_their_weights(make_trainer, values, options, epochs):
    sequence = Sequence(*values)
    trainer = make_trainer(epochs=4, callbacks=[sequence], model_tracker=ModelTracker(score="train/number", **options))
    trainer.train()
    assert kept_epochs(trainer) == epochs
    folders = list((trainer.run.path / "best").glob("epoch-*"))
    assert len(folders) == len(epochs)
    assert [model.epoch for model in read_kept(trainer.run.path)] == epochs
    for model in trainer.model_tracker.kept:
        saved = TinyModel.load(trainer.run.path / "best" / model.name)
        assert torch.equal(saved.layers[1].weight, sequence.weights[model.epoch])
        assert (model.score, model.step) == (values[model.epoch - 1], 4 * model.epoch)


def test_the_best_model_is_a_copy(make_trainer):
    sequence = Sequence(1, 2, 3)
    trainer = make_trainer(epochs=3, callbacks=[sequence], model_tracker=ModelTracker(score="train/number"))
    trainer.train()
    best = trainer.best_model
    assert not best.training
    assert torch.equal(best.layers[1].weight, sequence.weights[1])
    assert torch.equal(trainer.model.layers[1].weight, sequence.weights[3])
    with torch.no_grad():
        best.layers[1].weight.zero_()
    assert torch.equal(trainer.best_model.layers[1].weight, sequence.weights[1])


def test_the_best_model_may_be_restored_at_the_end(make_trainer):
    sequence = Sequence(2, 1, 3)
    tracker = ModelTracker(score="train/number", restore_best=True)
    trainer = make_trainer(epochs=3, callbacks=[sequence], model_tracker=tracker)
    trainer.train()
    assert torch.equal(trainer.model.layers[1].weight, sequence.weights[2])
    saved = TinyModel.load(trainer.run.model_path)
    assert torch.equal(saved.layers[1].weight, sequence.weights[2])
    assert trainer.run.record["best_models"][0]["epoch"] == 2


def test_the_registered_class_of_a_kept_model_is_found(make_trainer):
    from artifact_torch import registry

    registry.add("models", "test_model_tracker_tiny", TinyModel)
    trainer = make_trainer(model_tracker=ModelTracker(score="train/loss"))
    trainer.train()
    assert isinstance(load_model(trainer.run.path / "best" / trainer.model_tracker.kept[0].name), TinyModel)


def test_a_function_may_judge_by_several_scores(make_trainer):
    def judge(scores):
        return scores["train/a"] + scores["train/b"] if "train/b" in scores else None

    sequences = [Sequence(1, 5, 2, 3, name="a"), Sequence(9, None, 1, 5, name="b")]
    trainer = make_trainer(epochs=4, callbacks=sequences, model_tracker=ModelTracker(score=judge, keep=5))
    trainer.train()
    assert [(model.epoch, model.score) for model in trainer.model_tracker.kept] == [(3, 3), (4, 8), (1, 10)]


@pytest.mark.parametrize("mode", ["inline", "background"])
def test_a_score_of_validation_keeps_what_was_validated(make_trainer, mode):
    plan = TinyPlan(DataSplit.VALIDATION, [ArtifactKind.SCORE], period="3 steps")
    score = f"validation/{plan.artifacts[0].name}"
    weights = {}

    class Look:
        @hookimpl
        def on_validation_start(self, trainer):
            weights[trainer.state.step] = trainer.model.layers[1].weight.clone()

    trainer = make_trainer(
        epochs=3,
        callbacks=[Look()],
        validation=ValidationRoutine(plans=[plan], mode=mode),
        model_tracker=ModelTracker(score=score, keep=20),
    )
    trainer.train()
    assert sorted(model.step for model in trainer.model_tracker.kept) == [3, 6, 9, 12]
    scores = trainer.validation_results.scores.set_index("step")["value"]
    for model in trainer.model_tracker.kept:
        saved = TinyModel.load(trainer.run.path / "best" / model.name)
        assert torch.equal(saved.layers[1].weight, weights[model.step])
        assert model.score == scores[model.step]
    assert [model.score for model in trainer.model_tracker.kept] == sorted(scores)


def test_averaged_weights_that_were_validated_are_those_that_are_kept(make_trainer):
    class Half:
        @hookimpl
        def on_evaluation_start(self, trainer):
            trainer.model.layers[1].weight.data.mul_(0.5)

        @hookimpl
        def on_evaluation_end(self, trainer):
            trainer.model.layers[1].weight.data.mul_(2.0)

    sequence = Sequence(2, 1, 3)
    tracker = ModelTracker(score="train/number", restore_best=True)
    trainer = make_trainer(epochs=3, callbacks=[Half(), sequence], model_tracker=tracker)
    trainer.train()
    assert torch.equal(trainer.model.layers[1].weight, sequence.weights[2] / 2)
    with trainer.evaluating():
        assert torch.equal(trainer.model.layers[1].weight, sequence.weights[2] / 2)


@pytest.mark.parametrize("save_at", [1, 2, 3])
def test_a_resumed_training_keeps_the_same_models(make_trainer, save_at):
    values = (3, 1, 2, 4, 0)

    class Save:
        @hookimpl(trylast=True)
        def execute_epoch_postprocessing(self, trainer):
            if trainer.state.epoch == save_at:
                trainer.save_checkpoint()

    def build(**options):
        tracker = ModelTracker(score="train/number", keep=2)
        return make_trainer(epochs=5, callbacks=[Sequence(*values), Save()], model_tracker=tracker, **options)

    whole = build()
    whole.train()
    again = build(run=whole.run)
    again.load_checkpoint()
    again.train()
    assert kept_epochs(again) == kept_epochs(whole) == [5, 2]
    assert {path.name for path in (whole.run.path / "best").glob("epoch-*")} == {
        m.name for m in whole.model_tracker.kept
    }


def test_a_run_that_goes_on_in_another_directory_keeps_what_is_there(make_trainer):
    class Save:
        @hookimpl
        def execute_batch_postprocessing(self, trainer):
            if trainer.state.step == 6:  # a model waits for its score
                self.path = trainer.save_checkpoint()

    plan = TinyPlan(DataSplit.VALIDATION, [ArtifactKind.SCORE], period="3 steps")
    score = f"validation/{plan.artifacts[0].name}"

    def build(*callbacks):
        tracker = ModelTracker(score=score, restore_best=True)
        routine = ValidationRoutine(plans=[plan], mode="inline")
        return make_trainer(epochs=3, callbacks=callbacks, validation=routine, model_tracker=tracker)

    save = Save()
    build(save).train()
    elsewhere = build()
    elsewhere.load_checkpoint(save.path)
    elsewhere.train()
    assert (elsewhere.run.path / "best" / elsewhere.model_tracker.kept[0].name).is_dir()


def test_after_a_checkpoint_was_loaded_the_weights_are_those_that_are_trained(make_trainer):
    evaluated = []

    class Look:
        @hookimpl
        def on_evaluation_start(self):
            evaluated.append(True)

    tracker = ModelTracker(score="train/loss", restore_best=True)
    trainer = make_trainer(callbacks=[Look()], model_tracker=tracker)
    trainer.train()
    path = trainer.save_checkpoint()
    evaluated.clear()
    with trainer.evaluating():
        assert not evaluated
    trainer.load_checkpoint(path)
    with trainer.evaluating():
        assert evaluated


def test_a_model_that_cannot_be_kept_is_a_warning(make_trainer, caplog):
    class FullDisk(TinyModel):
        def save(self, path):
            if "best" in str(path):
                raise OSError(28, "No space left on device")
            return super().save(path)

    trainer = make_trainer(FullDisk(), model_tracker=ModelTracker(score="train/loss"))
    assert trainer.train().epochs == 2
    assert "cannot be kept" in caplog.text
    assert "No space left on device" in caplog.text
    with pytest.raises(UsageError, match="No model was kept: none has had a finite train/loss so far"):
        _ = trainer.best_model


def test_without_a_model_tracker_there_is_no_best_model(make_trainer):
    with pytest.raises(UsageError, match=r"give the trainer a model_tracker=ModelTracker\(score=...\)"):
        _ = make_trainer().best_model


@pytest.mark.parametrize(
    ("options", "message"),
    [({"mode": "best"}, "'min' or 'max'"), ({"keep": 0}, "at least 1 model"), ({"score": ""}, "needs a score")],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        ModelTracker(**options)


def test_what_was_kept_is_readable_beside_the_models(make_trainer):
    trainer = make_trainer(model_tracker=ModelTracker(score="train/loss"))
    trainer.train()
    index = json.loads((trainer.run.path / "best" / "models.json").read_text())
    assert (index["score"], index["mode"], len(index["models"])) == ("train/loss", "min", 1)
