"""The trainer of classifiers."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from typing_extensions import TypeVar, Unpack

from artifact_torch import InMemoryDataLoader, Period, Trainer, TrainerOptions, TrainingSettings
from artifact_torch_binary_classification.artifacts import ClassificationArtifacts
from artifact_torch_binary_classification.labels import LabelledTable
from artifact_torch_binary_classification.model import BinaryClassifier, ClassifierInput, ClassifierOutput
from artifact_torch_binary_classification.validation import BinaryClassificationValidationRoutine

__all__ = ["BinaryClassificationTrainer", "settings_for"]

InputT = TypeVar("InputT", bound=ClassifierInput, default=Any)


class BinaryClassificationTrainer(Trainer[InputT, ClassifierOutput]):
    """Trains a ``BinaryClassifier`` on a table and judges what it predicts.

    ::

        table = labelled_table(read_csv(Path("patients.csv")), "diagnosis", positive="malignant")
        train, held_out = table.split(0.8, seed=0)
        model = TabularClassifier.from_table(train)
        BinaryClassificationTrainer(model, train, held_out).train()
        probabilities = model.predict(held_out.features.frame)

    Args:
        model: what to train, built from ``train``.
        train: the rows to learn.
        held_out: rows to validate on, which the model does not see.
        settings: epochs, batch size, learning rate and their schedule; by default ``settings_for(len(train))``.
        artifacts: what to compute of the predictions.
        validation_period: judge every so many epochs, or every ``"200 steps"``; by default five times over the
            training.
        max_rows: how many rows of each split to judge, at most.
        validation_mode: where artifacts are computed: ``"background"``, ``"inline"`` or ``"auto"``, see
            ``ValidationRoutine``.
        validation_workers: how many processes compute artifacts in the background.
        artifact_seconds: how long one artifact may take in the background.
        seed: fixes training, validation and the order of the rows.
        options: callbacks, stoppers, run and whatever else every ``Trainer`` takes.
    """

    def __init__(
        self,
        model: BinaryClassifier[InputT],
        train: LabelledTable,
        held_out: LabelledTable | None = None,
        *,
        settings: TrainingSettings | None = None,
        artifacts: ClassificationArtifacts | None = None,
        validation_period: int | str | Period | None = None,
        max_rows: int = 10_000,
        validation_mode: Literal["auto", "background", "inline"] = "auto",
        validation_workers: int = 1,
        artifact_seconds: float = 600.0,
        seed: int = 0,
        **options: Unpack[TrainerOptions],
    ) -> None:
        settings = settings or settings_for(len(train))
        train_loader = _loader(model, train, settings.batch_size, seed, shuffle=True)
        val_loader = None if held_out is None else _loader(model, held_out, settings.batch_size, seed, shuffle=False)
        super().__init__(
            model,
            train_loader,
            optimizer=settings.optimizer_of(model),
            validation=BinaryClassificationValidationRoutine(
                train,
                held_out,
                artifacts=artifacts,
                max_rows=max_rows,
                seed=seed,
                period=validation_period or -(-settings.epochs // 5),
                val_loader=val_loader,
                mode=validation_mode,
                workers=validation_workers,
                artifact_seconds=artifact_seconds,
            ),
            seed=seed,
            **settings.arguments,
            **options,
        )


def settings_for(num_rows: int) -> TrainingSettings:
    """Settings that suit a table of so many rows.

    Measured with ``mlp_classifier`` on breast cancer (455 rows) and on the sex of desert animals (4,000 and 26,000
    rows). Decay of weights matters where rows are few: with a hundredth of it, a tenth of the probabilities on breast
    cancer are exactly 0 or 1, and held-out rows cost a half more.
    """
    if num_rows >= 10_000:
        return _settings(epochs=16, batch_size=512, learning_rate=5e-3, weight_decay=0.1)
    if num_rows >= 2_000:
        return _settings(epochs=16, batch_size=128, learning_rate=2e-3, weight_decay=0.1)
    return _settings(epochs=30, batch_size=min(32, max(8, num_rows // 8)), learning_rate=1e-3, weight_decay=1.0)


def _settings(*, epochs: int, batch_size: int, learning_rate: float, weight_decay: float) -> TrainingSettings:
    return TrainingSettings(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        optimizer="adamw",
        weight_decay=weight_decay,
    )


def _loader(
    model: BinaryClassifier[InputT], table: LabelledTable, batch_size: int, seed: int, *, shuffle: bool
) -> InMemoryDataLoader[InputT]:
    tensors = model.encode(table.features.frame)
    tensors["targets"] = torch.from_numpy(table.is_positive).float()
    return InMemoryDataLoader(cast("InputT", tensors), batch_size=batch_size, shuffle=shuffle, seed=seed)
