"""The hooks of the hot loop, resolved once an epoch.

A call through pluggy costs about a microsecond even if nobody implements the hook; a loop over a tuple that was filled
before the epoch costs nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from artifact_torch.plugin.manager import Plugins


class LoopDispatch:
    """For each hook of the loop, the functions to call, in order, with the specification's arguments by position."""

    __slots__ = ("_plugins", "batch_postprocessing", "batch_preprocessing", "before_optimizer_step")

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins
        self.resolve()

    def resolve(self) -> None:
        """Look up again who implements the hooks; a plugin registered meanwhile takes part from here on."""
        self.batch_preprocessing = self._functions("execute_batch_preprocessing")
        self.before_optimizer_step = self._functions("on_before_optimizer_step")
        self.batch_postprocessing = self._functions("execute_batch_postprocessing")

    def _functions(self, hook: str) -> tuple[Callable[..., Any], ...]:
        if self._plugins.has_wrappers(hook):  # only pluggy's own caller knows how to nest them
            return (self._plugins.positional_caller(hook),)
        return tuple(each.call for each in self._plugins.implementations(hook))
