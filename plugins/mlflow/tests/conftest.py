"""Stores of MLflow, and a second process that reads them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from artifact_torch_mlflow.names import name_of
from artifact_torch_mlflow.store import connect

from artifact_torch.testing import MirroredRun


class Reader:
    """Reads runs in a process of its own, one for all tests, since MLflow takes seconds to import."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def read(self, uri: str, run: Path) -> list[dict[str, Any]]:
        """The MLflow runs of a run."""
        if self._process is None:
            command = [sys.executable, str(Path(__file__).parent / "reader.py")]
            environment = os.environ | {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([uri, run.name]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def read_one(self, uri: str, run: Path) -> dict[str, Any]:
        """The only MLflow run of a run."""
        (found,) = self.read(uri, run)
        return found

    def mirrored(self, uri: str, run: Path) -> MirroredRun:
        """The only MLflow run of a run, in the words of the conformance suite."""
        return _mirrored(self.read_one(uri, run))

    def close(self) -> None:
        if self._process is not None and self._process.stdin:
            self._process.stdin.close()
            self._process.wait()


class Server:
    """An ``mlflow server`` on this machine, with its store in a folder."""

    def __init__(self, folder: Path, *, database: Path | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if database is not None:
            shutil.copy(database, folder / "server.db")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except OSError:
                assert self._process.poll() is None, (self.folder / "log.txt").read_text()
                assert time.monotonic() < deadline, (self.folder / "log.txt").read_text()
                time.sleep(0.1)

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def reader():
    reader = Reader()
    yield reader
    reader.close()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A database of MLflow's without runs, to be copied: to make one takes seconds."""
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def server(tmp_path_factory, empty_database):
    server = Server(tmp_path_factory.mktemp("server"), database=empty_database)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def stoppable_server(tmp_path, empty_database):
    """A server that the test starts, kills and starts again."""
    server = Server(tmp_path / "server", database=empty_database)
    yield server
    server.kill()


@pytest.fixture
def runs_root(tmp_path, empty_database):
    """A folder of runs with a database of MLflow's in it."""
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_database, tmp_path / "runs" / "mlflow.db")
    return tmp_path / "runs"


def _mirrored(found: dict[str, Any]) -> MirroredRun:
    names = json.loads(found["texts"].get("names.json", "{}"))
    run = MirroredRun(
        params={name_of(key, names): value for key, value in found["params"].items()},
        tags={value for key, value in found["tags"].items() if key.startswith("tag.")},
        status=found["tags"]["artifact_torch.status"],
    )
    for key, metrics in found["metrics"].items():
        for step, _, value in metrics:
            run.add_score(name_of(key, names), step, value)
    for path in found["artifacts"]:
        kind, _, rest = path.partition("/")
        key, _, file = rest.rpartition("/")
        if kind in ("plots", "arrays"):
            by_name = run.plots if kind == "plots" else run.arrays
            by_name.setdefault(name_of(key, names), []).append(int(Path(file).stem.removeprefix("step-")))
        elif kind == "files":
            run.files.add(name_of(key, names))
    expected = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED", "running": "RUNNING"}
    assert found["status"] == expected.get(run.status, "KILLED")
    return run
