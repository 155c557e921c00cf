from __future__ import annotations

import json
import resource
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from artifact_torch_table_comparison.reading import table_from_frame
from artifact_torch_table_comparison.schema import ColumnSchema, Table, TableSchema
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal, assert_series_equal

from artifact_torch import DataError

NAN = float("nan")


def column(kind: str, dtype: str, **fields: object) -> ColumnSchema:
    return ColumnSchema("x", kind, dtype, **fields)  # type: ignore[arg-type]


def written(schema: ColumnSchema, values: pd.Series) -> list[str]:
    return schema.texts(values)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint16", "uint64", "Int16", "int64[pyarrow]"])
def test_numbers_become_whole_numbers_of_the_original_dtype(dtype: str) -> None:
    assert_series_equal(
        column("integer", dtype).series(np.array([1.4, 2.6, 0.0])), pd.Series([1, 3, 0], dtype=dtype), check_names=False
    )


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("int8", -128, 127), ("uint8", 0, 255), ("int64", -(2**63), 2**63 - 1)]
)
def test_numbers_beyond_the_range_of_an_integer_dtype_become_its_limits(dtype: str, low: int, high: int) -> None:
    restored = column("integer", dtype).series(np.array([-1e30, 1e30, 5.0]))
    assert restored.dtype == dtype
    assert restored.tolist() == [low, high, 5]


@pytest.mark.parametrize(
    ("kind", "dtype", "nullable"),
    [("integer", "int64", "Int64"), ("integer", "uint8", "UInt8"), ("boolean", "bool", "boolean")],
)
def test_missing_values_turn_a_dtype_that_cannot_hold_them_into_the_nullable_one(
    kind: str, dtype: str, nullable: str
) -> None:
    values = np.array(["true", None], dtype=object) if kind == "boolean" else np.array([1.0, NAN])
    restored = column(kind, dtype).series(values)
    assert restored.dtype == nullable
    assert restored.isna().tolist() == [False, True]


def test_floats_are_rounded_to_the_decimals_of_the_column() -> None:
    assert column("float", "float64", decimals=1).series(np.array([1.26, -0.04, NAN, 1e300])).tolist()[:2] == [1.3, 0.0]
    assert column("float", "float64", decimals=1).series(np.array([1e300]))[0] == 1e300
    assert column("float", "float64").series(np.array([1 / 3]))[0] == 1 / 3


@pytest.mark.parametrize(
    ("date_format", "expected"),
    [
        ("%Y-%m-%d", "2020-05-17 00:00:00"),
        ("%Y-%m-%d %H:%M", "2020-05-16 13:15:00"),
        ("%Y-%m-%d %H:%M:%S", "2020-05-16 13:14:31"),
    ],
)
def test_dates_are_rounded_to_the_resolution_of_their_format(date_format: str, expected: str) -> None:
    seconds = pd.Timestamp("2020-05-16 13:14:30.7").timestamp()
    restored = column("date", "datetime64[ns]", date_format=date_format).series(np.array([seconds, NAN]))
    assert str(restored[0]) == expected
    assert restored.isna().tolist() == [False, True]


def test_dates_beyond_what_pandas_holds_become_its_first_and_last_days() -> None:
    restored = column("date", "datetime64[ns]", date_format="%Y-%m-%d").series(np.array([-1e15, 1e15]))
    assert [moment.year for moment in restored] == [1677, 2262]


@pytest.mark.parametrize("dtype", ["datetime64[ns]", "datetime64[s]", "datetime64[ns, Europe/Berlin]", "object"])
def test_dates_come_back_in_their_dtype(dtype: str) -> None:
    moments = pd.Series(pd.to_datetime(["2020-01-02 03:00:00", None]))
    if dtype == "object":
        moments = pd.Series(["2020-01-02 03:00:00", None], dtype=object)
    elif "Berlin" in dtype:
        moments = moments.dt.tz_localize("UTC")
    original = moments.astype(dtype)
    schema = column("date", dtype, date_format="%Y-%m-%d %H:%M:%S")
    assert schema.numbers(original)[0] == pd.Timestamp("2020-01-02 03:00:00").timestamp()
    assert_series_equal(schema.series(schema.numbers(original)), original)


