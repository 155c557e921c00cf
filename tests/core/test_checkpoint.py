"""Checkpoints: any nested state comes back as it was; the newest undamaged one is read; none is ever overwritten."""

from __future__ import annotations

import json
import logging
import math
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from artifact_torch import CheckpointError
from artifact_torch.core.checkpoint import CheckpointStore, Retention, read_state, write_state
from artifact_torch.core.temporary import temporary_path
from artifact_torch.testing import TinyModel

TENSORS = [
    torch.arange(6).reshape(2, 3),
    torch.tensor(1.5),
    torch.zeros(0, 4),
    torch.tensor([True, False]),
    torch.tensor([1.0, math.nan, -0.0], dtype=torch.bfloat16),
    torch.arange(6.0).reshape(2, 3).T,
    torch.tensor([1 + 2j]),
]
KEYS = st.one_of(
    st.text(max_size=5), st.integers(), st.sampled_from(["$", "$tensor", "$items", "$tuple", "a.b", "a", "b"])
)
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5), st.sampled_from(TENSORS)
)
NESTED = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner), st.tuples(inner, inner), st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)


def same(left, right):
    if isinstance(left, torch.Tensor):
        return (
            isinstance(right, torch.Tensor)
            and left.dtype == right.dtype
            and left.shape == right.shape
            and bytes(left.contiguous().view(-1).view(torch.uint8).tolist() if left.numel() else [])
            == bytes(right.contiguous().view(-1).view(torch.uint8).tolist() if right.numel() else [])
        )
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        typed = [[(type(key), key) for key in each] for each in (left, right)]
        return typed[0] == typed[1] and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(KEYS, NESTED, max_size=4))
@example({1: "integer", "1": "text", (2**70): -1})
@example({"$tensor": "of the user's own", "$items": [("x", 1)], "$tuple": (1,)})
@example({"a.b": TENSORS[0], "a": {"b": TENSORS[1], "b#1": TENSORS[3]}, "a.b#1": TENSORS[2]})
@example({"a": (), "b": [(), {}, []], "": {"": None}})
def test_nested_state_comes_back_as_it_was(state):
    with TemporaryDirectory() as folder:
        read = read_state(write_state(Path(folder) / "state", state))
    assert same(state, read)


def test_nan_and_infinity_come_back(tmp_path):
    read = read_state(write_state(tmp_path / "state", {"values": [math.nan, math.inf, -math.inf]}))
    assert math.isnan(read["values"][0])
    assert read["values"][1:] == [math.inf, -math.inf]


def test_tensors_that_share_memory_come_back_each_whole(tmp_path):
    table = torch.arange(12.0).reshape(3, 4)
    read = read_state(
        write_state(tmp_path / "state", {"all": table, "again": table, "row": table[1], "column": table[:, 2]})
    )
    assert torch.equal(read["all"], table)
    assert torch.equal(read["again"], table)
    assert read["row"].tolist() == [4, 5, 6, 7]
    assert read["column"].tolist() == [2, 6, 10]


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", torch.nn.Linear(1, 1), 1j])
def test_a_value_that_is_not_plain_is_refused_with_its_place(tmp_path, value):
    with pytest.raises(
        CheckpointError, match=r"Cannot save state\.plugin\.1: \w+ is neither a tensor nor a plain value"
    ):
        write_state(tmp_path / "state", {"plugin": [1, value]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", [1.5, None, True, (1,)])
def test_a_key_that_is_neither_text_nor_integer_is_refused(tmp_path, key):
    with pytest.raises(CheckpointError, match=r"Cannot save state\.plugin: a key must be a string or an integer"):
        write_state(tmp_path / "state", {"plugin": {key: 1}})


def test_a_saved_model_is_not_a_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match=r"is not a checkpoint: a saved model is read with Model.load"):
        read_state(TinyModel().save(tmp_path / "model"))


# The store.


def store_with(folder, *steps):
    store = CheckpointStore(folder / "checkpoints")
    for step in steps:
        store.save({"step": step, "weights": torch.arange(float(step))}, step)
    return store


def flip(file, position):
    content = bytearray(file.read_bytes())
    content[position % len(content)] ^= 0x20
    file.write_bytes(content)


def test_the_newest_checkpoint_is_read(tmp_path):
    loaded = store_with(tmp_path, 5, 30, 900).load_newest()
    assert loaded.state["step"] == 900
    assert loaded.path.name == "0003-step-000000900"
    assert loaded.skipped == ()


def test_what_was_written_last_is_newest_although_the_run_went_back_to_a_lower_step(tmp_path):
    store = store_with(tmp_path, 8, 16, 12)
    assert store.load_newest().state["step"] == 12
    store.prune(Retention(newest=1))
    assert store.load_newest().state["step"] == 12


def test_steps_may_be_beyond_nine_digits(tmp_path):
    store = store_with(tmp_path, 4)
    store.save({"step": "big"}, 12_345_678_901)
    assert store.load_newest().state["step"] == "big"


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json", "manifest.json"])
def test_a_damaged_checkpoint_is_named_and_the_newest_valid_one_is_read(tmp_path, file):
    store = store_with(tmp_path, 1, 2, 3)
    flip(store.paths()[2] / file, 0)
    loaded = store.load_newest()
    assert loaded.state["step"] == 2
    assert len(loaded.skipped) == 1
    assert f"0003-step-000000003/{file}" in loaded.skipped[0]


def test_a_trainer_names_the_damaged_checkpoint_and_goes_on_with_the_one_before(make_trainer, tmp_path, caplog):
    trainer = make_trainer(epochs=1)
    trainer.train()
    good = trainer.save_checkpoint(tmp_path)
    trainer.epochs = 2
    trainer.train()
    flip(trainer.save_checkpoint(tmp_path) / "tensors.safetensors", 1000)
    fresh = make_trainer()
    with caplog.at_level(logging.WARNING):
        assert fresh.load_checkpoint(tmp_path) == good
    assert fresh.state.epochs_completed == 1
    assert "0002-step-000000008/tensors.safetensors was altered" in caplog.text


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(["tensors.safetensors", "state.json", "manifest.json"]), st.integers(0, 5000), st.integers(0, 7))
def test_a_flipped_bit_is_never_read_as_something_else(file, position, bit):
    state = {"weights": torch.arange(7.0), "name": "a", "numbers": [1, 2.5]}
    with TemporaryDirectory() as folder:
        path = write_state(Path(folder) / "state", state)
        content = bytearray((path / file).read_bytes())
        content[position % len(content)] ^= 1 << bit
        (path / file).write_bytes(content)
        try:
            read = read_state(path)
        except CheckpointError:
            return
    assert read is None  # which it is not


