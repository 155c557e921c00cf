from __future__ import annotations

import ast
import inspect
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from artifact_torch_callbacks import Metric
from torch import nn

from artifact_torch import ArtifactKind, DataSplit, ModelTracker, Trainer, UsageError, ValidationRoutine
from artifact_torch import registry as components
from artifact_torch.config import ConfigError, validated_parameters
from artifact_torch.testing import TinyModel, tiny_loader

MakeTrainer = Callable[..., Trainer]


def absolute_error(batch: Any, model_output: Any) -> torch.Tensor:
    return (model_output["prediction"] - batch["target"]).abs().mean()


@pytest.fixture(scope="session")
def torchmetrics() -> Any:
    """The package, imported late: that takes seconds."""
    import torchmetrics
    import torchmetrics.classification

    return torchmetrics


def errors(metric: object, **options: Any) -> Metric:
    """A metric of torchmetrics on the entries of the tiny model."""
    return Metric(**{"name": "error", "metric": metric, "prediction": "prediction", "target": "target", **options})


def validated(make_trainer: MakeTrainer, *callbacks: Metric, **options: Any) -> Trainer:
    """A trainer whose validation split has 40 samples in batches of 16, 16 and 8."""
    routine = ValidationRoutine(val_loader=tiny_loader(40, seed=1))
    options = {"model": TinyModel(dropout=0.5), "validation": routine, **options}
    return make_trainer(callbacks=callbacks, **options)


def residuals(trainer: Trainer, loader: Any) -> np.ndarray:
    """Prediction minus target of all samples at once, in evaluation mode."""
    whole = {name: torch.cat([batch[name] for batch in loader]) for name in ("features", "target")}
    with torch.no_grad():
        return (trainer.model.eval()(whole)["prediction"] - whole["target"]).double().numpy()


def test_it_is_found_by_name() -> None:
    assert components.get("callbacks", "metric") is Metric


def test_a_function_is_averaged_over_the_samples_in_evaluation_mode(make_trainer: MakeTrainer) -> None:
    trainer = validated(make_trainer, Metric(name="error", metric=absolute_error))
    trainer.train()
    assert trainer.epoch_scores["validation/error"].notna().all()
    expected = np.abs(residuals(trainer, tiny_loader(40, seed=1))).mean()
    assert trainer.epoch_scores["validation/error"].loc[2] == pytest.approx(expected, rel=1e-6)


def test_a_metric_of_torchmetrics_computes_from_all_batches_at_once(
    make_trainer: MakeTrainer, torchmetrics: Any
) -> None:
    trainer = validated(make_trainer, errors(torchmetrics.MeanSquaredError(squared=False)))
    trainer.train()
    expected = math.sqrt((residuals(trainer, tiny_loader(40, seed=1)) ** 2).mean())
    assert trainer.epoch_scores["validation/error"].loc[2] == pytest.approx(expected, rel=1e-6)


def test_each_validation_begins_anew(make_trainer: MakeTrainer, torchmetrics: Any) -> None:
    routine = ValidationRoutine(val_loader=tiny_loader(40, seed=1))
    callbacks = [errors(torchmetrics.MeanSquaredError()), Metric(name="again", metric=lambda _, output: output["loss"])]
    trainer = make_trainer(callbacks=callbacks, validation=routine, epochs=4)
    trainer.train()
    scores = trainer.epoch_scores
    assert scores["validation/error"].is_monotonic_decreasing
    assert scores["validation/error"].tolist() == pytest.approx(scores["validation/again"].tolist(), rel=1e-6)


def test_the_training_split_is_passed_over_in_evaluation_mode(make_trainer: MakeTrainer, torchmetrics: Any) -> None:
    trainer = make_trainer(TinyModel(dropout=0.5), callbacks=[errors(torchmetrics.MeanAbsoluteError(), split="train")])
    trainer.train()
    expected = np.abs(residuals(trainer, tiny_loader())).mean()
    assert trainer.epoch_scores["train/error"].loc[2] == pytest.approx(expected, rel=1e-6)


