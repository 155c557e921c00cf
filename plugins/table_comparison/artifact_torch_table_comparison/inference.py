"""What the columns of a table hold, told from their texts or from their dtypes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from artifact_torch import DataError
from artifact_torch_table_comparison.schema import ColumnSchema

MOST_LEVELS = 1000
"""A category column with more levels than this gets a warning."""

FEWEST_IDENTIFIERS = 21
"""From this many rows on, a column in which every row has a text of its own is taken for identifiers."""

_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_CODE = re.compile(r"[+-]?0[0-9]+(\.[0-9]*)?")

_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_DATE_FORMATS = (
    (re.compile(_DATE), ("%Y-%m-%d",)),
    (re.compile(rf"{_DATE} [0-9:]{{8}}"), ("%Y-%m-%d %H:%M:%S",)),
    (re.compile(rf"{_DATE}T[0-9:]{{8}}"), ("%Y-%m-%dT%H:%M:%S",)),
    (re.compile(rf"{_DATE} [0-9:]{{5}}"), ("%Y-%m-%d %H:%M",)),
    (re.compile(rf"{_DATE}T[0-9:]{{5}}"), ("%Y-%m-%dT%H:%M",)),
    (re.compile(rf"{_DATE} [0-9:]{{8}}\.[0-9]{{1,6}}"), ("%Y-%m-%d %H:%M:%S.%f",)),
    (re.compile(rf"{_DATE}T[0-9:]{{8}}\.[0-9]{{1,6}}"), ("%Y-%m-%dT%H:%M:%S.%f",)),
    (re.compile(r"[0-9]{4}/[0-9]{1,2}/[0-9]{1,2}"), ("%Y/%m/%d",)),
    (re.compile(r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}"), ("%d/%m/%Y", "%m/%d/%Y")),
)


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of a column: those that occur, and for every row the position of its own, -1 where missing."""

    uniques: Sequence[str]
    codes: npt.NDArray[np.integer[Any]]

    def counts(self) -> npt.NDArray[np.integer[Any]]:
        """How many rows have each of the texts."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.uniques))

    def spread(self, values: npt.NDArray[Any], missing: object) -> npt.NDArray[Any]:
        """One value for each unique text, turned into one for each row."""
        return np.append(values, np.array([missing], dtype=values.dtype))[self.codes]


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it was understood: its schema, its values in the typed form and what to tell the reader."""

    schema: ColumnSchema
    values: pd.Series[Any]
    warnings: tuple[str, ...] = ()


def column_from_texts(name: str, texts: Texts, where: str) -> Column:
    """Understand a column of a CSV file; blanks around numbers, dates and booleans do not count.

    Raises:
        DataError: It holds an infinite number; ``where`` names the place in the message.
    """
    if not len(texts.uniques):
        return _empty(name, "object", len(texts.codes))
    trimmed = Texts([text.strip() for text in texts.uniques], texts.codes)
    column = _boolean_column(name, trimmed) or _number_column(name, trimmed, where)
    if column is not None:
        return column
    date = _date_column(name, trimmed)
    if isinstance(date, Column):
        return date
    return _category(name, texts, "object", (*_number_warnings(name, trimmed), *date))


def column_from_series(name: str, values: pd.Series[Any], where: str) -> Column:
    """Understand a column in memory: by its dtype, and where that is ``object`` by its values.

    Text stays text, even text of digits, except for dates; only whole numbers within 64 bits are integers.

    Raises:
        DataError: It holds an infinite number or its dtype is not for tables; ``where`` names the place in the message.
    """
    dtype = _dtype_name(values.dtype)
    if values.isna().all():
        return _empty(name, dtype, len(values), values.dtype)
    if isinstance(values.dtype, pd.CategoricalDtype):
        return _categorical_column(name, values)
    content = pd.api.types.infer_dtype(values, skipna=True)
    if content == "boolean":
        typed = values.astype(cast("Any", "boolean" if values.isna().any() else "bool"))
        return Column(ColumnSchema(name, "boolean", dtype), _fresh(typed))
    if content == "integer" and (integers := _integers(values)) is not None:
        return Column(ColumnSchema(name, "integer", dtype), integers)
    if content in ("floating", "mixed-integer-float", "decimal", "integer-na"):
        return _float_column(name, values, dtype, where)
    if content in ("datetime64", "datetime", "date"):
        return _moment_column(name, values, "datetime64[ns]" if dtype == "object" else dtype)
    if content == "string":
        return _text_column(name, values, dtype)
    if dtype != "object" and content != "integer":
        raise DataError(
            f"{where} is of dtype {dtype}, which no model learns: turn it into numbers, dates or text first"
        )
    kinds = "integers of more than 64 bits" if content == "integer" else "values of several types"
    warning = f"column {name!r} holds {kinds}: it is read as labels and comes back as text"
    return _category(name, _texts_of(values.astype(object).map(str, na_action="ignore")), "object", (warning,))


