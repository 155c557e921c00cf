"""The tracker: a run in MLflow."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from artifact_torch import MirrorTracker, TrackedItem, TrackedKind, TrackedRun, UsageError
from artifact_torch_mlflow.artifacts import MODELS, ArtifactFolder, place_of
from artifact_torch_mlflow.description import RUN_ID, describe, milliseconds
from artifact_torch_mlflow.metrics import MetricLog
from artifact_torch_mlflow.names import Names
from artifact_torch_mlflow.registration import register
from artifact_torch_mlflow.store import checked_uri, connect, end_run, experiment_id, quick, store_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["MLflowTracker"]

_STATUS = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "stopped": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
    "killed": "KILLED",
}
_NAMES = "names.json"
_LONGEST_EXPERIMENT = 500

logger = logging.getLogger("artifact_torch")


class MLflowTracker(MirrorTracker):
    """Mirrors a run in MLflow: parameters, tags, metrics by step, plots, arrays, files and models.

    Without an address, runs go to the database ``mlflow.db`` in the folder of all runs, with their artifacts beside it
    in ``mlflow-artifacts``; ``mlflow ui --backend-store-uri sqlite:///runs/mlflow.db`` shows them. A resumed run goes
    on in its MLflow run. A name that MLflow does not take is written with codes for what is not allowed, and in full in
    the artifact ``names.json``.

    A run that has ended is FINISHED, FAILED, or KILLED if it was interrupted or killed; the tags
    ``artifact_torch.status`` and ``artifact_torch.reason`` say it in more words. A login for a server is taken from
    MLflow's environment variables.

    Args:
        uri: address of a server, such as ``"http://localhost:5000"``, or of any other store of MLflow's; by default
            ``MLFLOW_TRACKING_URI``, and the local database if that is not set.
        experiment: MLflow's experiment; by default the run's.
        register_model: name in MLflow's model registry under which the best model of each run, or the one of the end
            of training, becomes a version, to which the alias ``best`` then points; by default none does.
        checkpoints: whether checkpoints are brought to MLflow too.

    Raises:
        UsageError: an argument is out of range, or MLflow is not installed.

    Example::

        tracker = MLflowTracker(experiment="first-steps")
        trainer = Trainer(model, train_loader, epochs=2, trackers=[tracker])
        trainer.train()
        print(trainer.run.path)
    """

    batch_size: ClassVar[int] = 1000

    def __init__(
        self,
        *,
        uri: str | None = None,
        experiment: str | None = None,
        register_model: str | None = None,
        checkpoints: bool = False,
    ) -> None:
        if importlib.util.find_spec("mlflow") is None:
            raise UsageError("MLflowTracker needs MLflow, which is not installed: run `pip install 'mlflow<3'`.")
        if experiment is not None and not 0 < len(experiment.strip()) <= _LONGEST_EXPERIMENT:
            raise UsageError(
                f"The experiment of MLflowTracker has 1 to {_LONGEST_EXPERIMENT} characters, not {len(experiment)}."
            )
        if register_model is not None and (not register_model.strip() or set(register_model) & set("/:'")):
            raise UsageError(
                f"MLflow cannot register a model as {register_model!r}: give a name without '/', ':' and quotes."
            )
        self.uri = None if uri is None else checked_uri(uri)
        self.experiment = experiment
        self.register_model = register_model
        self.checkpoints = checkpoints
        self._names = Names({})
        self._num_written_names = 0
        self._client: MlflowClient
        self._run_id: str
        self._artifact_uri: str
        self._artifacts: ArtifactFolder
        self._metrics: MetricLog

    def open(self, run: TrackedRun, remembered: Mapping[str, Any]) -> Mapping[str, Any]:
        with quick():
            root = run.path.resolve().parents[1]
            uri = store_uri(self.uri, root)
            client = connect(uri)
            found = self._found(client, str(remembered.get("run_id", "")), run)
            experiment = "" if found else experiment_id(client, self.experiment or run.experiment, uri, root)
            found = found or self._found_by_tag(client, experiment, run)
            is_again = found is not None
            if found is None:
                tags = {RUN_ID: run.run_id}
                found = client.create_run(experiment, milliseconds(run.created), tags, run_name=run.run_id)
            self._client, self._run_id = client, str(found.info.run_id)
            self._artifact_uri = str(found.info.artifact_uri).rstrip("/")
            self._artifacts = ArtifactFolder(self._artifact_uri, uri)
            self._names = Names(self._artifacts.read_json(_NAMES) if is_again else {})
            self._num_written_names = len(self._names.known)
            self._metrics = MetricLog(client, self._run_id, is_again=is_again)
            self._describe(run)
            self._artifacts.write_json("environment.json", run.environment)
            if run.status == "running" and found.info.status != "RUNNING":
                end_run(client, self._run_id, "RUNNING", None)
            return {"run_id": self._run_id}

    def write(self, items: Sequence[TrackedItem]) -> None:
        from mlflow.entities import Metric

        with quick():
            metrics = [
                Metric(self._names.key(item.full_name), item.value, round(item.time * 1000), item.step)
                for item in items
                if item.kind is TrackedKind.SCORE and item.value is not None
            ]
            files = {place_of(item, self._names): item.path for item in items if item.path and self._takes(item)}
            self._write_names()
            self._metrics.write(metrics)
            self._artifacts.upload(files)
            if self.register_model is not None:
                for name in [item.name for item in items if item.kind is TrackedKind.FILE and item.name in MODELS]:
                    source = f"{self._artifact_uri}/{name}"
                    is_best = name == "best_model"
                    register(self._client, self.register_model, self._run_id, source, is_best=is_best)

    def close(self, run: TrackedRun) -> None:
        with quick():
            self._describe(run)
            if run.status != "running":
                ended = milliseconds(str(run.record.get("ended", "")))
                end_run(self._client, self._run_id, _STATUS.get(run.status, "FAILED"), ended)

    def _takes(self, item: TrackedItem) -> bool:
        if item.kind is not TrackedKind.CHECKPOINT:
            return True
        return self.checkpoints and item.path is not None and item.path.exists()  # the next one may have replaced it

    def _found(self, client: MlflowClient, run_id: str, run: TrackedRun) -> Any:
        """The run of an id, if it is there."""
        from mlflow import MlflowException

        if not run_id:
            return None
        try:
            found = client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            found = None
        if found is None or found.info.lifecycle_stage == "deleted":
            logger.warning(
                "The MLflow run %s is not there any more: a new one takes what comes from now on. For all of the run, "
                "remove the tracker's file in %s and `artifact-torch sync` it when it has ended.",
                run_id,
                run.path / "trackers",
            )
            return None
        return found

    def _found_by_tag(self, client: MlflowClient, experiment: str, run: TrackedRun) -> Any:
        """The run that was begun by a process that was killed before it could remember its id."""
        if not experiment:
            return None
        condition = f"tags.`{RUN_ID}` = '{run.run_id}'"
        return next(iter(client.search_runs([experiment], condition, max_results=1)), None)

    def _describe(self, run: TrackedRun) -> None:
        describe(self._client, self._run_id, run, self._names, self._artifacts)
        self._write_names()

    def _write_names(self) -> None:
        """Write what the keys stand for, if there are new ones."""
        known = self._names.known
        if len(known) > self._num_written_names:
            self._artifacts.write_json(_NAMES, known)
            self._num_written_names = len(known)
