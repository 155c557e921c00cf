"""Rows as numbers and codes that a network takes: fixed on the training rows, the same for all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from artifact_torch_table_comparison import ColumnSchema, Table, TableSchema

from artifact_torch import DataError

__all__ = ["FeatureEncoder", "LabelColumn", "NumberColumn"]

MOST_DEVIATIONS = 10.0
"""Values farther from the mean than so many standard deviations are cut off there, or one typing error outweighs all
other rows."""

FEWEST_ROWS = 3
"""A label in fewer training rows shares one code with the labels that were not seen at all, which is learnt so."""

_UNKNOWN = 0


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """A column of numbers, standardised.

    Attributes:
        mean: of the training rows, missing ones aside.
        deviation: their standard deviation; 1 if all are equal.
        has_missing: whether there is an indicator of missing values, because some training rows have none.
    """

    mean: float
    deviation: float
    has_missing: bool

    @classmethod
    def fit(cls, values: npt.NDArray[np.float64]) -> Self:
        present = values[~np.isnan(values)]
        mean = float(present.mean()) if len(present) else 0.0
        deviation = float(present.std()) if len(present) else 0.0
        # What is left of equal numbers by rounding is no deviation.
        is_constant = deviation <= 1e-12 * max(abs(mean), 1e-300)
        return cls(mean, 1.0 if is_constant else deviation, len(present) < len(values))

    @property
    def width(self) -> int:
        """How many numbers it makes of each row."""
        return 1 + self.has_missing

    def encode(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Shape ``(rows, width)``; a missing value is the mean, and 1 in the indicator."""
        missing = np.isnan(values)
        standard = np.clip((values - self.mean) / self.deviation, -MOST_DEVIATIONS, MOST_DEVIATIONS)
        standard[missing] = 0.0
        columns = [standard, missing] if self.has_missing else [standard]
        return np.stack(columns, axis=1).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        return {"mean": self.mean, "deviation": self.deviation, "has_missing": self.has_missing}


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """A column of labels: code 0 is what was not seen, or hardly; then come the labels, the most frequent first.

    Attributes:
        labels: the labels that have codes of their own.
        has_missing: whether a missing value has the last code, because some training rows have none.
    """

    labels: tuple[str, ...]
    has_missing: bool

    @classmethod
    def fit(cls, values: npt.NDArray[np.object_]) -> Self:
        counts = pd.Series(values, dtype=object).value_counts(sort=False)
        ordered = sorted(zip(counts.index, counts, strict=True), key=lambda entry: (-entry[1], entry[0]))
        labels = tuple(str(label) for label, count in ordered if count >= FEWEST_ROWS)
        return cls(labels, bool(pd.isna(values).any()))

    @property
    def size(self) -> int:
        """How many codes there are."""
        return 1 + len(self.labels) + self.has_missing

    def encode(self, values: npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
        """Shape ``(rows,)``."""
        positions = pd.Index(self.labels, dtype=object).get_indexer(pd.Index(values, dtype=object))
        codes = np.where(positions < 0, _UNKNOWN, positions + 1).astype(np.int64)
        if self.has_missing:
            codes[pd.isna(values)] = self.size - 1
        return codes

    def to_json(self) -> dict[str, Any]:
        return {"labels": list(self.labels), "has_missing": self.has_missing}


@dataclass(frozen=True, slots=True)
class FeatureEncoder:
    """How each modelled column of a table becomes numbers or codes.

    Attributes:
        schema: the columns of the table.
        columns: one for each modelled column of the schema, in order.
    """

    schema: TableSchema
    columns: tuple[NumberColumn | LabelColumn, ...]

    @classmethod
    def fit(cls, table: Table) -> Self:
        """Fix means, deviations and codes on the training rows."""
        columns: list[NumberColumn | LabelColumn] = []
        for column in table.schema.modelled:
            values = table.frame[column.name]
            if column.is_numeric:
                columns.append(NumberColumn.fit(column.numbers(values)))
            else:
                columns.append(LabelColumn.fit(column.text_labels(values)))
        return cls(table.schema, tuple(columns))

    @property
    def width(self) -> int:
        """How many numbers each row has."""
        return sum(column.width for column in self.columns if isinstance(column, NumberColumn))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many codes each column of labels has."""
        return tuple(column.size for column in self.columns if isinstance(column, LabelColumn))

    def encode(self, frame: pd.DataFrame) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """The numbers of rows, shape ``(rows, width)``, and their codes, shape ``(rows, columns of labels)``.

        Raises:
            DataError: the frame lacks a modelled column.
        """
        numbers = [np.empty((len(frame), 0), dtype=np.float32)]
        codes: list[npt.NDArray[np.int64]] = []
        for column, encoder in zip(self.schema.modelled, self.columns, strict=True):
            values = _values(column, frame)
            if isinstance(encoder, NumberColumn):
                numbers.append(encoder.encode(values))
            else:
                codes.append(encoder.encode(values))
        empty = np.empty((len(frame), 0), dtype=np.int64)
        return np.concatenate(numbers, axis=1), np.stack(codes, axis=1) if codes else empty

    def to_json(self) -> dict[str, Any]:
        """The encoder as a JSON object; numbers come back from it to the last bit."""
        return {"schema": self.schema.to_json(), "columns": [column.to_json() for column in self.columns]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The encoder that ``to_json`` described."""
        return cls(
            TableSchema.from_json(value["schema"]), tuple(_column_from_json(entry) for entry in value["columns"])
        )


def _column_from_json(entry: dict[str, Any]) -> NumberColumn | LabelColumn:
    if "labels" in entry:
        return LabelColumn(tuple(entry["labels"]), entry["has_missing"])
    return NumberColumn(**entry)


def _values(column: ColumnSchema, frame: pd.DataFrame) -> npt.NDArray[Any]:
    if column.name not in frame.columns:
        raise DataError(f"Column {column.name!r} is missing: give rows with every column the model was built for.")
    series = frame[column.name]
    return column.numbers(series) if column.is_numeric else column.text_labels(series)
