"""Validation of classifiers: what they predict of rows, against the true classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from artifact_torch import BatchLoader, DataSplit, LoaderCallback, Period, ValidationPlan, ValidationRoutine
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
        period, train_loader, val_loader, callbacks, plans, mode, workers, artifact_seconds: as for
            ``ValidationRoutine``; ``plans`` are executed besides these.
    """

    def __init__(
        self,
        train: LabelledTable,
        held_out: LabelledTable | None = None,
        *,
        artifacts: ClassificationArtifacts | None = None,
        max_rows: int = 10_000,
        seed: int = 0,
        period: int | str | Period = 1,
        train_loader: BatchLoader | None = None,
        val_loader: BatchLoader | None = None,
        callbacks: Iterable[LoaderCallback] = (),
        plans: Iterable[ValidationPlan] = (),
        mode: Literal["auto", "background", "inline"] = "auto",
        workers: int = 1,
        artifact_seconds: float = 600.0,
    ) -> None:
        self._besides = tuple(plans)
        super().__init__(
            period=period,
            train_loader=train_loader,
            val_loader=val_loader,
            callbacks=callbacks,
            plans=self._besides,
            mode=mode,
            workers=workers,
            artifact_seconds=artifact_seconds,
        )
        named = artifacts or ClassificationArtifacts()
        wanted = {DataSplit.TRAIN: (train, named)}
        if held_out is not None:
            wanted = {DataSplit.TRAIN: (train, named.only_scores()), DataSplit.VALIDATION: (held_out, named)}
        self._classifications: dict[DataSplit, ValidationPlan] = {
            split: BinaryClassificationValidationPlan(rows, chosen, split=split, max_rows=max_rows, seed=seed)
            for split, (rows, chosen) in wanted.items()
            if not chosen.is_empty
        }

    def _get_validation_plan(self, split: DataSplit) -> Sequence[ValidationPlan]:
        given = super()._get_validation_plan(split)
        plans = [given] if isinstance(given, ValidationPlan) else list(given or ())
        own = self._classifications.get(split)
        if own is not None and all(plan in self._besides for plan in plans):
            plans.insert(0, own)
        return plans
