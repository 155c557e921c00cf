from __future__ import annotations

from pathlib import Path

import pytest
from artifact_torch_callbacks import ModelSummary

from artifact_torch import RunDirectory, Trainer, UsageError, summarize
from artifact_torch import registry as components
from artifact_torch.testing import TinyModel, tiny_loader


def log_of(root: Path, callback: ModelSummary | str) -> str:
    trainer = Trainer(
        TinyModel(), tiny_loader(), epochs=1, run=RunDirectory.create(root=root), device="cpu", callbacks=[callback]
    )
    trainer.train()
    return (trainer.run.path / "log.txt").read_text()


def test_is_found_by_name_and_logs_the_table_when_training_starts(tmp_path: Path) -> None:
    assert components.get("callbacks", "model_summary") is ModelSummary
    log = log_of(tmp_path, "model_summary")
    assert str(summarize(TinyModel(), depth=2)) in log
    assert log.index("layers.1") < log.index("Training ended")


def test_depth_limits_what_is_listed(tmp_path: Path) -> None:
    log = log_of(tmp_path, ModelSummary(depth=1))
    assert str(summarize(TinyModel(), depth=1)) in log
    assert "layers.1" not in log


def test_a_negative_depth_is_refused() -> None:
    with pytest.raises(UsageError, match="depth of ModelSummary must be at least 0 levels of modules, not -1"):
        ModelSummary(depth=-1)
