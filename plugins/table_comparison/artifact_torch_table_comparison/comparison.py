"""Bringing real and generated rows into the form in which artifact-core compares tables.

artifact-core knows continuous columns and categorical ones. Run on columns with missing values, it leaves them out of
the Jensen-Shannon distance, the density plots and the descriptive statistics, counts them as the number zero in
correlations, and produces no principal components at all. A missing number is therefore replaced here, see
:func:`comparable_frames`, and how much is missing is compared by itself, by :func:`missing_share_differences`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from artifact_torch_table_comparison.schema import ColumnSchema, TableSchema

MISSING_LABEL = "(missing)"
SECONDS_PER_DAY = 86400.0


def comparable_frames(
    real: pd.DataFrame, synthetic: pd.DataFrame, schema: TableSchema
) -> tuple[pd.DataFrame, pd.DataFrame, list[str], list[str]]:
    """Both tables with every modelled column as ``float64`` or as text, and nothing missing.

    Dates are days since 1970. Booleans and categories are texts, in which a missing value is a label of its own,
    ``(missing)``, and a dollar sign is escaped as plots need it. A missing number is replaced by one of the numbers
    present in its column: evenly spaced quantiles, dealt to the gaps in an order that is random, but the same in every
    call. That keeps the distribution of the column and adds no dependence on others; its correlations shrink with the
    share that is missing, in both tables alike, and a table compared with itself is at distance zero. Where the
    synthetic column has no number at all, it is the median of the real one throughout; where the real one has none,
    the column is left out.

    Args:
        real: Rows of the original table, in typed or original form.
        synthetic: Generated rows, in either form.
        schema: The columns of both.

    Returns:
        The real frame, the synthetic frame, and the names of the continuous and of the categorical columns.
    """
    frames: tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]] = ({}, {})
    continuous: list[str] = []
    categorical: list[str] = []
    for position, column in enumerate(schema.modelled):
        if not column.is_numeric:
            categorical.append(column.name)
            pair = _labels(column, real[column.name], synthetic[column.name])
        else:
            numbers = _numbers(column, real[column.name])
            if np.isnan(numbers).all():
                continue
            continuous.append(column.name)
            others = _numbers(column, synthetic[column.name])
            if np.isnan(others).all():
                others = np.full(len(others), np.nanmedian(numbers))
            pair = _without_gaps(numbers, position), _without_gaps(others, position)
        for frame, values in zip(frames, pair, strict=True):
            frame[column.name] = values
    return pd.DataFrame(frames[0]), pd.DataFrame(frames[1]), continuous, categorical


def missing_share_differences(real: pd.DataFrame, synthetic: pd.DataFrame) -> dict[str, float]:
    """By column, how far the share of missing values (0 to 1) in the synthetic table is from that in the real one."""
    return {
        str(name): abs(float(real[name].isna().mean()) - float(synthetic[name].isna().mean())) for name in real.columns
    }


def _numbers(column: ColumnSchema, values: pd.Series[Any]) -> npt.NDArray[np.float64]:
    numbers = column.numbers(values)
    return numbers / SECONDS_PER_DAY if column.kind == "date" else numbers


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


def _labels(
    column: ColumnSchema, real: pd.Series[Any], synthetic: pd.Series[Any]
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
    pair = column.text_labels(real), column.text_labels(synthetic)
    missing = _unused_label(label for labels in pair for label in pd.unique(labels))
    return _shown(pair[0], missing), _shown(pair[1], missing)


def _shown(labels: npt.NDArray[np.object_], missing: str) -> npt.NDArray[np.object_]:
    """The labels without gaps; dollar signs are escaped, or matplotlib would take what stands between them for TeX."""
    codes, uniques = pd.factorize(labels)
    texts = [str(label).replace("$", r"\$") for label in uniques]
    return np.array([*texts, missing], dtype=object)[codes]


def _unused_label(labels: Iterable[object]) -> str:
    taken = set(labels)
    label = MISSING_LABEL
    while label in taken:
        label = f"({label})"
    return label
