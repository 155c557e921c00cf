"""Fixtures of the core's tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    torch.set_num_threads(1)  # tests run side by side, and threads of one hold up those of another


@pytest.fixture
def make_trainer() -> Callable[..., Trainer]:
    """Builds a trainer of the tiny model: two epochs of four batches, on the CPU, without installed plugins."""

    def make(model: Any = None, loader: Any = None, **options: Any) -> Trainer:
        options = {"epochs": 2, "device": "cpu", "use_installed_plugins": False, **options}
        return Trainer(TinyModel() if model is None else model, tiny_loader() if loader is None else loader, **options)

    return make


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Installs a distribution for one test: its metadata, entry points and modules, in a folder on ``sys.path``."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def make(
        distribution: str,
        entry_points: Mapping[str, Mapping[str, str]],
        version: str = "1.0",
        requires: Sequence[str] = (),
        description: str = "",
        **modules: str,
    ) -> None:
        information = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        information.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        (information / "METADATA").write_text("\n".join([*lines, "", description]))
        sections = [
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in names.items())
            for group, names in entry_points.items()
        ]
        (information / "entry_points.txt").write_text("\n".join(sections))
        for name, source in modules.items():
            (folder / f"{name}.py").write_text(source)

    yield make
    for name in [name for name, module in sys.modules.items() if str(folder) in str(getattr(module, "__file__", ""))]:
        del sys.modules[name]
