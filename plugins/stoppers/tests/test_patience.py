from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from artifact_torch_stoppers import Patience
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact_torch import Callback, EarlyStopper, Trainer, UsageError
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters

NAN, INF = math.nan, math.inf

MakeTrainer = Callable[..., Trainer]
Scripted = Callable[..., Callback]
ReasonAfter = Callable[[Sequence[float | None], EarlyStopper], str | None]


def watching(**options: object) -> Patience:
    return Patience(**{"score": "train/watched", "epochs": 3, **options})  # type: ignore[arg-type]


def test_is_found_by_name_and_works_without_parameters(make_trainer: MakeTrainer) -> None:
    assert components.get("stoppers", "patience") is Patience
    assert make_trainer(epochs=2, stoppers=["patience"]).train().epochs == 2


def test_parameters_are_taken_from_a_configuration() -> None:
    written = {
        "score": "validation/x",
        "epochs": 2,
        "minimum_change": 1,
        "mode": "max",
        "relative": True,
        "baseline": 0.5,
        "warm_up": 3,
        "check_finite": True,
        "missing": "error",
    }
    parameters = validated_parameters(Patience, written, source="test", section="stoppers.patience")
    patience = Patience(**parameters)
    assert {name: getattr(patience, name) for name in written} == written


def test_training_stops_after_epochs_without_improvement(make_trainer: MakeTrainer, scripted: Scripted) -> None:
    values = [3.0, 2.0, 2.5, 2.0, 2.1, 1.0]
    trainer = make_trainer(epochs=6, callbacks=[scripted(watched=values)], stoppers=[watching()])
    result = trainer.train()
    assert result.epochs == 5
    assert result.reason == "Patience: train/watched has not improved on 2 (epoch 2) for 3 epochs"
    assert trainer.run.record["reason"] == result.reason
    assert result.reason in (trainer.run.path / "log.txt").read_text(encoding="utf-8")


def test_an_improvement_starts_the_count_again(reason_after: ReasonAfter) -> None:
    assert reason_after([3.0, 3.0, 3.0, 2.9, 3.0, 3.0], watching()) is None
    assert reason_after([3.0, 3.0, 3.0, 2.9, 3.0, 3.0, 3.0], watching()) is not None


def test_a_change_no_larger_than_the_minimum_is_no_improvement(reason_after: ReasonAfter) -> None:
    values = [1.0, 0.75, 0.5, 0.25]
    assert reason_after(values, watching(minimum_change=0.25)) is None  # 0.5 is more than 0.25 below 1.0
    assert reason_after(values, watching(minimum_change=1)) == (
        "train/watched has not improved on 1 (epoch 1) by more than 1 for 3 epochs"
    )
    assert reason_after(values, watching(minimum_change=0.75, relative=True)) == (
        "train/watched has not improved on 1 (epoch 1) by more than 0.75 of it for 3 epochs"
    )


def test_larger_is_better_in_mode_max(reason_after: ReasonAfter) -> None:
    rising = [1.0, 2.0, 3.0, 4.0]
    assert reason_after(rising, watching(mode="max")) is None
    assert reason_after(rising[::-1], watching(mode="max")) == (
        "train/watched has not improved on 4 (epoch 1) for 3 epochs"
    )


def test_nan_and_infinity_are_no_improvement(reason_after: ReasonAfter) -> None:
    assert reason_after([1.0, NAN, -INF, NAN], watching()) == (
        "train/watched has not improved on 1 (epoch 1) for 3 epochs"
    )
    assert reason_after([NAN, 1.0, 0.9, NAN, NAN], watching()) is None


def test_nan_stops_at_once_by_choice(reason_after: ReasonAfter) -> None:
    assert reason_after([1.0, NAN], watching(check_finite=True)) == "train/watched is nan (epoch 2)"
    assert reason_after([NAN, 1.0], watching(check_finite=True)) is None


def test_a_score_that_is_never_a_number_stops_training(make_trainer: MakeTrainer, scripted: Scripted) -> None:
    trainer = make_trainer(epochs=20, callbacks=[scripted(watched=[NAN] * 20)], stoppers=[watching()])
    result = trainer.train()
    assert result.epochs == 3
    assert result.reason == "Patience: train/watched has been NaN or infinite for 3 epochs"


def test_a_baseline_has_to_be_beaten(reason_after: ReasonAfter) -> None:
    assert reason_after([1.0, 0.9, 0.8, 0.8], watching(baseline=0.5)) == (
        "train/watched has not beaten the baseline 0.5 for 4 epochs, and its best is 0.8 (epoch 3)"
    )
    assert reason_after([1.0, 0.9, 0.4, 0.8], watching(baseline=0.5)) is None
    assert reason_after([1.0, 0.4, 0.4, 0.8, 0.8], watching(baseline=0.5)) == (
        "train/watched has not improved on 0.4 (epoch 2) for 3 epochs"
    )


def test_nothing_counts_before_the_warm_up_is_over(reason_after: ReasonAfter) -> None:
    assert reason_after([0.0, 1.0, 1.0, 1.0, 1.0], watching(warm_up=2)) is None
    assert reason_after([0.0, 1.0, 1.0, 1.0, 1.0, 1.0], watching(warm_up=2)) == (
        "train/watched has not improved on 1 (epoch 3) for 3 epochs"
    )
    assert reason_after([0.0, 0.0, NAN, NAN, NAN], watching(warm_up=2)) == (
        "train/watched has been NaN or infinite for 3 epochs"
    )


def test_epochs_without_the_score_do_not_count(reason_after: ReasonAfter) -> None:
    assert reason_after([1.0, None, None, None, 1.0, None, 1.0], watching()) is None
    assert reason_after([1.0, None, None, None, 1.0, None, 1.0, None, 1.0], watching()) == (
        "train/watched has not improved on 1 (epoch 1) in the last 3 epochs with this score"
    )


def test_one_epoch_is_worded_as_one(reason_after: ReasonAfter) -> None:
    assert reason_after([0.12345678, 1.0], watching(epochs=1)) == (
        "train/watched has not improved on 0.123457 (epoch 1) for 1 epoch"
    )


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.none() | st.integers(-3, 3).map(float) | st.sampled_from([NAN, INF]), max_size=12),
    st.integers(1, 5),
)
def test_it_stops_exactly_when_the_best_record_is_that_old(
    reason_after: ReasonAfter, values: list[float | None], epochs: int
) -> None:
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "at least 1 epoch, not 0"),
        ({"minimum_change": -0.1}, "minimum_change of Patience must be a number from 0 up, not -0.1"),
        ({"minimum_change": NAN}, "from 0 up, not nan"),
        ({"mode": "maximum"}, "'min' or 'max', not 'maximum'"),
        ({"baseline": INF}, "baseline of Patience must be a finite number, not inf"),
        ({"warm_up": -1}, "warm_up of Patience must be a number from 0 up, not -1"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        watching(**options)
