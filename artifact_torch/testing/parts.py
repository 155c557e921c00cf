"""A linear regression, its data, and an object that writes down which hooks were called."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from artifact_torch.core.in_memory import InMemoryDataLoader
from artifact_torch.core.model import Model, ModelInput, ModelOutput
from artifact_torch.plugin.markers import hookimpl
from artifact_torch.plugin.specs import SPECIFICATIONS


class TinyInput(ModelInput):
    """``features`` of shape ``(batch, 3)``, ``target`` of shape ``(batch, 1)``."""

    features: Tensor
    target: Tensor


class TinyOutput(ModelOutput):
    """``prediction`` of shape ``(batch, 1)``; the loss is the mean squared error."""

    prediction: Tensor


class TinyModel(Model[TinyInput, TinyOutput]):
    """A linear regression with dropout, so that training draws random numbers.

    Args:
        dropout: probability of dropping a feature.
    """

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = dropout
        self.layers = nn.Sequential(nn.Dropout(dropout), nn.Linear(3, 1))
        with torch.no_grad():  # the same start whatever the global random state
            for parameter in self.layers.parameters():
                parameter.zero_()

    def config(self) -> dict[str, Any]:
        return {"dropout": self.dropout}

    def forward(self, batch: TinyInput) -> TinyOutput:
        prediction = self.layers(batch["features"])
        return {"prediction": prediction, "loss": nn.functional.mse_loss(prediction, batch["target"])}


def tiny_loader(
    num_samples: int = 64, *, batch_size: int = 16, shuffle: bool = True, seed: int = 0
) -> InMemoryDataLoader[TinyInput]:
    """Batches of samples whose target is the sum of the three features; the same for the same seed."""
    features = torch.randn(num_samples, 3, generator=torch.Generator().manual_seed(seed))
    tensors: TinyInput = {"features": features, "target": features.sum(dim=1, keepdim=True)}
    return InMemoryDataLoader(tensors, batch_size=batch_size, shuffle=shuffle, seed=seed)


class HookRecorder:
    """A plugin that implements every hook and answers none: what was called, with what.

    Attributes:
        calls: ``(hook, arguments)`` in the order of the calls.
    """

    calls: list[tuple[str, Mapping[str, Any]]]

    def __init__(self) -> None:
        self.calls = []

    @property
    def names(self) -> list[str]:
        """The hooks that were called, in order."""
        return [name for name, _ in self.calls]


def _recording(hook: str, specification: Callable[..., Any]) -> Callable[..., None]:
    names = [name for name in inspect.signature(specification).parameters if name != "self"]

    @functools.wraps(specification)  # pluggy passes the arguments that the wrapped function names
    def record(self: HookRecorder, *arguments: Any) -> None:
        self.calls.append((hook, dict(zip(names, arguments, strict=True))))

    marked: Callable[..., None] = hookimpl(record)
    return marked


for _specification in SPECIFICATIONS:
    for _hook, _function in vars(_specification).items():
        if not _hook.startswith("_"):
            setattr(HookRecorder, _hook, _recording(_hook, _function))
