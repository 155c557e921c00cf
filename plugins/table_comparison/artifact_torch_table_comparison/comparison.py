"""Bringing real and generated rows into the form in which artifact-core compares tables.

artifact-core knows continuous columns and categorical ones. Run on columns with missing values, it leaves them out of
the Jensen-Shannon distance, the density plots and the descriptive statistics, counts them as the number zero in
correlations, and produces no principal components at all. A missing number is therefore replaced here, see
:class:`Comparison`, and how much is missing is compared by itself, by the artifacts of ``missing``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from artifact_torch import ConfigError, DataError
from artifact_torch_table_comparison.schema import ColumnSchema, TableSchema

__all__ = ["MISSING_LABEL", "ColumnRole", "Comparison", "comparable_frames", "is_missing_label", "missing_shares"]

MISSING_LABEL = "(missing)"
SECONDS_PER_DAY = 86400.0

ColumnRole: TypeAlias = Literal["continuous", "categorical", "ignored"]
"""How a column is compared: as numbers, as labels, or not at all."""


class Comparison:
    """Real rows in the form in which tables are compared, worked out once; it brings synthetic rows into the same form.

    Every column that is compared is ``float64`` or texts, and nothing is missing. Dates are days since 1970. Booleans
    and categories are texts, in which a missing value is a label of its own, ``(missing)``, and a dollar sign is
    escaped as plots need it. A missing number is replaced by one of the numbers present in its column: evenly spaced
    quantiles, dealt to the gaps in an order that is random, but the same in every call. That keeps the distribution of
    the column and adds no dependence on others; its correlations shrink with the share that is missing, in both tables
    alike, and a table compared with itself is at distance zero. Where a synthetic column has no number at all, it is
    the median of the real one throughout; where the real one has none, the column is left out.

    Args:
        real: Rows of the original table, in typed or original form.
        schema: The columns of all rows.
        columns: How to compare columns, where that is not to follow from the schema. Labels compared as numbers must
            be numbers; false and true are 0 and 1.
        known: More rows like the real ones, whose labels are no surprise either; the real rows are among them.

    Attributes:
        real: The real rows in that form.
        continuous: The names of the columns of numbers, in order.
        categorical: The names of the columns of texts, in order.
        labels: The labels of each categorical column in the known rows, the most frequent first, ``(missing)`` last.
        shares: The missing shares of the real rows.

    Raises:
        ConfigError: ``columns`` names a column that is not there.
        DataError: A label to be compared as a number is none.
    """

    def __init__(
        self,
        real: pd.DataFrame,
        schema: TableSchema,
        *,
        columns: Mapping[str, ColumnRole] | None = None,
        known: pd.DataFrame | None = None,
    ) -> None:
        columns = columns or {}
        known = real if known is None else known
        _check_names(columns, schema)
        self._columns = [column for column in schema.columns if columns.get(column.name) != "ignored"]
        self._forms: dict[str, _Numbers | _Labels] = {}
        self.continuous: list[str] = []
        self.categorical: list[str] = []
        self.labels: dict[str, list[str]] = {}
        frame: dict[str, npt.NDArray[Any]] = {}
        for position, column in enumerate(schema.modelled):
            role = columns.get(column.name) or ("continuous" if column.is_numeric else "categorical")
            if role == "ignored":
                continue
            if role == "continuous":
                form = _Numbers(column, real[column.name], seed=position)
                if form.median is None:
                    continue
                self.continuous.append(column.name)
            else:
                form = _Labels(column, known[column.name])
                self.categorical.append(column.name)
                self.labels[column.name] = form.known
            self._forms[column.name] = form
            frame[column.name] = form.of(real[column.name])
        self.real = pd.DataFrame(frame)
        self.shares = self.missing_shares(real)

    def comparable(self, synthetic: pd.DataFrame) -> pd.DataFrame:
        """Generated rows, in typed or original form, in the form of the real ones."""
        return pd.DataFrame({name: form.of(synthetic[name]) for name, form in self._forms.items()})

    def missing_shares(self, frame: pd.DataFrame) -> dict[str, float]:
        """By column, the share of missing values (0 to 1) in rows of the table; ignored columns are not in it."""
        return missing_shares(frame[[column.name for column in self._columns]])


def comparable_frames(
    real: pd.DataFrame, synthetic: pd.DataFrame, schema: TableSchema
) -> tuple[pd.DataFrame, pd.DataFrame, list[str], list[str]]:
    """Both tables as :class:`Comparison` brings them into form.

    Returns:
        The real frame, the synthetic frame, and the names of the continuous and of the categorical columns.
    """
    comparison = Comparison(real, schema)
    return comparison.real, comparison.comparable(synthetic), comparison.continuous, comparison.categorical


def is_missing_label(label: str) -> bool:
    """Whether a label may be the one of missing values, ``(missing)`` in as many brackets as are needed."""
    return label.startswith("(") and label.strip("()") == MISSING_LABEL.strip("()")


def missing_shares(frame: pd.DataFrame) -> dict[str, float]:
    """By column, the share of missing values, 0 to 1."""
    return {str(name): float(values.isna().mean()) for name, values in frame.items()}


class _Numbers:
    """A column compared as numbers; ``median`` is that of the real ones, None if there is no number."""

    def __init__(self, column: ColumnSchema, real: pd.Series[Any], seed: int) -> None:
        self._column = column
        self._seed = seed
        numbers = self._numbers(real, refuse=True)
        self.median = None if np.isnan(numbers).all() else float(np.nanmedian(numbers))

    def of(self, values: pd.Series[Any]) -> npt.NDArray[np.float64]:
        numbers = self._numbers(values)
        if np.isnan(numbers).all():
            return np.full(len(numbers), self.median)
        return _without_gaps(numbers, self._seed)

    def _numbers(self, values: pd.Series[Any], *, refuse: bool = False) -> npt.NDArray[np.float64]:
        column = self._column
        if column.is_numeric:
            numbers = column.numbers(values)
            return numbers / SECONDS_PER_DAY if column.kind == "date" else numbers
        labels = pd.Series(column.text_labels(values), dtype=object)
        if column.kind == "boolean":
            labels = labels.map({"false": 0.0, "true": 1.0})
        numbers = pd.to_numeric(labels, errors="coerce").to_numpy(dtype=np.float64)
        if refuse and (wrong := labels[np.isnan(numbers) & labels.notna().to_numpy()]).size:
            raise DataError(
                f"Column {column.name!r} cannot be compared as continuous, because {wrong.iloc[0]!r} is no number: "
                "leave it categorical"
            )
        return numbers


class _Labels:
    """A column compared as texts; ``known`` are those of the known rows, as shown."""

    def __init__(self, column: ColumnSchema, known: pd.Series[Any]) -> None:
        self._column = column
        labels = self._labels(known)
        # The most frequent first; of labels as frequent as others, those first that come first in the rows.
        counts = pd.Series(labels, dtype=object).value_counts(sort=False).sort_values(ascending=False, kind="stable")
        self._missing = _unused_label([*counts.index, *(column.categories or ())])
        self.known = [_escaped(label) for label in counts.index]
        if len(labels) > counts.sum():
            self.known.append(self._missing)

    def of(self, values: pd.Series[Any]) -> npt.NDArray[np.object_]:
        codes, uniques = pd.factorize(self._labels(values))
        # A label that is spelt like the sign for a missing value is not one of the real rows', and is not missing.
        texts = [f"({label})" if label == self._missing else _escaped(label) for label in uniques]
        return np.array([*texts, self._missing], dtype=object)[codes]

    def _labels(self, values: pd.Series[Any]) -> npt.NDArray[np.object_]:
        column = self._column
        if not column.is_numeric:
            return column.text_labels(values)
        labels = np.array(column.texts(values), dtype=object)
        labels[values.isna().to_numpy()] = None
        return labels


def _check_names(columns: Mapping[str, ColumnRole], schema: TableSchema) -> None:
    known = [column.name for column in schema.columns]
    for name in columns:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"its columns are {', '.join(known)}."
            raise ConfigError(f"The table has no column {name!r} to be compared in another way: {hint}")
        column = next(column for column in schema.columns if column.name == name)
        if not column.is_modelled and columns[name] != "ignored":
            raise ConfigError(
                f"Column {name!r} cannot be compared as {columns[name]}, because it has no values that are learnt: "
                "leave it out of the columns to be compared in another way."
            )


def _without_gaps(numbers: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    gaps = np.isnan(numbers)
    if not gaps.any():
        return numbers
    present = np.sort(numbers[~gaps])
    num_gaps = int(gaps.sum())
    evenly = ((np.arange(num_gaps) + 0.5) / num_gaps * len(present)).astype(np.int64)
    filled = numbers.copy()
    filled[gaps] = np.random.default_rng(seed).permutation(present[evenly])
    return filled


def _escaped(label: object) -> str:
    """A label as shown: matplotlib would take what stands between two dollar signs for TeX."""
    return str(label).replace("$", r"\$")


def _unused_label(labels: Iterable[object]) -> str:
    taken = set(labels)
    label = MISSING_LABEL
    while label in taken:
        label = f"({label})"
    return label
