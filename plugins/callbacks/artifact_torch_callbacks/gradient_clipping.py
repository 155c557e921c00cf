"""Clipping of gradients, and how often it happens."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from artifact_torch import Callback, UsageError, hookimpl

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["GradientClipping"]

_SMALLEST_WEIGHT = 1e-3
_SMALLEST_GRADIENT = 1e-6
_MEASURES = {"norm": "norm", "value": "largest", "adaptive": "ratio"}


class GradientClipping(Callback):
    """Limits the gradient of each step, and records how large it was before and how often it was clipped.

    There are three algorithms:

    - ``"norm"`` scales the gradients of a scope down so that their norm is the limit at most
      (``torch.nn.utils.clip_grad_norm_``, the same to the bit; Pascanu et al., 2013, arXiv:1211.5063).
    - ``"value"`` limits the absolute value of each number (``torch.nn.utils.clip_grad_value_``, the same to the bit).
      An infinite one becomes the limit too; NaN stays.
    - ``"adaptive"`` limits, for each row of a weight, the norm of the gradient in proportion to that of the weight,
      ``||G|| <= limit * max(||W||, 1e-3)``. A row is what belongs to one index of the first dimension; a bias is one
      row (Brock et al., 2021, arXiv:2102.06171, equation 3, who take a limit of about 0.01 and leave the last layer
      out). For each parameter it starts several small operations.

    A gradient that gathers over several batches (``accumulate``) is clipped once, when it is complete. Where the global
    norm or the value is to be limited, and nothing needs to be recorded, the trainer's own ``clip_gradient_norm`` and
    ``clip_gradient_value`` do the same, and the first one spares a separate look for numbers that are not finite. This
    callback is for everything else: other scopes and norms, parameters that are left out, adaptive clipping, records.

    The columns are, after ``name``, in ``batch_metrics`` what was compared with the limit in the step that is logged,
    the highest of all: ``clipping/norm``, ``clipping/largest`` (absolute value) or ``clipping/ratio``. And in
    ``epoch_scores`` the share of the epoch's steps that were clipped, ``train/clipping/share``. They are read where the
    trainer logs; in between, nothing waits for an accelerator.

    Args:
        algorithm: how to clip, see above.
        limit: the highest norm, absolute value or ratio that is left as it is.
        scope: over which gradients a norm is taken: all together (``"global"``), those of each parameter ``"group"`` of
            the optimizer, or those of each ``"parameter"``; for the algorithm ``"norm"`` only.
        norm_type: the p of the p-norm, ``inf`` included; for the algorithm ``"norm"`` only.
        exclude: patterns of paths of parameters that are left alone, such as ``"head.*"``.
        name: what the columns begin with.

    Raises:
        UsageError: an argument cannot be used; or, when training starts, a pattern matches no parameter, or all.

    Example::

        clipping = GradientClipping(algorithm="adaptive", limit=0.01, exclude=["layers.1.bias"])
        trainer = Trainer(model, train_loader, epochs=3, callbacks=[clipping])
        trainer.train()
        print(trainer.epoch_scores["train/clipping/share"])
    """

    changes_training = True

    def __init__(
        self,
        *,
        algorithm: Literal["norm", "value", "adaptive"] = "norm",
        limit: float = 1.0,
        scope: Literal["global", "group", "parameter"] = "global",
        norm_type: float = 2.0,
        exclude: list[str] | None = None,
        name: str = "clipping",
    ) -> None:
        if algorithm not in _MEASURES:
            known = ", ".join(map(repr, _MEASURES))
            raise UsageError(f"The algorithm of GradientClipping is one of {known}, not {algorithm!r}.")
        if not 0 < limit < math.inf:
            raise UsageError(f"The limit of GradientClipping must be above 0 and finite, not {limit}.")
        if scope not in ("global", "group", "parameter"):
            raise UsageError(f"The scope of GradientClipping is 'global', 'group' or 'parameter', not {scope!r}.")
        if not norm_type > 0:
            raise UsageError(f"The norm_type of GradientClipping must be above 0, not {norm_type}.")
        if algorithm != "norm" and (scope, norm_type) != ("global", 2.0):
            raise UsageError(
                f"A scope and a norm_type are for clipping by 'norm', not for {algorithm!r}: leave them out."
            )
        if not name:
            raise UsageError("GradientClipping needs a name for what it records.")
        self.algorithm = algorithm
        self.limit = limit
        self.scope = scope
        self.norm_type = norm_type
        self.exclude = list(exclude or [])
        self.name = name
        self._scopes: list[list[nn.Parameter]] = []
        self._measured: Tensor | None = None
        self._clipped: int | Tensor = 0
        self._steps = 0

    @hookimpl
    def on_train_start(self, trainer: Trainer) -> None:
        paths = [path for path, _ in trainer.model.named_parameters()]
        for pattern in self.exclude:
            if not fnmatch.filter(paths, pattern):
                raise UsageError(
                    f"GradientClipping is to leave out {pattern!r}, and no parameter of the model is called so: it has "
                    f"{', '.join(paths)}."
                )
        self._scopes = self._found_scopes(trainer)
        if not any(self._scopes):
            raise UsageError(f"GradientClipping leaves out every parameter ({', '.join(self.exclude)}): exclude fewer.")

    @hookimpl
    def execute_epoch_preprocessing(self, trainer: Trainer) -> None:
        self._scopes = self._found_scopes(trainer)
        self._clipped, self._steps = 0, 0

    @hookimpl
    def on_before_optimizer_step(self) -> None:
        self._steps += 1
        scopes = [found for scope in self._scopes if (found := [each for each in scope if each.grad is not None])]
        if not scopes:
            self._measured = None
            return
        with torch.no_grad():
            measured = [self._clip(parameters) for parameters in scopes]
            self._measured = measured[0] if len(measured) == 1 else torch.stack(measured).max()
            self._clipped = self._clipped + (self._measured > self.limit).long()

    @hookimpl
    def log_batch_metrics(self) -> Mapping[str, Tensor] | None:
        return None if self._measured is None else {f"{self.name}/{_MEASURES[self.algorithm]}": self._measured}

    @hookimpl
    def log_epoch_metrics(self) -> Mapping[str, float]:
        return {f"{self.name}/share": int(self._clipped) / max(1, self._steps)}

    @hookimpl
    def on_train_end(self) -> None:
        self._scopes, self._measured = [], None

    @hookimpl
    def on_save_checkpoint(self) -> dict[str, Any]:
        return {"clipped": int(self._clipped), "steps": self._steps}

    @hookimpl
    def on_load_checkpoint(self, state: Mapping[str, Any]) -> None:
        self._clipped, self._steps = state["clipped"], state["steps"]

    def _found_scopes(self, trainer: Trainer) -> list[list[nn.Parameter]]:
        groups = [list[nn.Parameter](group["params"]) for group in trainer.optimizer.param_groups]
        named = dict(trainer.model.named_parameters())
        left_out = {id(named[path]) for pattern in self.exclude for path in fnmatch.filter(named, pattern)}
        if self.scope == "group":
            scopes = groups
        else:  # those of the model first, as torch's own functions are given them; the order decides the last bit
            known = {id(each): each for each in (*named.values(), *(each for group in groups for each in group))}
            scopes = [list(known.values())] if self.scope == "global" else [[each] for each in known.values()]
        return [[each for each in scope if id(each) not in left_out] for scope in scopes]

    def _clip(self, parameters: list[nn.Parameter]) -> Tensor:
        """Clip the gradients of a scope, and return what was compared with the limit, of shape ``()``."""
        gradients = [each.grad for each in parameters if each.grad is not None]
        if self.algorithm == "value":
            largest = nn.utils.get_total_norm(gradients, math.inf)
            nn.utils.clip_grad_value_(parameters, self.limit)
            return largest
        if self.algorithm == "norm":
            norm = nn.utils.get_total_norm(gradients, self.norm_type)
            nn.utils.clip_grads_with_norm_(parameters, self.limit, norm)
            return norm
        return torch.stack([self._clip_rows(each, each.grad) for each in parameters if each.grad is not None]).max()

    def _clip_rows(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        weights, norms = _row_norms(parameter).clamp_(min=_SMALLEST_WEIGHT), _row_norms(gradient)
        highest = self.limit * weights
        clipped = gradient * (highest / norms.clamp(min=_SMALLEST_GRADIENT))
        gradient.copy_(torch.where(norms > highest, clipped, gradient))
        return (norms / weights).max()


def _row_norms(tensor: Tensor) -> Tensor:
    """The 2-norm of each row, shaped so that it can be multiplied with the tensor."""
    dimensions = tuple(range(1, tensor.ndim)) if tensor.ndim > 1 else None
    return torch.linalg.vector_norm(tensor, dim=dimensions, keepdim=True)
