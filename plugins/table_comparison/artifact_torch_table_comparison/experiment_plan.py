"""The one place that knows artifact-experiment: which artifacts one of its plans names.

A plan of artifact-experiment names its artifacts in six static methods that are there for its own use; it has no public
way to ask for them. ``tests/test_experiment_plan.py`` fails when they change.
"""

from __future__ import annotations

import inspect
from enum import Enum
from typing import Any

from artifact_experiment.table_comparison import TableComparisonPlan

from artifact_torch import ArtifactKind, ConfigError
from artifact_torch_table_comparison.artifacts import ComparisonArtifacts

__all__ = ["artifacts_of_plan"]


def artifacts_of_plan(plan: type, **options: Any) -> ComparisonArtifacts:
    """The artifacts that a subclass of ``TableComparisonPlan`` names.

    Args:
        plan: the class; it is not instantiated.
        options: the other fields of ``ComparisonArtifacts``, which are of their types: Any, because there are several.

    Raises:
        ConfigError: it is no such class.
    """
    if not (inspect.isclass(plan) and issubclass(plan, TableComparisonPlan)):
        raise ConfigError(
            f"{plan!r} does not say which artifacts to compute: give ComparisonArtifacts, or a subclass of "
            "artifact-experiment's TableComparisonPlan."
        )
    names: dict[str, list[str]] = {}
    for kind in ArtifactKind:
        types: list[Enum] = getattr(plan, f"_get_{kind}_types")()
        names[f"{kind}s"] = [each.name for each in types]
    return ComparisonArtifacts(**names, **options)
