"""What a table is made of: its columns, how models see them, and how they are given back and written.

A table has two forms. In its *typed* form every kind of column has one dtype (see :class:`Table`); that is what
reading yields. In its *original* form the columns have the dtypes they came with; that is what
:meth:`TableSchema.restore` yields. Methods that take a column or a frame accept either form.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from artifact_torch import DataError

ColumnKind = Literal["integer", "float", "boolean", "date", "category", "empty", "identifier"]

MISSING_TEXTS = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "<NA>", "#N/A")
"""The unquoted fields of a CSV file that mean a missing value; in quotes they are ordinary text."""

_SPECIAL = re.compile('[,"\r\n]')
_NUMPY_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_FIRST_DATE = pd.Timestamp.min.ceil("D").timestamp()
_LAST_DATE = pd.Timestamp.max.floor("D").timestamp()


@dataclass(frozen=True, slots=True)
class ColumnSchema:
    """One column: what it holds, and how it is given back and written.

    Attributes:
        name: Its name in the header.
        kind: What its values are.
        dtype: The pandas dtype of the original column, such as ``int64``, ``boolean`` or ``category``.
        decimals: Of a float column, the most decimals that a value needs; None is full precision.
        min_decimals: Of a float column, the fewest decimals in the text: 1 for ``32.0``, 0 for ``32``, 2 for ``1.50``.
        exponents: Whether very small and very large numbers are written like ``1e-05``.
        date_format: The strptime format in which dates are written; it is also their resolution.
        labels: Of a boolean column read from text, the texts of false and true, such as ``("no", "yes")``.
        categories: Of a column of dtype ``category``, the texts of its categories in order.
        categories_dtype: The dtype of those categories.
        ordered: Whether those categories are ordered.
        first: Of an identifier column, the first number of the renumbering.
    """

    name: str
    kind: ColumnKind
    dtype: str
    decimals: int | None = None
    min_decimals: int = 1
    exponents: bool = False
    date_format: str | None = None
    labels: tuple[str, str] | None = None
    categories: tuple[str, ...] | None = None
    categories_dtype: str = "object"
    ordered: bool = False
    first: int = 1

    @property
    def is_numeric(self) -> bool:
        """Whether models see numbers (integer, float, date); of the others they see labels."""
        return self.kind in ("integer", "float", "date")

    @property
    def is_modelled(self) -> bool:
        """Whether models see the column at all: empty and identifier columns are restored without them."""
        return self.kind not in ("empty", "identifier")

    def numbers(self, values: pd.Series[Any]) -> npt.NDArray[np.float64]:
        """The values of a numeric column as numbers, shape ``(rows,)``, NaN where missing; dates as seconds since 1970.

        Integers beyond 2**53 are rounded to the nearest float.
        """
        if self.kind == "date":
            moments = _moments(values, self.date_format)
            return np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / 1e9)
        return values.to_numpy(dtype=np.float64, na_value=np.nan)

    def text_labels(self, values: pd.Series[Any]) -> npt.NDArray[np.object_]:
        """The values of a label column as texts, shape ``(rows,)``, None where missing; booleans as false and true."""
        codes, uniques = pd.factorize(values)
        texts = [self._label(value) for value in uniques]
        return np.array([*texts, None], dtype=object)[codes]

    def series(self, values: npt.NDArray[Any]) -> pd.Series[Any]:
        """Turn numbers (with NaN) or labels (with None), shape ``(rows,)``, into a column of the original dtype.

        Numbers are rounded to what the column holds: whole numbers within the range of the dtype, decimals, or the
        resolution of the date format. Where missing values do not fit the dtype it becomes the nullable one.

        Raises:
            DataError: A number is infinite, or a label is none of a boolean or categorical column.
        """
        if self.is_numeric:
            numbers = np.asarray(values, dtype=np.float64)
            if np.isinf(numbers).any():
                raise DataError(
                    f"Column {self.name!r} was given an infinite number: numbers must be finite, or missing"
                )
            return {"integer": self._integers, "float": self._floats, "date": self._dates}[self.kind](numbers)
        return self._booleans(values) if self.kind == "boolean" else self._categories(values)

    def texts(self, values: pd.Series[Any]) -> list[str]:
        """The fields of a CSV file for the values: nothing where missing, quoted where needed."""
        if self.kind == "date":
            return self._date_texts(values).fillna("").tolist()
        present = values.notna().to_numpy()
        codes, uniques = pd.factorize(values[present])
        fields = np.full(len(values), "", dtype=object)
        fields[present] = np.array([self._field(value) for value in uniques], dtype=object)[codes]
        return cast("list[str]", fields.tolist())

    def _field(self, value: Any) -> str:
        if self.kind == "float":
            return self._float_text(float(value))
        if self.kind == "integer":
            return str(int(value))
        if self.kind == "boolean":
            return quoted((self.labels or ("False", "True"))[bool(value)])
        return quoted(str(value))

    def _float_text(self, value: float) -> str:
        text = repr(value + 0.0)  # no negative zero
        if "e" in text:
            if self.exponents:
                return text
            text = format(Decimal(text), "f")
        whole, _, fraction = text.partition(".")
        fraction = fraction.rstrip("0").ljust(self.min_decimals, "0")
        return f"{whole}.{fraction}" if fraction else whole

    def _date_texts(self, values: pd.Series[Any]) -> pd.Series[Any]:
        moments: pd.Series[Any] = pd.Series(_moments(values, self.date_format))
        return moments.dt.strftime(self.date_format or "%Y-%m-%d %H:%M:%S.%f")

    def _label(self, value: Any) -> str:
        return ("true" if value else "false") if self.kind == "boolean" else str(value)

    def _integers(self, numbers: npt.NDArray[np.float64]) -> pd.Series[Any]:
        missing = np.isnan(numbers)
        dtype = np.dtype("int64") if self.dtype == "object" else _numpy_integer(self.dtype)
        limits = np.iinfo(dtype)
        rounded = np.rint(np.where(missing, 0.0, numbers))
        # The largest 64-bit integer is no float: the nearest float lies above it and would overflow in the cast.
        inside = rounded < float(limits.max)
        whole = np.full(len(rounded), limits.max, dtype=dtype)
        whole[inside] = np.maximum(rounded[inside], limits.min).astype(dtype)
        column = _cast(pd.Series(whole), _nullable(dtype.name))
        column[missing] = pd.NA
        return self._finished(column)

    def _floats(self, numbers: npt.NDArray[np.float64]) -> pd.Series[Any]:
        if self.decimals is not None:
            # From 1e15 on a float has no decimals left to round, and rounding would overflow in the end.
            rounded = np.round(np.where(np.abs(numbers) < 1e15, numbers, 0.0), self.decimals) + 0.0
            numbers = np.where(np.abs(numbers) < 1e15, rounded, numbers)
        return self._finished(pd.Series(numbers))

    def _dates(self, seconds: npt.NDArray[np.float64]) -> pd.Series[Any]:
        missing = np.isnan(seconds)
        unit = date_resolution(self.date_format) * 1e6
        inside = np.clip(np.where(missing, 0.0, seconds), _FIRST_DATE, _LAST_DATE)
        microseconds = (np.rint(inside * 1e6 / unit) * unit).astype(np.int64)
        moments = microseconds.astype("datetime64[us]")
        moments[missing] = np.datetime64("NaT")
        column: pd.Series[Any] = pd.Series(moments)
        if self.dtype.startswith(("object", "str")):
            return _cast(_objects(column.dt.strftime(self.date_format or "%Y-%m-%d %H:%M:%S.%f")), self.dtype)
        dtype = pd.api.types.pandas_dtype(self.dtype)
        if getattr(dtype, "tz", None) is not None:
            column = column.dt.tz_localize("UTC")
        return _cast(column, dtype)

    def _booleans(self, labels: npt.NDArray[Any]) -> pd.Series[Any]:
        truths = pd.Series(labels, dtype=object).map({"false": False, "true": True})
        if truths.isna().sum() > pd.isna(labels).sum():
            raise DataError(f"Column {self.name!r} was given a label that is neither 'false' nor 'true'")
        return self._finished(truths.astype("boolean"))

    def _categories(self, labels: npt.NDArray[Any]) -> pd.Series[Any]:
        texts = _objects(pd.Series(labels, dtype=object))
        if self.categories is None:
            return _cast(texts, self.dtype)
        codes = pd.Index(self.categories, dtype=object).get_indexer(pd.Index(texts, dtype=object))
        unknown = (codes < 0) & texts.notna().to_numpy()
        if unknown.any():
            raise DataError(
                f"Column {self.name!r} was given {texts[unknown].iloc[0]!r}, which is none of its categories"
            )
        return pd.Series(pd.Categorical.from_codes(cast("Any", codes), self._category_index(), ordered=self.ordered))

    def _category_index(self) -> pd.Index[Any]:
        texts = pd.Index(self.categories or (), dtype=object)
        if self.categories_dtype in ("bool", "boolean"):
            return pd.Index([text == "True" for text in texts], dtype=self.categories_dtype)
        return texts.astype(cast("Any", self.categories_dtype))

    def _finished(self, column: pd.Series[Any]) -> pd.Series[Any]:
        if self.dtype == "object":
            return _objects(column)
        return _cast(column, _nullable(self.dtype) if column.isna().any() else self.dtype)

    def unmodelled(self, num_rows: int) -> pd.Series[Any]:
        """The rows of a column that models do not see: all missing, or numbers counting up from the first."""
        if self.kind == "identifier":
            numbers = pd.Series(np.arange(self.first, self.first + num_rows, dtype=np.int64))
            fits = self.dtype == "object" or self.first + num_rows - 1 <= np.iinfo(_numpy_integer(self.dtype)).max
            return _cast(numbers, self.dtype) if fits else numbers
        if self.categories is not None:
            return self._categories(np.full(num_rows, None, dtype=object))
        return _cast(pd.Series([None] * num_rows, dtype=object), self.dtype)


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The columns of a table, in the order of its header."""

    columns: tuple[ColumnSchema, ...]

    @property
    def modelled(self) -> tuple[ColumnSchema, ...]:
        """The columns that models see, in order."""
        return tuple(column for column in self.columns if column.is_modelled)

    def to_json(self) -> dict[str, Any]:
        """The schema as values that JSON holds; Any, because they are of several types."""
        return {"columns": [asdict(column) for column in self.columns]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote, also after a trip through JSON text.

        Raises:
            DataError: The values are not those of a schema.
        """
        try:
            return cls(tuple(_column_from_json(column) for column in values["columns"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"These values are no table schema ({error}): give what TableSchema.to_json returned"
            ) from error

    def restore(self, columns: Mapping[str, pd.Series[Any]], num_rows: int) -> pd.DataFrame:
        """Put modelled columns together with the others, in the original order and dtypes.

        Empty columns are all missing; identifiers count up from their first number.

        Raises:
            DataError: A modelled column is not there, or has another number of rows.
        """
        restored: dict[str, pd.Series[Any]] = {}
        for column in self.columns:
            if not column.is_modelled:
                restored[column.name] = column.unmodelled(num_rows)
                continue
            if column.name not in columns:
                raise DataError(
                    f"Column {column.name!r} is not among the columns to restore: give every modelled column"
                )
            values = columns[column.name].reset_index(drop=True)
            if len(values) != num_rows:
                raise DataError(
                    f"Column {column.name!r} has {len(values):,} rows where {num_rows:,} are to be restored"
                )
            restored[column.name] = values
        return pd.DataFrame(restored, index=pd.RangeIndex(num_rows))

    def write_csv(self, frame: pd.DataFrame, path: Path) -> None:
        """Write a frame with these columns as CSV: the same frame gives the same bytes on any machine.

        Numbers, dates and booleans are written the way they were in the source, a missing value as nothing between
        the commas, an empty text as ``""``; the encoding is UTF-8 and every line ends in a line feed. The file is
        complete or, after a failure, as it was before.

        Raises:
            DataError: A column of the schema is not in the frame, the path names a compressed file, or writing failed.
        """
        absent = [column.name for column in self.columns if column.name not in frame.columns]
        if absent:
            raise DataError(f"The frame to be written has no column {absent[0]!r}: give it all columns of the schema")
        if path.suffix in (".gz", ".xz"):
            raise DataError(
                f"{path}: tables are written uncompressed, as the same bytes everywhere: end the name in .csv"
            )
        header = ",".join(quoted(column.name) for column in self.columns)
        rows = map(",".join, zip(*(column.texts(frame[column.name]) for column in self.columns), strict=True))
        try:
            _replace_file(path, ("\n".join([header, *rows]) + "\n").encode())
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"{path} could not be written ({reason}): choose a place you can write to") from error


@dataclass(frozen=True, slots=True)
class Table:
    """Rows in their typed form, with their schema and what a reader should know about them.

    By kind, a column of ``frame`` has the dtype: integer ``int64``, or ``Int64`` if a value is missing; float
    ``float64``; boolean ``bool`` or ``boolean``; date ``datetime64[ns]``, in UTC; category ``object`` of texts, None
    where missing; empty ``object`` of None; identifier as its values are.
    """

    frame: pd.DataFrame
    schema: TableSchema
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, rows: npt.NDArray[Any]) -> Table:
        """The rows at these positions (or under this mask), as a table of the same schema with a fresh index."""
        return Table(self.frame.iloc[rows].reset_index(drop=True), self.schema, self.warnings)


def quoted(text: str) -> str:
    """A text as a field of a CSV file: in quotes where it would be read as something else."""
    if text in MISSING_TEXTS or _SPECIAL.search(text):
        return '"' + text.replace('"', '""') + '"'
    return text


def date_resolution(date_format: str | None) -> float:
    """The finest step that a strptime format can write, in seconds."""
    steps = (("%f", 1e-6), ("%S", 1.0), ("%M", 60.0), ("%H", 3600.0))
    return next((step for code, step in steps if code in (date_format or "%f")), 86400.0)


def _moments(values: pd.Series[Any], date_format: str | None) -> npt.NDArray[np.datetime64]:
    """Dates, with or without a time zone or as texts in the format, as ``datetime64[ns]`` in UTC."""
    if not isinstance(values.dtype, np.dtype) or values.dtype.kind != "M":
        of_texts = pd.api.types.infer_dtype(values, skipna=True) == "string"
        values = pd.to_datetime(values, utc=True, format=date_format if of_texts else None)
        values = values.dt.tz_localize(None)
    return values.to_numpy().astype("datetime64[ns]")


def _cast(column: pd.Series[Any], dtype: Any) -> pd.Series[Any]:
    """The column in a dtype of which the type checker cannot know the values, as it comes from the data."""
    return column.astype(dtype)


def _objects(column: pd.Series[Any]) -> pd.Series[Any]:
    """The column as Python objects, None where missing."""
    values = np.array(column.astype(object), dtype=object)
    values[column.isna().to_numpy()] = None
    return pd.Series(values, dtype=object)


def _numpy_integer(dtype: str) -> np.dtype[Any]:
    """The numpy dtype of the integers in a pandas dtype, be that numpy's, the nullable or the Arrow one."""
    return np.dtype(dtype.lower().removesuffix("[pyarrow]"))


def _nullable(dtype: str) -> Any:
    """The dtype itself if it can hold missing values, otherwise the nullable one of the same values."""
    if dtype == "bool":
        return "boolean"
    return dtype.replace("uint", "UInt").replace("int", "Int") if dtype in _NUMPY_INTEGERS else dtype


def _column_from_json(values: Mapping[str, Any]) -> ColumnSchema:
    fields = {**values}
    for name in ("labels", "categories"):
        fields[name] = tuple(fields[name]) if fields.get(name) is not None else None
    column = ColumnSchema(**fields)
    if column.kind not in get_args(ColumnKind):
        raise ValueError(f"{column.kind!r} is no kind of column")
    return column


def _replace_file(path: Path, content: bytes) -> None:
    """Put the content in place of the file in one step that survives a crash."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with draft.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    if os.name != "posix":
        return
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
