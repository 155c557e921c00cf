"""Executing a validation plan in this process."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from artifact_torch.core.artifacts import Artifact
from artifact_torch.core.computation import Computation, Outcome, compute_artifact
from artifact_torch.core.exchange import Data
from artifact_torch.core.plan import ValidationPlan
from artifact_torch.core.results import Artifacts, value_of
from artifact_torch.plugin.loading import reason_of

__all__ = ["attempt", "execute_plan"]

logger = logging.getLogger("artifact_torch")


def execute_plan(plan: ValidationPlan, inputs: Mapping[str, Data], folder: Path) -> Artifacts:
    """Compute a plan's artifacts here and now, without a trainer.

    An artifact that cannot be computed is warned about and left out.

    Args:
        plan: says which artifacts, and how.
        inputs: what the plan would gather.
        folder: where plots and arrays are written.
    """
    computation = plan.recipe().build()
    prepared = computation.prepare(inputs)
    artifacts, told = Artifacts(), set[str]()
    for number, artifact in enumerate(plan.artifacts):
        place = folder / str(number)
        outcome = attempt(computation, artifact, prepared, place, dpi=plan.dpi)
        for warning in outcome.warnings:
            if warning not in told:  # it may be so for other artifacts too
                told.add(warning)
                logger.warning("The %s: %s", artifact, warning)
        if outcome.error:
            logger.warning("The %s cannot be computed (%s), and is left out.", artifact, outcome.error)
        else:
            artifacts.add(artifact, value_of(artifact.kind, outcome.value, place))
    return artifacts


def attempt(computation: Computation[Any], artifact: Artifact, prepared: Any, folder: Path, *, dpi: int) -> Outcome:
    """Compute an artifact; an exception is part of the outcome."""
    try:
        return compute_artifact(computation, artifact, prepared, folder, dpi=dpi)
    except Exception as error:
        return Outcome(error=reason_of(error), traceback=traceback.format_exc())
