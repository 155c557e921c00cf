"""Tables as integer codes: every modelled column becomes one code a row, and codes become values again.

A column of labels has one code for each label. A column of numbers has one code for each distinct value while these
are few, for the rows there are; otherwise the values are cut at quantiles into bins, and each bin keeps a finer
quantile function of the values inside it. Missing is one more code. What a column's codes are is fixed on the training
data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from artifact_torch_table_comparison import ColumnSchema, Table, TableSchema

from artifact_torch import DataError, UsageError

KNOTS = 33
"""Points at which the quantile function inside a bin is kept."""

ROWS_PER_CODE = 20
"""Rows that a code of a column of numbers should have on average. With fewer, a model learns rows by heart: on 275 rows
of 8 columns, 30 epochs with a code for each value made 22 % of the generated rows copies, 40 with this limit 0.3 %."""

ALWAYS_ALLOWED_CODES = 8
"""Codes that a column of numbers may have in the smallest table."""

Codes = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Labels = npt.NDArray[np.object_]


class ColumnCodes(Protocol):
    """The codes ``0 .. size - 1`` of one column."""

    @property
    def size(self) -> int:
        """How many codes there are."""
        ...

    def encode(self, values: npt.NDArray[Any]) -> Codes:
        """The codes of values (numbers with NaN, or labels with None), shape ``(rows,)``."""
        ...

    def decode(self, codes: Codes, uniforms: Numbers) -> npt.NDArray[Any]:
        """Values for codes, shape ``(rows,)``; ``uniforms`` in [0, 1) place a value inside its bin."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The codes as a JSON object."""
        ...


@dataclass(frozen=True, slots=True)
class LabelCodes:
    """Codes of labels, the most frequent first; the last code is missing if the training data has missing values."""

    labels: tuple[str, ...]
    has_missing: bool

    @classmethod
    def fit(cls, values: Labels) -> Self:
        counts = pd.Series(values, dtype=object).value_counts(sort=False)
        ordered = sorted(zip(counts.index, counts, strict=True), key=lambda entry: (-entry[1], entry[0]))
        return cls(tuple(str(label) for label, _ in ordered), bool(pd.isna(values).any()))

    @property
    def size(self) -> int:
        return len(self.labels) + self.has_missing

    def encode(self, values: Labels) -> Codes:
        codes = pd.Index(self.labels, dtype=object).get_indexer(pd.Index(values, dtype=object)).astype(np.int64)
        codes[codes < 0] = 0
        if self.has_missing:
            codes[pd.isna(values)] = len(self.labels)
        return codes

    def decode(self, codes: Codes, uniforms: Numbers) -> Labels:
        return np.array([*self.labels, None], dtype=object)[codes]

    def to_json(self) -> dict[str, Any]:
        return {"type": "labels", "labels": list(self.labels), "has_missing": self.has_missing}


