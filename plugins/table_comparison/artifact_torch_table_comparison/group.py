"""The artifact group of tables: from a CSV file to a trained model, synthetic rows and how good they are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import torch
from pydantic import BeforeValidator, Field

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
    ValidationOptions,
    execute_plan,
)
from artifact_torch_table_comparison.artifacts import ComparisonArtifacts
from artifact_torch_table_comparison.model import TabularGenerativeModel
from artifact_torch_table_comparison.plan import TableComparisonValidationPlan, sampled
from artifact_torch_table_comparison.reading import read_csv, read_csv_like
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


class TableValidation(ComparisonArtifacts, ValidationOptions):
    """The section ``[validation]``; its period is such that validation is due three times over the training."""


def _listed(given: object) -> object:
    return [given] if isinstance(given, str) else given


class TableFiles(Options):
    """The files that are compared without a model.

    Attributes:
        real: the CSV file of real rows.
        synthetic: the CSV file of synthetic rows, with the same columns.
        drop: columns to leave out.
        renumber: columns that identify rows, which both files have and which are not compared.
    """

    real: OptionPath
    synthetic: OptionPath
    drop: Annotated[list[str], BeforeValidator(_listed)] = []
    renumber: Annotated[list[str], BeforeValidator(_listed)] = []


class TableComparison(ArtifactGroup[TableData, TableValidation]):
    """Tables: learn one, generate rows like it, compare the two."""

    data_options = TableData
    validation_options = TableValidation
    model_class = TabularGenerativeModel
    default_model = "vae"
    sample_suffix = ".csv"
    file_options = TableFiles

    def load(self) -> Sequence[str]:
        table = read_csv(self.data.file, drop=self.data.drop, renumber=self.data.renumber)
        order = np.random.default_rng(self.seed).permutation(len(table))
        # Rounded first: 10 * (1 - 0.8) is a little less than 2.
        held_out = min(int(round(len(table) * (1 - self.data.train_share), 6)), len(table) - 1)
        self._train = table.take(np.sort(order[held_out:]))
        self._held_out: Table | None = table.take(np.sort(order[:held_out])) if held_out else None
        if not self.validation.is_empty:  # whatever is wrong with the artifacts is refused here
            TableComparisonValidationPlan(self._train, self.validation, max_rows=self.validation.max_rows)
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
            validation_mode=self.validation.mode,
            validation_workers=self.validation.workers,
            artifact_seconds=self.validation.artifact_seconds,
            seed=parts.seed,
            **parts.trainer_options,
        )

    def conclude(self, trainer: Trainer, num_samples: int | None) -> Conclusion:
        model = cast("TabularGenerativeModel", trainer.model)
        real, schema = self._train.frame, self._train.schema
        synthetic = model.generate(GenerationParams(num_samples=num_samples or len(real), seed=self.seed))
        path = trainer.run.path / "synthetic.csv"
        schema.write_csv(synthetic, path)
        trainer.track_file("synthetic", path)
        scores = self.validation.model_copy(update={"scores": ComparisonArtifacts().scores}).only_scores()
        plan = TableComparisonValidationPlan(self._train, scores, max_rows=len(self._train), seed=self.seed)
        found = execute_plan(plan, plan.inputs(synthetic), trainer.run.path)
        meaning = f"{len(synthetic):,} synthetic rows against the {len(real):,} learnt ones; 0 is best"
        return Conclusion(found.scores, meaning, path)

    @classmethod
    def generate(cls, model: Model, params: GenerationParams, path: Path) -> None:
        tabular = cast("TabularGenerativeModel", model)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{path} cannot be written ({error.strerror}): choose a place you can write to") from error
        with torch.no_grad():
            tabular.schema.write_csv(tabular.generate(params), path)

    @classmethod
    def judge_files(cls, files: TableFiles, validation: TableValidation, *, seed: int, folder: Path) -> Conclusion:
        """Compare two files; of each, at most ``max_rows`` rows are taken."""
        real = read_csv(files.real, drop=files.drop, renumber=files.renumber)
        frame = read_csv_like(files.synthetic, real.schema, files.real, drop=files.drop)
        synthetic = sampled(Table(frame, real.schema), validation.max_rows, seed)
        plan = TableComparisonValidationPlan(real, validation, max_rows=validation.max_rows, seed=seed)
        found = execute_plan(plan, plan.inputs(synthetic.frame), folder)
        scores = {**found.scores}
        for name, collection in found.score_collections.items():
            scores |= {f"{name}/{item}": score for item, score in collection.items()}
        plots = {name: plot.path for name, plot in found.plots.items()}
        for name, pictures in found.plot_collections.items():
            plots |= {f"{name}/{item}": plot.path for item, plot in pictures.items()}
        meaning = f"{len(synthetic):,} synthetic rows against {plan.rows:,} real ones; 0 is best"
        return Conclusion(scores, meaning, None, plots)
