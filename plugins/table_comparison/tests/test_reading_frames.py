"""Tables from frames in memory."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from artifact_torch_table_comparison.reading import table_from_frame
from artifact_torch_table_comparison.schema import ColumnSchema
from pandas.testing import assert_frame_equal

from artifact_torch import DataError


def column_of(values: Any, dtype: Any = None) -> tuple[ColumnSchema, pd.Series, tuple[str, ...]]:
    table = table_from_frame(pd.DataFrame({"x": pd.Series(values, dtype=dtype)}).assign(n=1))
    return table.schema.columns[0], table.frame["x"], table.warnings


@pytest.mark.parametrize(
    ("values", "dtype", "kind", "typed"),
    [
        ([1, 2], "int16", "integer", "int64"),
        ([1, None], "UInt8", "integer", "Int64"),
        ([1, None], "int64[pyarrow]", "integer", "Int64"),
        ([1, None], "object", "integer", "Int64"),
        ([0.5, None], "float32", "float", "float64"),
        ([0.5, None], "Float64", "float", "float64"),
        ([0.5, 1], "object", "float", "float64"),
        ([True, False], "bool", "boolean", "bool"),
        ([True, None], "boolean", "boolean", "boolean"),
        ([True, None], "object", "boolean", "boolean"),
        (["a", None], "object", "category", "object"),
        (["1", "2"], "object", "category", "object"),
        (["a", None], "string[python]", "category", "object"),
        (["a", None], "string[pyarrow]", "category", "object"),
        (["a", None], "category", "category", "object"),
        (["2020-01-01", None], "object", "date", "datetime64[ns]"),
        (["2020-01-01", None], "datetime64[s]", "date", "datetime64[ns]"),
        (["2020-01-01", None], "datetime64[ns, UTC]", "date", "datetime64[ns]"),
        ([None, None], "float64", "empty", "object"),
        ([None, None], "category", "empty", "object"),
    ],
)
def test_a_column_in_memory_is_typed_and_comes_back_in_its_dtype(
    values: list[Any], dtype: str, kind: str, typed: str
) -> None:
    original = pd.DataFrame({"x": pd.Series(values, dtype=dtype), "n": 1})
    table = table_from_frame(original)
    schema = table.schema.columns[0]
    assert (schema.kind, table.frame["x"].dtype) == (kind, typed)
    modelled = {}
    for column in table.schema.modelled:
        seen = column.numbers if column.is_numeric else column.text_labels
        modelled[column.name] = column.series(seen(table.frame[column.name]))
    assert_frame_equal(table.schema.restore(modelled, 2), original)


def test_python_dates_and_decimals_are_dates_and_numbers() -> None:
    assert column_of([date(2020, 1, 1), date(2020, 1, 2)])[0].date_format == "%Y-%m-%d"
    assert column_of([datetime(2020, 1, 1, 2), datetime(2020, 1, 2)])[0].date_format == "%Y-%m-%d %H:%M"
    schema, values, _ = column_of([Decimal("1.25"), Decimal(2)])
    assert (schema.kind, schema.decimals, values.tolist()) == ("float", 2, [1.25, 2.0])


def test_decimals_are_those_that_the_values_need() -> None:
    assert column_of([1.0, 2.0])[0].decimals == 0
    assert column_of([1.25, 2.0])[0].decimals == 2
    assert column_of([1 / 3, 2.0])[0].decimals is None
    schema, values, _ = column_of([0.1, 0.25], "float32")
    assert (schema.decimals, values.tolist()) == (2, [0.1, 0.25])


def test_values_of_several_types_are_labels_with_a_warning() -> None:
    schema, values, warnings = column_of([1, "a"])
    assert (schema.kind, values.tolist()) == ("category", ["1", "a"])
    assert "several types" in warnings[0]
    assert "more than 64 bits" in column_of([2**70, 1], object)[2][0]


def test_categories_that_are_no_simple_values_come_back_as_text_with_a_warning() -> None:
    schema, _, warnings = column_of(pd.cut(pd.Series([1, 5]), 2))
    assert schema.categories_dtype == "object"
    assert "come back as text" in warnings[0]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({0: [1, 2]}), "column 1 is named 0, which is no text"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), "columns 1 and 2 are both named 'a'"),
        (pd.DataFrame({"a": [1]}), "The frame has one row only"),
        (pd.DataFrame({"a": [1.0, np.inf]}), "The frame, column 'a' has an infinite number in row 2"),
        (pd.DataFrame({"a": pd.to_timedelta([1, 2])}), "column 'a' is of dtype timedelta64"),
        (pd.DataFrame({"a": [1j, 2j]}), "column 'a' is of dtype complex128"),
        (pd.DataFrame({"a": pd.period_range("2020", periods=2)}), "column 'a' is of dtype period"),
        (pd.DataFrame(), "The frame has no column left"),
    ],
)
def test_a_frame_that_is_no_table_is_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataError) as caught:
        table_from_frame(frame)
    assert message in str(caught.value)


def test_a_frame_is_not_changed_and_its_index_not_read() -> None:
    frame = pd.DataFrame({"a": [2, 1], "c": pd.Categorical(["x", None]), "o": [True, None]}, index=[7, 7])
    before = frame.copy(deep=True)
    table = table_from_frame(frame)
    table.frame.loc[0, "a"] = 99
    assert_frame_equal(frame, before)
    assert table.frame.index.tolist() == [0, 1]
