"""Brings runs to trackers afterwards."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from artifact_torch.config import validated_parameters
from artifact_torch.core.components import built_component
from artifact_torch.core.mirror import Mirror
from artifact_torch.core.run import RunDirectory
from artifact_torch.core.tracker import MirrorTracker
from artifact_torch.errors import DataError, UsageError
from artifact_torch.experiment import chosen
from artifact_torch.plugin.selection import PluginSelection

__all__ = ["sync_run", "sync_to"]


def sync_to(run: Path | str, tracker: MirrorTracker, name: str, *, seconds: float = 600.0) -> int:
    """Bring what a run has recorded to a tracker, and return how many results did not arrive.

    Args:
        run: the run's directory.
        tracker: where to.
        name: the name under which the run keeps how far this tracker has come.
        seconds: how long to try.

    Raises:
        DataError: it is no run directory, or a process is training in it.
    """
    directory = RunDirectory.open(run)
    if directory.is_in_progress:
        raise DataError(f"A process is training in {run}, and brings its results to its trackers itself: wait for it.")
    left = Mirror(tracker, name, directory.path, seconds=seconds).end()
    if "untracked" in directory.record or left:
        directory.update(untracked={**directory.record.get("untracked", {}), name: left})
    return left


def sync_run(
    run: Path, names: Sequence[str] = (), *, overrides: Sequence[str] = (), seconds: float = 600.0
) -> dict[str, int]:
    """Bring what a run has recorded to the trackers of its description, or to some.

    Args:
        run: the run's directory.
        names: of installed trackers; those of the description if none is given.
        overrides: ``key=value``, parameters of the trackers that are named.
        seconds: how long to try each.

    Returns:
        For each tracker, how many results did not arrive.

    Raises:
        DataError: it is no run directory, or a process is training in it.
        UsageError: the description has no tracker, and none is named.
        ConfigError: there is no tracker of that name, or it does not have such a parameter.
    """
    description = cast("Mapping[str, Any]", RunDirectory.open(run).record.get("description") or {})
    sections = cast("Mapping[str, Mapping[str, Any]]", description.get("trackers") or {})
    if not names and not sections:
        raise UsageError(f"The run {run} was made without trackers: name one with --tracker NAME.")
    given = {key: value for text in overrides for key, value in _read(text).items()}
    left: dict[str, int] = {}
    for name in names or sections:
        parameters = {**sections.get(name, {}), **given}
        component = chosen("trackers", name, PluginSelection())
        parameters.pop("priority", None)
        checked = validated_parameters(component, parameters, source="sync", section=f"trackers.{name}")
        tracker = built_component("trackers", name, component, checked)
        if not isinstance(tracker, MirrorTracker):
            raise UsageError(f"The tracker {name!r} acts while training goes on only: nothing can be sent to it later.")
        left[name] = sync_to(run, tracker, name, seconds=seconds)
    return left


def _read(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {text}: write KEY=VALUE.")
    try:
        return {key.strip(): tomllib.loads(f"value = {value}")["value"]}
    except tomllib.TOMLDecodeError:
        return {key.strip(): value.strip()}
