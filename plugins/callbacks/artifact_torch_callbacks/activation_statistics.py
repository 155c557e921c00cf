"""What the modules of a model give: how large it is, how much of it is zero, and whether all of it is finite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from artifact_torch import ActivationObserver, ArtifactKind, UsageError, hookimpl
from artifact_torch_callbacks.densities import check_plotting, density_figure, thinned

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["ActivationStatistics"]


class ActivationStatistics(ActivationObserver[Mapping[str, float]]):
    """Records the mean, the standard deviation and the shares of zeros and of non-finite numbers of activations.

    The activations of a module are everything that it gives in the forward passes of a step, in training mode. The
    columns of ``batch_metrics`` are, by the module's path in the model::

        activations/mean/encoder.0      activations/zeros/encoder.0
        activations/std/encoder.0       activations/nonfinite/encoder.0

    Mean and standard deviation are of the finite numbers, the shares, from 0 to 1, of all. A share of zeros near 1
    after a ReLU says that nearly all of its units are dead.

    A step that is due takes a few passes over the activations and waits once for an accelerator; modules are hooked for
    such a step only, and another one takes nothing. If training was interrupted between two batches of such a step, the
    numbers are of those after it.

    Args:
        period: how often: ``"50 steps"``, a number of epochs (then in the first step of one) or ``"10 minutes"``.
        modules: which modules, as patterns of their paths (``["encoder.*"]``); by default all without modules inside.
        plot: whether to draw, each time, the density of the activations of each module, of 24 of them at most; that
            takes a second or two, so give it a longer period. It needs matplotlib.
        name: what the columns begin with, and the name of the plot.

    Raises:
        UsageError: an argument cannot be used; or, in training, no module is meant or the model is compiled.

    Example::

        statistics = ActivationStatistics(period="2 steps", modules=["layers.*"])
        trainer = Trainer(model, train_loader, epochs=3, callbacks=[statistics])
        trainer.train()
        print(trainer.batch_metrics.filter(like="activations/zeros/"))
    """

    kind = ArtifactKind.SCORE_COLLECTION

    def __init__(
        self,
        *,
        period: int | str = "50 steps",
        modules: Sequence[str] | None = None,
        plot: bool = False,
        name: str = "activations",
    ) -> None:
        if isinstance(modules, str):
            raise UsageError(f"modules of ActivationStatistics is a list of patterns: write [{modules!r}].")
        if modules is not None and not modules:
            raise UsageError("modules of ActivationStatistics names no module: give a pattern, or leave it out.")
        if plot:
            check_plotting("ActivationStatistics")
        super().__init__(name, modules=modules, period=period)
        self.plot = plot
        self._parts: dict[str, list[Tensor]] = {}
        self._samples: dict[str, list[Tensor]] = {}

    def reset(self) -> None:
        self._parts, self._samples = {}, {}

    def observe(self, path: str, module: nn.Module, output: Tensor) -> None:
        if not output.numel():
            return
        self._parts.setdefault(path, []).append(_part(output))
        if self.plot:
            self._samples.setdefault(path, []).append(thinned(output))

    def compute(self) -> Mapping[str, float]:
        parts, self._parts = self._parts, {}
        if not parts:
            return {}
        # An accelerator is waited for once.
        rows = iter(torch.stack([part for each in parts.values() for part in each]).tolist())
        found: dict[str, float] = {}
        for path, each in parts.items():
            found |= {f"{what}/{path}": number for what, number in _joined([next(rows) for _ in each]).items()}
        return found

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        super().execute_batch_postprocessing(trainer)
        if self._samples and trainer.optimization.accumulated == 0:
            samples, self._samples = self._samples, {}
            place = f"epoch {trainer.state.epoch}, step {trainer.state.step}"
            figure = density_figure(samples, title=f"Activations, {place}", others="choose others with modules")
            trainer.track(ArtifactKind.PLOT, self.name, figure)

    @hookimpl
    def on_train_end(self) -> None:
        super().on_train_end()
        self.reset()


def _part(output: Tensor) -> Tensor:
    """What is to be known of one output: how many numbers, finite ones and zeros; mean, and squares of deviations."""
    values = torch.view_as_real(output) if output.is_complex() else output
    values = values if values.dtype is torch.float64 else values.float()
    is_finite = torch.isfinite(values)
    count = is_finite.sum()
    mean = torch.where(is_finite, values, 0.0).sum() / count
    squares = torch.where(is_finite, values - mean, 0.0).square().sum()
    numbers = [torch.full_like(mean, values.numel()), count, (values == 0).sum(), mean, squares]
    return torch.stack([number.float() for number in numbers])


def _joined(parts: Sequence[Sequence[float]]) -> dict[str, float]:
    """The statistics over several outputs.

    Means and squares of deviations are joined as by Chan, Golub and LeVeque, "Updating formulae and a pairwise
    algorithm for computing sample variances" (1979), equation 2.1, which loses no digits to a mean that is far from 0.
    """
    numbers = finite = zeros = mean = squares = 0.0
    for part_numbers, part_finite, part_zeros, part_mean, part_squares in parts:
        numbers += part_numbers
        zeros += part_zeros
        if part_finite:
            difference, both = part_mean - mean, finite + part_finite
            squares += part_squares + difference**2 * finite * part_finite / both
            mean += difference * part_finite / both
            finite = both
    return {
        "mean": mean if finite else math.nan,
        "std": math.sqrt(squares / finite) if finite else math.nan,
        "zeros": zeros / numbers,
        "nonfinite": 1 - finite / numbers,
    }
