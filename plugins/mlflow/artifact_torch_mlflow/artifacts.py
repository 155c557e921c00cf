"""Files of a run as MLflow's artifacts: where each goes, and how they get there."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from artifact_torch import TrackedItem, TrackedKind
from artifact_torch_mlflow.names import Names, encoded

__all__ = ["MODELS", "ArtifactFolder", "place_of"]

MODELS = ("model", "best_model")
"""Names of files that are trained models."""


def place_of(item: TrackedItem, names: Names) -> str:
    """Where an item that has a file or a folder goes, from the root of the run's artifacts."""
    match item.kind:
        case TrackedKind.PLOT:
            return f"plots/{names.key(item.full_name)}/step-{item.step}.png"
        case TrackedKind.ARRAY:
            return f"arrays/{names.key(item.full_name)}/step-{item.step}.npy"
        case TrackedKind.CHECKPOINT:
            folder = f"checkpoints/{names.key(item.name)}"
        case _:
            folder = item.name if item.name in MODELS else f"files/{names.key(item.name)}"
    is_folder = item.path is None or item.path.is_dir()
    return folder if is_folder or item.path is None else f"{folder}/{encoded(item.path.name)}"


class ArtifactFolder:
    """The artifacts of one MLflow run.

    Args:
        artifact_uri: MLflow's address of them.
        uri: address of the store. ``MlflowClient`` looks for artifacts that a server keeps at the address that is set
            for the whole process, which is that of the user's own runs.
    """

    def __init__(self, artifact_uri: str, uri: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
        from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

        if artifact_uri.startswith("mlflow-artifacts:"):
            artifact_uri = MlflowArtifactsRepository.resolve_uri(artifact_uri, uri)
        self._repository: Any = get_artifact_repository(artifact_uri)

    def upload(self, files: Mapping[str, Path]) -> None:
        """Bring files and folders there, in place of what is there.

        Args:
            files: place from the root of the run's artifacts -> file or folder.

        Raises:
            FileNotFoundError: one of them is not there; then none has been brought.
        """
        if not files:
            return
        # MLflow takes the names of the files as they are on disk, and one folder in one call.
        with tempfile.TemporaryDirectory(prefix="artifact-torch-mlflow-") as folder:
            root = Path(folder) / "run"  # a local store takes over who may read it, and the folder itself is private
            for place, path in files.items():
                _put(path.resolve(strict=True), root / place)
            self._repository.log_artifacts(str(root))

    def write_text(self, place: str, text: str) -> None:
        """Write a file, in place of what is there."""
        with tempfile.TemporaryDirectory(prefix="artifact-torch-mlflow-") as folder:
            file = Path(folder) / "text"
            file.write_text(text, encoding="utf-8")
            self.upload({place: file})

    def write_json(self, place: str, content: object) -> None:
        """Write a file of JSON, in place of what is there."""
        self.write_text(place, json.dumps(content, ensure_ascii=True, indent=1))

    def read_json(self, name: str) -> dict[str, Any]:
        """What a file of JSON at the root says; empty if it is not there."""
        if not any(found.path == name for found in self._repository.list_artifacts()):
            return {}
        with tempfile.TemporaryDirectory(prefix="artifact-torch-mlflow-") as folder:
            text = Path(self._repository.download_artifacts(name, folder)).read_text(encoding="utf-8")
        content: dict[str, Any] = json.loads(text)
        return content


def _put(path: Path, place: Path) -> None:
    if path.is_dir():
        for inner in sorted(path.iterdir()):
            _put(inner.resolve(strict=True), place / encoded(inner.name))
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        place.symlink_to(path)
    except OSError:  # a system that does not let everybody make links
        shutil.copyfile(path, place)
