"""The MLflow store of a run: where it is, and a client of it that neither waits long nor talks."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from artifact_torch import UsageError

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["checked_uri", "connect", "end_run", "experiment_id", "quick", "store_uri"]

_DATABASE = "mlflow.db"
_ARTIFACTS = "mlflow-artifacts"

_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # what fails is tried again by the mirror, which knows when to give up
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_teller = logging.getLogger("mlflow.store.db.utils")  # logs the traceback of each error that it raises too
_lock = threading.Lock()
_users = 0
_set: list[str] = []

# MLflow's own migrations replace the handlers of the root logger, so a new database is made in a process of its own;
# there it gets its name when it is complete, so that two runs may begin at once.
_MAKE_DATABASE = """
import sys
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
SqlAlchemyStore("sqlite:///" + sys.argv[1], sys.argv[2])
"""


def checked_uri(uri: str) -> str:
    """An address that the user has given.

    Raises:
        UsageError: it is empty or has a login in it.
    """
    if not uri.strip():
        raise UsageError(
            "The uri of MLflowTracker is empty: give the address of a server or a database, or leave it out."
        )
    if "@" in urlsplit(uri).netloc:
        raise UsageError(
            "The uri of MLflowTracker has a login in it: give the address without, and the login in the environment "
            "variables MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the whole in MLFLOW_TRACKING_URI."
        )
    return uri


def store_uri(given: str | None, root: Path) -> str:
    """Where runs go: what was given, else ``MLFLOW_TRACKING_URI``, else a database in the folder of all runs."""
    return given or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / _DATABASE}"


def connect(uri: str) -> MlflowClient:
    """A client of a store; a sqlite database that is not there yet is made."""
    from mlflow import MlflowClient

    if (found := re.match(r"sqlite:///([^?]+)$", uri)) and not Path(found[1]).exists():
        _make_database(Path(found[1]))
    return MlflowClient(tracking_uri=uri)


def experiment_id(client: MlflowClient, name: str, uri: str, root: Path) -> str:
    """The id of an experiment, which is made if it is not there."""
    from mlflow import MlflowException

    # A server has a place for artifacts of its own; what a database would take is relative to the working directory.
    is_database = uri.startswith(("sqlite:", "postgresql", "mysql", "mssql"))
    place = (root / _ARTIFACTS).as_uri() if is_database else None
    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name, artifact_location=place))
    except MlflowException:
        if found := client.get_experiment_by_name(name):  # another process was faster
            return str(found.experiment_id)
        raise


def end_run(client: MlflowClient, run_id: str, status: str, end_time: int | None) -> None:
    """Set the status of a run, and when it ended, in milliseconds since 1970.

    ``MlflowClient.set_terminated`` prints the run's address, in the middle of what the user's program prints.
    """
    from mlflow.entities import RunStatus

    store: Any = getattr(client, "_tracking_client").store  # noqa: B009 - there is no public way
    store.update_run_info(run_id, RunStatus.from_string(status), end_time, None)


@contextmanager
def quick() -> Generator[None]:
    """While a call to MLflow lasts: few retries, short time limits, no progress bars, unless the user set others.

    Nor are errors logged by MLflow that it raises: whoever calls tells them.
    """
    global _users
    with _lock:
        _users += 1
        for name, value in _SETTINGS.items():
            if name not in os.environ:
                os.environ[name] = value
                _set.append(name)
        _teller.disabled = True
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            while _set and not _users:
                os.environ.pop(_set.pop(), None)
            _teller.disabled = bool(_users)


def _make_database(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".mlflow-") as folder:
        made = Path(folder) / path.name
        command = [sys.executable, "-c", _MAKE_DATABASE, str(made), str(path.parent / _ARTIFACTS)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
            raise OSError(f"the database {path} cannot be made: {reason}")
        try:
            os.link(made, path)
        except FileExistsError:
            pass  # another process was faster
        except OSError:  # a file system without links
            if not path.exists():
                made.replace(path)
