"""Validation of models that generate tables: synthetic rows against real ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import pandas as pd

from artifact_torch import BatchLoader, DataSplit, LoaderCallback, Period, ValidationPlan, ValidationRoutine
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
        period, train_loader, val_loader, callbacks, plans, mode, workers, artifact_seconds: as for
            ``ValidationRoutine``; ``plans`` are executed besides the comparisons.
    """

    def __init__(
        self,
        train: Table,
        held_out: Table | None = None,
        *,
        artifacts: ComparisonArtifacts | type[TableComparisonPlan] | None = None,
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

    def _get_validation_plan(self, split: DataSplit) -> Sequence[ValidationPlan]:
        given = super()._get_validation_plan(split)
        plans = [given] if isinstance(given, ValidationPlan) else list(given or ())
        comparison = self._comparisons.get(split)
        if comparison is not None and all(plan in self._besides for plan in plans):
            plans.insert(0, comparison)
        return plans


def _together(train: Table, held_out: Table) -> Table:
    return Table(pd.concat([train.frame, held_out.frame], ignore_index=True), train.schema)


def _has_values(frame: pd.DataFrame, schema: TableSchema) -> bool:
    """Whether there is anything to compare: missing numbers alone are nothing, missing labels are a label."""
    return any(not column.is_numeric or bool(frame[column.name].notna().any()) for column in schema.modelled)
