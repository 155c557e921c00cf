"""The clients of artifact-experiment, by name; importing them takes seconds, so it is done when a run is opened."""

from __future__ import annotations

import contextlib
import io
import itertools
from typing import Any

from artifact_torch import TrackedRun
from artifact_torch_artifact_experiment.names import safe

__all__ = ["build", "forgets", "tell_status"]

_CLASSES = {
    "filesystem": "FilesystemTrackingClient",
    "in_memory": "InMemoryTrackingClient",
    "mlflow": "MlflowTrackingClient",
    "clearml": "ClearMLTrackingClient",
}

_MLFLOW_STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}


def build(backend: str, run: TrackedRun) -> Any:
    """A client for a run: the one it has, or, where that was ended and cannot go on, one for ``ID-2``.

    Raises:
        Exception: what the client raises, such as when its server cannot be reached.
    """
    from artifact_experiment import tracking

    client = getattr(tracking, _CLASSES[backend])
    for number in itertools.count(1):
        run_id = safe(run.run_id) if number == 1 else f"{safe(run.run_id)}-{number}"
        try:
            # The filesystem client shows a button of notebooks, which nobody can press where it is built.
            with contextlib.redirect_stdout(io.StringIO()) if backend == "filesystem" else contextlib.nullcontext():
                return client.build(experiment_id=safe(run.experiment), run_id=run_id)
        except Exception as error:
            if not (type(error).__name__.startswith("Inactive") and type(error).__name__.endswith("RunError")):
                raise
    raise AssertionError("there are numbers enough")


def forgets(client: Any) -> bool:
    """Whether what a client was given is gone with it."""
    from artifact_experiment.tracking import InMemoryTrackingClient

    return isinstance(client, InMemoryTrackingClient)


def tell_status(client: Any, status: str) -> None:
    """Tell MLflow how the run has ended: the client says ``FINISHED``, whatever happened."""
    from artifact_experiment.tracking import MlflowTrackingClient

    if isinstance(client, MlflowTrackingClient):
        with client.run.native() as native:
            native.client.set_terminated(client.run.run_uuid, status=_MLFLOW_STATUS.get(status, "KILLED"))
