"""Plots for clients, which take figures of matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figure_of"]

_DOTS_PER_INCH = 300
"""That of the clients that write files."""


def figure_of(path: Path) -> Figure:
    """A figure that is a picture and nothing else, of as many dots as the picture has.

    Args:
        path: the picture, as PNG.

    Raises:
        OSError: it cannot be read.
        SyntaxError: it is no PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    picture = imread(path)
    height, width = picture.shape[:2]
    figure = Figure(figsize=(width / _DOTS_PER_INCH, height / _DOTS_PER_INCH), dpi=_DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.axis("off")
    axes.imshow(picture, interpolation="none", cmap="gray", vmin=0.0, vmax=1.0)
    return figure
