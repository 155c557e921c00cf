"""Files of a run as MLflow's artifacts: where each goes, and how they get there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from artifact_torch import TrackedItem, TrackedKind
from artifact_torch_mlflow.names import Names, encoded

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["MODELS", "place_of", "upload"]

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


def upload(client: MlflowClient, run_id: str, files: Mapping[str, Path]) -> None:
    """Bring files and folders to the run, in place of what is there.

    Args:
        client: of the store.
        run_id: MLflow's id of the run.
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
        client.log_artifacts(run_id, str(root))


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
