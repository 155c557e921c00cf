from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from artifact_torch_table_comparison import ColumnSchema, Table, TableSchema, table_from_frame
from artifact_torch_tabular_models import TableEncoder
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from artifact_torch import DataError, UsageError

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def floats(values: object) -> Table:
    schema = TableSchema((ColumnSchema("x", "float", "float64"),))
    return Table(pd.DataFrame({"x": np.asarray(values, dtype=np.float64)}), schema)


def labels(values: list[str | None]) -> Table:
    schema = TableSchema((ColumnSchema("x", "category", "object"),))
    return Table(pd.DataFrame({"x": pd.Series(values, dtype=object)}), schema)


def middle(codes: np.ndarray) -> np.ndarray:
    return np.full(codes.shape, 0.5)


def reread(encoder: TableEncoder) -> TableEncoder:
    return TableEncoder.from_json(json.loads(json.dumps(encoder.to_json(), allow_nan=False)))


@given(st.lists(FINITE, min_size=1, max_size=8), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=50)
def test_few_distinct_numbers_come_back_to_the_last_bit_wherever_they_are_drawn_in_their_cell(
    values: list[float], random: object
) -> None:
    table = floats(values)
    encoder = TableEncoder.fit(table)
    codes = encoder.encode(table.frame)
    for uniform in (0.0, random.random(), np.nextafter(1, 0)):  # type: ignore[attr-defined]
        assert_frame_equal(encoder.decode(codes, np.full(codes.shape, uniform)), table.frame, check_exact=True)


@given(st.lists(FINITE, min_size=30, max_size=200), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32))
@settings(deadline=None, max_examples=50)
def test_binned_numbers_stay_in_the_range_of_the_data_and_in_their_own_bin(
    values: list[float], exact_values: int, bins: int, seed: int
) -> None:
    table = floats(values)
    encoder = TableEncoder.fit(table, exact_values=exact_values, bins=bins)
    codes = encoder.encode(table.frame)
    decoded = encoder.decode(codes, np.random.default_rng(seed).random(codes.shape))
    assert decoded["x"].between(min(values), max(values)).all()
    assert np.array_equal(encoder.encode(decoded), codes)


@given(st.lists(st.sampled_from(["red", "green", "", "nan", "None", None]), min_size=1, max_size=60))
@settings(deadline=None, max_examples=50)
def test_labels_and_missing_ones_come_back(values: list[str | None]) -> None:
    table = labels(values)
    encoder = TableEncoder.fit(table)
    codes = encoder.encode(table.frame)
    assert_frame_equal(encoder.decode(codes, middle(codes)), table.frame)
    assert encoder.sizes == (len(set(values)),)


def test_the_most_frequent_label_comes_first_and_ties_are_in_alphabetical_order() -> None:
    table = labels(["b", "c", "c", "a", None])
    codes = TableEncoder.fit(table).encode(table.frame)
    assert codes[:, 0].tolist() == [2, 0, 0, 1, 3]


def mixed_table(num_rows: int = 600) -> Table:
    random = np.random.default_rng(3)
    amounts = np.round(np.where(random.random(num_rows) < 0.4, 0, random.lognormal(3, 1, num_rows)), 2)
    counts = pd.Series(random.integers(-4000, 4000, num_rows), dtype="Int64")
    counts[random.random(num_rows) < 0.3] = pd.NA
    frame = pd.DataFrame(
        {
            "amount": amounts,
            "count": counts,
            "day": pd.Timestamp("2001-02-03") + pd.to_timedelta(random.integers(0, 3000, num_rows), unit="D"),
            "works": random.random(num_rows) < 0.2,
            "colour": pd.Categorical(random.choice(["red", "green"], num_rows)),
        }
    )
    return table_from_frame(frame)


