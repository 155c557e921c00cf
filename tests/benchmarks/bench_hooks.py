"""What a call of a hook costs, with 0, 1, 3 and 10 implementations; run by ``make bench``.

Through pluggy's own caller, through the functions that are resolved once an epoch, and through these with the ledger
that counts calls and time, which is what training does. Median over rounds of nanoseconds a call; the three take turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pluggy
from tables import Row, report

from artifact_torch import hookimpl
from artifact_torch.plugin.dispatch import LoopDispatch
from artifact_torch.plugin.manager import Plugins
from artifact_torch.plugin.markers import PROJECT
from artifact_torch.plugin.specs import LoopHooks

CALLS, ROUNDS = 20_000, 15
HOOK = "execute_batch_postprocessing"


class Observer:
    """Does nothing, in the hook that is called for every batch."""

    @hookimpl
    def execute_batch_postprocessing(self, trainer: object, batch: object, model_output: object) -> None:
        pass


def through_pluggy(count: int) -> Callable[[], float]:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(LoopHooks)
    for _ in range(count):
        manager.register(Observer())
    call = manager.hook.execute_batch_postprocessing

    def seconds() -> float:
        start = time.perf_counter()
        for _ in range(CALLS):
            call(trainer=None, batch=None, model_output=None)
        return time.perf_counter() - start

    return seconds


def resolved(count: int) -> Callable[[], float]:
    functions: tuple[Callable[..., Any], ...] = tuple(Observer().execute_batch_postprocessing for _ in range(count))

    def seconds() -> float:
        start = time.perf_counter()
        for _ in range(CALLS):
            for function in functions:
                function(None, None, None)
        return time.perf_counter() - start

    return seconds


def with_ledger(count: int) -> Callable[[], float]:
    plugins = Plugins()
    for _ in range(count):
        plugins.register(Observer())
    dispatch = LoopDispatch(plugins)

    def seconds() -> float:
        start = time.perf_counter()
        for _ in range(CALLS):
            if (call := dispatch.batch_postprocessing) is not None:
                call(None, None, None)
        return time.perf_counter() - start

    return seconds


def bare() -> float:
    start = time.perf_counter()
    for _ in range(CALLS):
        pass
    return time.perf_counter() - start


def measure() -> list[Row]:
    rows: list[Row] = []
    for count in (0, 1, 3, 10):
        ways = [bare, through_pluggy(count), resolved(count), with_ledger(count)]
        taken: list[list[float]] = [[] for _ in ways]
        for _ in range(ROUNDS):
            for seconds, way in zip(taken, ways, strict=True):
                seconds.append(way())
        loop, *others = (median(each) / CALLS * 1e9 for each in taken)
        baseline, *ours = (each - loop for each in others)
        for name, value in zip(("resolved, not counted", "as in training, counted"), ours, strict=True):
            rows.append(Row(f"a hook with {count} implementations, {name} (pluggy)", baseline, value, "ns"))
    return rows


if __name__ == "__main__":
    report("hooks", measure())
