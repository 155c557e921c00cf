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
from artifact_torch_table_comparison.reading import read_csv_like

from artifact_torch import DataError, RunDirectory, UsageError, load_model
from artifact_torch_binary_classification.labels import Classes, ClassName, LabelledTable, class_texts, classes_of
from artifact_torch_binary_classification.model import BinaryClassifier

__all__ = ["predict_file", "read_predictions", "write_predictions"]

_ROW = ColumnSchema("row", "integer", "int64")
_TRUE = ColumnSchema("true", "category", "object")
_PROBABILITY = ColumnSchema("probability", "float", "float64", exponents=True)
_PREDICTED = ColumnSchema("predicted", "category", "object")


def write_predictions(
    path: Path, table: LabelledTable, probabilities: npt.NDArray[np.float64], *, threshold: float
) -> None:
    """Write a CSV file with a line for each row: where it stands in its source, counted from 1, its true class, the
    probability of the positive class, and the predicted class.

    Raises:
        DataError: the file cannot be written.
    """
    frame = _frame(table.numbers, probabilities, table.classes, threshold).assign(true=table.labels)
    TableSchema((_ROW, _TRUE, _PROBABILITY, _PREDICTED)).write_csv(frame, path)


def predict_file(
    run: Path, data: Path, *, threshold: float | None = None, output: Path | None = None
) -> tuple[Path, int]:
    """Write what the classifier that a run has trained predicts of a CSV file's rows.

    Args:
        run: the run's directory.
        data: the file; columns that the classifier was not trained on are not looked at.
        threshold: the probability from which on a row is predicted to be positive; by default that of the run.
        output: the file to write; by default one in the run directory, named as ``data``.

    Returns:
        The file, and how many rows there are.

    Raises:
        DataError: there is no trained model, or a file cannot be read or written.
        UsageError: the model is no model.
    """
    directory = RunDirectory.open(run)
    if not directory.model_path.is_dir():
        status = directory.record.get("status")
        raise DataError(f"The run {run} has no trained model (its status is {status!r}): train it to its end.")
    model = load_model(directory.model_path)
    if not isinstance(model, BinaryClassifier):
        raise UsageError(f"The run {run} has trained a {type(model).__qualname__}, which is no model.")
    wanted = TableSchema(model.schema.modelled)
    known = {column.name for column in wanted.columns}
    others = [name for name in _header(data) or () if name not in known]
    frame = read_csv_like(data, wanted, Path("the table that the run was trained on"), drop=others)
    probabilities = model.predict(frame)
    path = output or run / "predictions" / f"{data.name.partition('.')[0]}.csv"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}): choose a place you can write to.") from error
    chosen = _threshold_of(directory) if threshold is None else threshold
    predictions = _frame(np.arange(1, len(frame) + 1), probabilities, model.classes, chosen)
    TableSchema((_ROW, _PROBABILITY, _PREDICTED)).write_csv(predictions, path)
    return path, len(frame)


def _frame(
    numbers: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64], classes: Classes, threshold: float
) -> pd.DataFrame:
    predicted = np.array(classes.names, dtype=object)[(probabilities >= threshold).astype(np.int64)]
    return pd.DataFrame({"row": numbers, "probability": probabilities, "predicted": predicted})


def _threshold_of(run: RunDirectory) -> float:
    """The threshold that a run was described with, or the usual one."""
    params: Any = run.record.get("params")
    return float((params or {}).get("validation.threshold", 0.5))


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
