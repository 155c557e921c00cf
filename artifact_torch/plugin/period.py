"""How often something is done: every so many epochs, optimizer steps or seconds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from artifact_torch.errors import UsageError

__all__ = ["Period"]

_TEXT = re.compile(r"\s*(\d+)\s*(epoch|step|second|minute|hour)s?\s*")
_UNITS = {
    "epoch": ("epochs", 1),
    "step": ("steps", 1),
    "second": ("seconds", 1),
    "minute": ("seconds", 60),
    "hour": ("seconds", 3600),
}


@dataclass(frozen=True, slots=True)
class Period:
    """A number of epochs, of optimizer steps or of seconds.

    Attributes:
        number: how many.
        unit: ``"epochs"``, ``"steps"`` or ``"seconds"``.

    Raises:
        UsageError: the number is not positive, or there is no such unit.
    """

    number: int
    unit: str = "epochs"

    def __post_init__(self) -> None:
        if self.unit not in ("epochs", "steps", "seconds"):
            raise UsageError(f"A period is counted in 'epochs', 'steps' or 'seconds', not in {self.unit!r}.")
        if self.number < 1:
            raise UsageError(f"A period must be at least 1 {self.unit.removesuffix('s')}, not {self.number}.")

    @classmethod
    def of(cls, given: int | str | Self) -> Self:
        """A period as people write it: ``5`` and ``"5 epochs"`` are the same; ``"200 steps"``, ``"10 minutes"``.

        Raises:
            UsageError: it is none of these.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, int) and not isinstance(given, bool):
            return cls(given)
        if isinstance(given, str) and (match := _TEXT.fullmatch(given)):
            unit, size = _UNITS[match[2]]
            return cls(int(match[1]) * size, unit)
        raise UsageError(
            f"{given!r} is no period: write a number of epochs such as 5, or '5 epochs', '200 steps' or '10 minutes'."
        )

    @classmethod
    def of_training(cls, given: int | str | Self) -> Self:
        """A period counted in epochs or steps, for what must not depend on how long things take.

        Raises:
            UsageError: it is none, or it is counted in seconds.
        """
        period = cls.of(given)
        if period.unit == "seconds":
            raise UsageError(
                f"{given!r} cannot be the period of a validation, whose results would depend on how fast the machine "
                "is: write a number of epochs such as 5, or '200 steps'."
            )
        return period

    def is_due(self, epoch: int, step: int, *, epoch_ends: bool) -> bool:
        """Whether it is time: after ``step`` steps, in ``epoch`` (from 1), which ends now or is in progress.

        One that is counted in seconds is never due here: whoever allows it looks at a clock.
        """
        if self.unit == "steps":
            return step > 0 and step % self.number == 0
        return self.unit == "epochs" and epoch_ends and epoch % self.number == 0

    def __str__(self) -> str:
        return f"{self.number} {self.unit if self.number > 1 else self.unit.removesuffix('s')}"
