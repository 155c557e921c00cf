"""The validation plan of tables: rows that a model generates against real ones."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from artifact_torch import (
    ArtifactKind,
    Data,
    DataError,
    DataSplit,
    GenerationParams,
    Period,
    Recipe,
    Trainer,
    ValidationPlan,
)
from artifact_torch_table_comparison.artifacts import ComparisonArtifacts
from artifact_torch_table_comparison.comparison import Comparison
from artifact_torch_table_comparison.model import TabularGenerativeModel
from artifact_torch_table_comparison.schema import Table

if TYPE_CHECKING:
    from artifact_experiment.table_comparison import TableComparisonPlan

__all__ = ["Generation", "TableComparisonValidationPlan", "chosen_artifacts", "sampled"]


class Generation:
    """Rows of a model as it is at a validation, generated once for all plans of that validation.

    Args:
        num_rows: how many rows to generate.
        seed: seeds generation, so that changes from one validation to the next are the model's.
    """

    def __init__(self, num_rows: int, seed: int) -> None:
        self.num_rows = num_rows
        self.seed = seed
        self._frame: pd.DataFrame | None = None
        self._made_for: tuple[int, int] | None = None
        self._taken: set[str] = set()

    def rows(self, trainer: Trainer, taker: str) -> pd.DataFrame:
        """The rows, for the plan named; one that asks again at the same step gets new ones."""
        now = (id(trainer.model), trainer.state.step)
        if self._frame is None or self._made_for != now or taker in self._taken:
            model = cast("TabularGenerativeModel[Any, Any]", trainer.model)
            self._frame = model.generate(GenerationParams(num_samples=self.num_rows, seed=self.seed))
            self._made_for = now
            self._taken = set()
        self._taken.add(taker)
        return self._frame


class TableComparisonValidationPlan(ValidationPlan):
    """Compares rows that the model generates with real rows, as many of each, by artifacts of artifact-core.

    Without a model, two tables are compared with ``inputs``::

        plan = TableComparisonValidationPlan(real, ComparisonArtifacts(plots="all"))
        artifacts = execute_plan(plan, plan.inputs(synthetic), Path("plots"))

    Args:
        real: the rows to compare with.
        artifacts: what to compute; a subclass of artifact-experiment's ``TableComparisonPlan`` names artifacts too.
        split: which part of the data the rows are.
        name: names the plan.
        max_rows: how many of the rows to compare, at most: a sample, the same each time.
        seed: chooses the rows and seeds generation and what is random in an artifact.
        period: how often, in epochs or steps; as the routine if None.
        known: more rows of the table, whose labels are no surprise in synthetic rows; ``real`` is part of them.
        generation: shared with other plans, so that the model generates once for all of them.

    Raises:
        UsageError: there is no artifact of a name, a hyperparameter is wrong, a column is not there or cannot be
            compared as told, no artifact is named, or no row has a value to compare.
    """

    def __init__(
        self,
        real: Table,
        artifacts: ComparisonArtifacts | type[TableComparisonPlan] | None = None,
        *,
        split: DataSplit = DataSplit.TRAIN,
        name: str = "table_comparison",
        max_rows: int = 10_000,
        seed: int = 0,
        period: int | str | Period | None = None,
        known: Table | None = None,
        generation: Generation | None = None,
    ) -> None:
        from artifact_torch_table_comparison import catalogue
        from artifact_torch_table_comparison.computation import specification_of

        chosen = chosen_artifacts(artifacts)
        catalogue.load_installed_artifacts()
        sample = sampled(real, max_rows, seed)
        self.comparison = Comparison(
            sample.frame, sample.schema, columns=chosen.columns, known=None if known is None else known.frame
        )
        if self.comparison.real.columns.empty:
            raise DataError(
                f"None of the {len(sample):,} rows to compare with has a number, and they have no other columns: "
                "give more rows that have values"
            )
        named = [each for kind in ArtifactKind for each in catalogue.expanded(kind, chosen.names(kind))]
        specification = specification_of(
            list(self.comparison.real.columns), self.comparison.continuous, self.comparison.labels
        )
        built = catalogue.built_artifacts(named, specification, chosen.hyperparameters)
        self._parameters = {
            "continuous": self.comparison.continuous,
            "labels": self.comparison.labels,
            "hyperparameters": _as_json(chosen.hyperparameters),
            "modules": catalogue.modules_of(built.values()),
            "seed": seed,
            "tsne_rows": chosen.tsne_rows,
            "dpi": chosen.dpi,
        }
        self._num_rows = len(sample)
        self._generation = generation or Generation(len(sample), seed)
        super().__init__(name, split, named, period=period, dpi=chosen.dpi, rows=len(sample), seed=seed)

    def recipe(self) -> Recipe:
        from artifact_torch_table_comparison.computation import shares_frame

        return Recipe(
            "artifact_torch_table_comparison.computation:TableComputation",
            self._parameters,
            {"real": self.comparison.real, "shares": shares_frame(self.comparison.shares)},
        )

    def gather(self, trainer: Trainer) -> Mapping[str, Data]:
        return self.inputs(self._generation.rows(trainer, f"{self.split}/{self.name}").head(self._num_rows))

    def inputs(self, synthetic: pd.DataFrame) -> dict[str, Data]:
        """What the artifacts are computed of, of rows that some model generated."""
        from artifact_torch_table_comparison.computation import shares_frame

        return {
            "synthetic": self.comparison.comparable(synthetic),
            "shares": shares_frame(self.comparison.missing_shares(synthetic)),
        }


def chosen_artifacts(artifacts: ComparisonArtifacts | type[TableComparisonPlan] | None) -> ComparisonArtifacts:
    """What to compute, however it was given; the default artifacts if it was not.

    Raises:
        ConfigError: it is something else.
    """
    if artifacts is None:
        return ComparisonArtifacts()
    if isinstance(artifacts, ComparisonArtifacts):
        return artifacts
    from artifact_torch_table_comparison.experiment_plan import artifacts_of_plan

    return artifacts_of_plan(artifacts)


def sampled(table: Table, max_rows: int, seed: int) -> Table:
    """At most so many rows of a table, in their order."""
    if len(table) <= max_rows:
        return table
    rows = np.random.default_rng(seed).choice(len(table), size=max_rows, replace=False)
    return table.take(np.sort(rows))


def _as_json(hyperparameters: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Hyperparameters with the names of enumerations' members in place of the members."""
    return {
        artifact: {name: _plain(value) for name, value in given.items()} for artifact, given in hyperparameters.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in cast("list[Any]", value)]
    return value
