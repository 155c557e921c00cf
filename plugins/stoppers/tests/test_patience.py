from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from artifact_torch_stoppers import Patience
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact_torch import Callback, RunDirectory, ScoreCallback, Trainer, UsageError, ValidationRoutine, hookimpl
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters
from artifact_torch.testing import TinyInput, TinyModel, TinyOutput, tiny_loader

NAN, INF = math.nan, math.inf


class Watched(Callback):
    """Records scripted values as ``train/watched``; None records nothing in that epoch."""

    def __init__(self, values: Sequence[float | None]) -> None:
        self.values = values

    @hookimpl
    def log_epoch_metrics(self, trainer: Trainer) -> Mapping[str, float]:
        value = self.values[trainer.state.epoch - 1]
        return {} if value is None else {"watched": value}


class Constant(ScoreCallback):
    """A validation score that never changes."""

    def reset(self) -> None:
        pass

    def update(self, batch: TinyInput, model_output: TinyOutput) -> None:
        pass

    def compute(self) -> float:
        return 0.25


def new_trainer(root: Path, **options: object) -> Trainer:
    run = RunDirectory.create(root=root)
    return Trainer(TinyModel(), tiny_loader(16), run=run, device="cpu", **{"epochs": 20, **options})  # type: ignore[arg-type]


def reason_after(values: Sequence[float | None], patience: Patience) -> str | None:
    """What the stopper says after epochs in which these values were recorded."""
    trainer = Trainer(TinyModel(), tiny_loader(16), epochs=100, device="cpu", use_installed_plugins=False)
    for epoch, value in enumerate(values, start=1):
        trainer.metrics.record_epoch(epoch, {} if value is None else {"train/watched": value})
    trainer.state.epochs_completed = len(values)
    return patience.check(trainer)


def watching(**options: object) -> Patience:
    return Patience(**{"score": "train/watched", "epochs": 3, **options})  # type: ignore[arg-type]


def test_is_found_by_name_and_works_without_parameters(tmp_path: Path) -> None:
    assert components.get("stoppers", "patience") is Patience
    trainer = new_trainer(tmp_path, epochs=2, stoppers=["patience"])
    assert trainer.train().epochs == 2


def test_parameters_are_taken_from_a_configuration() -> None:
    given_values = {"score": "validation/x", "epochs": 2, "minimum_change": 1, "mode": "max"}
    parameters = validated_parameters(Patience, given_values, source="test", section="stoppers.patience")
    assert vars(Patience(**parameters)) == given_values


def test_training_stops_after_epochs_without_improvement(tmp_path: Path) -> None:
    values = [3.0, 2.0, 2.5, 2.0, 2.1, 1.0]
    trainer = new_trainer(tmp_path, callbacks=[Watched(values)], stoppers=[watching()])
    result = trainer.train()
    assert result.epochs == 5
    assert result.reason == "Patience: train/watched has not improved on 2 (epoch 2) for 3 epochs"


def test_an_improvement_starts_the_count_again() -> None:
    assert reason_after([3.0, 3.0, 3.0, 2.9, 3.0, 3.0], watching()) is None
    assert reason_after([3.0, 3.0, 3.0, 2.9, 3.0, 3.0, 3.0], watching()) is not None


def test_a_change_no_larger_than_the_minimum_is_no_improvement() -> None:
    values = [1.0, 0.75, 0.5, 0.25]
    assert reason_after(values, watching(minimum_change=0.25)) is None  # 0.5 is more than 0.25 below 1.0
    assert reason_after(values, watching(minimum_change=1)) == (
        "train/watched has not improved on 1 (epoch 1) by more than 1 for 3 epochs"
    )


def test_larger_is_better_in_mode_max() -> None:
    rising = [1.0, 2.0, 3.0, 4.0]
    assert reason_after(rising, watching(mode="max")) is None
    assert reason_after(rising[::-1], watching(mode="max")) == (
        "train/watched has not improved on 4 (epoch 1) for 3 epochs"
    )


def test_nan_and_infinity_are_no_improvement() -> None:
    assert reason_after([1.0, NAN, -INF, NAN], watching()) == (
        "train/watched has not improved on 1 (epoch 1) for 3 epochs"
    )
    assert reason_after([NAN, 1.0, 0.9, NAN, NAN], watching()) is None


def test_a_score_that_is_never_a_number_stops_training(tmp_path: Path) -> None:
    trainer = new_trainer(tmp_path, callbacks=[Watched([NAN] * 20)], stoppers=[watching()])
    result = trainer.train()
    assert result.epochs == 3
    assert result.reason == "Patience: train/watched has been NaN or infinite for 3 epochs"


def test_epochs_without_the_score_do_not_count() -> None:
    assert reason_after([1.0, None, None, None, 1.0, None, 1.0], watching()) is None
    assert reason_after([1.0, None, None, None, 1.0, None, 1.0, None, 1.0], watching()) == (
        "train/watched has not improved on 1 (epoch 1) in the last 3 epochs with this score"
    )


