"""A figure of many distributions: one panel each, with the density of what is not zero."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from artifact_torch import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["MOST_PANELS", "check_plotting", "density_figure", "thinned"]

MOST_PANELS = 24
"""How many distributions a figure shows, at most: with more of them, none can be read."""

_COLUMNS = 4
_PANEL_WIDTH, _PANEL_HEIGHT, _ABOVE, _BELOW = 3.1, 1.75, 0.65, 0.85  # inches
_BINS = (9, 60)
_TAIL = 0.001
_LONGEST_PATH = 36
_MOST_VALUES = 20_000


def check_plotting(who: str) -> None:
    """Refuse to draw where there is nothing to draw with.

    Raises:
        UsageError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(
            f"{who} draws with matplotlib, which is not installed: `pip install matplotlib`, or leave out plot."
        )


def thinned(tensor: Tensor) -> Tensor:
    """At most 20,000 of a tensor's values, evenly spaced, as a copy in one dimension and single precision."""
    values = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    flat = values.detach().reshape(-1)
    return flat[:: math.ceil(len(flat) / _MOST_VALUES) or 1].to(torch.float32, copy=True)


def density_figure(samples: Mapping[str, Sequence[Tensor]], *, title: str, others: str) -> Figure:
    """Draw a panel for each distribution; of more than ``MOST_PANELS``, an evenly spaced choice.

    Args:
        samples: a name -> values, shape ``(values,)`` each.
        title: what is shown.
        others: what to do to see those that are not shown, as the end of a sentence.
    """
    from matplotlib.figure import Figure

    names = _chosen(list(samples))
    columns = min(_COLUMNS, len(names)) or 1
    rows = math.ceil(len(names) / columns) or 1
    # Placed by hand: to let matplotlib find the places takes it longer than all the drawing.
    width, height = _PANEL_WIDTH * max(columns, 2), _PANEL_HEIGHT * rows + _ABOVE + _BELOW
    figure = Figure(figsize=(width, height))
    places = {
        "left": 0.02,
        "right": 0.98,
        "bottom": _BELOW / height,
        "top": 1 - _ABOVE / height,
        "wspace": 0.1,
        "hspace": 0.6,
    }
    panels: Any = figure.subplots(rows, columns, squeeze=False, gridspec_kw=places)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, name in zip(panels.flat, names, strict=False):
        axes.set_axis_on()
        _draw(axes, name, torch.cat(list(samples[name])).cpu().numpy())
    figure.text(0.5, 1 - 0.1 / height, title, ha="center", va="top", fontsize=12)
    note = "Density of the values that are not zero; the outermost 0.1 % on either side are left out."
    if len(names) < len(samples):
        note = f"{len(names)} of {len(samples)} are shown, evenly spaced: {others}.\n{note}"
    figure.text(0.5, 0.1 / height, note, ha="center", va="bottom", fontsize=8)
    return figure


def _draw(axes: Axes, name: str, values: np.ndarray) -> None:
    finite = values[np.isfinite(values)].astype(np.float64)  # edges of bins lie close to each other
    shown = finite[finite != 0]
    axes.set_title(_shortened(name), fontsize=9)
    axes.yaxis.set_visible(False)
    axes.tick_params(axis="x", labelsize=8)
    axes.xaxis.get_offset_text().set_fontsize(8)  # a power of ten that belongs to the numbers
    axes.spines[["top", "left", "right"]].set_visible(False)
    remarks: list[str] = []
    if zeros := (finite == 0).sum():
        remarks.append(f"{_percent(zeros / len(values))} zeros")
    if missing := len(values) - len(finite):
        remarks.append(f"{_percent(missing / len(values))} not finite")
    if remarks:
        axes.text(0.98, 0.97, "\n".join(remarks), transform=axes.transAxes, ha="right", va="top", fontsize=8)
    if not len(shown):
        axes.set_xticks([])
        return
    low = np.quantile(shown, _TAIL, method="lower")  # of a few values all are shown
    high = np.quantile(shown, 1 - _TAIL, method="higher")
    if high - low <= 1e-6 * max(abs(low), abs(high)):  # all alike: a bar around the value
        low, high = low - 0.1 * abs(low), high + 0.1 * abs(high)
    elif abs(low + high) < 1.2 * (high - low):  # 0 is near: let it be seen
        low, high = min(low, 0.0), max(high, 0.0)
    bins = min(max(round(math.sqrt(len(shown))), _BINS[0]), _BINS[1])
    density, edges = np.histogram(shown, bins=bins, range=(low, high), density=True)
    axes.stairs(density, edges, fill=True, color="tab:blue")
    axes.set_xlim(low, high)
    axes.set_ylim(0, 1.25 * density.max())  # room for the remarks
    axes.locator_params(axis="x", nbins=4)


def _chosen(names: list[str]) -> list[str]:
    if len(names) <= MOST_PANELS:
        return names
    return [names[round(place)] for place in np.linspace(0, len(names) - 1, MOST_PANELS)]


def _shortened(name: str) -> str:
    """The end of a path tells more than its beginning."""
    return name if len(name) <= _LONGEST_PATH else f"…{name[1 - _LONGEST_PATH :]}"


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "< 0.1 %"
    return "> 99.9 %" if 0.999 < share < 1 else f"{100 * share:.3g} %"
