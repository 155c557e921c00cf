"""The run directory: where it is, what it records, and names that are safe as file names."""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from matplotlib import pyplot

from artifact_torch import DataError, DataSplit, Plot, RunDirectory, UsageError
from artifact_torch.core.record import file_name
from artifact_torch.testing import TinyModel

VALIDATION = DataSplit.VALIDATION


@pytest.fixture
def run(tmp_path):
    return RunDirectory.create("test", root=tmp_path)


@pytest.fixture
def drawn(tmp_path):
    """Draws plots."""
    count = itertools.count()
    return lambda: Plot.draw(pyplot.figure(figsize=(1, 1)), tmp_path / f"{next(count)}.png", dpi=50)


def lines_of(run):
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_run_is_made_under_the_root_and_its_experiment(tmp_path):
    run = RunDirectory.create("iris.v2", root=tmp_path)
    assert run.path.parent == tmp_path / "iris.v2"
    assert run.record["status"] == "created"
    assert run.record["experiment"] == "iris.v2"
    assert run.record["run_id"] == run.path.name
    assert {"python", "libraries", "processors"} <= run.record["environment"].keys()
    assert "torch" in run.record["environment"]["libraries"]


def test_the_environment_variable_sets_the_root(tmp_path, monkeypatch):
    monkeypatch.setenv("ARTIFACT_TORCH_HOME", str(tmp_path / "elsewhere"))
    assert RunDirectory.create().path.parent == tmp_path / "elsewhere" / "default"


def test_without_a_root_runs_are_kept_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.delenv("ARTIFACT_TORCH_HOME")
    monkeypatch.chdir(tmp_path)
    assert RunDirectory.create().path.resolve().parent == tmp_path / "runs" / "default"


def test_two_runs_never_share_a_directory(tmp_path):
    assert len({RunDirectory.create(root=tmp_path).path for _ in range(5)}) == 5


def test_nothing_is_made_before_it_is_needed(make_trainer, tmp_path):
    make_trainer()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "-x", "a b", "é", "a\n", "x" * 101, ".hidden"])
