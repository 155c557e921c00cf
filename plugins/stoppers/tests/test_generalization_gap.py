from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from artifact_torch_stoppers import GeneralizationGap
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact_torch import Callback, Trainer, UsageError


def watching(**options: Any) -> GeneralizationGap:
    return GeneralizationGap(score="train/new", train_score="train/known", **options)


@pytest.fixture(scope="session")
def reason_after(without_training: Callable[[], Trainer]) -> Callable[..., str | None]:
    """What a stopper says after epochs with these scores."""

    def reason_after(new: list[float], known: list[float], stopper: GeneralizationGap) -> str | None:
        trainer = without_training()
        for epoch, (score, train_score) in enumerate(zip(new, known, strict=True), start=1):
            trainer.metrics.record_epoch(epoch, {"train/new": score, "train/known": train_score})
            trainer.state.epochs_completed = epoch
        return stopper.check(trainer)

    return reason_after


def test_training_stops_when_the_gap_is_too_large_for_some_epochs(
    make_trainer: Callable[..., Trainer], scripted: Callable[..., Callback]
) -> None:
    scores = scripted(new=[1.0, 0.9, 0.9, 0.9, 0.9], known=[1.0, 0.8, 0.6, 0.5, 0.4])
    trainer = make_trainer(epochs=5, callbacks=[scores], stoppers=[watching(bound=0.4, epochs=2)])
    result = trainer.train()
    assert result.epochs == 4
    assert result.reason == (
        "GeneralizationGap: train/new is 0.9 (epoch 4), worse than train/known, 0.5, by 0.8 of it, and the gap has "
        "been above 0.4 for 2 epochs"
    )


def test_the_gap_is_measured_in_three_ways(reason_after: Callable[..., str | None]) -> None:
    new, known = [4.0, 2.0, 3.0], [5.0, 3.0, 1.0]
    assert reason_after(new, known, watching(measure="absolute", bound=1)) == (
        "train/new is 3 (epoch 3), worse than train/known, 1, by 2, and the gap has been above 1 for 1 epoch"
    )
    assert reason_after(new, known, watching(measure="loss", bound=0.25)) == (
        "train/new is 3 (epoch 3), worse than its best, 2, by 0.5 of it, and the gap has been above 0.25 for 1 epoch"
    )
    for measure, gap in (("absolute", 2), ("relative", 2), ("loss", 0.5)):
        assert reason_after(new, known, watching(measure=measure, bound=gap)) is None
        assert reason_after(new, known, watching(measure=measure, bound=gap - 0.01)) is not None


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 40).map(float), min_size=1, max_size=10), st.integers(1, 50))
def test_the_loss_of_generality_is_that_of_prechelt(
    reason_after: Callable[..., str | None], errors: list[float], alpha: int
) -> None:
    """GL(t) = 100 * (E_va(t) / E_opt(t) - 1), and GL_alpha stops when GL(t) > alpha: Prechelt (1998), section 2."""
    generalization_loss = 100 * (errors[-1] / min(errors) - 1)
    if abs(generalization_loss - alpha) < 1e-9:  # what rounding decides
        return
    reason = reason_after(errors, [1.0] * len(errors), watching(measure="loss", bound=alpha / 100))
    assert (reason is not None) == (generalization_loss > alpha)


def test_the_loss_of_generality_needs_no_training_score(
    make_trainer: Callable[..., Trainer], scripted: Callable[..., Callback]
) -> None:
    trainer = make_trainer(
        epochs=5, callbacks=[scripted(new=[1.0, 2.0])], stoppers=[watching(measure="loss", bound=0.5)]
    )
    assert trainer.train().epochs == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bound": -1}, "bound of GeneralizationGap must be a number from 0 up, not -1"),
        ({"measure": "ratio"}, "'absolute', 'relative' or 'loss', not 'ratio'"),
        ({"epochs": 0}, "GeneralizationGap needs at least 1 epoch, not 0"),
        ({"mode": "no"}, "'min' or 'max', not 'no'"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        watching(**options)