def values_like(schema: ColumnSchema, texts: Texts, where: str) -> pd.Series[Any]:
    """The values of a column whose texts mean what those of a known column do.

    Numbers are floats; the values of a column that is not modelled are its texts.

    Raises:
        DataError: A text is none of the kind of the column; ``where`` names the place in the message.
    """
    if schema.kind in ("category", "empty", "identifier"):
        return _category(schema.name, texts, "object").values
    trimmed = Texts([text.strip() for text in texts.uniques], texts.codes)
    if schema.kind == "boolean":
        false, true = (label.lower() for label in schema.labels or ("False", "True"))
        meanings = {false: False, true: True}
        found = np.array([meanings.get(text.lower()) for text in trimmed.uniques], dtype=object)
        _refuse_other(trimmed, np.array([value is None for value in found], dtype=bool), where, f"{false} or {true}")
        return pd.Series(trimmed.spread(found, None), dtype=object).astype("boolean")
    if schema.kind == "date":
        moments = pd.to_datetime(pd.Series(trimmed.uniques, dtype=object), format=schema.date_format, errors="coerce")
        _refuse_other(trimmed, moments.isna().to_numpy(), where, f"a date like {schema.date_format}")
        return pd.Series(trimmed.spread(moments.to_numpy().astype("datetime64[ns]"), "NaT"))
    _refuse_other(trimmed, np.array([not _NUMBER.fullmatch(text) for text in trimmed.uniques], bool), where, "a number")
    return pd.Series(trimmed.spread(np.array([float(text) for text in trimmed.uniques], dtype=np.float64), np.nan))


def _refuse_other(texts: Texts, wrong: npt.NDArray[np.bool_], where: str, wanted: str) -> None:
    if wrong.any():
        text = texts.uniques[int(np.argmax(wrong))]
        raise DataError(
            f"{where} holds {text!r}, which is not {wanted} as in the real table: write it the same way in both"
        )


def is_identifier(column: Column) -> bool:
    """Whether the column numbers or names its rows: all texts different, or running integers, in more than 20 rows."""
    values = column.values
    if len(values) < FEWEST_IDENTIFIERS or values.isna().any() or not values.is_unique:
        return False
    if column.schema.kind == "integer":
        return int(values.max()) - int(values.min()) + 1 == len(values)
    return column.schema.kind == "category"


def as_identifier(column: Column) -> Column:
    """The column as one to be numbered anew, from its smallest integer or else from 1."""
    dtype = column.schema.dtype
    if column.schema.kind == "integer":
        schema = ColumnSchema(column.schema.name, "identifier", dtype, first=int(column.values.min()))
        return Column(schema, column.values)
    return Column(ColumnSchema(column.schema.name, "identifier", "int64"), column.values)


def level_warnings(column: Column) -> tuple[str, ...]:
    """A warning if a category column has very many levels."""
    if column.schema.kind != "category" or (levels := column.values.nunique()) <= MOST_LEVELS:
        return ()
    return (
        f"column {column.schema.name!r} has {levels:,} different labels: rare ones are learnt poorly, "
        "so drop or coarsen it if it is not needed",
    )


def _empty(name: str, dtype: str, num_rows: int, categorical: object = None) -> Column:
    schema = ColumnSchema(name, "empty", dtype)
    if isinstance(categorical, pd.CategoricalDtype):
        schema = replace(schema, **_category_fields(categorical))
    return Column(
        schema, pd.Series([None] * num_rows, dtype=object), (f"column {name!r} has no values: it stays empty",)
    )


def _boolean_column(name: str, texts: Texts) -> Column | None:
    by_meaning = {text.lower(): text for text in texts.uniques[:2]}
    if len(by_meaning) < len(texts.uniques):
        return None
    for false, true in (("false", "true"), ("no", "yes"), ("f", "t")):
        pair = {false, true}
        if by_meaning.keys() == pair or (false == "false" and by_meaning.keys() <= pair):
            sample = next(iter(by_meaning.values()))
            labels = (by_meaning.get(false, _cased(false, sample)), by_meaning.get(true, _cased(true, sample)))
            return _booleans(ColumnSchema(name, "boolean", "bool", labels=labels), texts)
    return None