def test_a_collection_becomes_a_score_collection(make_trainer: MakeTrainer, torchmetrics: Any) -> None:
    parts = {
        "mse": torchmetrics.MeanSquaredError(),
        "mae": torchmetrics.MeanAbsoluteError(),
        "r2": torchmetrics.R2Score(),
    }
    collection = torchmetrics.MetricCollection(parts)
    trainer = validated(make_trainer, errors(collection))
    results = trainer.validate().of_split(DataSplit.VALIDATION)
    assert set(results.score_collections["error"]) == {"mse", "mae", "r2"}
    assert results.scores == {}
    found = residuals(trainer, tiny_loader(40, seed=1))
    row = trainer.epoch_scores.loc[0]
    assert row["validation/error/mse"] == pytest.approx((found**2).mean(), rel=1e-6)
    assert row["validation/error/mae"] == pytest.approx(np.abs(found).mean(), rel=1e-6)


class Quartiles:
    """What a metric may be that is not of torchmetrics, and gives a mapping: known only when it is computed."""

    def __init__(self) -> None:
        self.updates = self.computed = 0
        self.reset()

    def reset(self) -> None:
        self.values: list[torch.Tensor] = []

    def update(self, prediction: torch.Tensor) -> None:
        self.updates += 1
        self.values.append(prediction)

    def compute(self) -> dict[str, Any]:
        self.computed += 1
        values = torch.cat(self.values)
        return {"low": values.quantile(0.25), "high": values.quantile(0.75), "number": len(values)}


def test_a_mapping_becomes_a_score_collection_from_the_first_validation_on(make_trainer: MakeTrainer) -> None:
    quartiles = Quartiles()
    callback = Metric(name="quartiles", metric=quartiles, prediction="prediction")
    assert callback.kind is ArtifactKind.SCORE  # nothing is known of it yet
    trainer = validated(make_trainer, callback)
    trainer.train()
    assert callback.kind is ArtifactKind.SCORE_COLLECTION
    assert trainer.epoch_scores["validation/quartiles/number"].tolist() == [40, 40]
    assert {"validation/quartiles/low", "validation/quartiles/high"} < set(trainer.epoch_scores)
    assert (quartiles.updates, quartiles.computed) == (6, 2)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_batches_that_are_logged_are_measured_too(
    make_trainer: MakeTrainer, accumulate: int, torchmetrics: Any
) -> None:
    class Checked(TinyModel):
        measured: list[float] = []

        def forward(self, batch: Any) -> Any:
            output = super().forward(batch)
            if self.training:
                self.measured.append(absolute_error(batch, output).item())
            return output

    callbacks = [
        Metric(name="error", metric=absolute_error, train_batches=True),
        errors(torchmetrics.MeanAbsoluteError(), name="same", train_batches=True),
        errors(torchmetrics.MetricCollection([torchmetrics.MeanAbsoluteError()]), name="all", train_batches=True),
    ]
    model = Checked(dropout=0.5)
    trainer = validated(make_trainer, *callbacks, model=model, log_every=2, accumulate=accumulate)
    trainer.train()
    rows = trainer.batch_metrics
    assert rows.index.tolist() == ([2, 4, 6, 8] if accumulate == 1 else [2, 4])
    last_of_step = model.measured[2 * accumulate - 1 :: 2 * accumulate]
    assert rows["error"].tolist() == pytest.approx(last_of_step, rel=1e-6)
    assert rows["same"].tolist() == pytest.approx(last_of_step, rel=1e-6)
    assert rows["all/MeanAbsoluteError"].tolist() == pytest.approx(last_of_step, rel=1e-6)
    found = np.abs(residuals(trainer, tiny_loader(40, seed=1))).mean()
    assert trainer.epoch_scores["validation/same"].loc[2] == pytest.approx(found, rel=1e-6)


