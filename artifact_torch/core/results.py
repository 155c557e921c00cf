"""Validation results: six kinds of artifacts for each split, and their way to whoever tracks them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artifact_torch.core.artifacts import Artifact, ArtifactKind, Plot
from artifact_torch.core.split import DataSplit
from artifact_torch.errors import UsageError
from artifact_torch.plugin.specs import TrackingHooks

if TYPE_CHECKING:
    from artifact_torch.plugin.hooks import Hooks

__all__ = ["Artifacts", "ValidationResults", "draw_figures", "score_names", "track", "value_of"]

_PLOT_DPI = 120


@dataclass(slots=True)
class Artifacts:
    """The artifacts of one split: for each kind, name -> value."""

    scores: dict[str, float] = field(default_factory=dict[str, float])
    arrays: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    plots: dict[str, Plot] = field(default_factory=dict[str, Plot])
    score_collections: dict[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    array_collections: dict[str, Mapping[str, np.ndarray]] = field(default_factory=dict[str, Mapping[str, np.ndarray]])
    plot_collections: dict[str, Mapping[str, Plot]] = field(default_factory=dict[str, Mapping[str, Plot]])

    def of_kind(self, kind: ArtifactKind) -> dict[str, Any]:
        """Name -> value of one kind; the values are of the type that the field of that kind says."""
        artifacts: dict[str, Any] = getattr(self, f"{kind}s")
        return artifacts

    def add(self, artifact: Artifact, value: Any) -> None:
        """Take a value.

        Raises:
            UsageError: there is one of that kind and name.
        """
        values = self.of_kind(artifact.kind)
        if artifact.name in values:
            raise UsageError(f"Two parts of the validation compute the {artifact}: rename one of them.")
        values[artifact.name] = value

    def all_plots(self) -> list[Plot]:
        """The plots, those of collections included."""
        return [*self.plots.values(), *(plot for each in self.plot_collections.values() for plot in each.values())]


@dataclass(slots=True)
class ValidationResults:
    """What one validation produced, by split.

    Attributes:
        splits: the artifacts of each split.
        epoch: the epoch that was validated; 0 before training.
        step: optimizer steps done before it.
    """

    splits: dict[DataSplit, Artifacts] = field(default_factory=dict[DataSplit, Artifacts])
    epoch: int = 0
    step: int = 0

    def of_split(self, split: DataSplit) -> Artifacts:
        """The artifacts of a split, empty at first."""
        return self.splits.setdefault(split, Artifacts())

    @property
    def scores(self) -> dict[str, float]:
        """Every score, and every item of a score collection, named as in ``epoch_scores``: ``split/name[/item]``.

        Raises:
            UsageError: a score is named like an item of a collection.
        """
        named: dict[str, float] = {}
        for split, artifacts in self.splits.items():
            for kind in (ArtifactKind.SCORE, ArtifactKind.SCORE_COLLECTION):
                for name, value in artifacts.of_kind(kind).items():
                    found = score_names(split, Artifact(kind, name), value)
                    if shared := sorted(named.keys() & found.keys()):
                        raise UsageError(f"Two validation scores are named {shared[0]!r}: rename one of them.")
                    named |= found
        return named


def score_names(split: DataSplit, artifact: Artifact, value: Any) -> dict[str, float]:
    """The numbers of an artifact as ``epoch_scores`` names them; none if it is not made of scores."""
    if artifact.kind is ArtifactKind.SCORE:
        return {f"{split}/{artifact.name}": value}
    if artifact.kind is ArtifactKind.SCORE_COLLECTION:
        return {f"{split}/{artifact.name}/{item}": number for item, number in value.items()}
    return {}


_TRACKED_BY: dict[ArtifactKind, Callable[[Any, str, Any, DataSplit, int, int], None]] = {
    ArtifactKind.SCORE: TrackingHooks.track_score,
    ArtifactKind.ARRAY: TrackingHooks.track_array,
    ArtifactKind.PLOT: TrackingHooks.track_plot,
    ArtifactKind.SCORE_COLLECTION: TrackingHooks.track_score_collection,
    ArtifactKind.ARRAY_COLLECTION: TrackingHooks.track_array_collection,
    ArtifactKind.PLOT_COLLECTION: TrackingHooks.track_plot_collection,
}


def track(hooks: Hooks, artifact: Artifact, value: Any, split: DataSplit, *, epoch: int, step: int) -> None:
    """Hand an artifact to the hooks that track its kind."""
    hooks.notify(_TRACKED_BY[artifact.kind], artifact.name, value, split, epoch, step)


def value_of(kind: ArtifactKind, stored: Any, folder: Path) -> Any:
    """The value of an artifact from what ``compute_artifact`` made of it."""
    if kind.is_score:
        return stored
    if kind in (ArtifactKind.ARRAY_COLLECTION, ArtifactKind.PLOT_COLLECTION):
        single = ArtifactKind(kind.removesuffix("_collection"))
        return {item: value_of(single, file, folder) for item, file in stored.items()}
    path = folder / stored
    return Plot(path) if kind is ArtifactKind.PLOT else np.load(path, allow_pickle=False)


def draw_figures(results: ValidationResults, folder: Path) -> None:
    """Put files in place of the figures that callbacks have drawn."""
    count = 0

    def drawn(value: Any) -> Plot:
        nonlocal count
        if isinstance(value, Plot):
            return value
        count += 1
        folder.mkdir(parents=True, exist_ok=True)
        return Plot.draw(value, folder / f"{count}.png", dpi=_PLOT_DPI)

    for artifacts in results.splits.values():
        artifacts.plots.update({name: drawn(value) for name, value in artifacts.plots.items()})
        for name, collection in artifacts.plot_collections.items():
            artifacts.plot_collections[name] = {item: drawn(value) for item, value in collection.items()}
