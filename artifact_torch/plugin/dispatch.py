"""The hooks of the hot loop, resolved once an epoch and after any registration.

A call through pluggy costs about a microsecond even if nobody implements the hook; asking whether there is a function
to call costs nanoseconds. Plugins that have a ``batch_period`` are not called at all in steps in which they are not
due: all of them together cost one comparison of two numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from artifact_torch.plugin.calling import asker, runner
from artifact_torch.plugin.hooks import Answer
from artifact_torch.plugin.manager import Plugins
from artifact_torch.plugin.period import Period
from artifact_torch.plugin.specs import LoopHooks

__all__ = ["LoopDispatch", "Place"]

_NEVER = 2**63
_BATCH_HOOKS = ("execute_batch_preprocessing", "on_before_optimizer_step", "execute_batch_postprocessing")


class Place(Protocol):
    """Where training stands, as ``TrainingState`` says it."""

    epoch: int
    step: int
    batch_in_epoch: int


class LoopDispatch:
    """For each hook of the loop, one function of the specification's arguments by position, or None.

    Args:
        plugins: who may implement the hooks.
        place: where training stands; without one, whoever has a period is due always.

    Attributes:
        stop_in_epoch: the same for ``should_stop_in_epoch``, with the answers that are not None.
        next_turn: the number of completed steps from which on ``turn`` is to be called before a batch.
    """

    __slots__ = (
        "_due",
        "_last_times",
        "_periods",
        "_place",
        "_plugins",
        "_resolved",
        "_turned",
        "batch_postprocessing",
        "batch_preprocessing",
        "before_optimizer_step",
        "next_turn",
        "stop_in_epoch",
    )

    def __init__(self, plugins: Plugins, place: Place | None = None) -> None:
        self._plugins = plugins
        self._place = place
        self._periods: dict[str, Period] = {}
        self._last_times: dict[str, float] = {}
        self._due: frozenset[str] = frozenset()
        self._resolved: dict[frozenset[str], tuple[Callable[..., None] | None, ...]] = {}
        self._turned = (-1, -1)
        plugins.on_change.append(self.resolve)
        self.resolve()

    def resolve(self) -> None:
        """Look up again who implements the hooks; who is due in a step stays due until it ends."""
        functions = [each for hook in _BATCH_HOOKS for each in self._plugins.hooks.functions(hook)]
        periods = {each.plugin.name: each.plugin.batch_period for each in functions}
        self._periods = {name: period for name, period in periods.items() if period is not None and self._place}
        self._resolved.clear()
        self.stop_in_epoch = self._asker("should_stop_in_epoch")
        self._take()
        self.next_turn = 0 if self._periods else _NEVER

    def turn(self) -> None:
        """Look which of the plugins that have a period are due in the step that begins."""
        place = self._place
        if place is None:
            return
        if self._turned != (place.epoch, place.step):  # not twice in a step of several batches
            self._turned = (place.epoch, place.step)
            self._due = frozenset(name for name, period in self._periods.items() if self._is_due(name, period, place))
            self._take()
        self.next_turn = self._next_turn(place)

    def _take(self) -> None:
        if self._due not in self._resolved:
            self._resolved[self._due] = tuple(self._function(hook) for hook in _BATCH_HOOKS)
        self.batch_preprocessing, self.before_optimizer_step, self.batch_postprocessing = self._resolved[self._due]

    def _is_due(self, name: str, period: Period, place: Place) -> bool:
        if period.unit == "steps":
            return (place.step + 1) % period.number == 0
        if period.unit == "epochs":
            return place.batch_in_epoch == 0 and place.epoch % period.number == 0
        now = time.monotonic()
        if now - self._last_times.setdefault(name, now) < period.number:
            return False
        self._last_times[name] = now
        return True

    def _next_turn(self, place: Place) -> int:
        """The next number of completed steps at which who is due may change."""
        if self._due or any(period.unit == "seconds" for period in self._periods.values()):
            return place.step + 1
        numbers = [period.number for period in self._periods.values() if period.unit == "steps"]
        return min(((place.step + 1) // number + 1) * number - 1 for number in numbers) if numbers else _NEVER

    def _function(self, hook: str) -> Callable[..., None] | None:
        resting = self._periods.keys() - self._due
        functions = [each for each in self._plugins.hooks.functions(hook) if each.plugin.name not in resting]
        if any(each.position == "wrapper" for each in functions):  # only pluggy's own caller knows how to nest them
            return self._plugins.hooks.positional_caller(hook, without=resting)
        return runner(functions, self._plugins.calls)

    def _asker(self, hook: str) -> Callable[[Any], list[Answer[Any]]] | None:
        functions = self._plugins.hooks.functions(hook)
        if any(each.position == "wrapper" for each in functions):
            return lambda trainer: self._plugins.hooks.each(LoopHooks.should_stop_in_epoch, trainer=trainer)
        ask = asker(functions, self._plugins.calls)
        if ask is None:
            return None
        return lambda trainer: [Answer(each.name, answer, hook, str(each)) for each, answer in ask(trainer)]
