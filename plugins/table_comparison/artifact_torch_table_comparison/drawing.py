"""What makes artifact-core's plots readable: fewer and shorter labels, fewer points, text that fits.

torch is not imported here.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from artifact_torch_table_comparison.comparison import is_missing_label

__all__ = ["MOST_LABELS", "MOST_POINTS", "FewerLabels", "readable", "with_fewer_points"]

MOST_LABELS = 20
"""How many labels stand along an axis, at most: more of them overlap."""

MOST_POINTS = 300
"""Of how many points a cumulative distribution is drawn, at most: thousands of markers hide the other table."""

_LONGEST_LABEL = 28
_OTHER = "(other)"


class FewerLabels:
    """Puts the rare labels of a column together as ``(other)``, and shortens long ones.

    Args:
        labels: the labels of each categorical column, in the order of their importance.
    """

    def __init__(self, labels: Mapping[str, Sequence[str]]) -> None:
        self._shown: dict[str, dict[str, str]] = {}
        for column, all_labels in labels.items():
            shown = _shown(all_labels)
            if any(label != text for label, text in shown.items()):
                self._shown[column] = shown
        self.labels = {
            column: list(dict.fromkeys(self._shown[column].values())) if column in self._shown else list(all_labels)
            for column, all_labels in labels.items()
        }

    @property
    def changes(self) -> bool:
        """Whether any label is shown as another text."""
        return bool(self._shown)

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A frame with its labels as shown; labels of no real row stay as they are."""
        changed: dict[str, Any] = {}
        for column, shown in self._shown.items():
            codes, uniques = pd.factorize(frame[column])
            changed[column] = np.array([shown.get(label, label) for label in uniques], dtype=object)[codes]
        return frame.assign(**changed)


def with_fewer_points(frame: pd.DataFrame, continuous: Sequence[str]) -> pd.DataFrame:
    """A frame whose columns of numbers have the same cumulative distributions, within 1 in 300, in 300 rows or fewer.

    Each column is sorted by itself and every so many of its numbers are taken, the smallest and the largest included.
    """
    if len(frame) <= MOST_POINTS:
        return frame
    places = np.linspace(0, len(frame) - 1, MOST_POINTS).round().astype(np.int64)
    few = frame.head(MOST_POINTS)
    return few.assign(**{name: np.sort(frame[name].to_numpy())[places] for name in continuous})


@contextmanager
def readable(*, dpi: int, num_columns: int) -> Generator[None]:
    """Settings of matplotlib with which the plots of so many columns can be read.

    artifact-core draws the parts of a plot as pictures of their own, at matplotlib's resolution, and the numbers in a
    heatmap of 7 by 7 inches at its font size.
    """
    import matplotlib as mpl

    # A cell of a heatmap of n columns is about 310 / n points wide; a number such as -0.12 is 2.6 times its size.
    size = min(10.0, max(3.0, 310 / max(num_columns, 1) / 2.9))
    with mpl.rc_context({"figure.dpi": dpi, "font.size": size, "xtick.labelsize": 8, "ytick.labelsize": 8}):
        yield


def _shown(labels: Sequence[str]) -> dict[str, str]:
    kept = list(labels)
    if len(labels) > MOST_LABELS:
        last = [label for label in labels[-1:] if is_missing_label(label)]
        kept = [*labels[: MOST_LABELS - 1 - len(last)], *last]
    shown = {label: _shortened(label) for label in kept}
    texts = list(shown.values())
    # Labels that would look the same once shortened are shown in full.
    shown = {label: text if texts.count(text) == 1 else label for label, text in shown.items()}
    taken = set(shown.values())
    other = _OTHER
    while other in taken:
        other = f"({other})"
    return shown | {label: other for label in labels if label not in shown}


def _shortened(label: str) -> str:
    if len(label) <= _LONGEST_LABEL:
        return label
    return label[: _LONGEST_LABEL - 1].rstrip("\\") + "…"
