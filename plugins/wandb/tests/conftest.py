"""What stands in a run's ``.wandb`` files, as wandb's own command prints it in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from artifact_torch_wandb.names import full_name_of

from artifact_torch.testing import MirroredRun


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path_factory, monkeypatch):
    """No login of whoever runs the tests, no network, and nothing in their home."""
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith("WANDB_") and name != "WANDB_SERVICE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(home / "netrc"))
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(home / name.lower()))


@pytest.fixture(scope="session")
def read_run() -> Callable[[Path], MirroredRun]:
    """Reads what the ``.wandb`` files of a run directory say, one after the other as ``wandb sync`` sends them."""
    return _read_run


@pytest.fixture(scope="session")
def records() -> Callable[[Path], list[dict[str, Any]]]:
    """The records of all ``.wandb`` files of a run directory."""
    return _records


@pytest.fixture(scope="session")
def wandb_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``wandb``."""
    return _wandb


def _wandb(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false"}
    command = [sys.executable, "-m", "wandb", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=True, **options)


def _files(run: Path) -> Iterator[Path]:
    folders = [path for path in (run / "wandb").glob("*run-*") if not path.is_symlink()]
    for folder in sorted(folders, key=lambda path: path.stat().st_mtime_ns):
        yield from folder.glob("*.wandb")


def _records(run: Path) -> list[dict[str, Any]]:
    lines = [line for path in _files(run) for line in _wandb("leet", "inspect", "--json", path).stdout.splitlines()]
    return [json.loads(line) for line in lines]


def _read_run(run: Path) -> MirroredRun:
    found, records = MirroredRun(), _records(run)
    config: dict[str, Any] = {}
    for record in records:
        if record["type"] == "run":
            found.tags = set(record["run"].get("tags", []))
        update = (record.get("config") or record.get("run", {}).get("config") or {}).get("update", {})
        config.update(update)
        found.status = record.get("summary", {}).get("update", {}).get("run/status", found.status)
    found.params = {name: str(value) for name, value in config.items()}
    cut = {name.removeprefix("name of "): text for name, text in config.items() if name.startswith("name of ")}
    for record in records:
        if record["type"] == "history":
            _add_row(found, record["history"]["item"], cut)
        elif record["type"] == "artifact":
            found.files.add(json.loads(record["artifact"]["metadata"])["name"])
    return found


def _add_row(found: MirroredRun, row: dict[str, Any], cut: dict[str, str]) -> None:
    # The command prints the fields of a picture or an array as ``key.field``.
    kinds = {key.removesuffix("._type"): value for key, value in row.items() if key.endswith("._type")}
    step = row["trainer/step"]
    for key, kind in kinds.items():
        where = found.plots if kind == "image-file" else found.arrays
        where.setdefault(full_name_of(key, cut), []).append(step)
    for key, value in row.items():
        is_field = any(key.startswith(f"{each}.") for each in kinds)
        if not is_field and not key.startswith("_") and key not in ("trainer/step", "epoch"):
            found.add_score(full_name_of(key, cut), step, float(value))
