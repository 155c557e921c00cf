"""Tiny trainings that write down where they stand after each epoch, and how two of them differ, bit by bit."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import struct
import sys
import tempfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from artifact_torch.core.callback import Callback, ScoreCallback
from artifact_torch.core.model import ModelInput, ModelOutput
from artifact_torch.core.random_state import capture_random_state, preserved_random_state, seed_everything
from artifact_torch.core.trainer import Trainer
from artifact_torch.core.validation import ValidationRoutine
from artifact_torch.testing.parts import TinyInput, TinyModel, TinyOutput, tiny_loader

__all__ = ["LOSSES", "Difference", "Snapshot", "TrialTrainer", "first_difference", "surroundings"]

_EPOCHS = 3

_LAST_CHECKPOINT = 2
"""The epoch after which the last checkpoint of a trial is written: training goes on after it."""

LOSSES = ("train/loss", "validation/tiny_error")
"""What a plugin must not change, of all that is recorded."""

_HOME = "ARTIFACT_TORCH_HOME"

logger = logging.getLogger("artifact_torch")


class Difference(NamedTuple):
    """Where two values differ.

    Attributes:
        where: the place, dotted; ``it`` if the values have no parts.
        one: what the first has there, in words.
        other: what the second has there.
    """

    where: str
    one: str
    other: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a training stands.

    Attributes:
        epoch: the epochs completed.
        losses: name -> number, of those in ``LOSSES`` that were recorded for the epoch.
        weights: the model's parameters and buffers, copied.
        surroundings: the random state, the modes of the model, grad mode and default dtype, in words.
    """

    epoch: int
    losses: Mapping[str, float]
    weights: Mapping[str, Tensor]
    surroundings: Mapping[str, str]

    @classmethod
    def of(cls, trainer: Trainer[Any, Any]) -> Snapshot:
        scores = trainer.metrics.of_epoch(trainer.state.epochs_completed)
        modes = {name or "the model": _mode(module.training) for name, module in trainer.model.named_modules()}
        random_state = trainer.random_state.state() or capture_random_state()
        return cls(
            trainer.state.epochs_completed,
            {name: scores[name] for name in LOSSES if name in scores},
            {name: tensor.detach().clone() for name, tensor in trainer.model.state_dict().items()},
            {
                **{f"the mode of {name}": mode for name, mode in modes.items()},
                "the default dtype": str(torch.get_default_dtype()),
                "the grad mode": "on" if torch.is_grad_enabled() else "off",
                **{f"the random state of {name}": _digest(random_state[name]) for name in ("python", "numpy", "torch")},
            },
        )

    def learnt(self, other: Snapshot) -> Mapping[str, Any]:
        """The losses and the weights, without losses that the other one does not have.

        When to validate is for plugins to say, and nothing that training depends on.
        """
        return {**{name: loss for name, loss in self.losses.items() if name in other.losses}, **self.weights}


class TrialTrainer(Trainer[TinyInput, TinyOutput]):
    """A training of ``TinyModel`` on the CPU, with dropout, shuffling and validation, that a plugin takes part in.

    Args:
        component: the plugin; None for none at all.
        epochs: how many epochs to train for.
        batch_size: samples in a batch, of 64 in an epoch.

    Attributes:
        snapshots: where it stood after each epoch, once every plugin was done with it.
        checkpoint: the last checkpoint written so far, None before the first.
    """

    def __init__(self, component: object | None = None, *, epochs: int = _EPOCHS, batch_size: int = 16) -> None:
        self.component = component
        self.snapshots: list[Snapshot] = []
        self.checkpoint: Path | None = None
        super().__init__(
            TinyModel(),
            tiny_loader(batch_size=batch_size),
            epochs=epochs,
            validation=ValidationRoutine(
                val_loader=tiny_loader(32, shuffle=False, seed=1), callbacks=[_MeanError("tiny_error")]
            ),
            # The kind does not matter: what makes it a plugin is the hooks that it implements.
            callbacks=[] if component is None else [cast("Callback", component)],
            device="cpu",
            log_every=2,
            plugin_time_share=math.inf,  # the check of the time budget is another one
            use_installed_plugins=False,
        )

    @property
    def component_name(self) -> str:
        """The name under which the plugin takes part."""
        return self.plugins.name_of(self.component) or ""

    def _execute_epoch_postprocessing(self) -> None:
        super()._execute_epoch_postprocessing()
        self.snapshots.append(Snapshot.of(self))
        if self.state.epochs_completed <= _LAST_CHECKPOINT:
            self.checkpoint = self.save_checkpoint()


