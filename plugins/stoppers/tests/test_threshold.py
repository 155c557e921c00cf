from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from artifact_torch_stoppers import Threshold

from artifact_torch import Callback, EarlyStopper, Trainer, UsageError

ReasonAfter = Callable[[Sequence[float | None], EarlyStopper], str | None]


def watching(**options: Any) -> Threshold:
    return Threshold(score="train/watched", **options)


def test_training_stops_when_the_goal_is_reached(
    make_trainer: Callable[..., Trainer], scripted: Callable[..., Callback]
) -> None:
    trainer = make_trainer(
        epochs=10, callbacks=[scripted(watched=[0.7, 0.8, 0.9, 1.0])], stoppers=[watching(goal=0.9, mode="max")]
    )
    result = trainer.train()
    assert (result.epochs, result.reason) == (
        3,
        "Threshold: train/watched is 0.9 (epoch 3) and has reached the goal 0.9",
    )


def test_training_stops_when_the_score_is_beyond_the_limit(reason_after: ReasonAfter) -> None:
    assert reason_after([1.0, 10.0], watching(limit=10)) is None
    assert reason_after([1.0, 12.5], watching(limit=10)) == (
        "train/watched is 12.5 (epoch 2) and is worse than the limit 10"
    )
    assert reason_after([1.0, float("nan")], watching(limit=10)) == (
        "train/watched is nan (epoch 2) and is worse than the limit 10"
    )


def test_only_the_newest_value_counts(reason_after: ReasonAfter) -> None:
    assert reason_after([0.5, 2.0], watching(goal=1)) is None
    assert reason_after([0.5, None], watching(goal=1)) is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing to wait for: give it a goal, a limit, or both"),
        ({"goal": float("nan")}, "goal of Threshold must be a finite number, not nan"),
        ({"limit": float("inf")}, "limit of Threshold must be a finite number, not inf"),
        ({"goal": 2, "limit": 1}, "limit 1 of Threshold is better than its goal 2 in mode 'min': exchange them"),
        ({"goal": 1, "limit": 2, "mode": "max"}, "better than its goal 1 in mode 'max'"),
        ({"goal": 1, "mode": "least"}, "'min' or 'max', not 'least'"),
        ({"goal": 1, "warm_up": -2}, "warm_up of Threshold must be a number from 0 up, not -2"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        watching(**options)
