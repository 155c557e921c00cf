"""The base class of models that learn a table and generate new rows of it."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Generic, Self, cast

import pandas as pd
from torch import Tensor
from typing_extensions import TypeVar

from artifact_torch import GenerationParams, GenerativeModel, ModelInput, ModelOutput
from artifact_torch_table_comparison.schema import Table, TableSchema

InputT = TypeVar("InputT", bound=ModelInput, default=Any)
OutputT = TypeVar("OutputT", bound=ModelOutput, default=Any)


class TabularGenerativeModel(GenerativeModel[InputT, OutputT, pd.DataFrame], Generic[InputT, OutputT]):
    """A generative model of tables, with its own data pipeline.

    The table it is built from fixes the pipeline (bins, categories, ranges); after that, ``encode`` turns frames into
    tensors, training sees batches of those tensors, and ``generate`` turns samples back into a frame with the columns,
    order and types of the original.
    """

    @classmethod
    @abstractmethod
    def from_table(cls, table: Table) -> Self:
        """Build an untrained model for a table, fixing its data pipeline on it.

        A subclass adds keyword parameters with types and defaults; they are what a user may set in the ``[model]``
        section of a configuration.
        """

    @classmethod
    def configurable(cls) -> Callable[..., Self]:
        """``from_table`` without its table."""
        return functools.partial(cls.from_table, cast("Table", None))

    @property
    @abstractmethod
    def schema(self) -> TableSchema:
        """The columns that the model was built for."""

    @abstractmethod
    def encode(self, frame: pd.DataFrame) -> dict[str, Tensor]:
        """Turn rows into the entries of the model's input, each with rows as its first dimension, on the CPU.

        Values not seen when the model was built are mapped to the nearest known ones.
        """

    @abstractmethod
    def generate(self, params: GenerationParams) -> pd.DataFrame:
        """Produce ``params.num_samples`` synthetic rows with the columns, order and types of the schema."""
