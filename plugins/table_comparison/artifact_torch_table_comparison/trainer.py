"""The trainer of models that generate tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from typing_extensions import TypeVar, Unpack

from artifact_torch import (
    InMemoryDataLoader,
    ModelInput,
    ModelOutput,
    Period,
    Trainer,
    TrainerOptions,
    TrainingSettings,
)
from artifact_torch_table_comparison.artifacts import ComparisonArtifacts
from artifact_torch_table_comparison.model import TabularGenerativeModel
from artifact_torch_table_comparison.schema import Table
from artifact_torch_table_comparison.validation import TableComparisonValidationRoutine

if TYPE_CHECKING:
    from artifact_experiment.table_comparison import TableComparisonPlan

__all__ = ["TableComparisonTrainer", "settings_for"]

InputT = TypeVar("InputT", bound=ModelInput, default=Any)
OutputT = TypeVar("OutputT", bound=ModelOutput, default=Any)


class TableComparisonTrainer(Trainer[InputT, OutputT]):
    """Trains a ``TabularGenerativeModel`` on a table and compares what it generates with the table.

    ::

        table = read_csv(Path("table.csv"))
        model = TableVAE.from_table(table)
        TableComparisonTrainer(model, table).train()
        synthetic = model.generate(GenerationParams(num_samples=1000))

    Args:
        model: what to train, built from ``train``.
        train: the rows to learn.
        held_out: rows to validate on, which the model does not see.
        settings: epochs, batch size, learning rate and their schedule; by default ``settings_for(len(train))``.
        artifacts: what to compute when comparing; a subclass of artifact-experiment's ``TableComparisonPlan`` names
            artifacts too.
        validation_period: compare every so many epochs, or every ``"200 steps"``; by default three times over the
            training.
        max_rows: how many rows of each table to compare, at most.
        validation_mode: where artifacts are computed: ``"background"``, ``"inline"`` or ``"auto"``, see
            ``ValidationRoutine``.
        validation_workers: how many processes compute artifacts in the background.
        artifact_seconds: how long one artifact may take in the background.
        seed: fixes training, validation and the order of the rows.
        options: callbacks, stoppers, run and whatever else every ``Trainer`` takes.
    """

    def __init__(
        self,
        model: TabularGenerativeModel[InputT, OutputT],
        train: Table,
        held_out: Table | None = None,
        *,
        settings: TrainingSettings | None = None,
        artifacts: ComparisonArtifacts | type[TableComparisonPlan] | None = None,
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
            validation=TableComparisonValidationRoutine(
                train,
                held_out,
                artifacts=artifacts,
                max_rows=max_rows,
                seed=seed,
                period=validation_period or -(-settings.epochs // 3),
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

    Measured with ``vae`` on tables of 275 to 28,439 rows. A small table is not trained for longer: beyond some thirty
    epochs the cost of rows that were held out rises, and generated rows begin to repeat the training rows.
    """
    if num_rows >= 10_000:
        return TrainingSettings(epochs=16, batch_size=512, learning_rate=1.5e-2)
    if num_rows >= 2_000:
        return TrainingSettings(epochs=20, batch_size=256, learning_rate=1e-2)
    return TrainingSettings(epochs=30, batch_size=min(64, max(16, num_rows // 8)), learning_rate=8e-3)


def _loader(
    model: TabularGenerativeModel[InputT, OutputT], table: Table, batch_size: int, seed: int, *, shuffle: bool
) -> InMemoryDataLoader[InputT]:
    tensors = cast("InputT", model.encode(table.frame))
    return InMemoryDataLoader(tensors, batch_size=batch_size, shuffle=shuffle, seed=seed)
