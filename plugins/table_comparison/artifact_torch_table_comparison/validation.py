"""Validation of models that generate tables: synthetic rows against real ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import pandas as pd

from artifact_torch import (
    BatchLoader,
    DataSplit,
    GenerationParams,
    LoaderCallback,
    Trainer,
    ValidationPlan,
    ValidationResults,
    ValidationRoutine,
)
from artifact_torch_table_comparison.artifacts import ComparisonArtifacts
from artifact_torch_table_comparison.model import TabularGenerativeModel
from artifact_torch_table_comparison.schema import Table, TableSchema

__all__ = ["TableComparisonValidationRoutine"]


class TableComparisonValidationRoutine(ValidationRoutine):
    """Generates rows and compares them with the training rows and, in scores, with the held-out rows.

    The comparisons are plans of artifact-experiment over artifact-core. Both tables of one have the same number of
    rows; the same rows and the same generation seed are used each time, so that changes are the model's.

    Args:
        train: the rows that the model is trained on.
        held_out: rows that it does not see, or None; they are left out of account if they hold nothing to compare.
        artifacts: what to compute against the training rows; of the held-out rows only the scores are computed.
        max_rows: how many rows of each table to compare, at most.
        seed: chooses the rows, and seeds generation.
        period, train_loader, val_loader, callbacks: as for ``ValidationRoutine``.
    """

    def __init__(
        self,
        train: Table,
        held_out: Table | None = None,
        *,
        artifacts: ComparisonArtifacts | None = None,
        max_rows: int = 10_000,
        seed: int = 0,
        period: int = 1,
        train_loader: BatchLoader | None = None,
        val_loader: BatchLoader | None = None,
        callbacks: Iterable[LoaderCallback] = (),
    ) -> None:
        super().__init__(period=period, train_loader=train_loader, val_loader=val_loader, callbacks=callbacks)
        self._artifacts = artifacts or ComparisonArtifacts()
        self._schema = train.schema
        self._seed = seed
        self._real = {DataSplit.TRAIN: _sample(train, max_rows, seed)}
        rows = None if held_out is None else _sample(held_out, max_rows, seed)
        if rows is not None and len(rows) > 1 and _has_values(rows, self._schema):
            self._real[DataSplit.VALIDATION] = rows
        self._synthetic: pd.DataFrame | None = None

    def evaluate(self, trainer: Trainer) -> ValidationResults:
        self._synthetic = None  # generated anew, by the model as it is now, when the first plan asks for it
        return super().evaluate(trainer)

    def execute_plan(self, plan: ValidationPlan, split: DataSplit, trainer: Trainer) -> None:
        from artifact_torch_table_comparison.plan import compare

        real = self._real[split]
        if self._synthetic is None:
            model = cast("TabularGenerativeModel[Any, Any]", trainer.model)
            num_rows = max(len(frame) for frame in self._real.values())
            self._synthetic = model.generate(GenerationParams(num_samples=num_rows, seed=self._seed))
        compare(plan, real, self._synthetic.head(len(real)), self._schema)

    def _get_validation_plan(self, split: DataSplit) -> ValidationPlan | None:
        plan = super()._get_validation_plan(split)
        if plan is not None or split not in self._real:
            return plan
        from artifact_torch_table_comparison.plan import comparison_plan

        if split is DataSplit.TRAIN:
            artifacts = self._artifacts
        else:
            artifacts = ComparisonArtifacts(scores=self._artifacts.scores, score_collections=[], plots=[])
        return comparison_plan(artifacts, self._real[split], self._schema)


def _sample(table: Table, max_rows: int, seed: int) -> pd.DataFrame:
    if len(table) <= max_rows:
        return table.frame
    rows = np.random.default_rng(seed).choice(len(table), size=max_rows, replace=False)
    return table.take(np.sort(rows)).frame


def _has_values(frame: pd.DataFrame, schema: TableSchema) -> bool:
    """Whether there is anything to compare: missing numbers alone are nothing, missing labels are a label."""
    return any(not column.is_numeric or bool(frame[column.name].notna().any()) for column in schema.modelled)
