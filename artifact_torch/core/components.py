"""What every trainer takes besides its model, data and optimisation, and the components that are chosen by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from artifact_torch.core.callback import Callback
from artifact_torch.core.model_tracker import ModelTracker
from artifact_torch.core.run import RunDirectory
from artifact_torch.core.stopper import EarlyStopper
from artifact_torch.core.tracker import Tracker
from artifact_torch.errors import ArtifactTorchError, PluginError, UsageError
from artifact_torch.plugin.discovery import SINGULAR
from artifact_torch.plugin.loading import place_of, reason_of
from artifact_torch.plugin.registry import registry
from artifact_torch.plugin.selection import PluginSelection

__all__ = ["TrainerOptions", "built_component", "chosen_components"]


class TrainerOptions(TypedDict, total=False):
    """What every trainer takes besides its model, data and optimisation; see ``Trainer``.

    A domain's trainer passes these on, so that what the core learns to do works in each domain.
    """

    callbacks: Sequence[Callback | str]
    stoppers: Sequence[EarlyStopper | str]
    trackers: Sequence[Tracker | str]
    model_tracker: ModelTracker | None
    run: RunDirectory | None
    params: Mapping[str, Any] | None
    plugins: PluginSelection | None
    plugin_time_share: float
    use_installed_plugins: bool


def chosen_components(selection: PluginSelection, **given: Sequence[object]) -> list[tuple[object, str | None]]:
    """The components of each kind, those given by name built, with their names; all that is wrong is told at once."""
    chosen: list[tuple[object, str | None]] = []
    problems: list[str] = []
    for kind, components in given.items():
        for component in components:
            if not isinstance(component, str):
                chosen.append((component, None))
                continue
            try:
                chosen.append((_built(kind, component, selection), component))
            except PluginError as error:
                problems.append(str(error))
    if problems:
        raise PluginError("\n".join(problems))
    return chosen


def built_component(kind: str, name: str, component: type, parameters: Mapping[str, Any]) -> object:
    """A component of its parameters.

    Raises:
        UsageError: as the component itself refuses its parameters.
        PluginError: it fails in another way; the message says where.
    """
    try:
        return component(**parameters)
    except ArtifactTorchError:
        raise
    except Exception as error:
        raise PluginError(
            f"The {SINGULAR[kind]} {name!r} cannot be built: {reason_of(error)}{place_of(error)}. Repair "
            f"{component.__module__}.{component.__qualname__}."
        ) from error


def _built(kind: str, name: str, selection: PluginSelection) -> object:
    component = registry.get(kind, name, selection)
    try:
        inspect.signature(component).bind()
    except TypeError as error:
        raise UsageError(
            f"{kind}=[{name!r}]: it needs parameters ({error}): pass an object, {component.__qualname__}(...)."
        ) from error
    return built_component(kind, name, component, {})
