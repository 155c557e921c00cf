"""Tables with a label of two classes: which class is the positive one, and rows to learn and to hold out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from artifact_torch_table_comparison import ColumnSchema, Table, TableSchema

from artifact_torch import DataError

__all__ = ["ClassName", "Classes", "LabelledTable", "class_texts", "classes_of", "labelled_table"]

ClassName: TypeAlias = str | int | float | bool
"""A class as a user writes it: its text, or the number or truth value that stands in the column."""

_NEGATIVE_AND_POSITIVE = (("false", "true"), ("no", "yes"), ("f", "t"), ("n", "y"))
_SHOWN_CLASSES = 5


@dataclass(frozen=True, slots=True)
class Classes:
    """The two classes of a label.

    Attributes:
        label: the name of the column.
        negative: the negative class, as the column's text.
        positive: the positive class, the one whose probability a classifier gives.
    """

    label: str
    negative: str
    positive: str

    @property
    def names(self) -> tuple[str, str]:
        """The negative and the positive class: a class's index here is what 0 and 1 mean in arrays."""
        return self.negative, self.positive


@dataclass(frozen=True, slots=True, eq=False)
class LabelledTable:
    """Rows with the class that each belongs to.

    Attributes:
        features: what a classifier may see of the rows.
        is_positive: whether a row is of the positive class, shape ``(rows,)``.
        classes: the two classes.
        numbers: where each row stands in its source, counted from 1, shape ``(rows,)``.
        warnings: what is worth knowing, a sentence each.
    """

    features: Table
    is_positive: npt.NDArray[np.bool_]
    classes: Classes
    numbers: npt.NDArray[np.int64]
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.is_positive)

    @property
    def labels(self) -> npt.NDArray[np.object_]:
        """The name of each row's class, shape ``(rows,)``."""
        return np.array(self.classes.names, dtype=object)[self.is_positive.astype(np.int64)]

    def take(self, rows: npt.NDArray[Any]) -> LabelledTable:
        """The rows at these positions, or under this mask."""
        return LabelledTable(
            self.features.take(rows), self.is_positive[rows], self.classes, self.numbers[rows], self.warnings
        )

    def sample(self, max_rows: int, seed: int) -> npt.NDArray[np.int64]:
        """The positions of at most so many rows, in order; the same seed chooses the same ones."""
        if len(self) <= max_rows:
            return np.arange(len(self))
        return np.sort(np.random.default_rng(seed).choice(len(self), size=max_rows, replace=False))

    def split(self, train_share: float, seed: int) -> tuple[LabelledTable, LabelledTable | None]:
        """Rows to learn and rows to hold out, with the classes in the same proportion in both.

        A class of two rows or more has at least one row on each side; the only row of a class is learnt. Nothing is
        held out if ``train_share`` is 1.
        """
        if train_share == 1:
            return self, None
        random = np.random.default_rng(seed)
        held_out = np.zeros(len(self), dtype=bool)
        for positive in (False, True):
            rows = random.permutation(np.flatnonzero(self.is_positive == positive))
            # Rounded first: 10 * (1 - 0.8) is a little less than 2.
            number = int(round(len(rows) * (1 - train_share), 6) + 0.5)
            held_out[rows[: min(max(number, 1), len(rows) - 1)]] = True
        return self.take(~held_out), self.take(held_out) if held_out.any() else None


def labelled_table(table: Table, label: str, positive: ClassName | None = None) -> LabelledTable:
    """Part a table into features and the classes of its label; rows without a label are left out.

    Args:
        table: the rows, label included.
        label: the name of the label's column.
        positive: the positive class; inferred of 0 and 1, false and true, no and yes.

    Raises:
        DataError: there is no such column, it has not two classes, the positive one cannot be told or is not there, or
            no other column is left to learn from.
    """
    column = next((column for column in table.schema.columns if column.name == label), None)
    if column is None:
        names = ", ".join(repr(each.name) for each in table.schema.columns)
        raise DataError(f"There is no column {label!r} for the label: the columns are {names}.")
    texts = class_texts(column, table.frame[label])
    classes = classes_of(column, texts, positive)
    others = TableSchema(tuple(each for each in table.schema.columns if each.name != label))
    if not others.modelled:
        raise DataError(f"Beside the label {label!r} there is no column to learn from: give a table that has some.")
    has_label = np.array([text is not None for text in texts])
    features = Table(table.frame.drop(columns=[label]), others, table.warnings)
    warnings = list(table.warnings)
    if missing := int((~has_label).sum()):
        warnings.append(f"{_rows(missing)} without a value of the label {label!r}: left out")
    is_positive = texts[has_label] == classes.positive
    for name, number in zip(classes.names, np.bincount(is_positive, minlength=2).tolist(), strict=True):
        if number == 1:
            warnings.append(f"only one row has the class {name!r}: it is learnt, and no row of it is held out")
    return LabelledTable(
        features.take(np.flatnonzero(has_label)),
        is_positive,
        classes,
        np.flatnonzero(has_label) + 1,
        tuple(warnings),
    )


