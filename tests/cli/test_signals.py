"""A signal to ``artifact-torch train``, and ``resume`` afterwards: the end is that of a run that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("artifact-torch")

CONFIG = """
[data]
file = "table.csv"

[training]
epochs = 40
batch_size = 8

[validation]
scores = []
score_collections = []
plots = []
"""


def started(folder, *arguments):
    environment = {**os.environ, "ARTIFACT_TORCH_HOME": str(folder / "runs"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [COMMAND, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def succeeded(process):
    out, talk = process.communicate(timeout=200)
    assert process.returncode == 0, talk
    return json.loads(out)


def prepared(folder):
    folder.mkdir(exist_ok=True)
    (folder / "table.csv").write_text("number,label\n" + "".join(f"{n % 7},{'ab'[n % 2]}\n" for n in range(40)))
    (folder / "experiment.toml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run that was left alone says."""
    return succeeded(started(prepared(tmp_path_factory.mktemp("whole")), "train", "experiment.toml", "--json"))


@pytest.mark.lengthy
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_training_that_is_told_to_stop_saves_and_goes_on_to_the_same_end(tmp_path, number, whole):
    process = started(prepared(tmp_path), "train", "experiment.toml", "--json")
    assert process.stderr is not None
    talk = [process.stderr.readline() for _ in range(3)]  # a line is written after each epoch
    process.send_signal(number)
    out, rest = process.communicate(timeout=200)
    assert process.returncode == 128 + number, [*talk, rest]
    assert not out
    (run,) = tmp_path.glob("runs/default/*")
    assert rest.endswith(f"Interrupted. Go on with: artifact-torch resume {run}\n")
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "interrupted"
    assert 3 <= record["epochs"] < 40
    resumed = succeeded(started(tmp_path, "resume", str(run), "--json"))
    assert resumed["epochs"] == whole["epochs"] == 40
    assert resumed["scores"] == whole["scores"]
    assert Path(resumed["synthetic"]).read_bytes() == Path(whole["synthetic"]).read_bytes()
