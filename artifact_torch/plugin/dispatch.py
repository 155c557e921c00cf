"""The hooks of the hot loop, resolved once an epoch and after any registration.

A call through pluggy costs about a microsecond even if nobody implements the hook; asking whether there is a function
to call costs nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable

from artifact_torch.plugin.calling import runner
from artifact_torch.plugin.manager import Plugins


class LoopDispatch:
    """For each hook of the loop, one function of the specification's arguments by position, or None."""

    __slots__ = ("_plugins", "batch_postprocessing", "batch_preprocessing", "before_optimizer_step")

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins
        plugins.on_change.append(self.resolve)
        self.resolve()

    def resolve(self) -> None:
        """Look up again who implements the hooks."""
        self.batch_preprocessing = self._function("execute_batch_preprocessing")
        self.before_optimizer_step = self._function("on_before_optimizer_step")
        self.batch_postprocessing = self._function("execute_batch_postprocessing")

    def _function(self, hook: str) -> Callable[..., None] | None:
        functions = self._plugins.hooks.functions(hook)
        if any(each.position == "wrapper" for each in functions):  # only pluggy's own caller knows how to nest them
            return self._plugins.hooks.positional_caller(hook)
        return runner(functions, self._plugins.calls)
