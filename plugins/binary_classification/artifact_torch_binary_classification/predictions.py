"""Predictions in files: written after training, and read to be judged."""

from __future__ import annotations

import csv
import gzip
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from artifact_torch_table_comparison import ColumnSchema, Table, TableSchema, read_csv

from artifact_torch import DataError
from artifact_torch_binary_classification.labels import ClassName, LabelledTable, class_texts, classes_of

__all__ = ["read_predictions", "write_predictions"]

_COLUMNS = TableSchema(
    (
        ColumnSchema("row", "integer", "int64"),
        ColumnSchema("true", "category", "object"),
        ColumnSchema("probability", "float", "float64", exponents=True),
        ColumnSchema("predicted", "category", "object"),
    )
)


def write_predictions(
    path: Path, table: LabelledTable, probabilities: npt.NDArray[np.float64], *, threshold: float
) -> None:
    """Write a CSV file with a line for each row: where it stands in its source, counted from 1, its true class, the
    probability of the positive class, and the predicted class.

    Raises:
        DataError: the file cannot be written.
    """
    names = np.array(table.classes.names, dtype=object)
    predicted = names[(probabilities >= threshold).astype(np.int64)]
    frame = pd.DataFrame(
        {"row": table.numbers, "true": table.labels, "probability": probabilities, "predicted": predicted}
    )
    _COLUMNS.write_csv(frame, path)


def read_predictions(
    path: Path, *, label: str, probability: str, positive: ClassName | None = None
) -> tuple[LabelledTable, npt.NDArray[np.float64]]:
    """Read a CSV file of predictions: the rows with their true classes, and the probabilities of the positive class.

    Args:
        path: the file; other columns of it are not looked at.
        label: the column of true classes.
        probability: the column of probabilities.
        positive: the positive class; inferred of 0 and 1, false and true, no and yes.

    Raises:
        DataError: the file cannot be read, a column is not there or holds something else, or a row lacks a value.
    """
    if label == probability:
        raise DataError(f"The label and the probability are both in column {label!r}: name two columns.")
    names = _header(path)
    for name in (label, probability):
        if names is not None and name not in names:
            raise DataError(f"{path} has no column {name!r}: its columns are {', '.join(map(repr, names))}.")
    table = read_csv(path, drop=[name for name in names or () if name not in (label, probability)])
    columns = {column.name: column for column in table.schema.columns}
    for name in (label, probability):
        if missing := int(table.frame[name].isna().sum()):
            raise DataError(
                f"{path}, column {name!r} has no value in {missing:,} rows: complete them, or leave them out."
            )
    values = table.frame[probability]
    if columns[probability].kind not in ("float", "integer"):
        raise DataError(f"{path}, column {probability!r} holds no numbers: name the column of probabilities.")
    numbers = columns[probability].numbers(values)
    wrong = np.flatnonzero((numbers < 0) | (numbers > 1))
    if len(wrong):
        raise DataError(
            f"{path}, column {probability!r} has {numbers[wrong[0]]:g} in row {wrong[0] + 1:,}: a probability is "
            "between 0 and 1."
        )
    texts = class_texts(columns[label], table.frame[label])
    classes = classes_of(columns[label], texts, positive)
    features = Table(table.frame[[probability]], TableSchema((columns[probability],)))
    labelled = LabelledTable(features, texts == classes.positive, classes, np.arange(1, len(table) + 1))
    return labelled, numbers


def _header(path: Path) -> list[str] | None:
    """The names of the columns; None if the file cannot be read, of which ``read_csv`` says why."""
    openers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
    try:
        with openers.get(path.suffix.lower(), open)(path, "rt", encoding="utf-8-sig", newline="") as stream:
            line = stream.readline()
            delimiter = next((each for each in ",;\t" if each in line), ",")
            stream.seek(0)
            return next(csv.reader(stream, delimiter=delimiter))
    except (OSError, ValueError, EOFError, lzma.LZMAError, csv.Error, StopIteration):
        return None
