"""Bundles: whole or not at all, checked when read, whatever happens to the process or the disk."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from artifact_torch import CheckpointError, Model, RunDirectory
from artifact_torch.core.checkpoint import CheckpointStore
from artifact_torch.core.storage import is_bundle, read_about, read_bundle, verify_bundle, write_bundle, write_json
from artifact_torch.core.temporary import sweep, temporary_path
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


FILES = ["tensors.safetensors", "state.json", "manifest.json"]


def damaged(path, file, content):
    """What is said of a bundle in which a file has other bytes; the bundle is put right again."""
    whole = (path / file).read_bytes()
    (path / file).write_bytes(content)
    with pytest.raises(CheckpointError) as verified:
        verify_bundle(path)
    with pytest.raises(CheckpointError) as read:
        read_bundle(path)
    (path / file).write_bytes(whole)
    assert str(verified.value) == str(read.value)
    return str(read.value)


@pytest.mark.lengthy
@pytest.mark.parametrize("file", FILES)
def test_a_flipped_bit_in_any_byte_of_any_file_is_refused_by_name(tmp_path, file):
    path = write_bundle(tmp_path / "bundle", {"value": torch.arange(4.0)}, STATE, about={"step": 3})
    content = (path / file).read_bytes()
    for position in range(len(content)):
        for flip in (0x01, 0x20, 0x80):
            altered = bytearray(content)
            altered[position] ^= flip
            assert damaged(path, file, altered).startswith(f"{path / file} was altered after it was written")
    verify_bundle(path)


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_cut_off_or_longer_is_refused_by_name(tmp_path, file):
    path = write_bundle(tmp_path / "bundle", {"value": torch.arange(4.0)}, STATE)
    content = (path / file).read_bytes()
    for altered in (b"", content[:1], content[: len(content) // 2], content[:-1], content + b"\n", content + b"\0"):
        assert damaged(path, file, altered).startswith(f"{path / file} was altered after it was written")


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(tmp_path, file):
    path = write_bundle(tmp_path / "bundle", {}, STATE)
    (path / file).unlink()
    for check in (verify_bundle, read_bundle):
        with pytest.raises(CheckpointError, match=f"{file} is missing or unreadable"):
            check(path)


def test_files_of_two_bundles_are_not_taken_for_one(tmp_path):
    for number in (1, 2):
        write_bundle(tmp_path / str(number), {"value": torch.tensor(number)}, {"number": number})
    (tmp_path / "1" / "state.json").replace(tmp_path / "2" / "state.json")
    with pytest.raises(CheckpointError, match=r"2/state\.json was altered"):
        read_bundle(tmp_path / "2")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"null", b'{"format": 1}', b"\x00", b"[" * 100_000, b"\xff\xfe"]
)
def test_a_manifest_that_says_nothing_is_named(tmp_path, content):
    path = write_bundle(tmp_path / "bundle", {}, STATE)
    assert "manifest.json was altered" in damaged(path, "manifest.json", content)


def test_a_bundle_of_a_later_format_is_refused_with_advice(tmp_path):
    path = write_bundle(tmp_path / "bundle", {}, STATE)
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["sha256"]
    manifest["format"] = 2
    checksum = hashlib.sha256(json.dumps(manifest, indent=2, sort_keys=True).encode()).hexdigest()
    sealed = json.dumps({**manifest, "sha256": checksum}, indent=2, sort_keys=True)
    assert "is in format 2, and this version reads format 1" in damaged(path, "manifest.json", sealed.encode())


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(), JSON, max_size=4))
@example({"sha256": "of the user's own", "\ud800": "\udfff", "é": 1e-320, "big": 2**70})
def test_what_a_bundle_is_about_can_be_read_alone(about):
    with TemporaryDirectory() as folder:
        path = write_bundle(Path(folder) / "bundle", {}, STATE, about=about)
        verify_bundle(path)
        (path / "state.json").unlink()
        assert read_about(path) == about


def test_keys_that_json_does_not_know_are_told_as_text(tmp_path):
    path = write_bundle(tmp_path / "bundle", {}, STATE, about={"scores": {10: 1.0, 9: 2.0}})
    assert read_about(path) == {"scores": {"10": 1.0, "9": 2.0}}


@pytest.mark.parametrize("value", [object(), math.nan, {1: 0, "a": 0}])
def test_what_a_bundle_is_about_must_be_json(tmp_path, value):
    with pytest.raises(CheckpointError, match="what its manifest tells must be made of JSON values"):
        write_bundle(tmp_path / "bundle", {}, STATE, about={"value": value})
    assert list(tmp_path.iterdir()) == []


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


def test_an_existing_bundle_is_replaced_at_once_so_that_one_is_always_there(tmp_path):
    path = write_bundle(tmp_path / "bundle", {}, {"number": 0})
    done = threading.Event()
    seen = []

    def read():
        while not done.is_set():
            seen.append(is_bundle(path))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 30):
        write_bundle(path, {}, {"number": number})
    done.set()
    reader.join()
    assert read_bundle(path)[1] == {"number": 29}
    assert len(seen) > 30
    assert all(seen)


# What killed processes leave.


def left_by(path, *, host=None, pid=None, start=None):
    """A temporary directory as if another process had made it."""
    name, *found = temporary_path(path).name.rsplit("-", 4)
    parts = [given or value for given, value in zip((host, pid, start, None), found, strict=True)]
    left = path.with_name("-".join([name, *map(str, parts)]))
    left.mkdir()
    (left / "half").write_bytes(b"half")
    return left


def test_what_a_dead_process_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead = left_by(tmp_path / "model", pid=ended.pid)
    earlier = left_by(tmp_path / "model", start="0123abcd")  # a process that had the number of this one
    ours = left_by(tmp_path / "model")
    parents = left_by(tmp_path / "model", pid=os.getppid())
    sweep(tmp_path)
    assert not dead.exists()
    assert not earlier.exists()
    assert (ours / "half").exists()
    assert (parents / "half").exists()


def test_what_another_machine_left_is_swept_a_day_later(tmp_path):
    fresh, old = (left_by(tmp_path / name, host="0123abcd") for name in ("fresh", "old"))
    a_day_ago = old.stat().st_mtime - 25 * 3600
    os.utime(old, (a_day_ago, a_day_ago))
    sweep(tmp_path)
    assert [path for path in (fresh, old) if path.exists()] == [fresh]


def test_nothing_but_temporary_names_is_swept(tmp_path):
    for name in (".writing-down-my-thoughts", ".writing-", "model", ".hidden"):
        (tmp_path / name).mkdir()
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    sweep(tmp_path / "nowhere")


def test_a_run_directory_is_swept_when_it_is_opened(tmp_path):
    run = RunDirectory.create(root=tmp_path)
    left = temporary_path(run.path / "run.json")
    left = left.with_name(left.name.replace(f"-{os.getpid()}-", "-999999999-"))
    left.write_text("half")
    RunDirectory.open(run.path)
    assert sorted(path.name for path in run.path.iterdir()) == ["run.json"]


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
