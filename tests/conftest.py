"""Fixtures of the core's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from artifact_torch import Trainer
from artifact_torch.testing import TinyModel, tiny_loader


@pytest.fixture(autouse=True)
def _runs_in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACT_TORCH_HOME", str(tmp_path / "runs"))
    monkeypatch.setenv("MPLBACKEND", "Agg")


@pytest.fixture(autouse=True, scope="session")
def _few_threads() -> None:
    torch.set_num_threads(2)


@pytest.fixture
def make_trainer() -> Callable[..., Trainer]:
    """Builds a trainer of the tiny model: two epochs of four batches, on the CPU, without installed plugins."""

    def make(model: Any = None, loader: Any = None, **options: Any) -> Trainer:
        options = {"epochs": 2, "device": "cpu", "use_installed_plugins": False, **options}
        return Trainer(TinyModel() if model is None else model, tiny_loader() if loader is None else loader, **options)

    return make
