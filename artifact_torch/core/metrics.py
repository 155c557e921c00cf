"""The numbers of a run: the loss of an epoch, and the history by step and by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import pandas as pd
from torch import Tensor

from artifact_torch.core.storage import JsonDict
from artifact_torch.errors import PluginError
from artifact_torch.plugin.hooks import Answer

__all__ = ["MetricHistory", "merge_metrics"]


class MetricHistory:
    """Numbers by step and by epoch. Nothing that was recorded is dropped; a missing number is NaN."""

    def __init__(self) -> None:
        self._steps: dict[int, dict[str, float]] = {}
        self._epochs: dict[int, dict[str, float]] = {}

    def record_step(self, step: int, values: Mapping[str, float]) -> None:
        self._steps.setdefault(step, {}).update(values)

    def record_epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        self._epochs.setdefault(epoch, {}).update(values)

    def latest(self, name: str) -> float | None:
        """The newest value of an epoch metric, or None if it was never recorded."""
        return next((row[name] for _, row in sorted(self._epochs.items(), reverse=True) if name in row), None)

    def of_epoch(self, epoch: int) -> dict[str, float]:
        """The numbers of one epoch by name; empty if none were recorded."""
        return dict(self._epochs.get(epoch, {}))

    @property
    def epoch_names(self) -> list[str]:
        """The names of all epoch metrics recorded so far, in the order of their first appearance."""
        return list(dict.fromkeys(name for row in self._epochs.values() for name in row))

    def epoch_frame(self) -> pd.DataFrame:
        """One row for each epoch, indexed by ``epoch``, one column for each metric."""
        return _frame(self._epochs, "epoch")

    def step_frame(self) -> pd.DataFrame:
        """One row for each logged step, indexed by ``step``, one column for each metric."""
        return _frame(self._steps, "step")

    def state_dict(self) -> JsonDict:
        return {"steps": dict(self._steps), "epochs": dict(self._epochs)}

    def load_state_dict(self, state: JsonDict) -> None:
        self._steps = {step: dict(row) for step, row in state["steps"].items()}
        self._epochs = {epoch: dict(row) for epoch, row in state["epochs"].items()}


def merge_metrics(
    answers: Iterable[Answer[Mapping[str, float | Tensor]]], hook: str, taken: Mapping[str, str]
) -> dict[str, float]:
    """Join what several plugins returned from a metric hook.

    Args:
        answers: the metrics of each plugin.
        hook: the hook's name, for messages.
        taken: names that are in use already, with who uses them.

    Raises:
        PluginError: two of them used one name, or a value is not one number; the message names the plugins.
    """
    merged: dict[str, float] = {}
    origin = dict(taken)
    for answer in answers:
        plugin, values = answer.plugin, answer.of_type(Mapping, "a mapping from names to numbers")
        for name, value in values.items():
            if name in origin:
                raise PluginError(
                    f"The plugins {origin[name]!r} and {plugin!r} both return a metric named {name!r} from {hook}: "
                    "leave one of them out, or give the metric another name."
                )
            try:
                merged[name] = float(value.detach() if isinstance(value, Tensor) else value)
            except (TypeError, ValueError, RuntimeError) as error:
                raise PluginError(
                    f"The plugin {answer.whose or repr(plugin)} returned {name!r} from {hook} with a value that is "
                    f"not one number: {error}."
                ) from error
            origin[name] = plugin
    return merged


def _frame(rows: Mapping[int, Mapping[str, float]], index: str) -> pd.DataFrame:
    columns = dict.fromkeys(name for row in rows.values() for name in row)
    numbers = sorted(rows)
    values = {name: [rows[number].get(name, math.nan) for number in numbers] for name in columns}
    return pd.DataFrame(values, index=pd.Index(numbers, dtype="int64", name=index), dtype="float64")