def test_an_experiment_name_that_is_no_plain_name_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="cannot name an experiment"):
        RunDirectory.create(name, root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_made_is_refused_with_advice(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UsageError, match=r"cannot be made .*: choose another place"):
        RunDirectory.create(root=tmp_path / "file")


def test_an_earlier_run_can_be_opened(run):
    run.update(answer=[1, {"two": None}])
    opened = RunDirectory.open(str(run.path))
    assert opened.record == run.record
    assert opened.record["answer"] == [1, {"two": None}]


@pytest.mark.parametrize("content", [None, "", "{"])
def test_what_is_not_a_run_directory_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(DataError, match=r"is not a run directory: it has no readable run.json"):
        RunDirectory.open(tmp_path)


def test_the_record_is_a_copy(run):
    run.record["status"] = "altered"
    assert run.record["status"] == "created"


def test_a_run_says_how_it_began_and_ended(run):
    run.begin([{"name": "progress"}], seed=3)
    logging.getLogger("artifact_torch").warning("something happened")
    assert RunDirectory.open(run.path).record["status"] == "running"
    run.finish("failed", "ValueError: x", ValueError("x"), steps=5)
    record = RunDirectory.open(run.path).record
    assert (record["status"], record["reason"], record["steps"]) == ("failed", "ValueError: x", 5)
    assert (record["plugins"], record["seed"]) == ([{"name": "progress"}], 3)
    assert "ValueError: x" in record["traceback"]
    assert "WARNING something happened" in (run.path / "log.txt").read_text()


def test_numbers_are_lines_with_name_split_epoch_and_step(run):
    run.track_score("loss", 0.25, DataSplit.TRAIN, 1, 10)
    run.track_score_collection("distance", {"age": 0.5, "näme": np.float32(1.5)}, VALIDATION, 2, 20)
    lines = lines_of(run)
    times = [line.pop("time") for line in lines]
    assert times == sorted(times)
    assert lines == [
        {"name": "loss", "split": "train", "epoch": 1, "step": 10, "value": 0.25},
        {"name": "distance/age", "split": "validation", "epoch": 2, "step": 20, "value": 0.5},
        {"name": "distance/näme", "split": "validation", "epoch": 2, "step": 20, "value": 1.5},
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_lacks_is_written_as_text(run, value):
    run.track_score("s", value, VALIDATION, 1, 1)
    text = (run.path / "metrics.jsonl").read_text()
    (line,) = [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]
    assert line["value"] == str(value)
    assert str(float(line["value"])) == str(value)


def test_parameters_stand_in_the_record(run):
    run.track_params({"model.width": 3})
    assert RunDirectory.open(run.path).record["params"] == {"model.width": 3}


def test_artifacts_are_kept_by_kind_name_epoch_and_split(run, drawn):
    run.track_array("matrix", np.eye(2), VALIDATION, 3, 30)
    run.track_array_collection("matrices", {"a": np.zeros(1), "b/c": np.ones(1)}, DataSplit.TRAIN, 3, 30)
    run.track_plot("curve", drawn(), VALIDATION, 3, 30)
    run.track_plot_collection("curves", {"a": drawn()}, VALIDATION, 3, 30)
    folder = run.path / "artifacts"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "array/matrix/epoch-3-step-30-validation.npy",
        "array_collection/matrices/epoch-3-step-30-train/a.npy",
        "array_collection/matrices/epoch-3-step-30-train/b%2Fc.npy",
        "plot/curve/epoch-3-step-30-validation.png",
        "plot_collection/curves/epoch-3-step-30-validation/a.png",
    ]
    assert np.load(folder / "array/matrix/epoch-3-step-30-validation.npy").tolist() == [[1, 0], [0, 1]]
    assert (folder / "plot/curve/epoch-3-step-30-validation.png").read_bytes().startswith(b"\x89PNG")


def test_items_that_sound_alike_are_kept_apart(run):
    items = {"a/b": 0, "a%2Fb": 1, "a b": 2, "": 3, "..": 4, "\x00": 5, "x" * 300: 6, "x" * 301: 7}
    run.track_array_collection("../c", {name: np.array(value) for name, value in items.items()}, VALIDATION, 1, 1)
    files = list(run.path.rglob("*.npy"))
    assert sorted(int(np.load(file)) for file in files) == list(range(8))
    assert all(run.path / "artifacts" / "array_collection" in file.parents for file in files)


def test_plots_are_listed_oldest_epoch_first(run, drawn):
    for epoch in (10, 2, 1):
        run.track_plot("curve", drawn(), VALIDATION, epoch, epoch)
        run.track_plot_collection("all", {"b": drawn(), "a": drawn()}, VALIDATION, epoch, epoch)
    names = [path.relative_to(run.path / "artifacts").as_posix() for path in run.plot_paths()]
    assert names == [
        name
        for epoch in (1, 2, 10)
        for name in (
            f"plot/curve/epoch-{epoch}-step-{epoch}-validation.png",
            f"plot_collection/all/epoch-{epoch}-step-{epoch}-validation/a.png",
            f"plot_collection/all/epoch-{epoch}-step-{epoch}-validation/b.png",
        )
    ]


def test_a_trained_run_holds_its_whole_record(make_trainer, tmp_path):
    run = RunDirectory.create("whole", root=tmp_path)
    trainer = make_trainer(run=run, params={"model.dropout": 0.1}, log_every=4)
    trainer.train()
    assert trainer.run is run
    assert run.record["params"] == {"model.dropout": 0.1}
    losses = {line["epoch"]: line["value"] for line in lines_of(run) if line["name"] == "loss"}
    assert losses == trainer.epoch_scores["train/loss"].to_dict()
    steps = {line["step"]: line["value"] for line in lines_of(run) if line["name"] == "batch/loss"}
    assert steps == trainer.batch_metrics["loss"].to_dict()
    assert TinyModel.load(run.model_path)


# File names.

NAMES = st.one_of(
    st.text(max_size=30),
    st.text(alphabet="./\\%~-_ :*?\x00aA2eEé", max_size=12),
    st.text(alphabet="ab/é", min_size=90, max_size=400),
)


def assert_safe(encoded):
    assert encoded not in ("", ".", "..")
    assert not encoded.startswith(".")
    assert not set("/\\:\x00") & set(encoded)
    assert len(os.fsencode(f"{encoded}.png")) <= 255
    assert Path("folder", encoded).name == encoded


@settings(deadline=None, max_examples=50)
@given(NAMES, NAMES)
@example("", "\x00")
@example("", "%")
@example("x" * 300, file_name("x" * 300))
@example("é" * 300, file_name("é" * 300))
@example(".", "%2E")
@example("a/b", "a%2Fb")
def test_file_names_are_safe_and_distinct(first, second):
    for name in (first, second):
        assert_safe(file_name(name))
        assert file_name(name) == file_name(name)
    assume(first != second)
    assert file_name(first) != file_name(second)


@pytest.mark.parametrize("name", ["loss", "pairwise correlation (numbers)", "a+b=c,d@e", "CamelCase_1.5-2"])
def test_a_plain_name_stays_readable(name):
    assert file_name(name) == name
