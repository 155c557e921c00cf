"""Runs are all in wandb's files: names, steps, status, once each, also when a run is resumed or sent again."""

from __future__ import annotations

from pathlib import Path

import pytest
from artifact_torch_wandb import WandbTracker

from artifact_torch.testing import MirroredRun, TrackerConformance

pytestmark = pytest.mark.lengthy


class TestOffline(TrackerConformance):
    @pytest.fixture(autouse=True)
    def _reader(self, read_run):
        self.read = read_run

    def make_tracker(self) -> WandbTracker:
        return WandbTracker(mode="offline")

    def read_back(self, run: Path) -> MirroredRun:
        return self.read(run)
