"""Encoding: numbers are standardised, labels have codes, and what was not seen is mapped to what was."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from artifact_torch_binary_classification.encoding import FeatureEncoder
from artifact_torch_table_comparison import table_from_frame
from numpy.testing import assert_allclose, assert_array_equal

from artifact_torch import DataError


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "weight": [1.0, 2.0, None, 3.0] * 3,
            "count": [1, 2, 3, 4] * 3,
            "day": pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03", None] * 3),
            "colour": ["red", "red", "blue", None] * 3,
            "rare": ["a"] * 9 + ["b"] * 2 + ["c"],
            "tame": [True, False, True, True] * 3,
            "empty": [None] * 12,
        }
    )


@pytest.fixture
def encoder(frame):
    return FeatureEncoder.fit(table_from_frame(frame))


def test_numbers_are_standardised_and_gaps_are_indicated(encoder, frame):
    numbers, _ = encoder.encode(frame)
    assert numbers.dtype == np.float32
    assert numbers.shape == (12, encoder.width) == (12, 5)  # weight and day have an indicator, count has none
    assert_allclose(numbers.mean(axis=0)[[0, 2, 3]], 0, atol=1e-6)
    assert_allclose(numbers[:, 2].std(), 1, atol=1e-6)
    assert_array_equal(numbers[:, 1], [0, 0, 1, 0] * 3)
    assert_array_equal(numbers[:, 4], [0, 0, 0, 1] * 3)


def test_labels_have_codes_and_so_has_a_missing_one(encoder, frame):
    _, codes = encoder.encode(frame)
    assert encoder.sizes == (4, 2, 3)  # unknown, red, blue, missing; unknown, a; unknown, true, false
    assert_array_equal(codes[:, 0], [1, 1, 2, 3] * 3)
    assert_array_equal(codes[:, 1], [1] * 9 + [0] * 3)
    assert_array_equal(codes[:, 2], [1, 2, 1, 1] * 3)


def test_what_was_not_seen_is_mapped_to_what_was(encoder, frame):
    strange = frame.head(2).assign(colour=["green", None], rare=[None, "z"], weight=[1e9, -1e9], count=[None, 2])
    numbers, codes = encoder.encode(strange)
    assert_array_equal(codes[:, 0], [0, 3])
    assert_array_equal(codes[:, 1], [0, 0])
    assert_array_equal(numbers[:, 0], [10, -10])
    assert numbers[0, 2] == 0  # the mean, as nothing was missing


@pytest.mark.parametrize("value", [5.0, 0.1, 1e15, 0.0])
def test_a_constant_column_is_zero(value):
    table = table_from_frame(pd.DataFrame({"same": [value] * 7, "other": range(0, 14, 2)}))
    numbers, _ = FeatureEncoder.fit(table).encode(table.frame)
    assert_allclose(numbers[:, 0], 0, atol=1e-9)


def test_an_encoder_comes_back_from_json_to_the_last_bit(encoder, frame):
    again = FeatureEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert again == encoder
    for one, other in zip(again.encode(frame), encoder.encode(frame), strict=True):
        assert_array_equal(one, other)


def test_a_frame_without_a_column_is_refused(encoder, frame):
    with pytest.raises(DataError, match="Column 'colour' is missing"):
        encoder.encode(frame.drop(columns="colour"))


def test_a_table_of_numbers_or_of_labels_alone_has_an_empty_other_part():
    numbers, codes = _encoded(pd.DataFrame({"number": [0.5, 0.25]}))
    assert (numbers.shape, codes.shape) == ((2, 1), (2, 0))
    numbers, codes = _encoded(pd.DataFrame({"label": ["a", "b"]}))
    assert (numbers.shape, codes.shape) == ((2, 0), (2, 1))


def _encoded(frame):
    table = table_from_frame(frame)
    return FeatureEncoder.fit(table).encode(table.frame)
