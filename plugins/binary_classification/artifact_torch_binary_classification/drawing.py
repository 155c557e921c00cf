"""What makes artifact-core's plots say whose they are: names of the classes in place of general words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from artifact_torch_binary_classification.labels import Classes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["name_classes"]

_LONGEST_NAME = 24
_SHARES = {"TRUE": "shares of each true class", "PRED": "shares of each predicted class", "ALL": "shares of all rows"}


def name_classes(figure: Figure, classes: Classes, normalization: str | None = None) -> None:
    """Name the classes in a plot of artifact-core, which calls them positive and negative, on the predicted side too.

    Args:
        figure: the plot; what it shows is not changed.
        classes: the two classes.
        normalization: of a confusion matrix, the name of artifact-core's member: what its numbers are shares of.
    """
    positive, negative = _shown(classes.positive), _shown(classes.negative)
    words = {
        "P(y=positive)": f"probability of {positive}",
        "P(y=ground_truth)": "probability of the true class",
        "Positive (true)": positive,
        "Negative (true)": negative,
    }
    title = figure.get_suptitle()
    for axes in figure.axes:
        if axes.get_title() == "Confusion Matrix":
            axes.set_xticks([0, 1], labels=[positive, negative])
            axes.set_yticks([0, 1], labels=[positive, negative])
            if normalization in _SHARES:
                axes.set_title(f"Confusion Matrix ({_SHARES[normalization]})")
        if axes.get_xlabel() == "Values":
            axes.set_xlabel("Probability")
        legend = axes.get_legend()
        for text in [] if legend is None else legend.get_texts():
            text.set_text(_replaced(text.get_text(), words))
    if title:
        figure.suptitle(_replaced(title, words))


def _replaced(text: str, words: Mapping[str, str]) -> str:
    for word, name in words.items():
        text = text.replace(word, name)
    return text


def _shown(name: str) -> str:
    """A name that is short enough, in which matplotlib takes nothing for TeX."""
    short = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1].rstrip() + "…"
    return short.replace("$", r"\$")
