"""Progress of training: a bar on a terminal or in a notebook, a line for each epoch elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal, Protocol

from artifact_torch import Callback, UsageError, hookimpl
from artifact_torch_callbacks.lines import ProgressLines
from artifact_torch_callbacks.notebook import ProgressNotebook, notebook_view

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["Progress", "ProgressDisplay"]


class ProgressDisplay(Protocol):
    """Shows one training run, from where it stands when the display is made."""

    def step_done(self, trainer: Trainer) -> None: ...
    def validation_started(self, trainer: Trainer) -> None: ...
    def artifacts_awaited(self, trainer: Trainer, left: int) -> None: ...
    def epoch_done(self, trainer: Trainer) -> None: ...
    def close(self, trainer: Trainer) -> None: ...


class Progress(Callback):
    """Shows how far training is, the time left, the loss and up to three of the newest scores.

    The bar covers the steps of the whole training, and shows as many scores as fit and how many steps a second are
    made. In it, the loss is the mean of the epoch so far::

        epoch 4/12, step 1010/3600  28%|████▌           | 00:06 left, loss 2.1945, validation/loss 2.3454, 412 steps/s

    A notebook has such a bar in the output of the cell: of ipywidgets where they are installed, else of HTML. Elsewhere
    it is one line an epoch, on stderr as the bar is::

        epoch  2/12  loss   2.6175  0.9 s, 8.4 s left         412 steps/s  validation/loss   2.3454

    If a tenth of the time or more was spent waiting for the loader, all say so: ``waits 23% for data``.

    Args:
        style: ``"bar"`` draws one bar over all steps, ``"lines"`` writes one line an epoch, ``"notebook"`` draws the
            bar of a notebook and, where there is none, writes lines. ``"auto"`` draws the bar of a notebook in one, the
            bar of a terminal if stderr is one, and writes lines otherwise.

    Raises:
        UsageError: there is no such style.

    Example::

        trainer = Trainer(model, train_loader, epochs=3, validation=validation, callbacks=[Progress(style="lines")])
        trainer.train()
    """

    def __init__(self, *, style: Literal["auto", "bar", "notebook", "lines"] = "auto") -> None:
        if style not in ("auto", "bar", "notebook", "lines"):
            raise UsageError(f"The style of Progress is 'auto', 'bar', 'notebook' or 'lines', not {style!r}.")
        self.style = style
        self._display: ProgressDisplay | None = None

    @hookimpl
    def on_train_start(self, trainer: Trainer) -> None:
        self._close(trainer)
        if trainer.state.epochs_completed < trainer.epochs:
            self._display = self._opened(trainer)

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        if self._display is not None:
            self._display.step_done(trainer)

    @hookimpl
    def on_validation_start(self, trainer: Trainer) -> None:
        if self._display is not None:
            self._display.validation_started(trainer)

    @hookimpl
    def on_artifacts_awaited(self, trainer: Trainer, left: int) -> None:
        if self._display is not None:
            self._display.artifacts_awaited(trainer, left)

    @hookimpl
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        if self._display is not None:
            self._display.epoch_done(trainer)

    # First, so that what other plugins say when training ends stands below the bar.

    @hookimpl(tryfirst=True)
    def on_exception(self, trainer: Trainer) -> None:
        self._close(trainer)

    @hookimpl(tryfirst=True)
    def on_train_end(self, trainer: Trainer) -> None:
        self._close(trainer)

    def _opened(self, trainer: Trainer) -> ProgressDisplay:
        view = notebook_view() if self.style in ("auto", "notebook") else None
        if view is not None:
            return ProgressNotebook(trainer, view)
        if self.style == "bar" or (self.style == "auto" and sys.stderr.isatty()):
            from artifact_torch_callbacks.bar import ProgressBar  # imports tqdm, which lines do without

            return ProgressBar(trainer)
        return ProgressLines(trainer)

    def _close(self, trainer: Trainer) -> None:
        display, self._display = self._display, None
        if display is not None:
            display.close(trainer)
