"""Losses and gradients that are NaN or infinite: seen before the optimizer steps, and dealt with by a policy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from artifact_torch.core.loss import EpochLoss
from artifact_torch.core.storage import JsonDict
from artifact_torch.errors import DivergedError

__all__ = ["NonFiniteGuard", "NonFinitePolicy"]

NonFinitePolicy = Literal["stop", "skip", "raise"]


class NonFiniteGuard:
    """Keeps steps with a loss or a gradient that is NaN or infinite from being made.

    Where it is immediate, on the CPU, each value is read before the step. Where it is deferred, on an accelerator whose
    optimizer can leave a step out by itself, the finding stays on the device: the step is left out there, and the
    program learns of it when the guard is asked to ``settle``, which the trainer does where it reads the loss anyway.

    Args:
        policy: ``"stop"`` and ``"raise"`` end training with a ``DivergedError``; ``"raise"`` is never deferred, so the
            error comes from the step itself. ``"skip"`` leaves the step out and counts it.
        limit: how many steps in a row may be skipped before training ends in any case.
        deferred: whether findings may stay on the device.
        diverged: makes the error out of what was found.
    """

    def __init__(
        self, policy: NonFinitePolicy, limit: int, *, deferred: bool, diverged: Callable[[str], DivergedError]
    ) -> None:
        self.policy = policy
        self.limit = limit
        self.deferred = deferred and policy != "raise"
        self._diverged = diverged
        self._skipped = 0
        self._in_a_row = 0
        self._flags = _DeviceFlags() if self.deferred else None
        self._bad_batch = False
        self._look = _Look()

    @property
    def skipped(self) -> int:
        """How many steps were left out."""
        return self._skipped + (0 if self._flags is None else self._flags.total())

    def accepts_loss(self, value: float | None) -> bool:
        """Whether to go on with a batch of this loss; None means that its value is on the device.

        Raises:
            DivergedError: it is NaN or infinite, and the policy is to stop.
        """
        if value is None or math.isfinite(value):
            return True
        if self.policy != "skip":
            raise self._diverged(f"The training loss became {value}")
        self._bad_batch = True
        return False

    def accepts_step(self, gradients: list[Tensor], norm: Tensor | None, model: nn.Module) -> bool:
        """Whether to make a step with these gradients; True where that is decided on the device.

        Args:
            gradients: of all parameters that have one.
            norm: their total norm, if it was computed for clipping.
            model: names the parameters in the error.

        Raises:
            DivergedError: one is NaN or infinite and the policy is to stop, or too many steps in a row were left out.
        """
        if self._flags is not None:
            if not gradients:
                return True
            self._flags.add(self._look.at(gradients if norm is None else [norm]))
            return True
        found = self._bad_batch
        if not found and gradients:
            found = not math.isfinite(norm.item()) if norm is not None else self._look.at(gradients).item() != 0.0
        self._bad_batch = False
        if not found:
            self._in_a_row = 0
            return True
        if self.policy != "skip":
            raise self._diverged(f"The gradient of {_broken_gradients(model)} became NaN or infinite")
        self._skipped += 1
        self._in_a_row += 1
        self._check_limit(self._in_a_row)
        return False

    @property
    def found(self) -> Tensor | None:
        """Whether the step at hand is to be left out: 1.0 or 0.0 of shape ``()`` on the device; None if immediate."""
        return None if self._flags is None else self._flags.now

    def settle(self, losses: EpochLoss) -> None:
        """Look at what was found on the device; there, this waits for it.

        Raises:
            DivergedError: something was NaN or infinite, and the policy is to stop.
        """
        if self.policy != "skip" and losses.non_finite:
            raise self._diverged("The training loss became NaN or infinite")
        if self._flags is None:
            return
        if self.policy != "skip" and self._flags.total():
            raise self._diverged("A gradient became NaN or infinite")
        self._check_limit(self._flags.longest())

    def state_dict(self) -> JsonDict:
        longest = 0 if self._flags is None else self._flags.longest()
        return {"skipped": self.skipped, "in_a_row": max(self._in_a_row, longest), "bad_batch": self._bad_batch}

    def load_state_dict(self, state: JsonDict) -> None:
        self._skipped, self._in_a_row, self._bad_batch = state["skipped"], state["in_a_row"], state["bad_batch"]
        self._flags = _DeviceFlags() if self.deferred else None

    def _check_limit(self, in_a_row: int) -> None:
        if in_a_row > self.limit:
            raise self._diverged(f"{in_a_row} steps in a row had a loss or a gradient that was NaN or infinite")


class _DeviceFlags:
    """What was found so far, kept on the device."""

    def __init__(self) -> None:
        self.now: Tensor | None = None
        self._sums: tuple[Tensor, Tensor, Tensor] | None = None  # all, in a row at present, most in a row

    def add(self, found: Tensor) -> None:
        self.now = found
        if self._sums is None:
            self._sums = (found.clone(), found.clone(), found.clone())
            return
        total, in_a_row, longest = self._sums
        in_a_row = (in_a_row + found) * found
        self._sums = (total + found, in_a_row, torch.maximum(longest, in_a_row))

    def total(self) -> int:
        return 0 if self._sums is None else int(self._sums[0].item())

    def longest(self) -> int:
        return 0 if self._sums is None else int(self._sums[2].item())


class _Look:
    """Whether a tensor holds NaN or infinity, asked for all at once and answered on their device.

    The kernel of torch's own gradient scaler looks at all tensors in one call; it multiplies them by one meanwhile,
    which changes no bit of them. Measured on a CPU with 8 gradients of 76,000 numbers, it takes 14 us, the total norm
    58 us.
    """

    def __init__(self) -> None:
        self._one = torch.ones(())
        self._found = torch.zeros(())

    def at(self, tensors: list[Tensor]) -> Tensor:
        """1.0 if there is one, else 0.0; of shape ``()``, and valid until the next call."""
        device = tensors[0].device
        if self._found.device != device:
            self._one, self._found = self._one.to(device), self._found.to(device)
        found = self._found.zero_()
        try:
            torch._amp_foreach_non_finite_check_and_unscale_(tensors, found, self._one)  # type: ignore[reportPrivateUsage]
        except RuntimeError:  # complex, sparse or expanded ones, or more than one device
            for tensor in tensors:
                values = tensor.coalesce().values() if tensor.layout is torch.sparse_coo else tensor
                found += 1 - torch.isfinite(values).all().to(found)
            found.clamp_(max=1.0)
        return found


def _broken_gradients(model: nn.Module) -> str:
    broken = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad.to_dense()).all())
    ]
    others = f" and of {len(broken) - 1} more" if len(broken) > 1 else ""
    return f"{broken[0]!r}{others}" if broken else "a parameter outside the model"