def test_infinite_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="'x' was given an infinite number"):
        column("integer", "int64").series(np.array([1.0, np.inf]))


def test_labels_that_the_column_cannot_hold_are_refused() -> None:
    with pytest.raises(DataError, match="neither 'false' nor 'true'"):
        column("boolean", "bool").series(np.array(["maybe"], dtype=object))
    with pytest.raises(DataError, match="'c', which is none of its categories"):
        column("category", "category", categories=("a", "b")).series(np.array(["a", "c"], dtype=object))


def test_booleans_are_labels_false_and_true_whatever_their_texts() -> None:
    schema = column("boolean", "bool", labels=("no", "yes"))
    values = pd.Series([True, False, None], dtype="boolean")
    assert schema.text_labels(values).tolist() == ["true", "false", None]
    assert written(schema, values) == ["yes", "no", ""]


@pytest.mark.parametrize("categories", [["b", "a", "unused"], [3, 1, 2], [1.5, 0.5], [True, False]])
def test_categories_come_back_with_their_values_order_and_unused_ones(categories: list[object]) -> None:
    values = pd.Series(
        pd.Categorical([categories[1], None, categories[0]], categories=categories, ordered=True), name="x"
    )
    schema = table_from_frame(values.to_frame()).schema.columns[0]
    assert_series_equal(schema.series(schema.text_labels(values)), values, check_names=False)


@pytest.mark.parametrize(
    ("fields", "value", "text"),
    [
        ({}, 32.0, "32.0"),
        ({}, 0.1, "0.1"),
        ({}, -0.0, "0.0"),
        ({"min_decimals": 0}, 32.0, "32"),
        ({"min_decimals": 2}, 1.5, "1.50"),
        ({"min_decimals": 2}, 1.125, "1.125"),
        ({}, 1e-05, "0.00001"),
        ({}, 1e17, "100000000000000000.0"),
        ({"exponents": True}, 1e-05, "1e-05"),
    ],
)
def test_floats_are_written_as_in_the_source(fields: dict[str, object], value: float, text: str) -> None:
    assert written(column("float", "float64", **fields), pd.Series([value])) == [text]


def test_fields_are_quoted_only_where_they_would_be_read_otherwise() -> None:
    values = pd.Series(["plain", "", "NA", "a,b", 'say "x"', "two\nlines", " blank", None], dtype=object)
    expected = ["plain", '""', '"NA"', '"a,b"', '"say ""x"""', '"two\nlines"', " blank", ""]
    assert written(column("category", "object"), values) == expected


def example() -> tuple[pd.DataFrame, TableSchema]:
    frame = pd.DataFrame(
        {
            "id": np.arange(5, 30, dtype=np.int32),
            "n": np.arange(25, dtype=np.int16) % 4,
            "none": np.full(25, np.nan),
            "c": pd.Categorical(["u", "v", None, "u", "v"] * 5, categories=["v", "u", "w"]),
        }
    )
    return frame, table_from_frame(frame, renumber=["id"]).schema


def test_restoring_yields_the_original_order_dtypes_and_the_columns_models_do_not_see() -> None:
    frame, schema = example()
    assert [column.name for column in schema.modelled] == ["n", "c"]
    columns = {"c": frame["c"].iloc[::-1], "n": frame["n"]}
    restored = schema.restore(columns, 25)
    assert_frame_equal(restored, frame.assign(c=frame["c"].iloc[::-1].to_numpy()).astype({"c": frame["c"].dtype}))


def test_identifiers_count_on_beyond_the_range_of_a_narrow_dtype() -> None:
    schema = TableSchema((ColumnSchema("id", "identifier", "int8", first=120),))
    assert schema.restore({}, 10)["id"].tolist() == list(range(120, 130))
    assert schema.restore({}, 5)["id"].dtype == "int8"