def test_no_training_batch_is_measured_without_being_asked_for(make_trainer: MakeTrainer) -> None:
    trainer = validated(make_trainer, Metric(name="error", metric=absolute_error), log_every=1)
    trainer.train()
    assert list(trainer.batch_metrics) == ["loss"]


def test_a_step_that_is_not_logged_does_not_call_the_metric(make_trainer: MakeTrainer) -> None:
    quartiles = Quartiles()
    callback = Metric(name="quartiles", metric=quartiles, prediction="prediction", train_batches=True, split="train")
    trainer = make_trainer(callbacks=[callback], log_every=3, validation=ValidationRoutine(period=2))
    trainer.train()
    assert quartiles.updates == 2 + 4  # steps 3 and 6, and the four batches of the one validation


def test_it_is_due_at_its_own_period(make_trainer: MakeTrainer) -> None:
    trainer = validated(make_trainer, Metric(name="error", metric=absolute_error, period=2), epochs=4)
    trainer.train()
    assert trainer.epoch_scores["validation/error"].notna().tolist() == [False, True, False, True]


def test_entries_are_found_in_the_output_and_in_the_batch(make_trainer: MakeTrainer, torchmetrics: Any) -> None:
    trainer = validated(
        make_trainer,
        errors(torchmetrics.MeanAbsoluteError(), name="of_features", prediction="features", target="features"),
        errors(torchmetrics.MeanAbsoluteError(), name="of_output", prediction="prediction", target="prediction"),
    )
    scores = trainer.validate().of_split(DataSplit.VALIDATION).scores
    assert scores == {"of_features": 0.0, "of_output": 0.0}


def test_an_object_is_moved_to_the_device_of_its_entries(torchmetrics: Any) -> None:
    metric = torchmetrics.MeanSquaredError()
    callback = errors(metric)
    for device in ("cpu", "meta"):
        callback.reset()
        entry = torch.zeros(4, 1, device=device)
        callback.update({"target": entry}, {"prediction": entry})  # type: ignore[typeddict-unknown-key]
        assert metric.sum_squared_error.device.type == device


def test_a_classifier_is_judged_by_all_its_batches_together(torchmetrics: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, label = torch.randn(60, generator=generator), torch.randint(0, 2, (60,), generator=generator)
    callback = Metric(
        name="auroc", metric=torchmetrics.classification.BinaryAUROC(), prediction="logits", target="label"
    )
    callback.reset()
    for part in (slice(0, 25), slice(25, 60)):
        callback.update({"label": label[part]}, {"logits": logits[part]})  # type: ignore[typeddict-item]
    higher = logits[label == 1][:, None] > logits[label == 0]  # of each pair of a positive and a negative sample
    assert callback.compute() == pytest.approx(higher.double().mean().item(), rel=1e-6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 4.0], 2.0),  # 2 samples and 1
        ([torch.tensor(1.0), 4], 2.0),
        ([torch.tensor(1), torch.tensor(4.0, dtype=torch.float64)], 2.0),
        ([np.float32(1.0), np.int64(4)], 2.0),
        ([math.nan, 4.0], math.nan),
        ([math.inf, -math.inf], math.nan),
        ([torch.tensor(math.inf), torch.tensor(4.0)], math.inf),
        ([True, False], 2 / 3),
    ],
)
def test_numbers_of_a_function_are_weighted_by_samples(values: list[Any], expected: float) -> None:
    given = iter(values)
    callback = Metric(name="given", metric=lambda *_: next(given))
    callback.reset()
    for size in (2, 1):
        callback.update({"features": torch.zeros(size, 3)}, {"loss": torch.zeros(())})  # type: ignore[typeddict-unknown-key]
    assert callback.compute() == pytest.approx(expected, nan_ok=True)


def test_a_score_of_it_can_decide_which_model_is_the_best(make_trainer: MakeTrainer, torchmetrics: Any) -> None:
    tracker = ModelTracker(score="validation/error", mode="min")
    trainer = validated(make_trainer, errors(torchmetrics.MeanAbsoluteError()), model_tracker=tracker, epochs=3)
    trainer.train()
    expected = trainer.epoch_scores["validation/error"].min()
    trainer.model.load_state_dict(trainer.best_model.state_dict())
    assert np.abs(residuals(trainer, tiny_loader(40, seed=1))).mean() == pytest.approx(expected, rel=1e-6)


