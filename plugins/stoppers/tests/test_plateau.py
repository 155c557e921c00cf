from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from artifact_torch_stoppers import Plateau
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from artifact_torch import Callback, EarlyStopper, Trainer, UsageError

ReasonAfter = Callable[[Sequence[float | None], EarlyStopper], str | None]


def watching(**options: Any) -> Plateau:
    return Plateau(**{"score": "train/watched", "epochs": 4, **options})


def test_training_stops_when_the_score_is_flat(
    make_trainer: Callable[..., Trainer], scripted: Callable[..., Callback]
) -> None:
    values = [8.0, 4.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    trainer = make_trainer(epochs=8, callbacks=[scripted(watched=values)], stoppers=[watching()])
    result = trainer.train()
    assert result.epochs == 7
    assert result.reason == (
        "Plateau: train/watched is 1 (epoch 7) and improves by 0 of its level an epoch over 4 epochs, where more than "
        "0.001 is wanted"
    )


def test_a_score_that_gets_worse_stops_training_too(reason_after: ReasonAfter) -> None:
    assert reason_after([4.0, 5.0, 6.0, 7.0], watching()) == (
        "train/watched is 7 (epoch 4) and gets worse by 0.182 of its level an epoch over 4 epochs, where more than "
        "0.001 is wanted"
    )


def test_a_score_that_is_no_number_stops_training_too(reason_after: ReasonAfter) -> None:
    assert reason_after([4.0, 3.0, math.nan, math.inf, math.nan], watching()) == (
        "train/watched is nan (epoch 5) and was NaN or infinite in all but 1 of 4 epochs"
    )


def test_the_same_bound_suits_scores_of_any_size(reason_after: ReasonAfter) -> None:
    falling = [1.0, 0.98, 0.96, 0.94]
    for size in (1e-12, 1.0, 1e12):
        scaled = [size * value for value in falling]
        assert reason_after(scaled, watching(slope=0.02)) is None
        assert reason_after(scaled, watching(slope=0.03)) is not None


@settings(deadline=None, max_examples=200)
@given(
    values=st.lists(st.none() | st.integers(-20, 20).map(float), min_size=3, max_size=12),
    epochs=st.integers(2, 6),
    slope=st.sampled_from([0.0, 0.01, 0.1]),
    mode=st.sampled_from(["min", "max"]),
)
def test_it_stops_exactly_when_the_fitted_line_is_too_flat(
    reason_after: ReasonAfter, values: list[float | None], epochs: int, slope: float, mode: str
) -> None:
    last = [(epoch, value) for epoch, value in enumerate(values, start=1) if value is not None][-epochs:]
    assume(last)
    level = np.mean([abs(value) for _, value in last])
    fitted = np.polyfit(*zip(*last, strict=True), deg=1)[0] if len(last) > 1 else 0.0
    improvement = (-fitted if mode == "min" else fitted) / level if level else 0.0
    assume(abs(improvement - slope) > 1e-9 or (level == 0 and slope == 0))  # what rounding decides
    expected = len(last) == epochs and improvement <= slope
    assert (reason_after(values, watching(epochs=epochs, slope=slope, mode=mode)) is not None) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 1}, "at least 2 epochs to fit a line to, not 1"),
        ({"slope": -0.1}, "slope of Plateau must be a number from 0 up, not -0.1"),
        ({"mode": "flat"}, "'min' or 'max', not 'flat'"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        watching(**options)