def test_one_epoch_is_worded_as_one() -> None:
    assert reason_after([0.12345678, 1.0], watching(epochs=1)) == (
        "train/watched has not improved on 0.123457 (epoch 1) for 1 epoch"
    )


def test_what_was_validated_before_training_is_no_epoch(tmp_path: Path) -> None:
    validation = ValidationRoutine(val_loader=tiny_loader(16), callbacks=[Constant("constant")])
    stopper = Patience(score="validation/constant", epochs=3)
    trainer = new_trainer(tmp_path, validation=validation, stoppers=[stopper])
    trainer.validate()
    assert trainer.train().epochs == 4


def test_a_resumed_training_stops_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    values = [3.0, 2.0, NAN, 2.5, 2.0, 1.0]
    reasons: list[tuple[int, str]] = []
    for interrupted_after in (None, 1, 2, 3, 4):
        options = {"callbacks": [Watched(values)], "stoppers": [watching()]}
        first = new_trainer(tmp_path, epochs=interrupted_after or 6, **options)
        result = first.train()
        if interrupted_after is not None:
            checkpoint = first.save_checkpoint()
            second = new_trainer(tmp_path, epochs=6, **{**options, "stoppers": [watching()]})
            second.load_checkpoint(checkpoint)
            result = second.train()
        reasons.append((result.epochs, result.reason))
    assert set(reasons) == {(5, "Patience: train/watched has not improved on 2 (epoch 2) for 3 epochs")}


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.none() | st.integers(-3, 3).map(float) | st.sampled_from([NAN, INF]), max_size=12),
    st.integers(1, 5),
)
def test_it_stops_exactly_when_the_best_record_is_that_old(values: list[float | None], epochs: int) -> None:
    records = [value for value in values if value is not None]
    numbers = [value for value in records if math.isfinite(value)]
    since_best = len(records) - 1 - records.index(min(numbers)) if numbers else len(records)
    for patience, sign in ((watching(epochs=epochs), 1), (watching(epochs=epochs, mode="max"), -1)):
        history = [None if value is None else sign * value for value in values]
        if not records and len(values) >= epochs:
            with pytest.raises(UsageError, match="train/watched"):
                reason_after(history, patience)
            continue
        reason = reason_after(history, patience)
        assert (reason is not None) == (since_best >= epochs)
        assert reason == reason_after(history, patience)


def test_a_score_that_nothing_records_is_an_error_with_the_close_one(tmp_path: Path) -> None:
    validation = ValidationRoutine(val_loader=tiny_loader(16), callbacks=[Constant("constant")])
    stopper = Patience(score="validation/constnat", epochs=2)
    trainer = new_trainer(tmp_path, validation=validation, stoppers=[stopper])
    with pytest.raises(UsageError) as caught:
        trainer.train()
    assert str(caught.value) == (
        "Patience waits for the score 'validation/constnat', which no epoch of 2 has recorded: did you mean "
        "'validation/constant'? Recorded are train/loss, validation/constant."
    )
    assert trainer.state.epochs_completed == 2


@pytest.mark.parametrize("wanted", ["constant", "CONSTANT", "Validation/Constant", "validation/const"])
def test_the_close_score_is_found_whatever_the_split_and_the_case(wanted: str, tmp_path: Path) -> None:
    validation = ValidationRoutine(val_loader=tiny_loader(16), callbacks=[Constant("constant")])
    stopper = Patience(score=wanted, epochs=1)
    trainer = new_trainer(tmp_path, validation=validation, stoppers=[stopper])
    with pytest.raises(UsageError, match="did you mean 'validation/constant'"):
        trainer.train()


def test_an_unlike_score_is_answered_with_those_recorded_and_not_with_hundreds() -> None:
    trainer = Trainer(TinyModel(), tiny_loader(16), epochs=9, device="cpu", use_installed_plugins=False)
    trainer.metrics.record_epoch(1, {f"validation/per_column/{n}": 0.0 for n in range(100)} | {"train/loss": 1.0})
    trainer.state.epochs_completed = 1
    listed = r"which no epoch of 1 has recorded: recorded are train/loss, validation/.* and 89 more\.$"
    with pytest.raises(UsageError, match=listed):
        Patience(score="accuracy", epochs=1).check(trainer)


def test_a_score_whose_first_validation_is_ahead_is_waited_for(tmp_path: Path) -> None:
    validation = ValidationRoutine(period=4, val_loader=tiny_loader(16), callbacks=[Constant("constant")])
    stopper = Patience(score="validation/constant", epochs=2)
    trainer = new_trainer(tmp_path, validation=validation, stoppers=[stopper])
    assert trainer.train().epochs == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "at least 1 epoch, not 0"),
        ({"minimum_change": -0.1}, "from 0 up, not -0.1"),
        ({"minimum_change": NAN}, "from 0 up, not nan"),
        ({"mode": "maximum"}, "'min' or 'max', not 'maximum'"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        watching(**options)