def _cased(text: str, sample: str) -> str:
    """The text in capitals, capitalised or small, as the sample is."""
    return text.upper() if sample.isupper() else text.capitalize() if sample[:1].isupper() else text


def _booleans(schema: ColumnSchema, texts: Texts) -> Column:
    truths = np.array([text == (schema.labels or ("", ""))[1] for text in texts.uniques], dtype=object)
    values = pd.Series(texts.spread(truths, None)).astype("boolean")
    if not values.isna().any():
        return Column(schema, values.astype("bool"))
    return Column(replace(schema, dtype="boolean"), values)


def _number_column(name: str, texts: Texts, where: str) -> Column | None:
    if all(_INTEGER.fullmatch(text) for text in texts.uniques):
        whole = [int(text) for text in texts.uniques]
        if min(whole) < -(2**63) or max(whole) >= 2**63:
            return None
        values = pd.Series(texts.spread(np.array(whole, dtype=np.int64), 0))
        missing = texts.codes < 0
        if not missing.any():
            return Column(ColumnSchema(name, "integer", "int64"), values)
        return Column(ColumnSchema(name, "integer", "Int64"), values.astype("Int64").mask(pd.Series(missing)))
    if not all(_NUMBER.fullmatch(text) or _INFINITE.fullmatch(text) for text in texts.uniques):
        return None
    numbers = np.array([float(text) for text in texts.uniques])
    values = pd.Series(texts.spread(numbers, np.nan))
    _refuse_infinite(values, where)
    plain = [text for text in texts.uniques if "e" not in text.lower()]
    schema = ColumnSchema(
        name,
        "float",
        "float64",
        decimals=_decimals(numbers),
        min_decimals=min((len(text.partition(".")[2]) for text in plain), default=1),
        exponents=len(plain) < len(texts.uniques),
    )
    return Column(schema, values)


def _date_column(name: str, texts: Texts, dtype: str = "datetime64[ns]") -> Column | tuple[str, ...]:
    """The column as dates or, if it cannot be, the warnings that tell why one that looks like dates is none."""
    formats = next((formats for shape, formats in _DATE_FORMATS if all(map(shape.fullmatch, texts.uniques))), ())
    unique = pd.Series(texts.uniques, dtype=object)
    parsed = {date_format: pd.to_datetime(unique, format=date_format, errors="coerce") for date_format in formats}
    valid = {date_format: moments for date_format, moments in parsed.items() if moments.notna().all()}
    if len(valid) == 1:
        date_format, moments = next(iter(valid.items()))
        values = pd.Series(texts.spread(moments.to_numpy().astype("datetime64[ns]"), "NaT"))
        return Column(ColumnSchema(name, "date", dtype, date_format=date_format), values)
    advice = "it is read as labels; write them as YYYY-MM-DD to have dates"
    if valid:
        return (f"column {name!r} has dates that can be read day first or month first: {advice}",)
    if parsed:
        odd = unique[next(iter(parsed.values())).isna()].iloc[0]
        return (f"column {name!r} looks like dates, but {odd!r} is none between 1678 and 2261: {advice}",)
    return ()


def _number_warnings(name: str, texts: Texts) -> tuple[str, ...]:
    """Why a column that is mostly numbers is none, by the words in it; codes with leading zeros are meant as text."""
    if all(_INTEGER.fullmatch(text) for text in texts.uniques):
        return (f"column {name!r} has integers of more than 64 bits: it is read as labels",)
    words = np.array([_NUMBER.fullmatch(text) is None for text in texts.uniques])
    counts = texts.counts()
    if 2 * counts[words].sum() > counts.sum() or any(_CODE.fullmatch(text) for text in texts.uniques):
        return ()
    common = [texts.uniques[position] for position in np.argsort(-counts, kind="stable") if words[position]]
    named = ", ".join(map(repr, common[:3])) + (f" and {len(common) - 3:,} more" if len(common) > 3 else "")
    return (
        f"column {name!r} is mostly numbers, but {named} in it are none: it is read as labels; "
        "leave those fields empty to have numbers",
    )


def _category(name: str, texts: Texts, dtype: str, warnings: tuple[str, ...] = ()) -> Column:
    values = pd.Series(texts.spread(np.array(texts.uniques, dtype=object), None), dtype=object)
    return Column(ColumnSchema(name, "category", dtype), values, warnings)


