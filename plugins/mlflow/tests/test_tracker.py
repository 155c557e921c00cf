"""A run in MLflow is what the run directory says, in a local database and on a server."""

from __future__ import annotations

import shutil

import pytest
from artifact_torch_mlflow import MLflowTracker

from artifact_torch.testing import TrackerConformance


class TestOnADatabase(TrackerConformance):
    @pytest.fixture(autouse=True)
    def _store(self, tmp_path, empty_database, reader):
        (tmp_path / "runs").mkdir()
        shutil.copy(empty_database, tmp_path / "runs" / "mlflow.db")
        self.uri = f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"
        self.reader = reader

    def make_tracker(self):
        return MLflowTracker()

    def read_back(self, run):
        return self.reader.mirrored(self.uri, run)


@pytest.mark.slow
class TestOnAServer(TrackerConformance):
    @pytest.fixture(autouse=True)
    def _store(self, server, reader):
        self.uri = server.uri
        self.reader = reader

    def make_tracker(self):
        return MLflowTracker(uri=self.uri)

    def read_back(self, run):
        return self.reader.mirrored(self.uri, run)
