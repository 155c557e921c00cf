"""Results as wandb shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from artifact_torch import TrackedItem, TrackedKind

__all__ = ["value_of"]

_BINS = 64
_MOST_CELLS = 100_000
_MOST_COLUMNS = 100


def value_of(item: TrackedItem) -> Any:
    """What stands in the history for a result; None for what has no place there, such as a file.

    A score is a number, a plot an image; an array of numbers is a histogram of its finite values if it has one axis,
    and a table if it has two, unless that would be very large.

    Raises:
        OSError: its file cannot be read.
        ValueError: its file is damaged.
    """
    import wandb

    if item.kind is TrackedKind.SCORE:
        return item.value
    if item.path is None:
        return None
    if item.kind is TrackedKind.PLOT:
        return wandb.Image(str(item.path), caption=item.full_name)
    return _array(item.path) if item.kind is TrackedKind.ARRAY else None


def _array(path: Path) -> Any:
    import wandb

    array = np.load(path, allow_pickle=False)
    if array.dtype.kind not in "biuf" or not array.size:
        return None
    if array.ndim == 1:
        finite = array[np.isfinite(array)].astype(np.float64)
        return wandb.Histogram(np_histogram=np.histogram(finite, bins=_BINS)) if finite.size else None
    if array.ndim == 2 and array.shape[1] <= _MOST_COLUMNS and array.size <= _MOST_CELLS:
        columns: list[Any] = [str(number) for number in range(array.shape[1])]
        return wandb.Table(columns=columns, data=array.tolist())
    return None
