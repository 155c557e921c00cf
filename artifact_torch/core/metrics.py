"""The numbers of a run: their history by step and by epoch."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from artifact_torch.core.storage import JsonDict
from artifact_torch.errors import PluginError
from artifact_torch.plugin.hooks import Answer

__all__ = ["MetricHistory", "merge_metrics"]


class MetricHistory:
    """Numbers by step and by epoch. Nothing that was recorded is dropped; a missing number is NaN."""

    def __init__(self) -> None:
        self._steps = _Table()
        self._epochs = _Table()

    def record_step(self, step: int, values: Mapping[str, float]) -> None:
        self._steps.record(step, values)

    def record_epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        self._epochs.record(epoch, values)

    def latest(self, name: str) -> float | None:
        """The newest value of an epoch metric, or None if it was never recorded."""
        column = self._epochs.columns.get(name)
        return None if column is None else column.values[-1]

    def newest(self, name: str) -> tuple[int, float] | None:
        """The last epoch that has a value of an epoch metric, and the value; None if it was never recorded."""
        column = self._epochs.columns.get(name)
        return None if column is None else (column.numbers[-1], column.values[-1])

    def history(self, name: str) -> dict[int, float]:
        """The values of an epoch metric by epoch, oldest first."""
        column = self._epochs.columns.get(name)
        return {} if column is None else dict(zip(column.numbers, column.values, strict=True))

    def of_step(self, step: int) -> dict[str, float]:
        """The numbers of one step by name; empty if none were recorded."""
        return self._steps.row(step)

    def of_epoch(self, epoch: int) -> dict[str, float]:
        """The numbers of one epoch by name; empty if none were recorded."""
        return self._epochs.row(epoch)

    @property
    def epoch_names(self) -> list[str]:
        """The names of all epoch metrics recorded so far, in the order of their first appearance."""
        return list(self._epochs.columns)

    def epoch_frame(self) -> pd.DataFrame:
        """One row for each epoch, indexed by ``epoch``, one column for each metric: the loss, then by name."""
        frame = self._epochs.frame("epoch")
        return frame[sorted(frame.columns, key=lambda name: (name != "train/loss", name))]

    def step_frame(self) -> pd.DataFrame:
        """One row for each logged step, indexed by ``step``, one column for each metric."""
        return self._steps.frame("step")

    def state_dict(self) -> JsonDict:
        return {"steps": self._steps.state_dict(), "epochs": self._epochs.state_dict()}

    def load_state_dict(self, state: JsonDict) -> None:
        self._steps.load_state_dict(state["steps"])
        self._epochs.load_state_dict(state["epochs"])


class _Column:
    """The values of one metric, and the step or epoch of each, ascending."""

    __slots__ = ("numbers", "values")

    def __init__(self) -> None:
        self.numbers = array("q")
        self.values = array("d")

    def record(self, number: int, value: float) -> None:
        numbers = self.numbers
        if not numbers or number > numbers[-1]:  # nearly always: so recording costs the same however long the history
            numbers.append(number)
            self.values.append(value)
            return
        place = bisect_left(numbers, number)
        if numbers[place] == number:
            self.values[place] = value
        else:
            numbers.insert(place, number)
            self.values.insert(place, value)

    def state(self) -> tuple[Tensor, Tensor]:
        return torch.tensor(self.numbers, dtype=torch.int64), torch.tensor(self.values, dtype=torch.float64)

    @classmethod
    def restored(cls, state: tuple[Tensor, Tensor]) -> Self:
        column = cls()
        column.numbers.extend(state[0].tolist())
        column.values.extend(state[1].tolist())
        return column

    def at(self, number: int) -> float | None:
        place = bisect_left(self.numbers, number)
        return self.values[place] if place < len(self.numbers) and self.numbers[place] == number else None


class _Table:
    """Metrics by name, and the steps or epochs that have a row, be it an empty one."""

    def __init__(self) -> None:
        self.columns: dict[str, _Column] = {}
        self.rows = _Column()

    def record(self, number: int, values: Mapping[str, float]) -> None:
        self.rows.record(number, 0.0)
        for name, value in values.items():
            column = self.columns.get(name)
            if column is None:
                column = self.columns[name] = _Column()
            column.record(number, value)

    def row(self, number: int) -> dict[str, float]:
        return {name: value for name, column in self.columns.items() if (value := column.at(number)) is not None}

    def frame(self, index: str) -> pd.DataFrame:
        series = {
            name: pd.Series(np.array(column.values), index=np.array(column.numbers), dtype="float64")
            for name, column in self.columns.items()
        }
        rows = pd.Index(self.rows.numbers.tolist(), dtype="int64", name=index)
        return pd.DataFrame(series, index=rows, dtype="float64")

    def state_dict(self) -> JsonDict:
        columns = {name: column.state() for name, column in self.columns.items()}
        return {"rows": self.rows.state(), "columns": columns}

    def load_state_dict(self, state: JsonDict) -> None:
        self.rows = _Column.restored(state["rows"])
        self.columns = {name: _Column.restored(column) for name, column in state["columns"].items()}


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
