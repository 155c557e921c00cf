"""How numbers and times are shown."""

from __future__ import annotations

import pytest
from artifact_torch_callbacks.wording import duration, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (14.231, "14.2310"),
        (0.0312, "0.0312"),
        (0.00312, "0.003120"),
        (3.12e-5, "3.12e-05"),
        (-1234.5678, "-1234.57"),
        (123456.7, "123457"),
        (1234567.0, "1.23e+06"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (1.24, "1.2 s"),
        (9.96, "10 s"),
        (26.4, "26 s"),
        (59.7, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_times_are_in_units_that_suit_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
