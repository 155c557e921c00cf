"""How often something is done: every so many epochs, or every so many optimizer steps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from artifact_torch.errors import UsageError

__all__ = ["Period"]

_TEXT = re.compile(r"\s*(\d+)\s*(epochs?|steps?)\s*")


@dataclass(frozen=True, slots=True)
class Period:
    """A number of epochs or of optimizer steps.

    Attributes:
        number: how many.
        unit: ``"epochs"`` or ``"steps"``.

    Raises:
        UsageError: the number is not positive, or there is no such unit.
    """

    number: int
    unit: str = "epochs"

    def __post_init__(self) -> None:
        if self.unit not in ("epochs", "steps"):
            raise UsageError(f"A period is counted in 'epochs' or 'steps', not in {self.unit!r}.")
        if self.number < 1:
            raise UsageError(f"A period must be at least 1 {self.unit.removesuffix('s')}, not {self.number}.")

    @classmethod
    def of(cls, given: int | str | Self) -> Self:
        """A period as people write it: ``5`` and ``"5 epochs"`` are the same, and so is ``"200 steps"`` of its kind.

        Raises:
            UsageError: it is none of these.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, int) and not isinstance(given, bool):
            return cls(given)
        if isinstance(given, str) and (match := _TEXT.fullmatch(given)):
            return cls(int(match[1]), match[2].removesuffix("s") + "s")
        raise UsageError(f"{given!r} is no period: write a number of epochs such as 5, or '5 epochs', or '200 steps'.")

    def is_due(self, epoch: int, step: int, *, epoch_ends: bool) -> bool:
        """Whether it is time: after ``step`` steps, in ``epoch`` (from 1), which ends now or is in progress."""
        if self.unit == "steps":
            return step > 0 and step % self.number == 0
        return epoch_ends and epoch % self.number == 0

    def __str__(self) -> str:
        return f"{self.number} {self.unit if self.number > 1 else self.unit.removesuffix('s')}"
