"""The families of callbacks: around epochs, batches and validations, and at what is tracked."""

from __future__ import annotations

import pytest

from artifact_torch import (
    ArtifactKind,
    BatchCallback,
    DataSplit,
    EpochCallback,
    Interrupted,
    TrackingCallback,
    UsageError,
    ValidationCallback,
    ValidationRoutine,
    hookimpl,
)
from artifact_torch.testing import TinyPlan, tiny_loader


class Epochs(EpochCallback):
    def __init__(self, **options):
        super().__init__(**options)
        self.seen = []

    def before_epoch(self, trainer):
        self.seen.append(("before", trainer.state.epoch, trainer.state.step))

    def after_epoch(self, trainer):
        self.seen.append(("after", trainer.state.epoch, trainer.state.step))


@pytest.mark.parametrize(("period", "epochs"), [(1, [1, 2, 3, 4]), (2, [2, 4]), ("3 epochs", [3]), (5, [])])
def test_an_epoch_callback_acts_around_every_so_many_epochs(make_trainer, period, epochs):
    callback = Epochs(period=period)
    make_trainer(epochs=4, callbacks=[callback]).train()
    assert callback.seen == [
        (what, epoch, 4 * (epoch - (what == "before"))) for epoch in epochs for what in ("before", "after")
    ]


def test_an_epoch_callback_may_act_by_the_clock(make_trainer):
    rare, often = Epochs(period="10 hours"), Epochs(period="1 second")
    trainer = make_trainer(epochs=3, callbacks=[rare, often])

    class Later:
        @hookimpl(tryfirst=True)
        def execute_epoch_postprocessing(self, trainer):
            if trainer.state.epoch == 2:
                trainer.state.seconds += 5.0  # as if the epoch had taken so long

    trainer.plugins.register(Later())
    trainer.train()
    assert rare.seen == []
    assert ("after", 2, 8) in often.seen
    assert ("after", 1, 4) not in often.seen


def test_an_epoch_callback_is_not_counted_in_steps():
    with pytest.raises(UsageError, match="Epochs acts around epochs, and its period is 5 steps"):
        Epochs(period="5 steps")


def test_a_batch_callback_acts_before_and_after_batches(make_trainer):
    seen = []

    class Batches(BatchCallback):
        def before_batch(self, trainer, batch):
            seen.append(("before", trainer.state.step, batch["features"].shape))

        def after_batch(self, trainer, batch, model_output):
            seen.append(("after", trainer.state.step, model_output["loss"].shape))

    make_trainer(epochs=1, callbacks=[Batches(period="3 steps")]).train()
    assert seen == [("before", 2, (16, 3)), ("after", 3, ())]


def test_a_method_that_is_not_overridden_is_no_hook(make_trainer):
    class After(BatchCallback):
        def after_batch(self, trainer, batch, model_output):
            pass

    class Deeper(After):
        """Inherits what it is called for."""

    class Before(ValidationCallback):
        def before_validation(self, trainer):
            pass

    trainer = make_trainer(callbacks=[BatchCallback(), Deeper(), ValidationCallback(), Before()])
    hooks = trainer.hooks
    assert [each.plugin for each in hooks.implementations("execute_batch_postprocessing")] == ["Deeper"]
    assert hooks.implementations("execute_batch_preprocessing") == ()
    assert [each.plugin for each in hooks.implementations("on_validation_start")] == ["Before"]
    assert hooks.implementations("on_validation_end") == ()


def test_a_validation_callback_may_edit_the_results(make_trainer):
    class Doubling(ValidationCallback):
        def before_validation(self, trainer):
            assert not trainer.model.training

        def after_validation(self, trainer, results):
            scores = results.of_split(DataSplit.VALIDATION).scores
            scores |= {f"double_{name}": 2 * value for name, value in scores.items()}

    plan = TinyPlan(DataSplit.VALIDATION, [ArtifactKind.SCORE])
    trainer = make_trainer(callbacks=[Doubling()], validation=ValidationRoutine(plans=[plan], mode="inline"))
    trainer.train()
    names = [name for name in trainer.epoch_scores if name.startswith("validation/")]
    assert len(names) == 2
    single, double = sorted(names, key=lambda name: "double" in name)
    assert (trainer.epoch_scores[double] == 2 * trainer.epoch_scores[single]).all()