def class_texts(column: ColumnSchema, values: pd.Series[Any]) -> npt.NDArray[np.object_]:
    """The classes as the file has them, None where missing, shape ``(rows,)``; whole floats as ``1``, not ``1.0``."""
    if column.kind == "boolean":
        false, true = column.labels or ("false", "true")
        return np.array([{"false": false, "true": true}.get(text) for text in column.text_labels(values)], dtype=object)
    if not column.is_numeric:
        return column.text_labels(values)
    texts = np.array(column.texts(values), dtype=object)
    if column.kind == "float":
        texts = np.array([text.removesuffix(".0") for text in texts.tolist()], dtype=object)
    texts[values.isna().to_numpy()] = None
    return texts


def classes_of(column: ColumnSchema, texts: npt.NDArray[np.object_], positive: ClassName | None) -> Classes:
    """The two classes of a label.

    Raises:
        DataError: there are not two, or the positive one cannot be told or is not among them.
    """
    counts = pd.Series(texts, dtype=object).value_counts()
    found = sorted(str(name) for name in counts.index)
    if len(found) != 2:
        raise DataError(_not_two(column.name, counts))
    if positive is None:
        index = _inferred(found)
        if index is None:
            raise DataError(
                f"The label {column.name!r} has the classes {found[0]!r} and {found[1]!r}, and neither is plainly the "
                f"positive one: say which, with positive = {found[1]!r} for instance."
            )
    else:
        index = _named(found, positive)
        if index is None:
            raise DataError(
                f"The label {column.name!r} has no class {str(positive)!r} to be the positive one: its classes are "
                f"{found[0]!r} and {found[1]!r}."
            )
    return Classes(column.name, negative=found[1 - index], positive=found[index])


def _not_two(label: str, counts: pd.Series[int]) -> str:
    if counts.empty:
        return f"The label {label!r} has no value in any row: give a column that says which class a row is of."
    if len(counts) == 1:
        return (
            f"The label {label!r} is {str(counts.index[0])!r} in {_rows(int(counts.iloc[0]))} and nothing else: "
            "give rows of two classes."
        )
    shown = ", ".join(f"{str(name)!r} ({count:,})" for name, count in counts.head(_SHOWN_CLASSES).items())
    more = "" if len(counts) <= _SHOWN_CLASSES else f" and {len(counts) - _SHOWN_CLASSES:,} more"
    return (
        f"The label {label!r} has {len(counts):,} classes, {shown}{more}: keep the rows of two of them, or make a "
        "column that says yes or no."
    )


def _inferred(found: Sequence[str]) -> int | None:
    """The position of the class that plainly is the positive one."""
    lower = [name.strip().lower() for name in found]
    for negative, positive in _NEGATIVE_AND_POSITIVE:
        if set(lower) == {negative, positive}:
            return lower.index(positive)
    numbers = [_number(name) for name in found]
    return numbers.index(1.0) if set(numbers) == {0.0, 1.0} else None


def _named(found: Sequence[str], positive: ClassName) -> int | None:
    """The position of the class that a user means."""
    if isinstance(positive, bool):
        index = _inferred(found)
        return None if index is None else index if positive else 1 - index
    if isinstance(positive, str) and positive in found:
        return found.index(positive)
    number = _number(str(positive))
    return next((index for index, name in enumerate(found) if number is not None and _number(name) == number), None)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number:,} rows"
