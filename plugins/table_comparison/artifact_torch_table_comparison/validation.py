"""Validation of models that generate tables: synthetic rows against real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from typing_extensions import Unpack

from artifact_torch import DataSplit, ValidationPlan, ValidationRoutine, ValidationRoutineOptions
from artifact_torch_table_comparison.artifacts import ComparisonArtifacts
from artifact_torch_table_comparison.plan import Generation, TableComparisonValidationPlan, chosen_artifacts, sampled
from artifact_torch_table_comparison.schema import Table, TableSchema

if TYPE_CHECKING:
    from artifact_experiment.table_comparison import TableComparisonPlan

__all__ = ["TableComparisonValidationRoutine"]


class TableComparisonValidationRoutine(ValidationRoutine):
    """Generates rows and compares them with the training rows and, in scores, with the held-out rows.

    Both tables of a comparison have the same number of rows; the same rows and the same generation seed are used each
    time, so that changes are the model's. The model generates once for both comparisons. A plan that a plugin gives for
    a split takes the place of the comparison of that split.

    Args:
        train: the rows that the model is trained on.
        held_out: rows that it does not see, or None; they are left out of account if they hold nothing to compare.
        artifacts: what to compute against the training rows; of the held-out rows only the scores are computed. A
            subclass of artifact-experiment's ``TableComparisonPlan`` names artifacts too.
        max_rows: how many rows of each table to compare, at most.
        seed: chooses the rows, and seeds generation and what is random in artifacts.
        options: as for ``ValidationRoutine``; its ``plans`` are executed besides the comparisons.
    """

    def __init__(
        self,
        train: Table,
        held_out: Table | None = None,
        *,
        artifacts: ComparisonArtifacts | type[TableComparisonPlan] | None = None,
        max_rows: int = 10_000,
        seed: int = 0,
        **options: Unpack[ValidationRoutineOptions],
    ) -> None:
        super().__init__(**options)
        chosen = chosen_artifacts(artifacts)
        self._comparisons: dict[DataSplit, ValidationPlan] = {}
        wanted = {DataSplit.TRAIN: (train, chosen)}
        if held_out is not None:
            rows = sampled(held_out, max_rows, seed)
            if chosen.scores and len(rows) > 1 and _has_values(rows.frame, train.schema):
                wanted[DataSplit.VALIDATION] = rows, chosen.only_scores()
        generation = Generation(min(max_rows, max(len(rows) for rows, _ in wanted.values())), seed)
        known = train if held_out is None else _together(train, held_out)
        for split, (rows, named) in wanted.items():
            if not named.is_empty:
                self._comparisons[split] = TableComparisonValidationPlan(
                    rows, named, split=split, max_rows=max_rows, seed=seed, known=known, generation=generation
                )

    def _default_plan(self, split: DataSplit) -> ValidationPlan | None:
        return self._comparisons.get(split)


def _together(train: Table, held_out: Table) -> Table:
    return Table(pd.concat([train.frame, held_out.frame], ignore_index=True), train.schema)


def _has_values(frame: pd.DataFrame, schema: TableSchema) -> bool:
    """Whether there is anything to compare: missing numbers alone are nothing, missing labels are a label."""
    return any(not column.is_numeric or bool(frame[column.name].notna().any()) for column in schema.modelled)
