"""How large the gradients are, and how far a step moves the parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from artifact_torch import ArtifactKind, Callback, Period, UsageError, hookimpl

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["GradientStatistics"]

_ROOT = "the model"
"""In place of the path of the model itself, which is empty; no module in it can be called that."""


class GradientStatistics(Callback):
    """Records the norm of the gradient and the update ratio of each module or parameter, every so often.

    The update ratio of a step is ``||w_after - w_before|| / ||w_before||`` with the 2-norm: how far the step has moved
    the weights, in relation to their size. About 0.001 is often found healthy; far less hardly learns, and far more is
    unstable. The gradient is that of the whole step, a mean over its batches, before it is clipped.

    The columns of ``batch_metrics`` are, by the path of a module or parameter in the model::

        gradients/norm/encoder.0        gradients/total_norm
        gradients/ratio/encoder.0       gradients/total_ratio

    Those of a module are about its own parameters, without those of modules inside. A step that was left out because of
    a loss or a gradient that is not finite has the ratio 0. A parameter that was all zeros has no ratio, and one that
    the loss does not depend on has no norm of a gradient.

    A step that is due takes a copy of the trainable parameters, a few passes over them, and waits once for an
    accelerator; another step takes nothing.

    Args:
        period: how often: ``"50 steps"``, a number of epochs (then in the first step of one) or ``"10 minutes"``.
        by: what the numbers are about: each ``"module"`` that has parameters of its own, or each ``"parameter"``.
        name: what the columns begin with.

    Raises:
        UsageError: an argument cannot be used.

    Example::

        statistics = GradientStatistics(period="2 steps", by="parameter")
        trainer = Trainer(model, train_loader, epochs=3, callbacks=[statistics])
        trainer.train()
        print(trainer.batch_metrics.filter(like="gradients/ratio/"))
    """

    def __init__(
        self,
        *,
        period: int | str = "50 steps",
        by: Literal["module", "parameter"] = "module",
        name: str = "gradients",
    ) -> None:
        if by not in ("module", "parameter"):
            raise UsageError(f"GradientStatistics are taken by 'module' or by 'parameter', not by {by!r}.")
        if not name:
            raise UsageError("GradientStatistics needs a name for what it records.")
        self.batch_period = Period.of(period)
        self.by = by
        self.name = name
        self._before: dict[str, Tensor] = {}
        self._gradient_norms: dict[str, Tensor] = {}

    @hookimpl
    def on_train_start(self) -> None:
        self._forget()

    @hookimpl(tryfirst=True)  # before a callback clips the gradients
    def on_before_optimizer_step(self, trainer: Trainer) -> None:
        with torch.no_grad():
            for path, parameter in trainer.model.named_parameters():
                if parameter.requires_grad:
                    self._before[path] = parameter.detach().clone()
                if parameter.grad is not None:
                    self._gradient_norms[path] = _norm(parameter.grad)

    @hookimpl(tryfirst=True)  # before a callback changes the parameters once more
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        if not self._before:
            return  # a batch of a step that is not made yet
        parameters = dict(trainer.model.named_parameters())
        with torch.no_grad():
            moved = {path: _norm(parameters[path].detach() - before) for path, before in self._before.items()}
            sizes = {path: _norm(before) for path, before in self._before.items()}
        found = self._found(*_read(self._gradient_norms, moved, sizes))
        self._forget()
        trainer.track(ArtifactKind.SCORE_COLLECTION, self.name, found)

    @hookimpl
    def on_train_end(self) -> None:
        self._forget()

    def _found(
        self, gradients: Mapping[str, float], moved: Mapping[str, float], sizes: Mapping[str, float]
    ) -> dict[str, float]:
        norms, movements, weights = (self._grouped(norms) for norms in (gradients, moved, sizes))
        found = {f"norm/{path}": norm for path, norm in norms.items()}
        found |= {f"ratio/{path}": movements[path] / size for path, size in weights.items() if size != 0}
        if gradients:
            found["total_norm"] = math.hypot(*gradients.values())
        if total := math.hypot(*sizes.values()):
            found["total_ratio"] = math.hypot(*moved.values()) / total
        return found

    def _grouped(self, norms: Mapping[str, float]) -> dict[str, float]:
        """The norm of all parameters of a module as one, by its path; each parameter's own if that is asked for."""
        if self.by == "parameter":
            return dict(norms)
        groups: dict[str, list[float]] = {}
        for path, norm in norms.items():
            groups.setdefault(path.rpartition(".")[0] or _ROOT, []).append(norm)
        return {path: math.hypot(*each) for path, each in groups.items()}

    def _forget(self) -> None:
        self._before, self._gradient_norms = {}, {}


def _norm(tensor: Tensor) -> Tensor:
    """The 2-norm, of shape ``()``, on the tensor's device; in half precision it could overflow."""
    values = tensor.coalesce().values() if tensor.layout is torch.sparse_coo else tensor
    if values.is_complex():
        values = torch.view_as_real(values)
    dtype = torch.float64 if values.dtype is torch.float64 else torch.float32
    return torch.linalg.vector_norm(values, dtype=dtype).float()


def _read(*norms: Mapping[str, Tensor]) -> Iterable[dict[str, float]]:
    """The numbers of several mappings, for which an accelerator is waited for once."""
    values = [norm for each in norms for norm in each.values()]
    numbers = iter(torch.stack(values).tolist())
    return [dict(zip(each, numbers, strict=False)) for each in norms]
