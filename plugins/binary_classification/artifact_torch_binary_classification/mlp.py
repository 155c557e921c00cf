"""A classifier of tables: a network of a few layers over standardised numbers and embedded labels."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, Self

import numpy.typing as npt
import pandas as pd
import torch
from artifact_torch_table_comparison import TableSchema
from torch import Tensor, nn

from artifact_torch import UsageError
from artifact_torch_binary_classification.encoding import FeatureEncoder
from artifact_torch_binary_classification.labels import Classes, LabelledTable
from artifact_torch_binary_classification.model import BinaryClassifier, ClassifierInput

__all__ = ["TabularClassifier", "TabularInput"]


class TabularInput(ClassifierInput):
    """A batch of rows.

    ``numbers`` is float32, shape ``(batch, numbers)``: numbers, standardised, and indicators of missing ones.
    ``codes`` is int64, shape ``(batch, columns of labels)``.
    """

    numbers: Tensor
    codes: Tensor


class TabularClassifier(BinaryClassifier[TabularInput]):
    """A multilayer perceptron over a table of numbers, dates, labels and truth values, any of which may be missing.

    Numbers and dates are standardised, and an indicator says where they are missing; each label, and missing as one
    more, has an embedding that is learnt.
    """

    def __init__(
        self,
        feature_encoder: FeatureEncoder,
        classes: Classes,
        *,
        hidden_size: int,
        layers: int,
        dropout: float,
        embedding_size: int,
        positive_weight: float,
    ) -> None:
        super().__init__(classes, positive_weight=positive_weight)
        for name, size in (("hidden_size", hidden_size), ("layers", layers), ("embedding_size", embedding_size)):
            if size < 1:
                raise UsageError(f"{name} is {size}, and must be at least 1.")
        if not 0 <= dropout < 1:
            raise UsageError(f"dropout is {dropout}, and must be at least 0 and less than 1.")
        self.feature_encoder = feature_encoder
        self.hidden_size = hidden_size
        self.layers = layers
        self.dropout = dropout
        self.embedding_size = embedding_size
        self.embeddings = nn.ModuleList(
            _embedding(size, min(embedding_size, (size + 1) // 2)) for size in feature_encoder.sizes
        )
        width = feature_encoder.width + sum(min(embedding_size, (size + 1) // 2) for size in feature_encoder.sizes)
        modules: list[nn.Module] = []
        for _ in range(layers):
            modules += [nn.Linear(width, hidden_size), nn.ReLU(), nn.Dropout(dropout)]
            width = hidden_size
        self.network = nn.Sequential(*modules, nn.Linear(width, 1))

    @classmethod
    def from_table(
        cls,
        table: LabelledTable,
        *,
        hidden_size: int = 128,
        layers: int = 2,
        dropout: float = 0.1,
        embedding_size: int = 16,
        positive_weight: float | Literal["balanced"] = 1.0,
    ) -> Self:
        """Build an untrained model for a table.

        Args:
            table: the training data; it fixes means, deviations and codes.
            hidden_size: units of each hidden layer.
            layers: hidden layers.
            dropout: share of the units that are left out at random in training.
            embedding_size: dimensions of the embedding of a label, at most; a column of few labels has fewer.
            positive_weight: how many times an error on a row of the positive class counts; ``"balanced"`` is as often
                as gives both classes the same weight.

        Raises:
            UsageError: a parameter is out of range.
        """
        if positive_weight == "balanced":
            num_positive = int(table.is_positive.sum())
            positive_weight = (len(table) - num_positive) / max(num_positive, 1)
        return cls(
            FeatureEncoder.fit(table.features),
            table.classes,
            hidden_size=hidden_size,
            layers=layers,
            dropout=dropout,
            embedding_size=embedding_size,
            positive_weight=positive_weight,
        )

    def config(self) -> dict[str, Any]:
        return {
            "feature_encoder": self.feature_encoder.to_json(),
            "classes": dataclasses.asdict(self.classes),
            "hidden_size": self.hidden_size,
            "layers": self.layers,
            "dropout": self.dropout,
            "embedding_size": self.embedding_size,
            "positive_weight": self.positive_weight,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        parameters = dict(config)
        feature_encoder = FeatureEncoder.from_json(parameters.pop("feature_encoder"))
        return cls(feature_encoder, Classes(**parameters.pop("classes")), **parameters)

    @property
    def schema(self) -> TableSchema:
        return self.feature_encoder.schema

    def encode(self, frame: pd.DataFrame) -> dict[str, Tensor]:
        """The entries ``numbers`` and ``codes`` of the input, on the CPU.

        A number far outside of what was seen is cut off, and a label that was not seen has the code of rare ones.
        """
        numbers, codes = self.feature_encoder.encode(frame)
        return {"numbers": _tensor(numbers), "codes": _tensor(codes)}

    def logits(self, batch: TabularInput) -> Tensor:
        embedded = [embedding(batch["codes"][:, index]) for index, embedding in enumerate(self.embeddings)]
        return self.network(torch.cat([batch["numbers"], *embedded], dim=1)).squeeze(1)


def _tensor(array: npt.NDArray[Any]) -> Tensor:
    # The strides of an array without columns, if there are no labels or no numbers, are not those of such a tensor.
    tensor = torch.from_numpy(array)
    return tensor if array.size else torch.empty_like(tensor, memory_format=torch.contiguous_format)


def _embedding(size: int, dimensions: int) -> nn.Embedding:
    embedding = nn.Embedding(size, dimensions)
    with torch.no_grad():
        embedding.weight[0] = 0  # rare labels, and if the training rows have none, what no gradient ever reaches
    return embedding