def _text_column(name: str, values: pd.Series[Any], dtype: str) -> Column:
    texts = _texts_of(values)
    trimmed = Texts([text.strip() for text in texts.uniques], texts.codes)
    date = _date_column(name, trimmed, dtype)
    if isinstance(date, Column):
        return date
    only_numbers = all(_NUMBER.fullmatch(text) for text in trimmed.uniques)
    return _category(name, texts, dtype, (*(() if only_numbers else _number_warnings(name, trimmed)), *date))


def _categorical_column(name: str, values: pd.Series[Any]) -> Column:
    dtype = cast("pd.CategoricalDtype", values.dtype)
    column = _category(name, _texts_of(values.astype(object).map(str, na_action="ignore")), "category")
    fields = _category_fields(dtype)
    warnings = ()
    if fields["categories_dtype"] == "object" and pd.api.types.infer_dtype(dtype.categories) != "string":
        warnings = (f"column {name!r} has categories of dtype {dtype.categories.dtype}: they come back as text",)
    return Column(replace(column.schema, **fields), column.values, warnings)


def _category_fields(dtype: pd.CategoricalDtype) -> dict[str, Any]:
    categories = dtype.categories
    simple = categories.dtype.kind in "iufbM" and not isinstance(categories, pd.IntervalIndex)
    return {
        "categories": tuple(str(value) for value in categories),
        "categories_dtype": str(categories.dtype) if simple else "object",
        "ordered": bool(dtype.ordered),
    }


def _float_column(name: str, values: pd.Series[Any], dtype: str, where: str) -> Column:
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    _refuse_infinite(pd.Series(numbers), where)
    narrow = np.float32 if dtype.lower() in ("float32", "float16") else np.float64
    present = numbers[~np.isnan(numbers)]
    decimals = _decimals(present.astype(narrow))
    sizes = np.abs(present[present != 0])
    exponents = bool(((sizes < 1e-4) | (sizes >= 1e16)).any())
    schema = ColumnSchema(name, "float", dtype, decimals=decimals, exponents=exponents)
    return Column(schema, pd.Series(numbers if decimals is None else np.round(numbers, decimals) + 0.0))


def _moment_column(name: str, values: pd.Series[Any], dtype: str) -> Column:
    schema = ColumnSchema(name, "date", dtype)
    seconds = pd.Series(schema.numbers(values))
    moments = pd.Series((seconds * 1e6).round()).astype("Int64")
    steps = ((86400.0, "%Y-%m-%d"), (60.0, "%Y-%m-%d %H:%M"), (1.0, "%Y-%m-%d %H:%M:%S"))
    fits = (text for step, text in steps if (moments.dropna() % int(step * 1e6) == 0).all())
    schema = replace(schema, date_format=next(fits, "%Y-%m-%d %H:%M:%S.%f"))
    return Column(schema, replace(schema, dtype="datetime64[ns]").series(seconds.to_numpy()))


def _integers(values: pd.Series[Any]) -> pd.Series[Any] | None:
    """The integers in ``int64`` or ``Int64``; None if they do not fit."""
    if int(values.min()) < -(2**63) or int(values.max()) >= 2**63:
        return None
    return _fresh(values.astype("Int64") if values.isna().any() else values.astype("int64"))


def _texts_of(values: pd.Series[Any]) -> Texts:
    codes, uniques = pd.factorize(values)
    return Texts([str(text) for text in uniques], codes)


def _fresh(values: pd.Series[Any]) -> pd.Series[Any]:
    return values.reset_index(drop=True).rename(None)


def _decimals(numbers: npt.NDArray[Any]) -> int | None:
    """The most decimals that a number needs; None if some need more than the 15 digits that a float always keeps."""
    wide = numbers.astype(np.float64)
    largest = float(np.abs(wide).max())
    for decimals in range(16):
        if largest * 10**decimals >= 1e15:
            return None
        if (np.round(wide, decimals).astype(numbers.dtype) == numbers).all():
            return decimals
    return None


def _refuse_infinite(values: pd.Series[Any], where: str) -> None:
    infinite = np.isinf(values.to_numpy())
    if infinite.any():
        row = int(infinite.argmax()) + 1
        raise DataError(f"{where} has an infinite number in row {row:,}: replace it by a number or leave it empty")


def _dtype_name(dtype: Any) -> str:
    """The name under which pandas finds the dtype again; that of a text dtype carries its storage."""
    if isinstance(dtype, pd.StringDtype) and dtype.na_value is pd.NA:
        return f"string[{dtype.storage}]"
    return "category" if isinstance(dtype, pd.CategoricalDtype) else str(dtype)
