"""The loop: what it computes, records and refuses."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, StepLR

from artifact_torch import (
    Callback,
    DataLoader,
    DivergedError,
    IterableDataset,
    Model,
    PluginError,
    UsageError,
    ValidationResults,
    ValidationRoutine,
    hookimpl,
    registry,
)
from artifact_torch.core.data import DataSplit
from artifact_torch.testing import TinyModel, tiny_loader


class Fixed(ValidationRoutine):
    """Gives the next of the scores it was built with, each as score ``s`` of the validation split."""

    def __init__(self, *scores, **options):
        super().__init__(**options)
        self.left = list(scores)

    def evaluate(self, trainer):
        results = ValidationResults()
        for name, value in self.left.pop(0).items():
            results.of_split(DataSplit.VALIDATION).scores[name] = value
        return results


class Learning(Callback):
    """Writes down the learning rate of each step."""

    def __init__(self):
        self.rates = []

    @hookimpl
    def on_before_optimizer_step(self, trainer):
        self.rates.append(trainer.optimizer.param_groups[0]["lr"])


def parameters_of(trainer):
    return [parameter.detach().clone() for parameter in trainer.model.parameters()]


def test_training_lowers_the_loss(make_trainer):
    model = TinyModel(dropout=0.0)
    trainer = make_trainer(model, epochs=20, optimizer=torch.optim.Adam(model.parameters(), lr=0.05))
    trainer.train()
    losses = trainer.epoch_scores["train/loss"]
    assert losses.iloc[-1] < 0.01 * losses.iloc[0]
    assert torch.allclose(model.layers[1].weight, torch.ones(1, 3), atol=0.1)


def test_training_equals_the_same_loop_written_by_hand(make_trainer):
    trainer = make_trainer(TinyModel(dropout=0.0), log_every=1, optimizer=None)
    trainer.train()
    model, losses = TinyModel(dropout=0.0), []
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    for epoch in (1, 2):
        for batch in tiny_loader().batches(epoch):
            loss = model(batch)["loss"]
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert trainer.batch_metrics["loss"].tolist() == losses
    assert all(map(torch.equal, trainer.model.parameters(), model.parameters()))


def test_epoch_scores_have_a_row_for_each_epoch_indexed_from_one(make_trainer):
    trainer = make_trainer(epochs=3)
    trainer.train()
    assert trainer.epoch_scores.index.name == "epoch"
    assert trainer.epoch_scores.index.tolist() == [1, 2, 3]


def test_epoch_loss_is_the_mean_of_the_batch_losses(make_trainer):
    trainer = make_trainer(log_every=1)
    trainer.train()
    first, second = trainer.batch_metrics["loss"].iloc[:4].mean(), trainer.batch_metrics["loss"].iloc[4:].mean()
    assert trainer.epoch_scores["train/loss"].tolist() == pytest.approx([first, second])


def test_epoch_scores_keep_every_validated_number_and_nan_where_none_was_computed(make_trainer):
    routine = Fixed({"s": 0.5}, {"s": 1.5, "late": 7.0}, period=2)
    trainer = make_trainer(epochs=4, validation=routine)
    trainer.train()
    scores = trainer.epoch_scores
    assert list(scores.columns) == ["train/loss", "validation/late", "validation/s"]
    assert scores["validation/s"].dropna().to_dict() == {2: 0.5, 4: 1.5}
    assert scores["validation/late"].dropna().to_dict() == {4: 7.0}
    assert not scores["train/loss"].isna().any()


def test_the_last_epoch_is_validated_whatever_the_period(make_trainer):
    trainer = make_trainer(epochs=3, validation=Fixed({"s": 0.5}, {"s": 1.5}, period=2))
    trainer.train()
    assert trainer.epoch_scores["validation/s"].dropna().to_dict() == {2: 0.5, 3: 1.5}


def test_validation_before_training_stands_in_row_zero(make_trainer):
    trainer = make_trainer(epochs=1, validation=Fixed({"s": 9.0}, {"s": 1.0}))
    trainer.validate()
    trainer.train()
    assert trainer.epoch_scores["validation/s"].to_dict() == {0: 9.0, 1: 1.0}
    assert math.isnan(trainer.epoch_scores.loc[0, "train/loss"])


def test_validation_without_any_score_leaves_an_empty_row(make_trainer):
    trainer = make_trainer(epochs=1, validation=Fixed({}, {}))
    trainer.validate()
    assert trainer.epoch_scores.index.tolist() == [0]
    trainer.train()
    assert trainer.epoch_scores.index.tolist() == [0, 1]


def test_latest_score_is_the_newest_value_or_none(make_trainer):
    trainer = make_trainer(epochs=3, validation=Fixed({"s": 0.5}, {"s": 1.5}, period=2))
    assert trainer.latest_score("train/loss") is None
    trainer.train()
    assert trainer.latest_score("validation/s") == 1.5
    assert trainer.latest_score("train/loss") == trainer.epoch_scores["train/loss"].iloc[-1]


def test_batch_metrics_have_a_row_for_every_log_every_th_step(make_trainer):
    trainer = make_trainer(epochs=2, log_every=3)
    trainer.train()
    assert trainer.batch_metrics.index.name == "step"
    assert trainer.batch_metrics.index.tolist() == [3, 6]
    assert list(trainer.batch_metrics.columns) == ["loss"]


def test_batch_metrics_of_callbacks_stand_beside_the_loss(make_trainer):
    class Largest(Callback):
        @hookimpl
        def log_batch_metrics(self, batch, model_output):
            return {"largest": model_output["prediction"].detach().max(), "rows": len(batch["target"])}

    trainer = make_trainer(log_every=4, callbacks=[Largest()])
    trainer.train()
    assert trainer.batch_metrics["rows"].tolist() == [16.0, 16.0]
    assert set(trainer.batch_metrics.columns) == {"loss", "largest", "rows"}


class Answering(Model):
    """Returns as ``loss`` what ``answer`` makes of the true loss, from a given call on."""

    def __init__(self, answer, from_call=1):
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.answer = answer
        self.calls_left = from_call - 1

    def forward(self, batch):
        loss = nn.functional.mse_loss(self.layer(batch["features"]), batch["target"])
        self.calls_left -= 1
        return {"loss": loss} if self.calls_left >= 0 else self.answer(loss)


def test_a_loss_that_is_not_finite_stops_training_before_the_step(make_trainer):
    model = Answering(lambda loss: {"loss": loss * math.nan})
    trainer = make_trainer(model)
    before = parameters_of(trainer)
    with pytest.raises(DivergedError, match="became nan") as raised:
        trainer.train()
    assert raised.value.exit_code == 3
    assert all(map(torch.equal, before, parameters_of(trainer)))
    assert trainer.state.step == 0


def test_a_loss_that_diverges_later_keeps_the_parameters_of_the_last_good_step(make_trainer):
    steps = {}

    class Keep(Callback):
        @hookimpl
        def execute_batch_postprocessing(self, trainer):
            steps[trainer.state.step] = parameters_of(trainer)

    trainer = make_trainer(Answering(lambda loss: {"loss": loss + math.inf}, from_call=3), callbacks=[Keep()])
    with pytest.raises(DivergedError, match="became inf"):
        trainer.train()
    assert list(steps) == [1, 2]
    assert all(map(torch.equal, steps[2], parameters_of(trainer)))


def test_a_diverged_run_is_recorded_as_failed_with_its_traceback(make_trainer):
    trainer = make_trainer(Answering(lambda loss: {"loss": loss * math.nan}, from_call=6))
    with pytest.raises(DivergedError):
        trainer.train()
    record = json.loads((trainer.run.path / "run.json").read_text())
    assert record["status"] == "failed"
    assert record["reason"].startswith("DivergedError: The training loss became nan")
    assert "Traceback" in record["traceback"]
    assert (record["epochs"], record["steps"]) == (1, 5)
    assert not trainer.run.model_path.exists()


def test_the_result_says_how_training_went(make_trainer):
    trainer = make_trainer()
    result = trainer.train()
    assert (result.reason, result.epochs, result.steps) == ("all 2 epochs are done", 2, 8)
    assert result.run_directory == trainer.run.path
    assert 0 < result.seconds == trainer.state.seconds < 60


def test_the_trained_model_is_saved_in_the_run_directory(make_trainer):
    trainer = make_trainer()
    trainer.train()
    saved = TinyModel.load(trainer.run.model_path)
    assert all(map(torch.equal, saved.parameters(), trainer.model.parameters()))


def test_more_epochs_continue_a_finished_training(make_trainer):
    whole, parts = make_trainer(epochs=3), make_trainer(epochs=1)
    parts.train()
    state = torch.get_rng_state()
    whole.train()
    torch.set_rng_state(state)
    parts.epochs = 3
    parts.train()
    assert all(map(torch.equal, whole.model.parameters(), parts.model.parameters()))
    assert whole.epoch_scores.equals(parts.epoch_scores)


def test_the_seed_alone_decides_the_numbers(make_trainer):
    def losses(seed, disturbance):
        torch.manual_seed(disturbance)
        trainer = make_trainer(TinyModel(dropout=0.5), seed=seed, log_every=1)
        trainer.train()
        return trainer.batch_metrics["loss"].tolist()

    assert losses(1, disturbance=5) == losses(1, disturbance=6)
    assert losses(1, disturbance=5) != losses(2, disturbance=5)


def test_a_scheduler_steps_once_a_step(make_trainer):
    model, learning = TinyModel(), Learning()
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = OneCycleLR(optimizer, max_lr=0.1, total_steps=8)
    trainer = make_trainer(
        model, optimizer=optimizer, scheduler=scheduler, scheduler_interval="step", callbacks=[learning]
    )
    trainer.train()
    reference = torch.optim.Adam(TinyModel().parameters())
    schedule, expected = OneCycleLR(reference, max_lr=0.1, total_steps=8), []
    for _ in range(8):
        expected.append(schedule.get_last_lr()[0])
        reference.step()
        if len(expected) < 8:
            schedule.step()
    assert learning.rates == pytest.approx(expected)


def test_a_scheduler_steps_once_an_epoch(make_trainer):
    model, learning = TinyModel(), Learning()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.5)
    make_trainer(model, epochs=3, optimizer=optimizer, scheduler=scheduler, callbacks=[learning]).train()
    assert learning.rates == pytest.approx([0.1] * 4 + [0.05] * 4 + [0.025] * 4)


def test_a_scheduler_of_another_optimizer_is_refused(make_trainer):
    model = TinyModel()
    scheduler = StepLR(torch.optim.SGD(model.parameters(), lr=0.1), step_size=1)
    with pytest.raises(UsageError, match="belongs to another optimizer"):
        make_trainer(model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), scheduler=scheduler)
    with pytest.raises(UsageError, match="belongs to another optimizer"):
        make_trainer(model, scheduler=scheduler)


@pytest.mark.parametrize("options", [{"epochs": 0}, {"log_every": 0}])
def test_counts_below_one_are_refused(make_trainer, options):
    with pytest.raises(UsageError, match="must be at least 1"):
        make_trainer(**options)


def test_a_loader_without_batches_is_refused_in_words(make_trainer):
    class Nothing(IterableDataset):
        def __iter__(self):
            return iter(())

    with pytest.raises(UsageError, match="gave no batch in epoch 1"):
        make_trainer(loader=DataLoader(Nothing(), batch_size=2)).train()


def test_components_can_be_chosen_by_name(make_trainer):
    class NamedInTest(Callback):
        @hookimpl
        def log_epoch_metrics(self, trainer):
            return {"answer": 42}

    registry.add("callbacks", "test_trainer_named", NamedInTest)
    trainer = make_trainer(callbacks=["test_trainer_named"])
    trainer.train()
    assert trainer.epoch_scores["train/answer"].tolist() == [42.0, 42.0]


def test_an_unknown_component_is_a_plugin_error(make_trainer):
    with pytest.raises(PluginError, match="no stopper named 'no_such_stopper'"):
        make_trainer(stoppers=["no_such_stopper"])


@pytest.mark.parametrize("hook", ["log_batch_metrics", "log_epoch_metrics"])
def test_two_metrics_of_one_name_are_an_error_naming_both(make_trainer, hook):
    def plugin(name):
        return type(name, (Callback,), {hook: hookimpl(lambda _self: {"accuracy": 1.0})})()

    trainer = make_trainer(callbacks=[plugin("Left"), plugin("Right")], log_every=1)
    with pytest.raises(
        PluginError, match=r"'(Left|Right)' and '(?!\1)(Left|Right)' both return a metric named 'accuracy'"
    ):
        trainer.train()


@pytest.mark.parametrize("hook", ["log_batch_metrics", "log_epoch_metrics"])
def test_a_metric_named_like_the_loss_is_an_error_naming_the_plugin(make_trainer, hook):
    plugin = type("Copycat", (Callback,), {hook: hookimpl(lambda _self: {"loss": 1.0})})()
    with pytest.raises(PluginError, match="'the trainer' and 'Copycat' both return a metric named 'loss'"):
        make_trainer(callbacks=[plugin], log_every=1).train()


@pytest.mark.parametrize("value", ["high", torch.ones(2), None])
def test_a_metric_that_is_not_one_number_is_an_error_naming_the_plugin(make_trainer, value):
    class Wordy(Callback):
        @hookimpl
        def log_epoch_metrics(self, trainer):
            return {"quality": value}

    with pytest.raises(PluginError, match="'Wordy' returned 'quality' from log_epoch_metrics"):
        make_trainer(callbacks=[Wordy()]).train()


def test_a_validation_score_cannot_replace_the_training_loss(make_trainer):
    class Replacing(ValidationRoutine):
        def evaluate(self, trainer):
            results = ValidationResults()
            results.of_split(DataSplit.TRAIN).scores["loss"] = -1.0
            return results

    with pytest.raises(UsageError, match="named 'loss', like the training loss"):
        make_trainer(validation=Replacing()).train()


def test_training_goes_on_after_a_failure_at_the_end_of_an_epoch(make_trainer):
    class FailsOnce(ValidationRoutine):
        failed = False

        def evaluate(self, trainer):
            if not self.failed:
                self.failed = True
                raise ValueError("a bug in the notebook")
            return ValidationResults()

    def trainer_with(validation):
        model = TinyModel()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = StepLR(optimizer, step_size=1, gamma=0.5)
        return make_trainer(model, optimizer=optimizer, scheduler=scheduler, validation=validation)

    failing, smooth = trainer_with(FailsOnce()), trainer_with(None)
    smooth.train()
    with pytest.raises(ValueError, match="notebook"):
        failing.train()
    result = failing.train()
    assert (result.epochs, result.steps) == (2, 8)
    assert failing.scheduler.last_epoch == smooth.scheduler.last_epoch == 2
    assert failing.epoch_scores["train/loss"].iloc[0] == smooth.epoch_scores["train/loss"].iloc[0]
