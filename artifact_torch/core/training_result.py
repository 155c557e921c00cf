"""What a training has come to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["TrainingResult"]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How training went.

    Attributes:
        reason: why it ended, in words.
        epochs: epochs completed, those before a resume included.
        steps: optimizer steps done, those before a resume included.
        seconds: time in ``train``, validation included, over all processes that worked on the run.
        run_directory: where everything about the run is.
    """

    reason: str
    epochs: int
    steps: int
    seconds: float
    run_directory: Path
