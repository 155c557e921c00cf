"""Arrays and tables in files, for another process to read; without pickle, without torch.

A folder holds ``index.json`` and a ``.npy`` file for each array and for each column of a table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from artifact_torch.errors import UsageError

__all__ = ["Data", "read_data", "write_data"]

Data: TypeAlias = "npt.NDArray[Any] | pd.DataFrame"

_INDEX = "index.json"


def write_data(folder: Path, data: Mapping[str, Data]) -> None:
    """Write arrays and tables, by name, into a new folder.

    Args:
        folder: it must not exist; its parents are made.
        data: arrays of numbers, booleans or dates; tables whose columns are such arrays, or texts with gaps (None or
            NaN). A table's index is not kept.

    Raises:
        UsageError: something is of another type; the message names it.
    """
    folder.mkdir(parents=True)
    count = 0

    def save(values: npt.NDArray[Any], what: str) -> str:
        nonlocal count
        if values.dtype.hasobject:
            raise UsageError(f"{what} holds Python objects: give numbers, dates, or a table's column of texts.")
        count += 1
        np.save(folder / f"{count}.npy", values, allow_pickle=False)
        return f"{count}.npy"

    index: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, np.ndarray):
            index[name] = save(value, f"The array {name!r}")
            continue
        columns: list[dict[str, Any]] = []
        for column, series in value.items():
            if not isinstance(column, str):
                raise UsageError(f"The table {name!r} has a column named {column!r}: name columns with texts.")
            what = f"The column {column!r} of {name!r}"
            if series.dtype == object or isinstance(series.dtype, pd.StringDtype):
                codes, labels = pd.factorize(series.astype(object).to_numpy())
                if not all(isinstance(label, str) for label in labels):
                    raise UsageError(f"{what} holds something else than texts: turn it into texts or numbers.")
                columns.append({"name": column, "file": save(codes.astype(np.int32), what), "labels": list(labels)})
            else:
                columns.append({"name": column, "file": save(series.to_numpy(), what)})
        index[name] = {"rows": len(value), "columns": columns}
    (folder / _INDEX).write_text(json.dumps(index), encoding="utf-8")


def read_data(folder: Path) -> dict[str, Data]:
    """What ``write_data`` wrote; a gap in a column of texts is None.

    Raises:
        OSError, ValueError: the files are not all there, or damaged.
    """
    index = cast("dict[str, Any]", json.loads((folder / _INDEX).read_text(encoding="utf-8")))

    def load(file: str) -> npt.NDArray[Any]:
        return cast("npt.NDArray[Any]", np.load(folder / file, allow_pickle=False))

    data: dict[str, Data] = {}
    for name, entry in index.items():
        if isinstance(entry, str):
            data[name] = load(entry)
            continue
        columns: dict[str, npt.NDArray[Any]] = {}
        for column in entry["columns"]:
            values = load(column["file"])
            if (labels := column.get("labels")) is not None:
                values = np.array([*labels, None], dtype=object)[values]  # the code of a gap, -1, is the last
            columns[column["name"]] = values
        data[name] = pd.DataFrame(columns, index=pd.RangeIndex(entry["rows"]))
    return data