def test_restoring_refuses_absent_columns_and_other_numbers_of_rows() -> None:
    frame, schema = example()
    with pytest.raises(DataError, match="'c' is not among the columns"):
        schema.restore({"n": frame["n"]}, 25)
    with pytest.raises(DataError, match="'n' has 25 rows where 24 are"):
        schema.restore({"n": frame["n"], "c": frame["c"]}, 24)


def test_a_schema_survives_json_text() -> None:
    frame = example()[0].assign(b=["yes", "no", "yes", "no", "yes"] * 5, d=pd.Timestamp("2020-01-01"))
    schema = table_from_frame(frame, renumber=["id"]).schema
    assert TableSchema.from_json(json.loads(json.dumps(schema.to_json()))) == schema
    labelled = TableSchema((column("boolean", "bool", labels=("no", "yes")),))
    assert TableSchema.from_json(json.loads(json.dumps(labelled.to_json()))) == labelled


@pytest.mark.parametrize(
    "values", [{}, {"columns": [{"name": "x"}]}, {"columns": [{"name": "x", "kind": "odd", "dtype": "o"}]}]
)
def test_values_that_are_no_schema_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(DataError, match="no table schema"):
        TableSchema.from_json(values)


def test_rows_are_taken_by_position_or_mask_with_a_fresh_index() -> None:
    table = table_from_frame(pd.DataFrame({"n": [10, 20, 30]}))
    assert len(table) == 3
    assert_frame_equal(table.take(np.array([2, 0])).frame, pd.DataFrame({"n": [30, 10]}))
    assert_frame_equal(table.take(np.array([True, False, True])).frame, pd.DataFrame({"n": [10, 30]}))
    assert table.take(np.array([1])).schema is table.schema


def test_original_and_typed_frames_are_written_alike(tmp_path: Path) -> None:
    frame, schema = example()
    schema.write_csv(frame, tmp_path / "original.csv")
    schema.write_csv(table_from_frame(frame, renumber=["id"]).frame, tmp_path / "typed.csv")
    assert (tmp_path / "original.csv").read_bytes() == (tmp_path / "typed.csv").read_bytes()
    assert (tmp_path / "original.csv").read_bytes().startswith(b"id,n,none,c\n5,0,,u\n6,1,,v\n7,2,,\n")


def test_writing_refuses_frames_without_a_column_and_compressed_names(tmp_path: Path) -> None:
    frame, schema = example()
    with pytest.raises(DataError, match="no column 'c'"):
        schema.write_csv(frame.drop(columns="c"), tmp_path / "x.csv")
    with pytest.raises(DataError, match="uncompressed"):
        schema.write_csv(frame, tmp_path / "x.csv.gz")


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "x.csv"
    target.write_text("old")
    frame, schema = example()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(DataError, match=r"could not be written \(File too large\)"):
            schema.write_csv(frame, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_writing_into_an_absent_directory_is_refused_in_a_sentence(tmp_path: Path) -> None:
    frame, schema = example()
    with pytest.raises(DataError, match="could not be written"):
        schema.write_csv(frame, tmp_path / "absent" / "x.csv")


@given(
    st.lists(st.one_of(st.none(), st.integers(-(2**53), 2**53)), min_size=2).filter(lambda v: v.count(None) < len(v))
)
@settings(deadline=None, max_examples=50)
def test_integers_survive_the_way_through_numbers(values: list[int | None]) -> None:
    original = pd.Series(values, dtype="Int64", name="x")
    schema = table_from_frame(original.to_frame()).schema.columns[0] if len(values) < 21 else column("integer", "Int64")
    assert_series_equal(schema.series(schema.numbers(original)), original, check_names=False)


def test_a_table_knows_its_length_and_keeps_its_warnings_in_parts() -> None:
    table = Table(pd.DataFrame({"n": [1, 2]}), TableSchema((column("integer", "int64"),)), ("careful",))
    assert table.take(np.array([0])).warnings == ("careful",)