class Everything(TrackingCallback):
    def __init__(self):
        self.results = []

    def receive(self, result):
        self.results.append(result)


def test_a_tracking_callback_is_given_results_of_all_kinds(make_trainer):
    everything = Everything()
    routine = ValidationRoutine(plans=[TinyPlan(DataSplit.VALIDATION, list(ArtifactKind))], mode="inline")
    make_trainer(epochs=1, log_every=4, callbacks=[everything], validation=routine).train()
    assert {result.kind for result in everything.results} == set(ArtifactKind)
    batch, epoch, *validation = everything.results
    assert (batch.name, batch.split, batch.epoch, batch.step) == ("batch/loss", DataSplit.TRAIN, 1, 4)
    assert (epoch.name, epoch.split) == ("loss", DataSplit.TRAIN)
    assert {result.split for result in validation} == {DataSplit.VALIDATION}


# Stopping within an epoch, as the trainer does it.


class StopAt:
    def __init__(self, *steps):
        self.steps = steps

    @hookimpl
    def should_stop_in_epoch(self, trainer):
        return f"step {trainer.state.step}" if trainer.state.step in self.steps else None


@pytest.mark.parametrize("step", [1, 4, 6, 7])
def test_training_that_was_stopped_in_an_epoch_goes_on_to_the_same_end(make_trainer, step):
    whole = make_trainer()
    whole.train()
    stopped = make_trainer(callbacks=[StopAt(step)])
    assert stopped.train().steps == step
    again = make_trainer(run=stopped.run)
    again.load_checkpoint()
    result = again.train()
    assert (result.steps, result.epochs, again.run.record["status"]) == (8, 2, "finished")
    assert again.epoch_scores.equals(whole.epoch_scores)
    for name, tensor in whole.model.state_dict().items():
        assert tensor.equal(again.model.state_dict()[name])


def test_a_reason_that_still_holds_is_asked_before_another_batch(make_trainer):
    stopped = make_trainer(callbacks=[StopAt(6)])
    stopped.train()
    again = make_trainer(callbacks=[StopAt(6)], run=stopped.run)
    again.load_checkpoint()
    assert (again.train().reason, again.state.step) == ("StopAt: step 6", 6)


def test_what_was_not_validated_is_validated_when_training_stops_in_an_epoch(make_trainer):
    plan = TinyPlan(DataSplit.VALIDATION, [ArtifactKind.SCORE], period=10)
    trainer = make_trainer(
        callbacks=[StopAt(6)], validation=ValidationRoutine(plans=[plan], mode="inline"), loader=tiny_loader()
    )
    trainer.train()
    assert trainer.validation_results.scores["step"].tolist() == [6]


def test_a_trainer_may_decide_itself_to_stop_in_an_epoch(make_trainer):
    trainer = make_trainer()

    class Impatient(type(trainer)):
        def _should_stop_in_epoch(self):
            return super()._should_stop_in_epoch() or ("enough" if self.state.step == 3 else None)

    trainer.__class__ = Impatient
    assert (trainer.train().reason, trainer.state.step) == ("enough", 3)


def test_a_signal_comes_before_a_reason(make_trainer):
    import os
    import signal

    class Signal:
        @hookimpl
        def execute_batch_postprocessing(self, trainer):
            if trainer.state.step == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    trainer = make_trainer(callbacks=[Signal(), StopAt(3)])
    with pytest.raises(Interrupted):
        trainer.train()
    assert trainer.run.record["status"] == "interrupted"


def test_the_time_of_training_is_counted_within_epochs_and_over_processes(make_trainer):
    seconds = []

    class Look:
        @hookimpl
        def execute_batch_postprocessing(self, trainer):
            seconds.append(trainer.seconds)

    stopped = make_trainer(callbacks=[Look(), StopAt(6)])
    stopped.train()
    again = make_trainer(callbacks=[Look(), StopAt()], run=stopped.run)
    again.load_checkpoint()
    assert again.seconds >= seconds[-1]
    again.train()
    assert seconds == sorted(seconds)
    assert len(set(seconds)) == len(seconds)
