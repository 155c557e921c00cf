"""Artifacts: what validation computes. Nothing here imports torch; a process that draws plots need not either."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

__all__ = ["Artifact", "ArtifactKind", "ArtifactWarning", "Plot", "close_figure"]


class ArtifactKind(StrEnum):
    """The kinds of artifacts."""

    SCORE = "score"
    ARRAY = "array"
    PLOT = "plot"
    SCORE_COLLECTION = "score_collection"
    ARRAY_COLLECTION = "array_collection"
    PLOT_COLLECTION = "plot_collection"

    @property
    def is_score(self) -> bool:
        """Whether it is made of numbers that stand in ``epoch_scores``."""
        return self in (ArtifactKind.SCORE, ArtifactKind.SCORE_COLLECTION)


class Artifact(NamedTuple):
    """Something to compute: its kind, and its name among those of its kind."""

    kind: ArtifactKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')} {self.name}"


class ArtifactWarning(UserWarning):
    """What a computation warns of with ``warnings.warn`` so that the user is told, with the artifact's name."""


class Plot:
    """A plot, drawn: a PNG file.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def draw(cls, figure: Figure, path: Path, *, dpi: int) -> Self:
        """Draw a figure into a file, and close it; ``dpi`` is the resolution in pixels an inch."""
        try:
            figure.savefig(path, dpi=dpi, bbox_inches="tight")
        finally:
            close_figure(figure)
        return cls(path)

    def png(self) -> bytes:
        """The content of the file."""
        return self.path.read_bytes()

    def image(self) -> Image:
        """The picture, opened."""
        from PIL import Image

        return Image.open(self.path)

    def move(self, path: Path) -> None:
        """Move the file, to a folder that is made if it is missing; what is at ``path`` is replaced."""
        if path != self.path:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(self.path, path)
            self.path = path

    def __repr__(self) -> str:
        return f"Plot({str(self.path)!r})"


def close_figure(figure: Figure) -> None:
    """Let go of a figure, which pyplot holds on to."""
    from matplotlib import pyplot

    pyplot.close(figure)
