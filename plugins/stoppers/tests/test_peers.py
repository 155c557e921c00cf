"""Patience and Threshold stop where the early stopping of Keras and of Lightning does, if all of them mean the same.

Their rules are restated here from their documentation and sources; neither is installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import pytest
from artifact_torch_stoppers import Patience, Threshold
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from artifact_torch import EarlyStopper

NAN, INF = math.nan, math.inf

Mode = Literal["min", "max"]
Values = Sequence[float | None]
StopEpoch = Callable[[Values, EarlyStopper], int | None]


def keras_stop_epoch(
    values: Values, *, patience: int, min_delta: float, mode: Mode, baseline: float | None, start_from_epoch: int
) -> int | None:
    """``keras.callbacks.EarlyStopping``: https://keras.io/api/callbacks/early_stopping/.

    The rule is in its ``on_epoch_end``; epochs are counted from 0 there, and from 1 in what this returns.
    """

    def is_improvement(value: float, reference: float) -> bool:
        return value + min_delta < reference if mode == "min" else value - min_delta > reference

    wait, best = 0, INF if mode == "min" else -INF
    for epoch, current in enumerate(values):
        if current is None or epoch < start_from_epoch:
            continue
        wait += 1
        if is_improvement(current, best):
            best = current
            if baseline is None or is_improvement(current, baseline):
                wait = 0
            continue
        if wait >= patience and epoch > 0:
            return epoch + 1
    return None


def lightning_stop_epoch(
    values: Values,
    *,
    patience: int,
    min_delta: float,
    mode: Mode,
    check_finite: bool,
    stopping_threshold: float | None = None,
    divergence_threshold: float | None = None,
) -> int | None:
    """``lightning.pytorch.callbacks.EarlyStopping`` with ``strict=False``, asked once an epoch.

    https://lightning.ai/docs/pytorch/stable/api/lightning.pytorch.callbacks.EarlyStopping.html; the rule is in its
    ``_evaluate_stopping_criteria``.
    """

    def is_better(value: float, reference: float) -> bool:
        return value < reference if mode == "min" else value > reference

    delta = -min_delta if mode == "min" else min_delta
    wait_count, best_score = 0, INF if mode == "min" else -INF
    for epoch, current in enumerate(values, start=1):
        if current is None:
            continue
        if check_finite and not math.isfinite(current):
            return epoch
        if stopping_threshold is not None and is_better(current, stopping_threshold):
            return epoch
        if divergence_threshold is not None and is_better(-current, -divergence_threshold):
            return epoch
        if is_better(current - delta, best_score):
            best_score, wait_count = current, 0
        else:
            wait_count += 1
            if wait_count >= patience:
                return epoch
    return None


QUARTERS = st.integers(-12, 12).map(lambda number: number / 4)  # whose sums and differences are exact
NO_NUMBERS = st.sampled_from([NAN, INF, -INF])
MODES: st.SearchStrategy[Mode] = st.sampled_from(["min", "max"])


def sequences(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[list[float | None]]:
    # The first epoch has a value: a score that none of the first has is refused, and neither Keras nor Lightning does.
    return st.tuples(numbers, st.lists(st.none() | numbers, max_size=20)).map(lambda parts: [parts[0], *parts[1]])


def is_comparable(values: Values, mode: Mode) -> bool:
    """Whether there is no infinity in the good direction, which is an improvement for both, and none for Patience."""
    return (-INF if mode == "min" else INF) not in values


@settings(deadline=None, max_examples=150)
@given(
    values=sequences(QUARTERS | NO_NUMBERS),
    patience=st.integers(1, 6),
    min_delta=st.sampled_from([0.0, 0.25, 1.0]),
    mode=MODES,
    baseline=st.none() | QUARTERS,
    start_from_epoch=st.integers(0, 4),
)
def test_patience_stops_where_keras_does(
    stop_epoch: StopEpoch,
    values: list[float | None],
    patience: int,
    min_delta: float,
    mode: Mode,
    baseline: float | None,
    start_from_epoch: int,
) -> None:
    assume(is_comparable(values, mode))
    assume(patience > 1 or math.isfinite(values[0] or 0.0))  # Keras never stops in the first epoch
    stopper = Patience(
        score="train/watched",
        epochs=patience,
        minimum_change=min_delta,
        mode=mode,
        baseline=baseline,
        warm_up=start_from_epoch,
    )
    assert stop_epoch(values, stopper) == keras_stop_epoch(
        values,
        patience=patience,
        min_delta=min_delta,
        mode=mode,
        baseline=baseline,
        start_from_epoch=start_from_epoch,
    )


@settings(deadline=None, max_examples=150)
@given(
    values=sequences(QUARTERS | NO_NUMBERS),
    patience=st.integers(1, 6),
    min_delta=st.sampled_from([0.0, 0.25, 1.0]),
    mode=MODES,
    check_finite=st.booleans(),
)
def test_patience_stops_where_lightning_does(
    stop_epoch: StopEpoch,
    values: list[float | None],
    patience: int,
    min_delta: float,
    mode: Mode,
    check_finite: bool,
) -> None:
    assume(check_finite or is_comparable(values, mode))
    stopper = Patience(
        score="train/watched", epochs=patience, minimum_change=min_delta, mode=mode, check_finite=check_finite
    )
    assert stop_epoch(values, stopper) == lightning_stop_epoch(
        values, patience=patience, min_delta=min_delta, mode=mode, check_finite=check_finite
    )


@settings(deadline=None, max_examples=100)
@given(values=sequences(st.floats(-1e6, 1e6)), patience=st.integers(1, 6), mode=MODES)
def test_all_three_stop_in_one_epoch_whatever_the_numbers(
    stop_epoch: StopEpoch, values: list[float | None], patience: int, mode: Mode
) -> None:
    found = stop_epoch(values, Patience(score="train/watched", epochs=patience, mode=mode))
    assert found == keras_stop_epoch(
        values, patience=patience, min_delta=0.0, mode=mode, baseline=None, start_from_epoch=0
    )
    assert found == lightning_stop_epoch(values, patience=patience, min_delta=0.0, mode=mode, check_finite=True)


@settings(deadline=None, max_examples=150)
@given(
    values=sequences(QUARTERS | st.sampled_from([NAN])),
    patience=st.integers(1, 6),
    mode=MODES,
    goal=st.integers(-3, 0),
    distance=st.integers(1, 4),
)
def test_patience_or_threshold_stops_at_the_thresholds_of_lightning(
    stop_epoch: StopEpoch, values: list[float | None], patience: int, mode: Mode, goal: int, distance: int
) -> None:
    # Lightning asks for more than the threshold, Threshold for the goal: between two values they mean the same.
    better = goal + 0.125
    worse = better + distance if mode == "min" else better - distance
    stopper = Patience(score="train/watched", epochs=patience, mode=mode, check_finite=True) | Threshold(
        score="train/watched", goal=better, limit=worse, mode=mode
    )
    assert stop_epoch(values, stopper) == lightning_stop_epoch(
        values,
        patience=patience,
        min_delta=0.0,
        mode=mode,
        check_finite=True,
        stopping_threshold=better,
        divergence_threshold=worse,
    )


def test_the_example_in_the_documentation_of_keras(stop_epoch: StopEpoch) -> None:
    # "This callback will stop the training when there is no improvement in the loss for three consecutive epochs."
    values = [2.0] * 10
    assert stop_epoch(values, Patience(score="train/watched", epochs=3)) == 4
    assert keras_stop_epoch(values, patience=3, min_delta=0, mode="min", baseline=None, start_from_epoch=0) == 4


@pytest.mark.parametrize(
    ("values", "patience", "mode", "ours", "keras", "lightning"),
    [
        ([INF, 1.0, INF, 1.0], 2, "max", 4, 3, 3),  # what is infinitely good is no improvement for Patience
        ([NAN, 1.0], 1, "min", 1, None, 1),  # Keras never stops in the first epoch
    ],
)
def test_where_they_are_meant_to_differ(
    stop_epoch: StopEpoch,
    values: list[float],
    patience: int,
    mode: Mode,
    ours: int | None,
    keras: int | None,
    lightning: int | None,
) -> None:
    assert ours == stop_epoch(values, Patience(score="train/watched", epochs=patience, mode=mode))
    assert keras == keras_stop_epoch(
        values, patience=patience, min_delta=0, mode=mode, baseline=None, start_from_epoch=0
    )
    assert lightning == lightning_stop_epoch(values, patience=patience, min_delta=0, mode=mode, check_finite=False)
