"""A bar over the steps of a whole training, in a notebook."""

from __future__ import annotations

import html
import importlib
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from artifact_torch_callbacks.wording import duration, epoch_of, newest_scores, number, pace, total_steps

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["NotebookView", "ProgressNotebook", "in_notebook", "notebook_view"]

_INTERVAL = 0.25  # seconds: each drawing is a message to the browser


def in_notebook() -> bool:
    """Whether this is a Jupyter kernel. There, IPython is loaded; it is not imported to find out."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


class NotebookView(Protocol):
    """A bar between two texts, in the output of a cell."""

    def show(self, left: str, share: float | None, right: str) -> None:
        """Replace what is shown; ``share``, from 0 to 1, is None if it is not known."""
        ...


def notebook_view() -> NotebookView | None:
    """A bar of ipywidgets, or one of HTML where they are missing; None if this is no notebook."""
    if not in_notebook():
        return None
    try:
        return _Widgets()
    except ImportError:
        return _Html()


class _Widgets:
    """Made of ipywidgets."""

    def __init__(self) -> None:
        widgets = importlib.import_module("ipywidgets")
        self._left, self._right = widgets.HTML(), widgets.HTML()
        self._bar = widgets.FloatProgress(min=0.0, max=1.0)
        _display().display(widgets.HBox([self._left, self._bar, self._right]))

    def show(self, left: str, share: float | None, right: str) -> None:
        self._left.value, self._right.value = html.escape(left), html.escape(right)
        self._bar.value = 1.0 if share is None else share
        self._bar.bar_style = "info" if share is None else "success" if share >= 1 else ""


class _Html:
    """An element of HTML, which stays in a notebook that is saved, and a text for those who show no HTML."""

    def __init__(self) -> None:
        self._handle = _display().display(_bundle("", 0.0, ""), raw=True, display_id=True)

    def show(self, left: str, share: float | None, right: str) -> None:
        self._handle.update(_bundle(left, share, right), raw=True)


def _bundle(left: str, share: float | None, right: str) -> dict[str, str]:
    value = "" if share is None else f' value="{share:.4f}"'
    progress = f'<progress max="1"{value}></progress>'
    return {
        "text/html": f"<span>{html.escape(left)}</span> {progress} <span>{html.escape(right)}</span>",
        "text/plain": ", ".join(text for text in (left, right) if text),
    }


def _display() -> Any:
    """The module, which type checkers may not find: nobody has to have it."""
    return importlib.import_module("IPython.display")


class ProgressNotebook:
    """Draws the bar at most four times a second: only then is the loss read from the device."""

    def __init__(self, trainer: Trainer, view: NotebookView) -> None:
        self._view = view
        self._start = self._drawn = time.monotonic()
        self._start_step = trainer.state.step
        self._loss: list[str] = []
        self._scores = newest_scores(trainer)
        self._show(trainer, [])

    def step_done(self, trainer: Trainer) -> None:
        now = time.monotonic()
        if now - self._drawn >= _INTERVAL:
            self._drawn = now
            self._draw(trainer, self._time_left(trainer))

    def validation_started(self, trainer: Trainer) -> None:
        self._draw(trainer, ["validating"])

    def artifacts_awaited(self, trainer: Trainer, left: int) -> None:
        awaited = [f"computing {left} {'artifact' if left == 1 else 'artifacts'}"] if left else []
        self._draw(trainer, awaited or self._time_left(trainer))

    def epoch_done(self, trainer: Trainer) -> None:
        self._scores = newest_scores(trainer)
        self._draw(trainer, self._time_left(trainer))

    def close(self, trainer: Trainer) -> None:
        self._scores = newest_scores(trainer)
        # With the loss last read: reading it now could raise where training failed.
        self._show(trainer, [f"after {duration(time.monotonic() - self._start)}"])

    def _draw(self, trainer: Trainer, first: list[str]) -> None:
        self._loss = [f"loss {number(trainer.epoch_loss.mean())}"]
        self._show(trainer, first)

    def _show(self, trainer: Trainer, first: list[str]) -> None:
        step, total = trainer.state.step, total_steps(trainer)
        share = step / total if total else None
        steps = f"step {step}" if share is None else f"step {step}/{total}, {share:.0%}"
        texts = [*first, *self._loss, *self._scores, *pace(trainer)]
        self._view.show(f"{epoch_of(trainer)}, {steps}", share, ", ".join(texts))

    def _time_left(self, trainer: Trainer) -> list[str]:
        step, total = trainer.state.step, total_steps(trainer)
        if total is None or step == self._start_step:
            return []
        seconds = (time.monotonic() - self._start) / (step - self._start_step) * (total - step)
        return [f"{duration(seconds)} left"]
