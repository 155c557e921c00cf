"""Validation plans: which artifacts to compute about a model, of what, and when."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from artifact_torch.core.artifacts import Artifact
from artifact_torch.core.computation import Recipe
from artifact_torch.core.exchange import Data
from artifact_torch.core.split import DataSplit
from artifact_torch.errors import UsageError
from artifact_torch.plugin.period import Period

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer

__all__ = ["ValidationPlan"]


class ValidationPlan(ABC):
    """Artifacts of a model on one split of the data.

    Each time the plan is due, ``gather`` has the model produce what is to be judged, in the training process; then the
    artifacts are computed of it, there or in another process, by the ``Computation`` that ``recipe`` names.

    Args:
        name: names the plan, among those of its split; the artifacts go by their own names.
        split: the part of the data that it is about.
        artifacts: what to compute.
        period: how often, in epochs or steps; as the routine if None.
        dpi: resolution of plots, in pixels an inch.
        rows: how many rows each round judges, recorded with the results; None if that is not known.
        seed: the seed of the sample of these rows, recorded with the results.

    Raises:
        UsageError: there is nothing to compute, an artifact is named twice, or a number is out of range.
    """

    def __init__(
        self,
        name: str,
        split: DataSplit,
        artifacts: Sequence[Artifact],
        *,
        period: int | str | Period | None = None,
        dpi: int = 120,
        rows: int | None = None,
        seed: int | None = None,
    ) -> None:
        if not artifacts:
            raise UsageError(f"The validation plan {name!r} has no artifact: name one, or leave the plan out.")
        for artifact in artifacts:
            if artifacts.count(artifact) > 1:
                raise UsageError(f"The validation plan {name!r} has the {artifact} twice: leave one of them out.")
        if dpi < 1:
            raise UsageError(f"The resolution of plots must be at least 1 pixel an inch, not {dpi}.")
        self.name = name
        self.split = DataSplit(split)
        self.artifacts = tuple(artifacts)
        self.period = None if period is None else Period.of_training(period)
        self.dpi = dpi
        self.rows = rows
        self.seed = seed

    @abstractmethod
    def recipe(self) -> Recipe:
        """What the artifacts are computed with; asked once."""

    @abstractmethod
    def gather(self, trainer: Trainer) -> Mapping[str, Data]:
        """What the artifacts are computed of now, by name.

        The model is in evaluation mode and gradients are off; the random state is put back afterwards.
        """
