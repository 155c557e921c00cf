"""The artifact group of tables: from a CSV file to a trained model, synthetic rows and how good they are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from pydantic import Field

from artifact_torch import (
    ArtifactGroup,
    Conclusion,
    DataError,
    GenerationParams,
    Model,
    OptionPath,
    Options,
    Trainer,
    TrainerParts,
    TrainingSettings,
)
from artifact_torch_table_comparison.artifacts import ComparisonArtifacts
from artifact_torch_table_comparison.comparison import missing_share_differences
from artifact_torch_table_comparison.model import TabularGenerativeModel
from artifact_torch_table_comparison.reading import read_csv
from artifact_torch_table_comparison.schema import Table
from artifact_torch_table_comparison.trainer import TableComparisonTrainer, settings_for

__all__ = ["TableComparison"]


class TableData(Options):
    """The section ``[data]``.

    Attributes:
        file: the CSV file.
        drop: columns to leave out.
        renumber: columns that are numbered anew in synthetic tables.
        train_share: share of the rows to learn; the others are held out for validation.
    """

    file: OptionPath
    drop: list[str] = []
    renumber: list[str] = []
    train_share: float = Field(default=0.8, gt=0, le=1)


class TableValidation(ComparisonArtifacts):
    """The section ``[validation]``: the artifacts to compute, and

    Attributes:
        period: compare every so many epochs; three times over the training if left out.
        max_rows: how many rows of each table to compare, at most.
    """

    period: int | None = Field(default=None, ge=1)
    max_rows: int = Field(default=10_000, ge=2)


class TableComparison(ArtifactGroup[TableData, TableValidation]):
    """Tables: learn one, generate rows like it, compare the two."""

    data_options = TableData
    validation_options = TableValidation
    model_class = TabularGenerativeModel
    default_model = "vae"
    sample_suffix = ".csv"

    def load(self) -> Sequence[str]:
        from artifact_torch_table_comparison.plan import ChosenTypes

        table = read_csv(self.data.file, drop=self.data.drop, renumber=self.data.renumber)
        order = np.random.default_rng(self.seed).permutation(len(table))
        # Rounded first: 10 * (1 - 0.8) is a little less than 2.
        held_out = min(int(round(len(table) * (1 - self.data.train_share), 6)), len(table) - 1)
        self._train = table.take(np.sort(order[held_out:]))
        self._held_out: Table | None = table.take(np.sort(order[:held_out])) if held_out else None
        ChosenTypes.of(self.validation)  # a name that artifact-core does not have is refused here
        return table.warnings

    def default_settings(self) -> TrainingSettings:
        return settings_for(len(self._train))

    def model_factory(self, model_class: type[Model]) -> Callable[..., Model]:
        return functools.partial(cast("type[TabularGenerativeModel]", model_class).from_table, self._train)

    def build_trainer(self, model: Model, parts: TrainerParts) -> Trainer:
        return TableComparisonTrainer(
            cast("TabularGenerativeModel", model),
            self._train,
            self._held_out,
            settings=parts.settings,
            artifacts=self.validation,
            validation_period=self.validation.period,
            max_rows=self.validation.max_rows,
            seed=parts.seed,
            **parts.trainer_options,
        )

    def conclude(self, trainer: Trainer, num_samples: int | None) -> Conclusion:
        from artifact_torch_table_comparison.plan import compare, comparison_plan

        model = cast("TabularGenerativeModel", trainer.model)
        real, schema = self._train.frame, self._train.schema
        synthetic = model.generate(GenerationParams(num_samples=num_samples or len(real), seed=self.seed))
        path = trainer.run.path / "synthetic.csv"
        schema.write_csv(synthetic, path)
        trainer.track_file("synthetic", path)
        plan = comparison_plan(ComparisonArtifacts(score_collections=[], plots=[]), real, schema)
        compare(plan, real, synthetic, schema)
        missing = max(missing_share_differences(real, synthetic).values())
        scores = {**plan.scores, "MAX_MISSING_SHARE_DIFFERENCE": missing}
        meaning = f"{len(synthetic):,} synthetic rows against the {len(real):,} learnt ones; 0 is best"
        return Conclusion(scores, meaning, path)

    @classmethod
    def generate(cls, model: Model, params: GenerationParams, path: Path) -> None:
        tabular = cast("TabularGenerativeModel", model)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{path} cannot be written ({error.strerror}): choose a place you can write to") from error
        with torch.no_grad():
            tabular.schema.write_csv(tabular.generate(params), path)