def test_generated_rows_have_the_types_decimals_and_missing_shares_of_the_table() -> None:
    table = mixed_table()
    encoder = TableEncoder.fit(table)
    codes = encoder.encode(table.frame)
    decoded = encoder.decode(codes, np.random.default_rng(0).random(codes.shape))
    assert decoded.dtypes.astype(str).tolist() == [column.dtype for column in table.schema.columns]
    assert decoded["count"].isna().equals(table.frame["count"].isna())
    assert np.array_equal(decoded["amount"], decoded["amount"].round(2))
    assert (decoded["day"] == decoded["day"].dt.normalize()).all()
    assert decoded["works"].tolist() == table.frame["works"].tolist()
    assert decoded["colour"].tolist() == table.frame["colour"].tolist()


def test_a_value_with_much_of_the_mass_keeps_exactly_its_rows() -> None:
    table = mixed_table()
    encoder = TableEncoder.fit(table)
    codes = encoder.encode(table.frame)
    decoded = encoder.decode(codes, np.random.default_rng(0).random(codes.shape))
    assert (decoded["amount"] == 0).equals(table.frame["amount"] == 0)


def test_bins_keep_the_distribution_of_their_values() -> None:
    values = np.sort(np.random.default_rng(0).lognormal(0, 2, 5000))
    encoder = TableEncoder.fit(floats(values), exact_values=10, bins=10)
    codes = encoder.encode(floats(values).frame)
    decoded = np.sort(encoder.decode(codes, np.random.default_rng(1).random(codes.shape))["x"])
    shares = np.searchsorted(decoded, values, side="right") / 5000
    assert np.abs(shares - np.arange(1, 5001) / 5000).max() < 0.01


def test_a_column_of_few_values_in_a_small_table_shares_codes_and_yields_only_its_own_values() -> None:
    values = np.repeat(np.arange(50) ** 2, 4).astype(float)
    encoder = TableEncoder.fit(floats(values))
    assert encoder.sizes[0] <= 20
    codes = np.random.default_rng(0).integers(0, encoder.sizes[0], (2000, 1))
    decoded = encoder.decode(codes, np.random.default_rng(1).random(codes.shape))["x"]
    assert set(decoded) == set(values)


def test_a_large_table_has_a_code_for_each_of_few_values_and_as_many_bins_as_allowed_for_many() -> None:
    repeated = np.resize(np.arange(256), 6000)
    assert TableEncoder.fit(floats(repeated)).sizes == (256,)
    assert TableEncoder.fit(floats(np.arange(6000))).sizes == (128,)
    assert TableEncoder.fit(floats(np.arange(6000)), bins=40).sizes == (40,)


def test_missing_has_a_code_only_if_the_training_data_has_missing_values() -> None:
    assert TableEncoder.fit(floats([1, 2, np.nan])).sizes == (3,)
    assert TableEncoder.fit(floats([1, 2, 2])).sizes == (2,)


def test_unseen_numbers_go_to_the_nearest_cell() -> None:
    encoder = TableEncoder.fit(floats([1, 2, 10]))
    seen = encoder.encode(floats([-np.inf, -5, 1.4, 1.6, 5.9, 6.1, 1e300, np.inf]).frame)
    assert seen[:, 0].tolist() == [0, 0, 0, 1, 1, 2, 2, 2]


def test_numbers_at_both_ends_of_the_floats_do_not_overflow() -> None:
    encoder = TableEncoder.fit(floats([-1.7e308, 1.7e308]))
    assert encoder.encode(floats([-1e308, 1e308]).frame)[:, 0].tolist() == [0, 1]


def test_unseen_labels_and_unseen_missing_values_go_to_the_most_frequent() -> None:
    encoder = TableEncoder.fit(labels(["a", "b", "b"]))
    assert encoder.encode(labels(["z", None]).frame)[:, 0].tolist() == [0, 0]
    encoder = TableEncoder.fit(floats([7, 8, 8]))
    assert encoder.encode(floats([np.nan]).frame)[:, 0].tolist() == [1]