def test_a_resumed_training_gives_the_same_scores(make_trainer: MakeTrainer, torchmetrics: Any) -> None:
    def trainer_of(epochs: int) -> Trainer:
        callbacks = [
            errors(torchmetrics.MeanSquaredError()),
            Metric(name="other", metric=absolute_error, train_batches=True),
        ]
        return validated(make_trainer, *callbacks, epochs=epochs, log_every=1)

    whole, first, resumed = trainer_of(3), trainer_of(1), trainer_of(3)
    whole.train()
    first.train()
    resumed.load_checkpoint(first.save_checkpoint())
    resumed.train()
    assert resumed.epoch_scores.equals(whole.epoch_scores)
    assert resumed.batch_metrics.equals(whole.batch_metrics)


def test_it_works_in_a_rehearsal(make_trainer: MakeTrainer, torchmetrics: Any) -> None:
    trainer = validated(
        make_trainer, errors(torchmetrics.MeanSquaredError()), fast_dev_run=True, sanity_validation=True
    )
    trainer.train()
    assert trainer.epoch_scores["validation/error"].notna().all()


def test_training_is_the_same_with_it(make_trainer: MakeTrainer, torchmetrics: Any) -> None:
    callbacks = [
        Metric(name="error", metric=absolute_error, train_batches=True),
        errors(torchmetrics.MeanAbsoluteError(), name="same", train_batches=True),
    ]
    with_it = validated(make_trainer, *callbacks, log_every=1)
    without = validated(make_trainer, log_every=1)
    for trainer in (with_it, without):
        trainer.train()
    assert all(map(torch.equal, with_it.model.state_dict().values(), without.model.state_dict().values()))
    assert with_it.epoch_scores["train/loss"].equals(without.epoch_scores["train/loss"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"prediction": "logits"},
            "'error' needs the entry 'logits' as its prediction.*: they have prediction, loss, f",
        ),
        (
            {"target": "label"},
            "'error' needs the entry 'label' as its target.*: they have features, target, prediction",
        ),
    ],
)
def test_an_entry_that_is_missing_is_told(
    make_trainer: MakeTrainer, options: dict[str, str], message: str, torchmetrics: Any
) -> None:
    with pytest.raises(UsageError, match=message):
        validated(make_trainer, errors(torchmetrics.MeanSquaredError(), **options)).train()


def test_a_metric_that_gives_a_vector_is_told(torchmetrics: Any) -> None:
    vector = torchmetrics.classification.MulticlassAccuracy(3, average=None)
    for metric, where in ((vector, ""), (torchmetrics.MetricCollection({"each": vector}), " as 'each'")):
        callback = errors(metric)
        callback.reset()
        callback.update({"target": torch.zeros(4, dtype=torch.int64)}, {"prediction": torch.zeros(4, 3)})  # type: ignore[typeddict-item]
        told = rf"The metric 'error' of the validation split gives a tensor of shape \(3,\) and .*{where}, and has to"
        with pytest.raises(UsageError, match=told):
            callback.compute()


@pytest.mark.parametrize("given", [torch.zeros(2), "high", None, torch.zeros((), dtype=torch.complex64)])
def test_a_function_that_gives_no_number_is_told(given: Any) -> None:
    callback = Metric(name="given", metric=lambda *_: given)
    with pytest.raises(UsageError, match=r"The metric 'given' of the validation split gives .*has to give numbers"):
        callback.update({"features": torch.zeros(2, 3)}, {"loss": torch.zeros(())})  # type: ignore[typeddict-unknown-key]


def test_an_error_in_a_metric_says_which_one_it_was(make_trainer: MakeTrainer) -> None:
    trainer = validated(make_trainer, Metric(name="broken", metric=lambda _, output: output["nothing"]))
    with pytest.raises(KeyError, match="nothing") as caught:
        trainer.train()
    assert "In the metric 'broken' of the validation split." in caught.value.__notes__


