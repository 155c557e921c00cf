"""The tracker: results of artifact-torch for a tracking client of artifact-experiment."""

from __future__ import annotations

import importlib.util
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from artifact_torch import MirrorTracker, TrackedItem, TrackedKind, TrackedRun, UsageError
from artifact_torch_artifact_experiment.arrivals import Arrivals
from artifact_torch_artifact_experiment.figures import figure_of
from artifact_torch_artifact_experiment.names import is_cut, name_of, safe
from artifact_torch_artifact_experiment.worker import WatchedClient

__all__ = ["ArtifactExperimentTracker"]

_BACKENDS = ("filesystem", "in_memory", "mlflow", "clearml")


class ArtifactExperimentTracker(MirrorTracker):
    """Hands runs to a tracking client of artifact-experiment: folders, memory, MLflow or ClearML.

    It is for those who have their results there. Clients know neither steps nor epochs, so each result is one of its
    own, called ``validation/loss/epoch-1-step-10``; parameters, tags and status are in the file ``run``, which is the
    run's ``run.json``. Plots are handed over as figures that show the picture, folders file by file. Of MLflow, Weights
    & Biases and TensorBoard, the trackers of these names make more.

    What a client loses by itself is not lost here: each result is waited for, one that fails is kept by the run and
    sent again later, and so is everything once the client's thread has died.

    Args:
        backend: ``"filesystem"`` writes to ``~/artifact_ml``, ``"in_memory"`` keeps everything in ``client``,
            ``"mlflow"`` goes where ``MLFLOW_TRACKING_URI`` says, and ``"clearml"`` where ``clearml.conf`` says.
        client: in Python, a client of your own in place of a backend. It is watched while a run is open, and not
            stopped.
        checkpoints: whether checkpoints are handed over too.

    Attributes:
        client: the client, once a run is open.

    Raises:
        UsageError: artifact-experiment is not installed, there is no such backend, the client is none, or for
            ``"mlflow"`` ``MLFLOW_TRACKING_URI`` is not set or holds a login.

    Example::

        tracker = ArtifactExperimentTracker(backend="in_memory")
        trainer = Trainer(model, train_loader, epochs=2, trackers=[tracker])
        trainer.train()
        print(list(tracker.client.run.scores))
    """

    def __init__(
        self,
        *,
        backend: Literal["filesystem", "in_memory", "mlflow", "clearml"] = "filesystem",
        client: object | None = None,
        checkpoints: bool = False,
    ) -> None:
        if importlib.util.find_spec("artifact_experiment") is None:
            raise UsageError(
                "ArtifactExperimentTracker needs artifact-experiment, which is not installed: "
                "pip install artifact-experiment."
            )
        if backend not in _BACKENDS:
            raise UsageError(
                f"The backend {backend!r} of ArtifactExperimentTracker is none: use one of {', '.join(_BACKENDS)}."
            )
        if client is not None and not (hasattr(client, "log_score") and hasattr(client, "queue")):
            raise UsageError(
                f"The client of ArtifactExperimentTracker is a {type(client).__name__}: give it a TrackingClient of "
                "artifact-experiment."
            )
        if backend == "mlflow" and client is None:
            _check_mlflow(os.environ.get("MLFLOW_TRACKING_URI", ""))
        self.backend = backend
        self.checkpoints = checkpoints
        self.client: Any = client
        self._is_theirs = client is not None
        self.stays_in_process = client is not None or backend == "in_memory"
        self._of: TrackedRun | None = None
        self._watched: WatchedClient | None = None
        self._arrivals_file = ""
        self._arrivals = Arrivals(None)
        self._cut: dict[str, str] = {}

    def open(self, run: TrackedRun, remembered: Mapping[str, Any]) -> Mapping[str, Any]:
        self._of = run
        self._arrivals_file = remembered.get("arrivals") or f"{uuid.uuid4().hex}.arrived"
        self._cut = json.loads(self._names_file.read_text(encoding="utf-8")) if self._names_file.exists() else {}
        self._watch()
        return {"arrivals": self._arrivals_file}

    def write(self, items: Sequence[TrackedItem]) -> None:
        watched = self._watched or self._watch()
        for item in items:
            if item.kind is TrackedKind.CHECKPOINT and not self.checkpoints:
                continue
            name = name_of(item)
            if self._arrivals.has(name, item.value):
                continue
            try:
                self._hand_over(watched, name, item)
            except BaseException:
                if not watched.is_alive and not self._is_theirs:
                    self._watched = None  # the next call builds another
                raise
            if is_cut(name):
                self._remember(name.rpartition("/")[0], item.full_name)
            self._arrivals.add(name, item.value)

    def close(self, run: TrackedRun) -> None:
        from artifact_torch_artifact_experiment.clients import tell_status

        watched = self._watched or self._watch()
        if self._cut:
            watched.hand_over("names", lambda: self.client.log_file(str(self._names_file), name="names"))
        record = self._own_file("run")  # with the status of a run that was killed and could not write it itself
        text = json.dumps({**run.record, "status": run.status, "reason": run.reason}, ensure_ascii=False, indent=1)
        record.write_text(text, encoding="utf-8")
        watched.hand_over("run", lambda: self.client.log_file(str(record), name="run"))
        record.unlink()
        watched.drain()
        watched.release()
        self._watched = None
        if not self._is_theirs:
            self.client.stop()
            tell_status(self.client, run.status)

    # The parts.

    @property
    def _names_file(self) -> Path:
        """Where the whole names are of results whose names were cut."""
        return self._own_file("names")

    def _own_file(self, ending: str) -> Path:
        assert self._of is not None
        folder = self._of.path / "trackers"
        folder.mkdir(exist_ok=True)
        return folder / f"{Path(self._arrivals_file).stem}.{ending}"

    def _remember(self, name: str, full_name: str) -> None:
        if name not in self._cut:
            self._cut[name] = full_name
            self._names_file.write_text(json.dumps(self._cut), encoding="utf-8")

    def _watch(self) -> WatchedClient:
        """Watch the client that was given, or one that is built for the run."""
        from artifact_torch_artifact_experiment.clients import build, forgets

        assert self._of is not None
        if not self._is_theirs:
            self.client = build(self.backend, self._of)
        folder = self._of.path / "trackers"
        self._arrivals = Arrivals(None if forgets(self.client) else folder / self._arrivals_file)
        self._watched = WatchedClient(self.client)
        return self._watched

    def _hand_over(self, watched: WatchedClient, name: str, item: TrackedItem) -> None:
        client, path = self.client, item.path
        if item.kind is TrackedKind.SCORE:
            watched.hand_over(name, lambda: client.log_score(item.value, name=name))
            return
        assert path is not None
        if item.kind is TrackedKind.ARRAY:
            array = np.load(path, allow_pickle=False)
            watched.hand_over(name, lambda: client.log_array(array, name=name))
        elif item.kind is TrackedKind.PLOT:
            figure = figure_of(path)
            watched.hand_over(name, lambda: client.log_plot(figure, name=name))
        else:
            for file, within in _files(path, name):
                watched.hand_over(within, lambda file=file, within=within: client.log_file(str(file), name=within))


def _files(path: Path, name: str) -> list[tuple[Path, str]]:
    """The files of a file or folder, with what each is called."""
    if not path.is_dir():
        return [(path, name)]
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return [(file, "/".join([name, *map(safe, file.relative_to(path).parts)])) for file in files]


def _check_mlflow(address: str) -> None:
    if not address:
        raise UsageError(
            "ArtifactExperimentTracker needs to know where MLflow is: set MLFLOW_TRACKING_URI, such as to "
            "sqlite:///mlflow.db or http://localhost:5000."
        )
    if "@" in address.partition("://")[2].partition("/")[0]:
        raise UsageError(
            "MLFLOW_TRACKING_URI holds a login: leave it out, and set MLFLOW_TRACKING_USERNAME and _PASSWORD."
        )