class _MeanError(ScoreCallback):
    """The mean absolute error over the samples."""

    def reset(self) -> None:
        self._errors: list[Tensor] = []

    def update(self, batch: ModelInput, model_output: ModelOutput) -> None:
        target, prediction = cast("TinyInput", batch)["target"], cast("TinyOutput", model_output)["prediction"]
        self._errors.append((prediction - target).abs())

    def compute(self) -> float:
        return torch.cat(self._errors).mean().item()


@contextlib.contextmanager
def surroundings() -> Generator[Path]:
    """A temporary folder for everything that is written, and the global state that training begins with.

    Afterwards the folder is gone, and the global state is what it was. What is printed to stdout goes to stderr.
    """
    dtype, level, home = torch.get_default_dtype(), logger.level, os.environ.get(_HOME)
    with (
        preserved_random_state(),
        torch.enable_grad(),
        contextlib.redirect_stdout(sys.stderr),
        tempfile.TemporaryDirectory(prefix="artifact-torch-", ignore_cleanup_errors=True) as name,
    ):
        torch.set_default_dtype(torch.float32)
        os.environ[_HOME] = str(Path(name, "runs"))
        seed_everything(0)
        try:
            yield Path(name)
        finally:
            torch.set_default_dtype(dtype)
            logger.setLevel(level)  # a run lowers it
            if home is None:
                os.environ.pop(_HOME, None)
            else:
                os.environ[_HOME] = home


def first_difference(one: Any, other: Any, where: str = "it") -> Difference | None:
    """The first place at which two nested values differ in type or bits; None if they are the same."""
    pairs: list[tuple[str, Any, Any]]
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        first, second = cast("Mapping[Any, Any]", one), cast("Mapping[Any, Any]", other)
        keys = (*first, *(key for key in second if key not in first))
        pairs = [(str(key), first.get(key, _ABSENT), second.get(key, _ABSENT)) for key in keys]
    elif isinstance(one, list | tuple) and type(one) is type(cast("object", other)):
        items = zip_longest(cast("list[Any]", one), cast("list[Any]", other), fillvalue=_ABSENT)
        pairs = [(str(number), *pair) for number, pair in enumerate(items)]
    else:
        return None if _same(one, other) else Difference(where, _shown(one), _shown(other))
    for name, *values in pairs:
        if found := first_difference(values[0], values[1], name if where == "it" else f"{where}.{name}"):
            return found
    return None


_ABSENT = object()


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        if one.dtype != other.dtype or one.shape != other.shape:
            return False
        bits = [each.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for each in (one, other)]
        return torch.equal(*bits)
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other)  # NaN is the same as itself
    return bool(one == other)


def _shown(value: object) -> str:
    if value is _ABSENT:
        return "absent"
    if isinstance(value, Tensor):
        if value.numel() > 4:
            return f"a tensor of shape {tuple(value.shape)}"
        value = value.tolist()
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:60]} ..."


def _digest(state: Any) -> str:
    """A short name of the state of a random generator."""
    values = state.items() if isinstance(state, Mapping) else [("", state)]
    plain = [(name, value.tolist() if isinstance(value, Tensor) else value) for name, value in values]
    return f"at {hashlib.sha256(repr(plain).encode()).hexdigest()[:8]}"


def _mode(training: bool) -> str:
    return "training" if training else "evaluation"
