"""Periods, as people write them."""

from __future__ import annotations

import pytest

from artifact_torch import Period, UsageError


@pytest.mark.parametrize(
    ("given", "number", "unit", "text"),
    [
        (5, 5, "epochs", "5 epochs"),
        ("1 epoch", 1, "epochs", "1 epoch"),
        (" 200 steps ", 200, "steps", "200 steps"),
        ("30 seconds", 30, "seconds", "30 seconds"),
        ("10 minutes", 600, "seconds", "600 seconds"),
        ("1 hour", 3600, "seconds", "3600 seconds"),
        (Period(3, "steps"), 3, "steps", "3 steps"),
    ],
)
def test_a_period_is_a_number_of_epochs_or_a_text(given, number, unit, text):
    period = Period.of(given)
    assert (period.number, period.unit, str(period)) == (number, unit, text)


@pytest.mark.parametrize("given", [0, -1, "0 steps", "often", "2 weeks", "1.5 epochs", True, None, 2.0, ""])
def test_what_is_no_period_is_refused(given):
    with pytest.raises(UsageError, match="period"):
        Period.of(given)


def test_a_validation_does_not_depend_on_time():
    with pytest.raises(UsageError, match="results would depend on how fast the machine is"):
        Period.of_training("10 minutes")


@pytest.mark.parametrize(
    ("period", "epoch", "step", "epoch_ends", "due"),
    [
        (2, 2, 8, True, True),
        (2, 2, 6, False, False),
        (2, 3, 12, True, False),
        ("5 steps", 2, 10, False, True),
        ("5 steps", 2, 11, True, False),
        ("5 steps", 0, 0, False, False),
        ("1 second", 1, 1, True, False),
    ],
)
def test_it_is_due_at_multiples(period, epoch, step, epoch_ends, due):
    assert Period.of(period).is_due(epoch, step, epoch_ends=epoch_ends) is due
