"""A run that is killed, or whose event files have no room, trains as ever, and TensorBoard has it all later."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from artifact_torch_tensorboard import TensorBoardTracker

from artifact_torch import Trainer, sync_to
from artifact_torch.testing import MirroredRun, TinyModel, tiny_loader

TRAINING = """
import os, resource, signal, struct, sys
from pathlib import Path
from artifact_torch import Callback, DataSplit, Plot, RunDirectory, Trainer, hookimpl
from artifact_torch.testing import TinyModel, tiny_loader
from artifact_torch_tensorboard import TensorBoardTracker

fault, run = sys.argv[1], RunDirectory.create("faults", root="runs")
tracker = TensorBoardTracker()
tracker.close_seconds = 1.0

class Plots(Callback):
    @hookimpl
    def execute_epoch_postprocessing(self, trainer):
        path = Path(f"{trainer.state.epoch}.png")
        header = b"\\x89PNG\\r\\n\\x1a\\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 8, 8, 8, 2, 0, 0, 0)
        path.write_bytes(header + bytes(60_000))
        trainer.run.track_plot("plot", Plot(path), DataSplit.TRAIN, trainer.state.epoch, trainer.state.step)
        if fault == "kill" and trainer.state.epoch == 4:
            os.kill(os.getpid(), signal.SIGKILL)

print(run.path.absolute(), flush=True)
if fault == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
trainer = Trainer(
    TinyModel(), tiny_loader(16), epochs=5, device="cpu", use_installed_plugins=False, run=run,
    trackers=[tracker], callbacks=[Plots()],
)
trainer.train()
"""


def train(folder: Path, fault: str) -> tuple[Path, subprocess.CompletedProcess[str]]:
    ended = subprocess.run(
        [sys.executable, "-c", TRAINING, fault], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.stdout, ended.stderr
    return Path(ended.stdout.splitlines()[0]), ended


def recorded(run: Path, name: str = "loss") -> dict[int, list[float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {line["step"]: [line["value"]] for line in lines if (line["split"], line["name"]) == ("train", name)}


def rounded(by_step: dict[int, list[float]]) -> dict[int, list[float]]:
    return {step: [round(value, 5) for value in values] for step, values in by_step.items()}


def test_a_full_disk_changes_nothing_in_training_and_is_told(
    tmp_path: Path, read_run: Callable[[Path], MirroredRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, ended = train(tmp_path, "full")
    assert ended.returncode == 0, ended.stderr
    assert "have not reached the tracker tensorboard" in ended.stderr
    assert "File too large" in ended.stderr
    expected = Trainer(TinyModel(), tiny_loader(16), epochs=5, device="cpu", use_installed_plugins=False)
    expected.train()
    assert recorded(run) == recorded(expected.run.path)
    shown = tmp_path / "runs" / "tensorboard" / "faults" / run.name
    assert 0 < len(read_run(shown).plots["train/plot"]) < 5  # what had room can be read
    assert sync_to(run, TensorBoardTracker(), "tensorboard") == 0
    found = read_run(shown)
    assert len(found.plots["train/plot"]) == 5
    assert rounded(found.scores["train/loss"]) == rounded(recorded(run))
    assert found.status == "finished"


def test_a_killed_run_is_there_once_it_is_sent(tmp_path: Path, read_run: Callable[[Path], MirroredRun]) -> None:
    run, ended = train(tmp_path, "kill")
    assert ended.returncode == -signal.SIGKILL
    assert sync_to(run, TensorBoardTracker(), "tensorboard") == 0
    found = read_run(tmp_path / "runs" / "tensorboard" / "faults" / run.name)
    assert found.status == "killed"
    assert len(found.plots["train/plot"]) == 4
    assert rounded(found.scores["train/loss"]) == rounded(recorded(run))