@pytest.mark.parametrize(("kind", "dtype"), [("float", "float64"), ("category", "object")])
def test_a_column_without_any_value_in_the_training_rows_stays_missing(kind: str, dtype: str) -> None:
    schema = TableSchema((ColumnSchema("x", kind, dtype),))  # type: ignore[arg-type]
    present = pd.Series([1.0] if kind == "float" else ["a"], dtype=dtype)
    table = Table(pd.DataFrame({"x": pd.Series([None] * 4, dtype=dtype)}), schema)
    encoder = reread(TableEncoder.fit(table))
    codes = np.vstack([encoder.encode(table.frame), encoder.encode(pd.DataFrame({"x": present}))])
    assert encoder.sizes == (1,)
    assert encoder.decode(codes, middle(codes))["x"].isna().tolist() == [True] * 5


def test_columns_that_are_not_modelled_come_back_beside_the_others() -> None:
    frame = pd.DataFrame({"number": range(100, 160), "nothing": [None] * 60, "sex": ["F", "M"] * 30})
    table = table_from_frame(frame, renumber=["number"])
    encoder = TableEncoder.fit(table)
    codes = encoder.encode(table.frame)
    decoded = encoder.decode(codes[:2], middle(codes[:2]))
    assert encoder.sizes == (2,)
    assert decoded["number"].tolist() == [100, 101]
    assert decoded["nothing"].isna().all()
    assert decoded.columns.tolist() == ["number", "nothing", "sex"]


@given(st.lists(FINITE | st.just(float("nan")), min_size=1, max_size=60), st.integers(1, 20), st.integers(0, 2**32))
@settings(deadline=None, max_examples=50)
def test_an_encoder_read_from_json_text_codes_and_decodes_identically(
    values: list[float], exact_values: int, seed: int
) -> None:
    table = floats(values)
    encoder = TableEncoder.fit(table, exact_values=exact_values, bins=5)
    again = reread(encoder)
    codes = np.random.default_rng(seed).integers(0, encoder.sizes[0], (50, 1))
    uniforms = np.random.default_rng(seed).random(codes.shape)
    assert json.dumps(again.to_json()) == json.dumps(encoder.to_json())
    assert np.array_equal(again.encode(table.frame), encoder.encode(table.frame))
    assert_frame_equal(again.decode(codes, uniforms), encoder.decode(codes, uniforms), check_exact=True)


def test_an_encoder_of_every_kind_of_column_survives_json() -> None:
    table = mixed_table()
    encoder = TableEncoder.fit(table)
    assert json.dumps(reread(encoder).to_json()) == json.dumps(encoder.to_json())


def test_a_table_without_a_column_to_model_is_refused() -> None:
    schema = TableSchema((ColumnSchema("number", "identifier", "int64"), ColumnSchema("note", "empty", "object")))
    frame = pd.DataFrame({"number": [1, 2], "note": pd.Series([None, None], dtype=object)})
    with pytest.raises(DataError, match="no column to model"):
        TableEncoder.fit(Table(frame, schema))


def test_a_table_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        TableEncoder.fit(floats([]))


def test_an_infinite_number_is_refused_with_its_column() -> None:
    with pytest.raises(DataError, match="'x' holds infinite"):
        TableEncoder.fit(floats([1.0, np.inf]))


def test_rows_without_a_modelled_column_are_refused_with_its_name() -> None:
    with pytest.raises(DataError, match="'x' is missing"):
        TableEncoder.fit(floats([1.0, 2.0])).encode(pd.DataFrame({"y": [1.0]}))


@pytest.mark.parametrize("parameter", ["exact_values", "bins"])
def test_parameters_that_are_not_positive_are_refused(parameter: str) -> None:
    with pytest.raises(UsageError, match=f"{parameter} is 0"):
        TableEncoder.fit(floats([1.0]), **{parameter: 0})
