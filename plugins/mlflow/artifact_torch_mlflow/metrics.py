"""Metrics in MLflow, each once, however often it is given."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

__all__ = ["MetricLog"]

_MOST_AT_ONCE = 1000  # of MLflow's log_batch

_Identity: TypeAlias = tuple[str, int, int, str]


class MetricLog:
    """Writes the metrics of one MLflow run.

    A database takes a metric once, except for NaN, and a store of files as often as it is given; so what may be there
    already is looked up.

    Args:
        client: of the store.
        run_id: MLflow's id of the run.
        is_again: whether the run was written to before: the first that is written may be there.
    """

    def __init__(self, client: MlflowClient, run_id: str, *, is_again: bool) -> None:
        self._client = client
        self._run_id = run_id
        self._is_again = is_again
        self._uncertain: set[_Identity] = set()

    def write(self, metrics: Sequence[Metric]) -> None:
        """Write metrics, those left out that are there."""
        if not metrics:
            return
        given = {_identity(metric): metric for metric in metrics}
        try:
            fresh = self._without_those_there(given) if self._may_be_there(given) else list(given.values())
            for start in range(0, len(fresh), _MOST_AT_ONCE):
                self._client.log_batch(self._run_id, metrics=fresh[start : start + _MOST_AT_ONCE])
        except BaseException:
            self._uncertain |= given.keys()
            raise
        self._uncertain -= given.keys()
        self._is_again = False

    def _may_be_there(self, given: dict[_Identity, Metric]) -> bool:
        return self._is_again or not self._uncertain.isdisjoint(given)

    def _without_those_there(self, given: dict[_Identity, Metric]) -> list[Metric]:
        record: Any = self._client.get_run(self._run_id).to_proto()
        newest = {metric.key: (metric.step, metric.timestamp) for metric in record.data.metrics}
        # What is newer than all that is there is not there; to read a whole history takes its time.
        doubtful = {
            metric.key
            for metric in given.values()
            if metric.key in newest and (metric.step, metric.timestamp) <= newest[metric.key]
        }
        there = {
            _identity(metric)
            for key in sorted(doubtful)
            for metric in self._client.get_metric_history(self._run_id, key)
        }
        return [metric for identity, metric in given.items() if identity not in there]


def _identity(metric: Metric) -> _Identity:
    """What makes a metric one and the same: databases keep infinity as the largest number."""
    largest = sys.float_info.max
    value = metric.value if math.isnan(metric.value) else max(-largest, min(largest, metric.value))
    return (metric.key, metric.step, metric.timestamp, repr(float(value)))
