"""The base class of models that give the probability of one of two classes."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Generic, NotRequired, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from artifact_torch_table_comparison import TableSchema
from torch import Tensor
from torch.nn import functional
from typing_extensions import TypeVar

from artifact_torch import Model, ModelInput, ModelOutput, UsageError
from artifact_torch_binary_classification.labels import Classes, LabelledTable

__all__ = ["BinaryClassifier", "ClassifierInput", "ClassifierOutput"]


class ClassifierInput(ModelInput):
    """A batch of rows: what ``encode`` gives, and in training ``targets``.

    ``targets`` is float32, 1 for the positive class and 0 for the negative, shape ``(batch,)``.
    """

    targets: NotRequired[Tensor]


class ClassifierOutput(ModelOutput):
    """What a classifier gives beside ``loss``: ``logits``, the log-odds of the positive class, shape ``(batch,)``."""

    logits: Tensor


InputT = TypeVar("InputT", bound=ClassifierInput, default=Any)


class BinaryClassifier(Model[InputT, ClassifierOutput], Generic[InputT]):
    """A model that gives the probability of the positive class, with its own data pipeline.

    The table it is built from fixes the pipeline (means, codes); after that, ``encode`` turns frames into tensors,
    training sees batches of those tensors with the targets, and ``predict`` turns a frame into probabilities. A
    subclass writes ``from_table``, ``schema``, ``encode`` and ``logits``.

    Args:
        classes: the two classes.
        positive_weight: how many times an error on a row of the positive class counts in the loss. With a weight
            other than 1, probabilities are shifted: compare them with a threshold, and do not read them as frequencies.

    Raises:
        UsageError: ``positive_weight`` is not a finite positive number.
    """

    def __init__(self, classes: Classes, *, positive_weight: float = 1.0) -> None:
        super().__init__()
        if not 0 < positive_weight < float("inf"):
            raise UsageError(f"positive_weight is {positive_weight}, and must be a finite number above 0.")
        self.classes = classes
        self.positive_weight = positive_weight

    @classmethod
    @abstractmethod
    def from_table(cls, table: LabelledTable) -> Self:
        """Build an untrained model for a table, fixing its data pipeline on it.

        A subclass adds keyword parameters with types and defaults; they are what a user may set in the ``[model]``
        section of a configuration.
        """

    @classmethod
    def configurable(cls) -> Callable[..., Self]:
        """``from_table`` without its table."""
        return functools.partial(cls.from_table, cast("LabelledTable", None))

    @property
    @abstractmethod
    def schema(self) -> TableSchema:
        """The columns that the model was built for, without the label."""

    @abstractmethod
    def encode(self, frame: pd.DataFrame) -> dict[str, Tensor]:
        """Turn rows into the entries of the model's input, each with rows as its first dimension, on the CPU.

        Values not seen when the model was built are mapped to known ones.
        """

    @abstractmethod
    def logits(self, batch: InputT) -> Tensor:
        """The log-odds of the positive class, shape ``(batch,)``; ``targets`` are not looked at."""

    def forward(self, batch: InputT) -> ClassifierOutput:
        """Logits and their loss: the binary cross entropy in nats a row, 0 if the batch has no targets."""
        logits = self.logits(batch).float()
        targets = batch.get("targets")
        if targets is None:
            return {"loss": logits.new_zeros(()), "logits": logits}
        weight = logits.new_tensor(self.positive_weight)
        loss = functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight)
        return {"loss": loss, "logits": logits}

    def predict(self, frame: pd.DataFrame, *, batch_size: int = 4096) -> npt.NDArray[np.float64]:
        """The probability of the positive class of each row, shape ``(rows,)``.

        It is computed without dropout and gradients, and the global random state is neither read nor changed.
        """
        return self.probabilities(self.encode(frame), batch_size=batch_size)

    def probabilities(self, encoded: Mapping[str, Tensor], *, batch_size: int = 4096) -> npt.NDArray[np.float64]:
        """The same, of what ``encode`` gave."""
        num_rows = len(next(iter(encoded.values())))
        device = next(self.parameters()).device
        was_training = self.training
        self.eval()
        try:
            with torch.no_grad():
                logits = [
                    self.logits(
                        cast(
                            "InputT",
                            {key: each[start : start + batch_size].to(device) for key, each in encoded.items()},
                        )
                    )
                    for start in range(0, num_rows, batch_size)
                ]
        finally:
            self.train(was_training)
        if not logits:
            return np.empty(0)
        # In double precision: in single, all logits above 17 would be the probability 1.
        return torch.cat(logits).cpu().double().sigmoid().numpy()
