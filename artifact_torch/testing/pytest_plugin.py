"""Fixtures for the tests of plugins, in every pytest run where artifact-torch is installed.

Nothing heavy is imported before a fixture is used: most of those runs are of other projects.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer
    from artifact_torch.testing.parts import HookRecorder


@pytest.fixture
def make_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trainer[Any, Any]]:
    """Builds an artifact_torch.Trainer of a tiny model that trains in milliseconds, as make_trainer(callbacks=[...]).

    Two epochs of four batches on the CPU, without plugins that act because they are installed, and with its run
    below tmp_path; arguments of Trainer change that, and model= and loader= take the place of the tiny ones.
    """
    from artifact_torch.core.trainer import Trainer
    from artifact_torch.testing.parts import TinyModel, tiny_loader

    monkeypatch.setenv("ARTIFACT_TORCH_HOME", str(tmp_path / "runs"))

    def make(model: Any = None, loader: Any = None, **options: Any) -> Trainer[Any, Any]:
        options = {"epochs": 2, "device": "cpu", "use_installed_plugins": False, **options}
        return Trainer(TinyModel() if model is None else model, tiny_loader() if loader is None else loader, **options)

    return make


@pytest.fixture
def hook_recorder() -> HookRecorder:
    """A plugin of artifact_torch that implements every hook and writes down each call, in hook_recorder.calls.

    It takes part as make_trainer(callbacks=[hook_recorder]); hook_recorder.names are the hooks in order.
    """
    from artifact_torch.testing.parts import HookRecorder

    return HookRecorder()
