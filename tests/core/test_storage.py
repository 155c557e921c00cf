"""Bundles: whole or not at all, checked when read, whatever happens to the process or the disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from torch import nn

from artifact_torch import CheckpointError, Model
from artifact_torch.core.checkpoint import CheckpointStore, read_state
from artifact_torch.core.storage import read_bundle, verify_bundle, write_bundle, write_json
from artifact_torch.testing import TinyModel

STATE = {"name": "näme", "numbers": [1, 2.5, None, True]}


def test_a_bundle_comes_back_as_it_was(tmp_path):
    tensors = {"weight": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(3)}
    write_bundle(tmp_path / "bundle", tensors, STATE)
    read, state = read_bundle(tmp_path / "bundle")
    assert state == STATE
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


class Tied(Model):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.output = nn.Linear(3, 5, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, batch):
        return {"loss": self.output(self.embedding(batch["words"])).mean()}


def test_tied_weights_are_saved_and_stay_tied(tmp_path):
    model = Tied()
    loaded = Tied.load(model.save(tmp_path / "model"))
    assert torch.equal(loaded.embedding.weight, model.embedding.weight)
    assert loaded.output.weight is loaded.embedding.weight


def test_a_view_is_saved_without_the_rest_of_its_storage(tmp_path):
    write_bundle(tmp_path / "bundle", {"row": torch.zeros(1000, 100)[3]}, {})
    assert (tmp_path / "bundle" / "tensors.safetensors").stat().st_size < 1000


@pytest.mark.parametrize(
    "tensor",
    [torch.arange(6).reshape(2, 3).T, torch.ones(1).expand(4), torch.tensor([1 + 2j]).conj(), torch.ones(4)[::2]],
)
def test_a_tensor_is_saved_as_it_reads_however_it_lies_in_memory(tmp_path, tensor):
    write_bundle(tmp_path / "bundle", {"value": tensor}, {})
    assert torch.equal(read_bundle(tmp_path / "bundle")[0]["value"], tensor)


def test_an_earlier_bundle_is_replaced_and_nothing_else_is_left(tmp_path):
    for number in (1, 2):
        write_bundle(tmp_path / "bundle", {"value": torch.tensor(number)}, {"number": number})
    assert read_bundle(tmp_path / "bundle")[1] == {"number": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json"])
def test_an_altered_file_is_named(tmp_path, file):
    path = write_bundle(tmp_path / "bundle", {"value": torch.arange(9.0)}, STATE)
    content = bytearray((path / file).read_bytes())
    content[-1] ^= 1
    (path / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{file} was altered"):
        read_bundle(path)


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json", "manifest.json"])
def test_a_missing_file_is_named(tmp_path, file):
    path = write_bundle(tmp_path / "bundle", {}, STATE)
    (path / file).unlink()
    with pytest.raises(CheckpointError, match=f"{file} is missing or unreadable"):
        verify_bundle(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"format": 1}', "\x00"])
def test_a_manifest_that_says_nothing_is_named(tmp_path, content):
    path = write_bundle(tmp_path / "bundle", {}, STATE)
    (path / "manifest.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"manifest.json is missing or unreadable"):
        read_bundle(path)


def test_a_bundle_of_a_later_format_is_refused_with_advice(tmp_path):
    path = write_bundle(tmp_path / "bundle", {}, STATE)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "format": 2}))
    with pytest.raises(CheckpointError, match="is in format 2, and this version reads format 1"):
        read_bundle(path)


def test_an_absent_bundle_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"There is no saved state at .*nowhere"):
        read_bundle(tmp_path / "nowhere")


def test_state_that_is_not_json_is_refused_and_leaves_the_earlier_bundle(tmp_path):
    write_bundle(tmp_path / "bundle", {}, STATE)
    with pytest.raises(CheckpointError, match="its state must be made of JSON values"):
        write_bundle(tmp_path / "bundle", {}, {"value": object()})
    assert read_bundle(tmp_path / "bundle")[1] == STATE
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.eye(3).to_sparse(), "the tensor 'odd' is sparse"),
        (torch.empty(3, device="meta"), "or has no data"),
        (torch.zeros(3, dtype=torch.complex128), "tensors of torch.complex128 cannot be stored"),
    ],
)
def test_a_tensor_that_cannot_be_stored_is_refused_and_leaves_the_earlier_bundle(tmp_path, tensor, message):
    write_bundle(tmp_path / "bundle", {}, STATE)
    with pytest.raises(CheckpointError, match=message):
        write_bundle(tmp_path / "bundle", {"odd": tensor}, STATE)
    assert read_bundle(tmp_path / "bundle")[1] == STATE
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_json_is_replaced_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "record.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "record.json", {"a": object()})
    assert json.loads((tmp_path / "record.json").read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


# Real faults, in another process.


def run_python(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


FULL_DISK = """
import resource, sys
from artifact_torch.core.checkpoint import CheckpointStore
from artifact_torch.core.storage import write_json
from artifact_torch.testing import TinyModel
from pathlib import Path
import torch
folder = Path(sys.argv[1])
model = TinyModel()
store = CheckpointStore(folder / "checkpoints")
model.save(folder / "model")
store.save({"weights": torch.zeros(10)}, 1)
write_json(folder / "record.json", {"good": True})
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
torch.nn.init.ones_(model.layers[1].weight)
failures = 0
for write in (
    lambda: model.save(folder / "model"),
    lambda: store.save({"weights": torch.ones(1000)}, 2),
    lambda: write_json(folder / "record.json", {"good": "x" * 1000}),
):
    try:
        write()
    except OSError:
        failures += 1
print(failures)
"""


@pytest.mark.lengthy
def test_a_full_disk_leaves_the_earlier_model_checkpoint_and_record_intact(tmp_path):
    process = run_python(FULL_DISK, tmp_path)
    output, errors = process.communicate(timeout=120)
    assert (output.strip(), process.returncode) == ("3", 0), errors
    assert not TinyModel.load(tmp_path / "model").layers[1].weight.any()
    store = CheckpointStore(tmp_path / "checkpoints")
    assert store.load_newest().path.name == "0001-step-000000001"
    assert json.loads((tmp_path / "record.json").read_text()) == {"good": True}
    assert not list(tmp_path.rglob(".writing-*"))


SAVING = """
import sys
from pathlib import Path
from artifact_torch.core.checkpoint import CheckpointStore
import torch
store = CheckpointStore(Path(sys.argv[1]))
step = 0
while True:
    step += 1
    store.save({"weights": torch.full((200_000,), float(step))}, step)
    print(step, flush=True)
"""


@pytest.mark.lengthy
def test_a_process_killed_while_saving_loses_nothing_it_reported_as_saved(tmp_path):
    process = run_python(SAVING, tmp_path)
    for _ in range(3):
        reported = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    rest, _ = process.communicate(timeout=60)
    reported = int(rest.split()[-1]) if rest.split() else reported
    store = CheckpointStore(tmp_path)
    assert len(store.paths()) >= reported
    for path in store.paths():
        weights = read_state(path)["weights"]
        assert bool((weights == float(int(path.name.split("-")[-1]))).all())
    assert store.load_newest().skipped == ()
