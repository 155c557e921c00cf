"""Validation results: six kinds of artifacts for each split, and their way to whoever tracks them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from artifact_torch.core.data import DataSplit
from artifact_torch.errors import UsageError
from artifact_torch.plugin.specs import TrackingHooks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from artifact_torch.plugin.hooks import Hooks

__all__ = ["ArtifactKind", "Artifacts", "ValidationPlan", "ValidationResults", "track_results"]


class ArtifactKind(StrEnum):
    """The kinds of artifacts."""

    SCORE = "score"
    ARRAY = "array"
    PLOT = "plot"
    SCORE_COLLECTION = "score_collection"
    ARRAY_COLLECTION = "array_collection"
    PLOT_COLLECTION = "plot_collection"


class ValidationPlan(Protocol):
    """What has been computed by a validation plan; the plans of artifact-experiment are of this shape."""

    @property
    def scores(self) -> Mapping[str, float]: ...
    @property
    def arrays(self) -> Mapping[str, np.ndarray]: ...
    @property
    def plots(self) -> Mapping[str, Figure]: ...
    @property
    def score_collections(self) -> Mapping[str, Mapping[str, float]]: ...
    @property
    def array_collections(self) -> Mapping[str, Mapping[str, np.ndarray]]: ...
    @property
    def plot_collections(self) -> Mapping[str, Mapping[str, Figure]]: ...


@dataclass(slots=True)
class Artifacts:
    """The artifacts of one split: for each kind, name -> value."""

    scores: dict[str, float] = field(default_factory=dict[str, float])
    arrays: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    plots: dict[str, Figure] = field(default_factory=dict[str, "Figure"])
    score_collections: dict[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    array_collections: dict[str, Mapping[str, np.ndarray]] = field(default_factory=dict[str, Mapping[str, np.ndarray]])
    plot_collections: dict[str, Mapping[str, Figure]] = field(default_factory=dict[str, Mapping[str, "Figure"]])

    def of_kind(self, kind: ArtifactKind) -> dict[str, Any]:
        """Name -> value of one kind; the values are of the type that the field of that kind says."""
        artifacts: dict[str, Any] = getattr(self, f"{kind}s")
        return artifacts

    def add_plan(self, plan: ValidationPlan) -> None:
        """Take over everything that an executed plan has computed.

        Raises:
            UsageError: an artifact of its kind and name is there already.
        """
        for kind in ArtifactKind:
            own, added = self.of_kind(kind), getattr(plan, f"{kind}s")
            if shared := sorted(own.keys() & added.keys()):
                raise UsageError(
                    f"The validation plan and a callback both compute the {kind} {shared[0]!r}: rename it."
                )
            own.update(added)


@dataclass(slots=True)
class ValidationResults:
    """What one validation produced, by split."""

    splits: dict[DataSplit, Artifacts] = field(default_factory=dict[DataSplit, Artifacts])

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
            named.update({f"{split}/{name}": value for name, value in artifacts.scores.items()})
            for name, collection in artifacts.score_collections.items():
                items = {f"{split}/{name}/{item}": value for item, value in collection.items()}
                if shared := sorted(named.keys() & items.keys()):
                    raise UsageError(f"Two validation scores are named {shared[0]!r}: rename one of them.")
                named.update(items)
        return named


_TRACKED_BY: dict[ArtifactKind, Callable[[Any, str, Any, DataSplit, int, int], None]] = {
    ArtifactKind.SCORE: TrackingHooks.track_score,
    ArtifactKind.ARRAY: TrackingHooks.track_array,
    ArtifactKind.PLOT: TrackingHooks.track_plot,
    ArtifactKind.SCORE_COLLECTION: TrackingHooks.track_score_collection,
    ArtifactKind.ARRAY_COLLECTION: TrackingHooks.track_array_collection,
    ArtifactKind.PLOT_COLLECTION: TrackingHooks.track_plot_collection,
}


def track_results(hooks: Hooks, results: ValidationResults, *, epoch: int, step: int) -> None:
    """Hand every artifact to the hooks that track its kind, then close the plots."""
    try:
        for split, artifacts in results.splits.items():
            for kind in ArtifactKind:
                for name, value in artifacts.of_kind(kind).items():
                    hooks.notify(_TRACKED_BY[kind], name, value, split, epoch, step)
    finally:
        _close_plots(results)


def _close_plots(results: ValidationResults) -> None:
    figures = [
        figure
        for artifacts in results.splits.values()
        for figure in (
            *artifacts.plots.values(),
            *(figure for collection in artifacts.plot_collections.values() for figure in collection.values()),
        )
    ]
    if figures:
        from matplotlib import pyplot  # only who made a figure has paid for this import already

        for figure in figures:
            pyplot.close(figure)