@dataclass(frozen=True, slots=True, eq=False)
class NumberCodes:
    """Codes of numbers: cells in ascending order that do not overlap, then missing if the training data has it.

    Attributes:
        knots: the quantile function inside each cell at equal steps from its least to its greatest value, shape
            ``(cells, KNOTS)``. In the cell of an exact value all are equal.
        interpolates: whether values between knots are produced; if not, only values of the training data are.
        most_frequent: the cell that holds the most training rows.
        has_missing: whether the training data has missing values.
    """

    knots: Numbers
    interpolates: bool
    most_frequent: int
    has_missing: bool

    @classmethod
    def fit(cls, values: Numbers, *, exact_values: int, bins: int) -> Self:
        missing = np.isnan(values)
        distinct, counts = np.unique(values[~missing], return_counts=True)
        if distinct.size == 0:
            return cls(np.empty((0, KNOTS)), interpolates=False, most_frequent=0, has_missing=True)
        limit = max(int(counts.sum()) // ROWS_PER_CODE, ALWAYS_ALLOWED_CODES)
        is_exact = distinct.size <= min(exact_values, limit)
        starts = np.arange(distinct.size) if is_exact else _quantile_starts(counts, min(bins, limit))
        ends = [*starts[1:], distinct.size]
        knots = [_knots(distinct[start:end], counts[start:end]) for start, end in zip(starts, ends, strict=True)]
        most_frequent = int(np.argmax(np.add.reduceat(counts, starts)))
        return cls(np.array(knots), distinct.size > exact_values, most_frequent, bool(missing.any()))

    @property
    def size(self) -> int:
        return len(self.knots) + self.has_missing

    def encode(self, values: Numbers) -> Codes:
        missing = np.isnan(values)
        codes = np.zeros(values.shape, dtype=np.int64)
        if len(self.knots):
            codes[~missing] = self._nearest_cell(values[~missing])
        codes[missing] = len(self.knots) if self.has_missing else self.most_frequent
        return codes

    def _nearest_cell(self, values: Numbers) -> Codes:
        least, greatest = self.knots[:, 0], self.knots[:, -1]
        below = np.maximum(np.searchsorted(least, values, side="right") - 1, 0)
        above = np.minimum(below + 1, len(least) - 1)
        # Halves, so that the distance between the extremes of float64 does not overflow.
        closer_above = least[above] / 2 - values / 2 < values / 2 - greatest[below] / 2
        return np.where(closer_above, above, below).astype(np.int64)

    def decode(self, codes: Codes, uniforms: Numbers) -> Numbers:
        values = np.full(codes.shape, np.nan)
        present = codes < len(self.knots)
        cells = codes[present]
        if not self.interpolates:
            values[present] = self.knots[cells, (uniforms[present] * KNOTS).astype(np.int64)]
            return values
        position = uniforms[present] * (KNOTS - 1)
        step = position.astype(np.int64)
        fraction = position - step
        left, right = self.knots[cells, step], self.knots[cells, step + 1]
        # The clip undoes rounding: an exact value comes back to the last bit, and no value leaves the training range.
        values[present] = np.clip(left * (1 - fraction) + right * fraction, left, right)
        return values

    def to_json(self) -> dict[str, Any]:
        cells = [knots[:1] if knots[0] == knots[-1] else knots for knots in self.knots]
        return {
            "type": "numbers",
            "cells": [cell.tolist() for cell in cells],
            "interpolates": self.interpolates,
            "most_frequent": self.most_frequent,
            "has_missing": self.has_missing,
        }


def _quantile_starts(counts: npt.NDArray[np.int64], bins: int) -> npt.NDArray[np.int64]:
    """Where each cell starts among distinct values in ascending order that occur ``counts`` times.

    A value that alone holds as many rows as a bin should gets a cell of its own; it also ends the bin before it, so
    that cells do not overlap.
    """
    alone = counts * bins >= counts.sum()
    shared = np.where(alone, 0, counts)
    middle = np.cumsum(shared) - shared / 2
    quantile = np.floor(middle / max(shared.sum(), 1) * max(bins - int(alone.sum()), 1))
    is_start = alone.copy()
    is_start[0] = True
    is_start[1:] |= alone[:-1] | (quantile[1:] != quantile[:-1])
    return np.flatnonzero(is_start)


def _knots(distinct: Numbers, counts: npt.NDArray[np.int64]) -> Numbers:
    """The values at ``KNOTS`` equal steps through the sorted rows of one cell."""
    rows = np.rint(np.linspace(0, counts.sum() - 1, KNOTS))
    return distinct[np.searchsorted(np.cumsum(counts), rows, side="right")]


@dataclass(frozen=True, slots=True, eq=False)
class TableEncoder:
    """The codes of a table's modelled columns (all but empty ones and identifiers).

    Attributes:
        schema: the columns of the table.
        columns: the codes of each column in ``schema.modelled``, in that order.
    """

    schema: TableSchema
    columns: tuple[ColumnCodes, ...]

    @classmethod
    def fit(cls, table: Table, *, exact_values: int = 256, bins: int = 128) -> Self:
        """Fix the codes on training data.

        Args:
            table: the training data.
            exact_values: a column of numbers with at most this many distinct values decodes to these values only,
                and has a code for each where the table has ``ROWS_PER_CODE`` rows for every value.
            bins: into how many quantile bins other columns of numbers are cut, at most; fewer in small tables.

        Raises:
            DataError: the table has no rows, no column to model, or an infinite number.
            UsageError: ``exact_values`` or ``bins`` is not positive.
        """
        for name, value in (("exact_values", exact_values), ("bins", bins)):
            if value < 1:
                raise UsageError(f"{name} is {value}, and must be at least 1.")
        if len(table) == 0:
            raise DataError("The table has no rows to learn from: give one with at least one row.")
        if not table.schema.modelled:
            raise DataError(
                "The table has no column to model: all are empty or identifiers. Give a table with at least one "
                "column of repeated labels or of numbers."
            )
        codes: list[ColumnCodes] = []
        for column in table.schema.modelled:
            values = _values(column, table.frame)
            if not column.is_numeric:
                codes.append(LabelCodes.fit(values))
                continue
            if np.isinf(values).any():
                raise DataError(f"Column {column.name!r} holds infinite numbers: replace or remove them.")
            codes.append(NumberCodes.fit(values, exact_values=exact_values, bins=bins))
        return cls(table.schema, tuple(codes))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many codes each modelled column has."""
        return tuple(column.size for column in self.columns)

    def encode(self, frame: pd.DataFrame) -> Codes:
        """The codes of rows, shape ``(rows, modelled columns)``.

        What the training data did not hold is mapped to what it held: a number to the nearest bin or exact value, a
        label to the most frequent label, missing to the most frequent label, value or bin.

        Raises:
            DataError: the frame lacks a modelled column.
        """
        pairs = zip(self.schema.modelled, self.columns, strict=True)
        return np.column_stack([codes.encode(_values(column, frame)) for column, codes in pairs])

    def decode(self, codes: Codes, uniforms: Numbers) -> pd.DataFrame:
        """Rows with the columns, order and types of the schema.

        Args:
            codes: shape ``(rows, modelled columns)``.
            uniforms: in [0, 1), same shape; where inside its bin a number lies.
        """
        columns: dict[str, pd.Series] = {}
        for index, (column, column_codes) in enumerate(zip(self.schema.modelled, self.columns, strict=True)):
            columns[column.name] = column.series(column_codes.decode(codes[:, index], uniforms[:, index]))
        return self.schema.restore(columns, len(codes))

    def to_json(self) -> dict[str, Any]:
        """The encoder as a JSON object; numbers come back from it to the last bit."""
        return {"schema": self.schema.to_json(), "columns": [column.to_json() for column in self.columns]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The encoder that ``to_json`` described."""
        return cls(
            TableSchema.from_json(value["schema"]), tuple(_column_from_json(entry) for entry in value["columns"])
        )


def _column_from_json(value: dict[str, Any]) -> ColumnCodes:
    if value["type"] == "labels":
        return LabelCodes(tuple(value["labels"]), value["has_missing"])
    cells: Sequence[Sequence[float]] = value["cells"]
    knots = np.array([np.broadcast_to(cell, KNOTS) for cell in cells], dtype=np.float64).reshape(-1, KNOTS)
    return NumberCodes(knots, value["interpolates"], value["most_frequent"], value["has_missing"])


def _values(column: ColumnSchema, frame: pd.DataFrame) -> npt.NDArray[Any]:
    if column.name not in frame.columns:
        raise DataError(f"Column {column.name!r} is missing: give rows with every column the model was built for.")
    series = frame[column.name]
    return column.numbers(series) if column.is_numeric else column.text_labels(series)
