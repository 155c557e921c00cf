"""The artifact group of classifications: from a CSV file to a trained classifier, its predictions and their worth."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from artifact_torch_table_comparison import read_csv
from pydantic import Field

from artifact_torch import (
    ArtifactGroup,
    Artifacts,
    Conclusion,
    DataError,
    GenerationParams,
    Model,
    OptionPath,
    Options,
    Trainer,
    TrainerParts,
    TrainingSettings,
    UsageError,
    ValidationOptions,
    execute_plan,
)
from artifact_torch_binary_classification.artifacts import ClassificationArtifacts, choose
from artifact_torch_binary_classification.labels import ClassName, LabelledTable, labelled_table
from artifact_torch_binary_classification.model import BinaryClassifier
from artifact_torch_binary_classification.plan import BinaryClassificationValidationPlan
from artifact_torch_binary_classification.predictions import read_predictions, write_predictions
from artifact_torch_binary_classification.trainer import BinaryClassificationTrainer, settings_for

__all__ = ["BinaryClassification"]

_CONCLUDING = ClassificationArtifacts(
    scores=["ACCURACY", "BALANCED_ACCURACY", "PRECISION", "RECALL", "F1", "MCC"],
    score_collections=["THRESHOLD_VARIATION_SCORES"],
    plots=[],
)
_AREAS = "THRESHOLD_VARIATION_SCORES"


class ClassificationData(Options):
    """The section ``[data]``.

    Attributes:
        file: the CSV file.
        label: the column that says which class a row is of.
        positive: the class whose probability is predicted; inferred of 0 and 1, false and true, no and yes.
        drop: columns to leave out.
        train_share: share of the rows of each class to learn; the others are held out for validation.
    """

    file: OptionPath
    label: str
    positive: ClassName | None = None
    drop: list[str] = []
    train_share: float = Field(default=0.8, gt=0, le=1)


class ClassificationValidation(ClassificationArtifacts, ValidationOptions):
    """The section ``[validation]``; its period is such that validation is due five times over the training."""


class PredictionFiles(Options):
    """The file of predictions that is judged without a model.

    Attributes:
        predictions: the CSV file.
        label: its column of true classes.
        probability: its column of probabilities of the positive class.
        positive: the positive class; inferred of 0 and 1, false and true, no and yes.
        threshold: the probability from which on a row is predicted to be positive; that of the validation if None.
    """

    predictions: OptionPath
    label: str
    probability: str
    positive: ClassName | None = None
    threshold: float | None = Field(default=None, ge=0, le=1)


class BinaryClassification(ArtifactGroup[ClassificationData, ClassificationValidation]):
    """Labels of two classes: learn to predict one, and judge the predictions."""

    data_options = ClassificationData
    validation_options = ClassificationValidation
    model_class = BinaryClassifier
    default_model = "mlp_classifier"
    sample_suffix = ""
    file_options = PredictionFiles

    def load(self) -> Sequence[str]:
        labelled = _read_labelled(self.data)
        self._train, self._held_out = labelled.split(self.data.train_share, self.seed)
        if not self.validation.is_empty:
            choose(self.validation, labelled.classes)  # whatever is wrong with the artifacts is refused here
        return labelled.warnings

    def default_settings(self) -> TrainingSettings:
        return settings_for(len(self._train))

    def model_factory(self, model_class: type[Model]) -> Callable[..., Model]:
        return functools.partial(cast("type[BinaryClassifier]", model_class).from_table, self._train)

    def build_trainer(self, model: Model, parts: TrainerParts) -> Trainer:
        return BinaryClassificationTrainer(
            cast("BinaryClassifier", model),
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
        """Judge the predictions of the held-out rows, of the learnt ones if none are, and write them to a file."""
        model = cast("BinaryClassifier", trainer.model)
        rows, what = (self._train, "learnt") if self._held_out is None else (self._held_out, "held-out")
        probabilities = model.predict(rows.features.frame)
        path = trainer.run.path / "predictions.csv"
        write_predictions(path, rows, probabilities, threshold=self.validation.threshold)
        trainer.track_file("predictions", path)
        artifacts = _CONCLUDING.model_copy(update={"threshold": self.validation.threshold})
        plan = BinaryClassificationValidationPlan(
            rows, artifacts, max_rows=self.validation.max_rows, seed=self.seed, name="conclusion"
        )
        found = execute_plan(plan, plan.inputs(probabilities), trainer.run.path)
        meaning = (
            f"{plan.rows:,} {what} rows, {rows.classes.positive!r} from a probability of {self.validation.threshold:g} "
            "on; 1 is best"
        )
        scores = {**found.score_collections.get(_AREAS, {}), **found.scores}
        return Conclusion(scores, meaning, files={"predictions": path})

    @classmethod
    def generate(cls, model: Model, params: GenerationParams, path: Path) -> None:
        raise UsageError(
            "The run has trained a classifier, which generates nothing: `artifact-torch predict RUN --data FILE.csv` "
            "writes what it predicts of a file's rows."
        )

    @classmethod
    def judge_files(
        cls, files: PredictionFiles, validation: ClassificationValidation, *, seed: int, folder: Path
    ) -> Conclusion:
        """Judge a file of predictions; at most ``max_rows`` of its rows are taken."""
        table, probabilities = read_predictions(
            files.predictions, label=files.label, probability=files.probability, positive=files.positive
        )
        if files.threshold is not None:
            validation = validation.model_copy(update={"threshold": files.threshold})
        plan = BinaryClassificationValidationPlan(table, validation, max_rows=validation.max_rows, seed=seed)
        found = execute_plan(plan, plan.inputs(probabilities), folder)
        meaning = (
            f"{plan.rows:,} rows, {table.classes.positive!r} from a probability of {validation.threshold:g} on; "
            "1 is best of most"
        )
        return Conclusion(_all_scores(found), meaning, None, _all_plots(found))


def _read_labelled(data: ClassificationData) -> LabelledTable:
    try:
        table = read_csv(data.file, drop=data.drop)
    except DataError as error:
        if data.label in data.drop:
            raise
        raise DataError(_told_otherwise(data, str(error))) from error
    return labelled_table(table, data.label, data.positive)


def _told_otherwise(data: ClassificationData, message: str) -> str:
    """What is wrong with a table, where reading says what matters to those who generate tables only."""
    try:
        read_csv(data.file, drop=data.drop, renumber=[data.label])
    except DataError:
        # Columns that number the rows are no use here, so there is nothing to number anew.
        return message.partition(" or number it anew with ")[0]
    return (
        f"{data.file}, column {data.label!r} is different in every row, and a label has two classes: name the column "
        "that says which class a row is of."
    )


def _all_scores(found: Artifacts) -> dict[str, float]:
    scores = dict(found.scores)
    for name, collection in found.score_collections.items():
        scores |= {f"{name}/{item}": score for item, score in collection.items()}
    return scores


def _all_plots(found: Artifacts) -> dict[str, Path]:
    plots = {name: plot.path for name, plot in found.plots.items()}
    for name, pictures in found.plot_collections.items():
        plots |= {f"{name}/{item}": plot.path for item, plot in pictures.items()}
    return plots
