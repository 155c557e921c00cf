"""What makes artifact-core's plots readable: fewer and shorter labels, and text that fits.

torch is not imported here.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from artifact_torch_table_comparison.comparison import is_missing_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MOST_LABELS", "FewerLabels", "readable", "with_both_lines_visible"]

MOST_LABELS = 20
"""How many labels stand along an axis, at most: more of them overlap."""

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


@contextmanager
def readable(*, dpi: int, num_columns: int) -> Generator[None]:
    """Settings of matplotlib with which the plots of so many columns can be read.

    artifact-core draws the parts of a plot as pictures of their own, at matplotlib's resolution, and the numbers in a
    heatmap of 7 by 7 inches at its font size.
    """
    import matplotlib as mpl

    # A cell of a heatmap of n columns is about 310 / n points wide; a number such as -0.12 is 2.6 times its size.
    cell = 310 / max(num_columns, 1)
    settings = {
        "figure.dpi": dpi,
        "figure.titlesize": 12,
        "axes.titlesize": 11,
        "legend.fontsize": 8,
        "font.size": min(10.0, max(3.0, cell / 2.9)),
        "xtick.labelsize": min(8.0, max(4.0, cell)),
        "ytick.labelsize": min(8.0, max(4.0, cell)),
    }
    with mpl.rc_context(settings):
        yield


def with_both_lines_visible(figure: Figure) -> None:
    """Draw the second of two lines that lie upon each other as a thin one, both without the markers that hide them."""
    for axes in figure.axes:
        if len(axes.lines) == 2:
            for line in axes.lines:
                line.set_marker("")
            axes.lines[1].set(linewidth=1.5, alpha=1.0)
            axes.legend()


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
