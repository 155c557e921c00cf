"""Which checkpoints stay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from artifact_torch.core.storage import JsonDict, read_about
from artifact_torch.errors import CheckpointError, UsageError

__all__ = ["Retention"]


@dataclass(frozen=True, slots=True)
class Retention:
    """Which checkpoints stay when a new one was saved: the newest ones, and the best ones.

    Attributes:
        newest: how many of the newest stay, at least one; None keeps all.
        best: how many stay for their score.
        score: name of the score in the ``"scores"`` that a checkpoint was saved with; one without it is never a best.
        mode: whether the lowest (``"min"``) or the highest (``"max"``) score is best; of equal ones the newer is.

    Raises:
        UsageError: a number is out of range, or ``best`` is given without a score.
    """

    newest: int | None = 3
    best: int = 0
    score: str = ""
    mode: Literal["min", "max"] = "min"

    def __post_init__(self) -> None:
        if self.newest is not None and self.newest < 1:
            raise UsageError(f"Of the newest checkpoints, at least 1 must be kept, not {self.newest}.")
        if self.best < 0:
            raise UsageError(f"The number of best checkpoints to keep must be at least 0, not {self.best}.")
        if self.best and not self.score:
            raise UsageError("The best checkpoints can be kept only by a score: name one, such as 'validation/loss'.")
        if self.mode not in ("min", "max"):
            raise UsageError(f"The best score is the 'min' or the 'max', not {self.mode!r}.")

    def superseded(self, paths: Sequence[Path]) -> list[Path]:
        """Which of the checkpoints ``paths``, oldest first, do not stay."""
        if self.newest is None:
            return []
        stay = set(paths[-self.newest :])
        if self.best:
            scored = [(score, path) for path in reversed(paths) if (score := self._rank(path)) is not None]
            stay.update(path for _, path in sorted(scored, key=lambda each: each[0])[: self.best])
        return [path for path in paths if path not in stay]

    def _rank(self, path: Path) -> float | None:
        """The lower, the better; None if a checkpoint has no score, or its manifest cannot be read."""
        try:
            scores = read_about(path).get("scores")
        except CheckpointError:
            return None
        value = cast("JsonDict", scores).get(self.score) if isinstance(scores, dict) else None
        if not isinstance(value, int | float) or not math.isfinite(value):
            return None
        return value if self.mode == "min" else -value
