"""Every hook of the framework, in classes by subject; ``artifact-torch list-hooks`` and ``docs/hooks.md`` show them.

A plugin implements any of them as functions of a module or methods of an object, marked with
``artifact_torch.hookimpl``. An implementation may take fewer arguments than its specification, in any order, by name.

The docstring of a hook has a fixed form, which ``artifact_torch.plugin.documentation`` reads and checks.
"""

from __future__ import annotations

from artifact_torch.plugin.specs.checkpoint import CheckpointHooks
from artifact_torch.plugin.specs.loop import LoopHooks
from artifact_torch.plugin.specs.metrics import MetricHooks
from artifact_torch.plugin.specs.run import RunHooks
from artifact_torch.plugin.specs.tracking import TrackingHooks
from artifact_torch.plugin.specs.validation import ValidationHooks

__all__ = [
    "HOOKSPEC_VERSION",
    "OLDEST_HOOKSPEC_VERSION",
    "SPECIFICATIONS",
    "CheckpointHooks",
    "LoopHooks",
    "MetricHooks",
    "RunHooks",
    "TrackingHooks",
    "ValidationHooks",
]

HOOKSPEC_VERSION = 1
"""Version of the hooks in this package, raised when one of them changes its arguments or its meaning, or goes.

A plugin may say which version it was written for: ``hookspec_version = 1``, an attribute of its module or object. One
that was written for a newer version than this is refused when it is loaded.
"""

OLDEST_HOOKSPEC_VERSION = 1
"""The oldest version that is still supported: a plugin that was written for an older one is refused when it is loaded.

A plugin that says no version is taken to be written for ``HOOKSPEC_VERSION``.
"""

SPECIFICATIONS = (RunHooks, LoopHooks, MetricHooks, ValidationHooks, TrackingHooks, CheckpointHooks)
"""All classes of hooks, in the order in which they are documented."""