def test_a_batch_without_samples_to_count_is_told() -> None:
    with pytest.raises(UsageError, match=r"'given' weights batches.*no tensor with one: it holds names"):
        Metric(name="given", metric=lambda *_: 1.0).update({"names": ["a"]}, {})  # type: ignore[typeddict-item]


@pytest.mark.parametrize("callback", [Metric(name="given", metric=lambda *_: 1.0), errors(Quartiles())])
def test_a_loader_without_batches_is_told(callback: Metric) -> None:
    callback.reset()
    with pytest.raises(UsageError, match="loader of the validation split gave no batch"):
        callback.compute()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "needs a name"),
        ({"split": "test"}, "works on the train or the validation split, not on 'test'"),
        ({"split": "train", "name": "loss"}, "belongs to the trainer's own loss"),
        ({"train_batches": True, "name": "loss"}, "belongs to the trainer's own loss"),
        ({"prediction": "prediction"}, "'error' is a function.*leave out prediction and target"),
        ({"target": "target"}, "'error' is a function.*leave out prediction and target"),
        ({"metric": Quartiles()}, "name them with prediction and target"),
        ({"metric": Quartiles}, "is the class Quartiles, and has to be a metric of torchmetrics"),
        ({"metric": None}, "is None, and has to be"),
        ({"metric": [1]}, "is of type list, and has to be"),
        ({"period": "10 minutes"}, "cannot be the period of a validation"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Metric(**{"name": "error", "metric": absolute_error, **options})


def test_a_module_that_is_called_with_batch_and_output_is_a_function() -> None:
    class Largest(nn.Module):
        def forward(self, batch: Any, model_output: Any) -> torch.Tensor:
            return model_output["prediction"].max()

    callback = Metric(name="largest", metric=Largest())
    callback.update({"features": torch.zeros(2, 3)}, {"prediction": torch.tensor([1.0, 3.0])})  # type: ignore[typeddict-unknown-key]
    assert callback.compute() == 3.0


def test_a_copy_that_went_through_pickle_computes_the_same() -> None:
    given: Any = ({"target": torch.ones(3, 1)}, {"prediction": torch.zeros(3, 1)})
    for callback in (Metric(name="error", metric=absolute_error), errors(Mean())):
        copy = pickle.loads(pickle.dumps(callback))
        copy.update(*given)
        assert (copy.name, copy.compute()) == ("error", 1.0)
        assert callback.kind is ArtifactKind.SCORE


class Mean:
    """The mean absolute error of all batches; no torchmetrics, and with nothing but what is asked for."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.sum, self.number = 0.0, 0

    def update(self, prediction: torch.Tensor, target: torch.Tensor) -> None:
        self.sum += float((prediction - target).abs().sum())
        self.number += len(target)

    def compute(self) -> float:
        return self.sum / self.number


def test_a_configuration_is_told_that_it_cannot_name_a_metric(torchmetrics: Any) -> None:
    given = {"name": "accuracy", "metric": "torchmetrics.classification.BinaryAccuracy", "target": "label"}
    parameters = validated_parameters(Metric, given, source="test", section="callbacks.metric")
    with pytest.raises(UsageError, match=r"'torchmetrics.classification.BinaryAccuracy', and .* build it in Python"):
        Metric(**parameters)
    with pytest.raises(ConfigError, match="'metric' is missing"):
        validated_parameters(Metric, {"name": "accuracy"}, source="test", section="callbacks.metric")


def test_torchmetrics_is_not_imported_by_it() -> None:
    tree = ast.walk(ast.parse(inspect.getsource(inspect.getmodule(Metric))))  # type: ignore[arg-type]
    imports = [ast.unparse(node) for node in tree if isinstance(node, ast.Import | ast.ImportFrom)]
    assert len(imports) > 5
    assert not any("torchmetrics" in statement for statement in imports)
