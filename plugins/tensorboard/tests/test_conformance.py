"""Runs are in TensorBoard as every tracker has to have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from artifact_torch_tensorboard import TensorBoardTracker

from artifact_torch import MirrorTracker, TrackedKind
from artifact_torch.testing import MirroredRun, TrackerConformance


class TestTensorBoard(TrackerConformance):
    keeps = frozenset({TrackedKind.SCORE, TrackedKind.ARRAY, TrackedKind.PLOT})

    @pytest.fixture(autouse=True)
    def _reader(self, read_run: Callable[[Path], MirroredRun]) -> None:
        self.read_run = read_run

    def make_tracker(self) -> MirrorTracker:
        return TensorBoardTracker()

    def read_back(self, run: Path) -> MirroredRun:
        return self.read_run(run.parents[1] / "tensorboard" / run.parent.name / run.name)
