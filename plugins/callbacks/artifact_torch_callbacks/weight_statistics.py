"""How the weights of a model are distributed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from artifact_torch import ArtifactKind, Callback, Period, UsageError, hookimpl
from artifact_torch_callbacks.densities import check_plotting, density_figure, thinned

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["WeightStatistics"]

_STATISTICS = ("mean", "std", "norm", "zeros")


class WeightStatistics(Callback):
    """Records mean, standard deviation, norm and share of zeros of each parameter, every so many epochs.

    The columns of ``epoch_scores`` are, by the parameter's path in the model::

        train/weights/mean/encoder.0.weight      train/weights/norm/encoder.0.weight
        train/weights/std/encoder.0.weight       train/weights/zeros/encoder.0.weight

    The norm is the 2-norm, the share of zeros is from 0 to 1, and the standard deviation of a single number is 0.
    Parameters that are frozen are among them; one that several modules share is there once, under its first path. They
    are as they stand at the end of the epoch, before they are averaged with earlier ones, if a callback does that.

    An epoch that is due takes a few passes over the parameters and waits once for an accelerator.

    Args:
        period: every how many epochs.
        plot: whether to draw, each time, the density of each parameter's weights, of 24 of them at most; that takes a
            second or two. It needs matplotlib.
        name: what the columns begin with, and the name of the plot.

    Raises:
        UsageError: an argument cannot be used.

    Example::

        trainer = Trainer(model, train_loader, epochs=3, callbacks=[WeightStatistics(plot=True)])
        trainer.train()
        print(trainer.epoch_scores.filter(like="train/weights/norm/"))
    """

    def __init__(self, *, period: int | str = 1, plot: bool = False, name: str = "weights") -> None:
        self.period = Period.of(period)
        if self.period.unit != "epochs":
            raise UsageError(f"WeightStatistics are taken at the end of epochs, not every {self.period}: use epochs.")
        if not name:
            raise UsageError("WeightStatistics needs a name for what it records.")
        if plot:
            check_plotting("WeightStatistics")
        self.plot = plot
        self.name = name

    @hookimpl
    def log_epoch_metrics(self, trainer: Trainer) -> Mapping[str, float]:
        if trainer.state.epoch % self.period.number:
            return {}
        parameters = {path: each.detach() for path, each in trainer.model.named_parameters() if each.numel()}
        if self.plot:
            samples = {path: [thinned(parameter)] for path, parameter in parameters.items()}
            title = f"Weights, epoch {trainer.state.epoch}"
            figure = density_figure(samples, title=title, others="the numbers of all are in epoch_scores")
            trainer.track(ArtifactKind.PLOT, self.name, figure)
        rows = torch.stack([_statistics(parameter) for parameter in parameters.values()]).tolist()
        return {
            f"{self.name}/{statistic}/{path}": row[place]
            for path, row in zip(parameters, rows, strict=True)
            for place, statistic in enumerate(_STATISTICS)
        }


def _statistics(parameter: Tensor) -> Tensor:
    """The numbers that ``_STATISTICS`` names, of shape ``(4,)``, on the parameter's device."""
    values = torch.view_as_real(parameter) if parameter.is_complex() else parameter
    values = values if values.dtype is torch.float64 else values.float()
    numbers = [
        values.mean(),
        values.std(correction=0),
        torch.linalg.vector_norm(values),
        (values == 0).float().mean(),
    ]
    return torch.stack([number.float() for number in numbers])
