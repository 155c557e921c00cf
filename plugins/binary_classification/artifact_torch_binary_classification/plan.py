"""The validation plan of classifiers: what a model predicts of rows, and their true classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from torch import Tensor

from artifact_torch import Data, DataError, DataSplit, Period, Recipe, Trainer, ValidationPlan
from artifact_torch_binary_classification.artifacts import ClassificationArtifacts, choose
from artifact_torch_binary_classification.labels import LabelledTable
from artifact_torch_binary_classification.model import BinaryClassifier

__all__ = ["BinaryClassificationValidationPlan"]


class BinaryClassificationValidationPlan(ValidationPlan):
    """Judges what the model predicts of rows, by artifacts of artifact-core.

    Without a model, predictions that came from elsewhere are judged with ``inputs``::

        plan = BinaryClassificationValidationPlan(table, ClassificationArtifacts(plots="all"))
        artifacts = execute_plan(plan, plan.inputs(probabilities), Path("plots"))

    Args:
        table: the rows, with their true classes.
        artifacts: what to compute, and with which threshold.
        split: which part of the data the rows are.
        name: names the plan.
        max_rows: how many of the rows to judge, at most: a sample, the same each time.
        seed: chooses the rows.
        period: how often, in epochs or steps; as the routine if None.

    Raises:
        UsageError: there is no artifact of a name, a hyperparameter is wrong, no artifact is named, or there is no row.
    """

    def __init__(
        self,
        table: LabelledTable,
        artifacts: ClassificationArtifacts | None = None,
        *,
        split: DataSplit = DataSplit.VALIDATION,
        name: str = "binary_classification",
        max_rows: int = 10_000,
        seed: int = 0,
        period: int | str | Period | None = None,
    ) -> None:
        if not len(table):
            raise DataError("There is no row to judge predictions of: give at least one.")
        options = artifacts or ClassificationArtifacts()
        chosen = choose(options, table.classes)
        self._num_rows = len(table)
        self._positions = table.sample(max_rows, seed)
        self._rows = table.take(self._positions)
        self._encoded: tuple[int, Mapping[str, Tensor]] | None = None
        self._parameters = {
            **dataclasses.asdict(table.classes),
            "threshold": options.threshold,
            "artifacts": [list(artifact) for artifact in chosen.artifacts],
            "hyperparameters": _as_json(options.hyperparameters),
            "modules": list(chosen.modules),
        }
        super().__init__(name, split, chosen.artifacts, period=period, dpi=options.dpi, rows=len(self._rows), seed=seed)

    def recipe(self) -> Recipe:
        return Recipe(
            "artifact_torch_binary_classification.computation:BinaryClassificationComputation", self._parameters
        )

    def gather(self, trainer: Trainer) -> Mapping[str, Data]:
        model = cast("BinaryClassifier[Any]", trainer.model)
        if self._encoded is None or self._encoded[0] != id(model):  # encoded once: a model's pipeline is fixed
            self._encoded = id(model), model.encode(self._rows.features.frame)
        return self._inputs(model.probabilities(self._encoded[1]))

    def inputs(self, probabilities: npt.NDArray[np.float64]) -> Mapping[str, Data]:
        """What the artifacts are computed of, if ``probabilities`` are those of the table's rows, shape ``(rows,)``.

        Raises:
            DataError: there are more probabilities than rows, or less.
        """
        if len(probabilities) != self._num_rows:
            raise DataError(
                f"There are {len(probabilities):,} probabilities for {self._num_rows:,} rows: give one for each row."
            )
        return self._inputs(probabilities[self._positions])

    def _inputs(self, probabilities: npt.NDArray[np.float64]) -> Mapping[str, Data]:
        return {"true": self._rows.is_positive.astype(np.int8), "probability": probabilities}


def _as_json(value: Any) -> Any:
    """Hyperparameters with the names of enumerations' members in place of the members."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Mapping):
        return {str(name): _as_json(each) for name, each in cast("Mapping[object, object]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(each) for each in cast("list[object]", value)]
    return value
