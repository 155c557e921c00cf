"""Runs are in the folder of the filesystem client, read here as files, without artifact-experiment."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from artifact_torch_artifact_experiment import ArtifactExperimentTracker
from artifact_torch_artifact_experiment.names import full_name_of

from artifact_torch.testing import MirroredRun, TrackerConformance

pytestmark = pytest.mark.lengthy


class TestFilesystem(TrackerConformance):
    @pytest.fixture(autouse=True)
    def _home(self, home):
        self.home = home

    def make_tracker(self) -> ArtifactExperimentTracker:
        return ArtifactExperimentTracker()

    def read_back(self, run: Path) -> MirroredRun:
        return read_folder(self.home / "artifact_ml" / "conformance" / run.name)


def newest(folder: Path) -> Path:
    """The file that a client has written last under a name."""
    (path,) = max((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name)).iterdir()
    return path


def read_folder(folder: Path) -> MirroredRun:
    found = MirroredRun()
    record = json.loads(newest(folder / "files" / "run").read_text(encoding="utf-8"))
    found.params = {name: str(value) for name, value in record["params"].items()}
    found.tags, found.status = set(record["tags"]), record["status"]
    names = folder / "files" / "names"
    cut = json.loads(newest(names).read_text(encoding="utf-8")) if names.exists() else {}

    def results(kind: str, depth: int) -> Iterator[tuple[str, int, Path]]:
        root = folder / kind
        for path in sorted(root.rglob("*")):
            if path.is_file() and "step-" in str(path):
                name = path.relative_to(root).parents[depth - 1] if depth else path.relative_to(root)
                full, _, step = full_name_of(name.as_posix(), cut)
                yield full, step, path

    for name, step, path in results("artifacts/scores", 0):
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines(), restval=""):
            found.add_score(name, step, float(row["value"]) if row["value"] else math.nan)
    for name, step, _ in results("artifacts/plots", 1):
        found.plots.setdefault(name, []).append(step)
    for name, step, _ in results("artifacts/arrays", 1):
        found.arrays.setdefault(name, []).append(step)
    found.files = {name.partition("/")[2] for name, _, _ in results("files", 2)}
    return found