def test_when_none_is_usable_each_is_named(tmp_path):
    store = store_with(tmp_path, 1, 2)
    for path in store.paths():
        (path / "state.json").unlink()
    with pytest.raises(CheckpointError, match=r"0002-step-000000002.*state\.json.*step-000000001.*state\.json"):
        store.load_newest()


def test_an_empty_folder_holds_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="No checkpoint was written there"):
        CheckpointStore(tmp_path / "nowhere").load_newest()


def test_a_checkpoint_is_never_overwritten(tmp_path):
    store = CheckpointStore(tmp_path)
    paths = [store.save({"attempt": attempt}, 7) for attempt in range(12)]
    assert len(set(paths)) == 12
    assert [read_state(path)["attempt"] for path in paths] == list(range(12))
    assert store.paths() == paths
    assert store.load_newest().state["attempt"] == 11


def test_what_an_interrupted_write_left_is_neither_read_nor_kept(tmp_path):
    store = store_with(tmp_path, 1)
    ours = temporary_path(store.directory / "0002-step-000000002")
    half = ours.with_name(re.sub(r"-[0-9a-f]{8}-(\d+)$", r"-00000000-\1", ours.name))  # of an earlier process
    half.mkdir()
    (half / "tensors.safetensors").write_bytes(b"half")
    assert [path.name for path in store.paths()] == ["0001-step-000000001"]
    assert store.load_newest().state["step"] == 1
    assert [path.name for path in store.directory.iterdir()] == ["0001-step-000000001"]


def test_pruning_keeps_the_newest(tmp_path):
    store = store_with(tmp_path, 1, 2, 10, 9)
    store.prune(Retention(newest=2))
    assert [path.name for path in store.paths()] == ["0003-step-000000010", "0004-step-000000009"]
    store.prune(Retention(newest=5))
    assert len(store.paths()) == 2


def test_a_trainer_reads_one_chosen_checkpoint(make_trainer, tmp_path):
    trainer = make_trainer(epochs=1)
    trainer.train()
    first = trainer.save_checkpoint(tmp_path)
    trainer.epochs = 2
    trainer.train()
    trainer.save_checkpoint(tmp_path)
    fresh = make_trainer()
    assert fresh.load_checkpoint(first) == first
    assert fresh.state.step == 4


def test_a_trainer_saves_in_its_run_directory_by_default(make_trainer):
    trainer = make_trainer(epochs=1)
    trainer.train()
    path = trainer.save_checkpoint()
    assert path == trainer.run.path / "checkpoints" / "0001-step-000000004"
    assert trainer.load_checkpoint() == path


def test_a_checkpoint_is_free_of_code(make_trainer, tmp_path):
    trainer = make_trainer(epochs=1)
    trainer.train()
    path = trainer.save_checkpoint(tmp_path)
    assert sorted(file.name for file in path.iterdir()) == ["manifest.json", "state.json", "tensors.safetensors"]
    assert json.loads((path / "state.json").read_text())["state"]["counters"]["step"] == 4
