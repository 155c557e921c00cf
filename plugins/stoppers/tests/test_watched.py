"""What all stoppers that watch a score do about one that is missing, is no number, or does not exist."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from artifact_torch_stoppers import GeneralizationGap, NonFinite, Patience, Plateau, Threshold

from artifact_torch import (
    Artifact,
    ArtifactKind,
    Callback,
    Computation,
    DataSplit,
    EarlyStopper,
    Recipe,
    ScoreCallback,
    ScoreCollectionCallback,
    Trainer,
    UsageError,
    ValidationError,
    ValidationPlan,
    ValidationRoutine,
)
from artifact_torch.testing import TinyInput, TinyOutput, tiny_loader

NAN, INF = math.nan, math.inf

MakeTrainer = Callable[..., Trainer]
Scripted = Callable[..., Callback]

WATCHING: Mapping[str, Callable[..., EarlyStopper]] = {
    "Patience": lambda **options: Patience(epochs=2, **options),
    "Threshold": lambda **options: Threshold(goal=-1.0, **options),
    "NonFinite": lambda **options: NonFinite(epochs=9, **options),
    "Plateau": lambda **options: Plateau(epochs=2, **options),
    "GeneralizationGap": lambda **options: GeneralizationGap(bound=100.0, epochs=2, **options),
}


class Falling(ScoreCallback):
    """A validation score that falls with each validation, and may be missing."""

    def reset(self) -> None:
        pass

    def update(self, batch: TinyInput, model_output: TinyOutput) -> None:
        pass

    value = 1.0

    def compute(self) -> float:
        self.value /= 2
        return self.value


class PerClass(ScoreCollectionCallback):
    """A score of each class that was seen, which is not the same classes each time."""

    def __init__(self, name: str, rounds: Sequence[Mapping[str, float]]) -> None:
        super().__init__(name)
        self.rounds = iter(rounds)

    def reset(self) -> None:
        pass

    def update(self, batch: TinyInput, model_output: TinyOutput) -> None:
        pass

    def compute(self) -> Mapping[str, float]:
        return next(self.rounds)


class Scarce(Computation):
    """A score that can be computed every other time."""

    def __init__(self, parameters: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        self.rounds = 0

    def prepare(self, inputs: Mapping[str, Any]) -> object:
        self.rounds += 1
        return self.rounds

    def compute(self, artifact: Artifact, prepared: object) -> float:
        if self.rounds % 2 == 0:
            raise ValueError("there are too few rows")
        return 1 / self.rounds


class ScarcePlan(ValidationPlan):
    def __init__(self) -> None:
        super().__init__("scarce", DataSplit.VALIDATION, [Artifact(ArtifactKind.SCORE, "scarce")])

    def recipe(self) -> Recipe:
        return Recipe(f"{__name__}:Scarce")

    def gather(self, trainer: Trainer) -> Mapping[str, Any]:
        return {}


def validating(*callbacks: Any, **options: Any) -> ValidationRoutine:
    return ValidationRoutine(val_loader=tiny_loader(16), callbacks=callbacks, mode="inline", **options)


@pytest.mark.parametrize("stopper", WATCHING)
def test_a_score_that_nothing_records_is_refused_with_the_close_one(stopper: str, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(
        epochs=10, validation=validating(Falling("constant")), stoppers=[WATCHING[stopper](score="validation/constnat")]
    )
    done = {"Threshold": 1, "NonFinite": 9}.get(stopper, 2)
    with pytest.raises(UsageError) as caught:
        trainer.train()
    assert str(caught.value) == (
        f"{stopper} waits for the score 'validation/constnat', which no epoch of {done} has recorded: did you mean "
        "'validation/constant'? Recorded are train/loss, validation/constant."
    )
    assert trainer.state.epochs_completed == done


@pytest.mark.parametrize("stopper", WATCHING)
def test_an_epoch_without_the_score_is_skipped_or_an_error_by_choice(
    stopper: str, make_trainer: MakeTrainer, scripted: Scripted
) -> None:
    values = [5.0, 4.0, None, 3.0, 2.0]
    for missing in ("skip", "error"):
        watching = WATCHING[stopper](score="train/watched", missing=missing)
        trainer = make_trainer(epochs=5, callbacks=[scripted(watched=values)], stoppers=[watching])
        if missing == "skip":
            assert trainer.train().reason == "all 5 epochs are done"
            continue
        with pytest.raises(UsageError) as caught:
            trainer.train()
        assert str(caught.value) == (
            f"{stopper} waits for the score 'train/watched', which epoch 3 has not recorded: recorded are train/loss. "
            'With missing = "skip" it passes over such epochs.'
        )


def test_both_scores_of_a_gap_can_be_missed(make_trainer: MakeTrainer, scripted: Scripted) -> None:
    stopper = GeneralizationGap(score="train/a", train_score="train/b", bound=9.0, missing="error")
    trainer = make_trainer(callbacks=[scripted(a=[1.0, 1.0], b=[1.0])], stoppers=[stopper])
    with pytest.raises(UsageError, match="waits for the score 'train/b', which epoch 2 has not recorded: did you mean"):
        trainer.train()


@pytest.mark.parametrize("missing", ["skip", "error"])
@pytest.mark.parametrize(
    "validation",
    [
        validating(Falling("score"), period=2),
        validating(Falling("score", period=2), Falling("other")),
        validating(Falling("score"), period="12 steps"),
    ],
    ids=["routine", "callback", "steps"],
)
def test_an_epoch_in_which_validation_is_not_due_misses_nothing(
    missing: str, validation: ValidationRoutine, make_trainer: MakeTrainer
) -> None:
    stopper = WATCHING["Patience"](score="validation/score", missing=missing)
    trainer = make_trainer(epochs=7, validation=validation, stoppers=[stopper])
    assert trainer.train().epochs == 7
    assert 2 <= len(trainer.score_history("validation/score")) <= 4


def test_an_item_of_a_collection_that_is_missing_in_one_validation_is_missed(make_trainer: MakeTrainer) -> None:
    def train(missing: str) -> str:
        collection = PerClass("accuracy", [{"cat": 0.5, "dog": 0.5}, {"cat": 0.5}, {"cat": 0.6, "dog": 0.6}])
        stopper = Patience(score="validation/accuracy/dog", epochs=2, mode="max", missing=missing)  # type: ignore[arg-type]
        return make_trainer(epochs=3, validation=validating(collection), stoppers=[stopper]).train().reason

    assert train("skip") == "all 3 epochs are done"
    with pytest.raises(UsageError, match="'validation/accuracy/dog', which epoch 2 has not recorded: did you mean"):
        train("error")


def test_a_score_that_could_not_be_computed_is_skipped_or_an_error_by_choice(make_trainer: MakeTrainer) -> None:
    def train(missing: str) -> Trainer:
        stopper = Patience(score="validation/scarce", epochs=2, missing=missing)  # type: ignore[arg-type]
        trainer = make_trainer(epochs=5, validation=validating(plans=[ScarcePlan()]), stoppers=[stopper])
        trainer.train()
        return trainer

    trainer = train("skip")
    assert trainer.state.epochs_completed == 5
    assert list(trainer.metrics.history("validation/scarce")) == [1, 3, 5]
    with pytest.raises(ValidationError, match="too few rows"):
        train("error")


@pytest.mark.parametrize("wanted", ["constant", "CONSTANT", "Validation/Constant", "validation/const"])
def test_the_close_score_is_found_whatever_the_split_and_the_case(wanted: str, make_trainer: MakeTrainer) -> None:
    stopper = Patience(score=wanted, epochs=1)
    trainer = make_trainer(validation=validating(Falling("constant")), stoppers=[stopper])
    with pytest.raises(UsageError, match="did you mean 'validation/constant'"):
        trainer.train()


def test_an_unlike_score_is_answered_with_those_recorded_and_not_with_hundreds(
    without_training: Callable[[], Trainer],
) -> None:
    trainer = without_training()
    trainer.metrics.record_epoch(1, {f"validation/per_column/{n}": 0.0 for n in range(100)} | {"train/loss": 1.0})
    trainer.state.epochs_completed = 1
    listed = r"which no epoch of 1 has recorded: recorded are train/loss, validation/.* and 89 more\.$"
    with pytest.raises(UsageError, match=listed):
        Patience(score="accuracy", epochs=1).check(trainer)


def test_a_score_whose_first_validation_is_ahead_is_waited_for(make_trainer: MakeTrainer) -> None:
    stopper = Plateau(score="validation/score", epochs=2, slope=10)
    trainer = make_trainer(epochs=20, validation=validating(Falling("score"), period=4), stoppers=[stopper])
    assert trainer.train().epochs == 8


def test_what_was_validated_before_training_is_no_epoch(make_trainer: MakeTrainer) -> None:
    stopper = Plateau(score="validation/score", epochs=2, slope=10)
    trainer = make_trainer(epochs=20, validation=validating(Falling("score")), stoppers=[stopper])
    trainer.validate()
    assert trainer.train().epochs == 2


@pytest.mark.parametrize("stopper", WATCHING)
def test_the_first_value_that_is_no_number_is_told_in_the_log(
    stopper: str, make_trainer: MakeTrainer, scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    values = [4.0, NAN, NAN, 2.0, INF]
    watching = Unheard(WATCHING[stopper](score="train/watched"))
    trainer = make_trainer(epochs=5, callbacks=[scripted(watched=values)], stoppers=[watching])
    with caplog.at_level(logging.WARNING, "artifact_torch"):
        trainer.train()
    told = [record.getMessage() for record in caplog.records if "watches" in record.getMessage()]
    assert told == [
        f"{stopper} watches train/watched, which is nan in epoch 2.",
        f"{stopper} watches train/watched, which is inf in epoch 5.",
    ]


class Unheard(EarlyStopper):
    """Asks a stopper twice and goes on whatever it says."""

    def __init__(self, stopper: EarlyStopper) -> None:
        self.stopper = stopper

    def check(self, trainer: Trainer) -> None:
        self.stopper.check(trainer)
        self.stopper.check(trainer)


@pytest.mark.parametrize("stopper", WATCHING)
def test_a_choice_that_does_not_exist_is_refused(stopper: str) -> None:
    with pytest.raises(UsageError, match=f"The missing of {stopper} is 'skip' or 'error', not 'ignore'"):
        WATCHING[stopper](score="train/loss", missing="ignore")
    with pytest.raises(UsageError, match=f"{stopper} needs a score: name a column of epoch_scores"):
        WATCHING[stopper](score="")
