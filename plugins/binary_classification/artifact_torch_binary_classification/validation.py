"""Validation of classifiers: what they predict of rows, against the true classes."""

from __future__ import annotations

from typing_extensions import Unpack

from artifact_torch import DataSplit, ValidationPlan, ValidationRoutine, ValidationRoutineOptions
from artifact_torch_binary_classification.artifacts import ClassificationArtifacts
from artifact_torch_binary_classification.labels import LabelledTable
from artifact_torch_binary_classification.plan import BinaryClassificationValidationPlan

__all__ = ["BinaryClassificationValidationRoutine"]


class BinaryClassificationValidationRoutine(ValidationRoutine):
    """Predicts the held-out rows and, for scores, the training rows, and judges the predictions.

    The same rows are used each time, so that changes are the model's. A plan that a plugin gives for a split takes the
    place of the one of that split.

    Args:
        train: the rows that the model is trained on; if none are held out, all artifacts are computed of them.
        held_out: rows that it does not see, or None.
        artifacts: what to compute of the held-out rows; of the training rows only the scores are computed.
        max_rows: how many rows of each to judge, at most.
        seed: chooses the rows.
        options: as for ``ValidationRoutine``; its ``plans`` are executed besides these.
    """

    def __init__(
        self,
        train: LabelledTable,
        held_out: LabelledTable | None = None,
        *,
        artifacts: ClassificationArtifacts | None = None,
        max_rows: int = 10_000,
        seed: int = 0,
        **options: Unpack[ValidationRoutineOptions],
    ) -> None:
        super().__init__(**options)
        named = artifacts or ClassificationArtifacts()
        wanted = {DataSplit.TRAIN: (train, named)}
        if held_out is not None:
            wanted = {DataSplit.TRAIN: (train, named.only_scores()), DataSplit.VALIDATION: (held_out, named)}
        self._classifications: dict[DataSplit, ValidationPlan] = {
            split: BinaryClassificationValidationPlan(rows, chosen, split=split, max_rows=max_rows, seed=seed)
            for split, (rows, chosen) in wanted.items()
            if not chosen.is_empty
        }

    def _default_plan(self, split: DataSplit) -> ValidationPlan | None:
        return self._classifications.get(split)
