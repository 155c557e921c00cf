"""Reading runs: what stands in their files, whoever writes them meanwhile and whatever became of them."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from artifact_torch import (
    ArtifactKind,
    DataError,
    DataSplit,
    Run,
    RunDirectory,
    Trainer,
    UsageError,
    ValidationRoutine,
    find_run,
)
from artifact_torch.core.record import RECORD_FORMAT, this_process
from artifact_torch.runs import Best, runs
from artifact_torch.testing import TinyModel, TinyPlan, tiny_loader

SCORES = (ArtifactKind.SCORE, ArtifactKind.SCORE_COLLECTION)
TRAIN, VALIDATION = DataSplit.TRAIN, DataSplit.VALIDATION
FEW = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

# Trains until stdin says how long; "go" is one more epoch. What it trained on can be gone on with in this process.
TRAINING = """
import sys

from artifact_torch import Callback, RunDirectory, Trainer, hookimpl
from artifact_torch.testing import TinyModel, tiny_loader


class Waiting(Callback):
    @hookimpl
    def execute_epoch_postprocessing(self, trainer):
        if trainer.state.epochs_completed == 1:
            trainer.save_checkpoint()
        print(trainer.run.path, flush=True)
        sys.stdin.readline()


trainer = Trainer(
    TinyModel(), tiny_loader(), epochs=4, device="cpu", use_installed_plugins=False, callbacks=[Waiting()],
    run=RunDirectory.create("killed", root=sys.argv[1], tags=["first"]), log_every=2,
)
trainer.train()
"""


def trainer_of(root, experiment="test", *, tags=(), **options):
    options = {"epochs": 3, "device": "cpu", "use_installed_plugins": False, "log_every": 2, **options}
    run = options.pop("run", None) or RunDirectory.create(experiment, root=root, tags=tags)
    return Trainer(TinyModel(), tiny_loader(), run=run, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trainer whose run is finished, with plans on both splits, one of which is not computed in each epoch."""
    validation = ValidationRoutine(
        plans=[TinyPlan(split, SCORES) for split in (VALIDATION, TRAIN)], period=2, mode="inline"
    )
    trainer = trainer_of(
        tmp_path_factory.mktemp("trained"),
        validation=validation,
        tags=["baseline", "zwei Wörter"],
        params={"optimizer": {"name": "adam", "beta": [0.9, 0.99]}, "width": 3, "empty": {}},
    )
    trainer.train()
    trainer.run.update(scores={"distance": 0.25, "broken": None})
    return trainer


@pytest.fixture
def run(tmp_path):
    """The directory of a run that has begun and has no numbers yet."""
    directory = RunDirectory.create("test", root=tmp_path)
    yield directory
    if directory.record["status"] == "running":
        directory.finish("finished", "")


def read(directory):
    return find_run(directory.path)


def rewrite(directory, **fields):
    path = directory.path / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


# What a run tells.


def test_a_run_tells_how_it_was_made_and_how_it_ended(trained):
    now = datetime.now(UTC)
    run = find_run(trained.run.path)
    assert isinstance(run, Run)
    assert (run.id, run.experiment, run.path) == (trained.run.path.name, "test", trained.run.path)
    assert (run.status, run.reason, run.epochs, run.steps) == ("finished", "all 3 epochs are done", 3, 12)
    assert run.name == f"test/{run.id}"
    assert run.tags == ("baseline", "zwei Wörter")
    assert run.params == {"optimizer.name": "adam", "optimizer.beta": [0.9, 0.99], "width": 3, "empty": {}}
    assert run.seconds == pytest.approx(trained.state.seconds, abs=0.001)
    assert now - timedelta(minutes=5) < run.created < now
    assert run.created - timedelta(seconds=1) <= run.ended <= now
    assert run.scores["distance"] == 0.25
    assert math.isnan(run.scores["broken"])
    assert run.record == trained.run.record
    assert run.record["format"] == RECORD_FORMAT


def test_metrics_are_the_epoch_scores_of_the_trainer(trained):
    metrics = find_run(trained.run.path).metrics()
    pd.testing.assert_frame_equal(metrics, trained.epoch_scores)
    assert metrics.isna().any(axis=None)  # what is validated in every other epoch only
    assert any(name.count("/") == 2 for name in metrics.columns)


def test_history_is_the_same_by_name_and_epoch_without_gaps(trained):
    history = find_run(trained.run.path).history()
    frame = trained.epoch_scores
    assert list(history) == list(frame.columns)
    assert {name: list(values.items()) for name, values in history.items()} == {
        name: list(frame[name].dropna().items()) for name in frame.columns
    }


def test_a_run_without_numbers_has_empty_metrics(run, make_trainer):
    assert read(run).history() == {}
    metrics = read(run).metrics()
    assert metrics.empty
    assert metrics.index.name == "epoch"


def test_numbers_that_json_lacks_come_back(run):
    for epoch, value in enumerate((math.nan, math.inf, -math.inf, 1.5), start=1):
        run.track_score("s", value, VALIDATION, epoch, epoch)
    values = list(read(run).history()["validation/s"].values())
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf, 1.5]


def test_the_parameters_are_those_of_the_description_if_none_were_recorded(run):
    run.update(description={"training": {"epochs": 3}, "callbacks": {}})
    assert read(run).params == {"training.epochs": 3, "callbacks": {}}


# The best.


@pytest.mark.parametrize(
    ("values", "mode", "best"),
    [
        ([3.0, 1.0, 2.0], "min", Best(2, 1.0)),
        ([3.0, 1.0, 2.0], "max", Best(1, 3.0)),
        ([2.0, 1.0, 1.0], "min", Best(2, 1.0)),
        ([math.nan, -math.inf, 2.0, math.inf], "min", Best(3, 2.0)),
        ([math.nan, -math.inf, 2.0, math.inf], "max", Best(3, 2.0)),
        ([math.nan], "min", None),
        ([], "max", None),
    ],
)
def test_the_best_is_finite_and_the_earliest_of_equal_ones(run, values, mode, best):
    for epoch, value in enumerate(values, start=1):
        run.track_score("s", value, VALIDATION, epoch, epoch)
    assert read(run).best("validation/s", mode) == best


def test_the_best_of_a_final_score_is_of_the_last_epoch(trained):
    run = find_run(trained.run.path)
    assert run.best("distance", "max") == Best(3, 0.25)
    assert run.best("broken", "max") is None
    assert run.best("unknown", "max") is None


def test_a_mode_that_there_is_not_is_refused(trained):
    with pytest.raises(UsageError, match=r"'min' or the 'max', not 'maximum'"):
        find_run(trained.run.path).best("train/loss", "maximum")


# Which runs there are.


def test_runs_come_newest_first_whatever_their_experiment(tmp_path):
    made = [RunDirectory.create(name, root=tmp_path).path for name in ("b", "a", "c", "a", "b")]
    assert [run.path for run in runs(tmp_path)] == made[::-1]


def test_runs_are_chosen_by_experiment_and_by_tags(tmp_path):
    both = RunDirectory.create("a", root=tmp_path, tags=["x", "y"]).path
    one = RunDirectory.create("a", root=tmp_path, tags=["x"]).path
    other = RunDirectory.create("b", root=tmp_path, tags=["y"]).path
    assert [run.path for run in runs(tmp_path, "a")] == [one, both]
    assert [run.path for run in runs(tmp_path, tags=["x", "y"])] == [both]
    assert [run.path for run in runs(tmp_path, tags="y")] == [other, both]
    assert runs(tmp_path, "c") == []


def test_the_folder_is_the_one_that_new_runs_go_to(tmp_path):
    assert runs() == []
    made = RunDirectory.create()
    assert [run.path for run in runs()] == [made.path]
    assert made.path.is_relative_to(tmp_path)


def test_what_is_no_run_is_none(run, tmp_path):
    (tmp_path / "test" / "notes").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "test" / ".writing-x").mkdir()
    (tmp_path / "test" / ".writing-x" / "run.json").write_text("{}")
    assert [each.path for each in runs(tmp_path)] == [run.path]
    assert runs(tmp_path / "file") == runs(tmp_path / "absent") == []


def test_a_run_is_found_in_every_way_that_it_may_be_meant(tmp_path, monkeypatch):
    older, newer = (RunDirectory.create(name, root=tmp_path).path for name in ("alpha", "beta"))
    ways = [
        older,
        str(older),
        f"{older}/",
        older / "run.json",
        older / "checkpoints" / "..",
        older.name,
        f"alpha/{older.name}",
        f"alpha/{older.name}/",
        older.name[-6:],
        "alph",
        "alpha/2",
        "alpha/latest",
    ]
    (older / "checkpoints").mkdir()
    assert {find_run(way, tmp_path).id for way in ways} == {older.name}
    assert find_run("latest", tmp_path).path == newer
    monkeypatch.chdir(older)
    assert {(find_run(way).name) for way in (".", "run.json", "checkpoints/..")} == {f"alpha/{older.name}"}


def test_what_may_mean_several_runs_is_refused_with_their_names(tmp_path):
    made = [RunDirectory.create(root=tmp_path).path.name for _ in range(7)]
    with pytest.raises(DataError, match=r"'2' may mean 7 runs \(default/") as refused:
        find_run("2", tmp_path)
    assert [name in str(refused.value) for name in made] == [False, False, True, True, True, True, True]
    assert str(refused.value).endswith("...): give more of the name.")


def test_an_unknown_run_is_refused_with_the_close_ones(tmp_path):
    first, second = (RunDirectory.create(root=tmp_path).path.name for _ in range(2))
    typo = f"{first[:-1]}{'a' if first[-1] != 'a' else 'b'}"
    with pytest.raises(DataError, match=f"There is no run '{typo}' in .*: the nearest are .*{first}"):
        find_run(typo, tmp_path)
    with pytest.raises(
        DataError, match=f"There is no run 'x' in .*: the newest are default/{second}, default/{first}."
    ):
        find_run("x", tmp_path)


@pytest.mark.parametrize("text", ["latest", "x", "default/latest"])
def test_where_no_runs_are_that_is_said(text, tmp_path):
    with pytest.raises(DataError, match=r"There are no runs in .*runs: name another folder"):
        find_run(text)


@pytest.mark.parametrize("text", ["", "\0", "x" * 5000, "*", "../..", "~", "/", "a/b/c", "nobody/latest", "é"])
def test_text_that_can_mean_no_run_is_refused(text, run, tmp_path):
    RunDirectory.create(root=tmp_path)
    with pytest.raises(DataError, match=r"(There is no run|may mean 2 runs)"):
        find_run(text, tmp_path)


# Damaged records.

NOT_RUNS = {
    "nothing": "",
    "half": '{"status": "fini',
    "no object": "[1]",
    "no text": b"\xff\xfe\x00",
    "much nesting": "[" * 100_000,
    "no time": '{"status": "finished"}',
    "a wrong time": '{"status": "finished", "created": "yesterday"}',
    "no status": '{"created": "2026-01-01T00:00:00+00:00"}',
    "a wrong type": '{"status": "finished", "created": "2026-01-01T00:00:00+00:00", "epochs": "many"}',
    "tags that are text": '{"status": "finished", "created": "2026-01-01T00:00:00+00:00", "tags": "x"}',
    "an end without time": '{"status": "finished", "created": "2026-01-01T00:00:00+00:00", "ended": null}',
}


@pytest.mark.parametrize("content", NOT_RUNS.values(), ids=NOT_RUNS)
def test_a_damaged_record_is_a_run_that_says_so(content, run, tmp_path):
    sound = RunDirectory.create("test", root=tmp_path)
    (run.path / "run.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    found = {each.id: each for each in runs(tmp_path)}
    assert found[sound.path.name].status == "created"
    damaged = found[run.path.name]
    assert damaged.status == "unreadable"
    assert damaged.reason.startswith("run.json is damaged (")
    assert damaged.created is not None  # the id tells
    with pytest.raises(DataError, match=r"The run .* cannot be read: run.json is damaged \("):
        find_run(run.path)
    assert find_run(run.path, damaged=True).status == "unreadable"


def test_a_folder_in_place_of_the_record_is_a_damaged_run(run, tmp_path):
    (run.path / "run.json").unlink()
    (run.path / "run.json").mkdir()
    assert [each.status for each in runs(tmp_path)] == ["unreadable"]


def test_a_record_of_a_newer_version_is_refused(run, tmp_path):
    rewrite(run, format=RECORD_FORMAT + 1)
    sentence = (
        r"The run .* cannot be read: run.json is in format 2, and this version of artifact-torch reads 1: update it."
    )
    for reading in (find_run, RunDirectory.open):
        with pytest.raises(DataError, match=sentence):
            reading(run.path)
    assert [each.status for each in runs(tmp_path)] == ["unreadable"]


def test_a_record_from_before_there_were_versions_is_read(run):
    record = json.loads((run.path / "run.json").read_text())
    del record["format"], record["tags"]
    (run.path / "run.json").write_text(json.dumps({**record, "created": "2026-01-01T00:00:00"}))
    assert read(run).created == datetime(2026, 1, 1, tzinfo=UTC)
    assert read(run).tags == ()
    RunDirectory.open(run.path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
FIELDS = [
    *("format", "status", "created", "ended", "seconds", "epochs", "steps", "reason", "tags"),
    *("params", "description", "scores", "process", "plugins", "environment"),
]


@FEW
@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4), st.sampled_from(["finished", "running", "created"]))
@example({"process": {"host": platform.node(), "pid": 10**30}}, "running")
@example({"process": {"host": platform.node(), "pid": -1}}, "running")
@example({"epochs": math.nan, "seconds": math.inf}, "finished")
def test_whatever_stands_in_a_record_a_run_is_read_or_unreadable(run, fields, status):
    rewrite(run, status=status, created="2026-01-01T00:00:00+00:00")
    rewrite(run, **fields)
    found = find_run(run.path, damaged=True)
    assert (found.status == "unreadable") == (found.record == {})


# Numbers that are being written, or were damaged.


@pytest.fixture(scope="module")
def lines(trained, tmp_path_factory):
    """The lines of a record of numbers, one of them with letters of several bytes."""
    written = (trained.run.path / "metrics.jsonl").read_bytes()
    return (written + '{"name": "näme", "split": "test", "epoch": 1, "step": 1, "value": "nan"}\n'.encode()).splitlines(
        keepends=True
    )


@FEW
@given(st.data())
def test_of_a_record_that_ends_at_any_byte_the_complete_lines_are_read(run, lines, data):
    content = b"".join(lines)
    size = data.draw(st.integers(0, len(content)))
    (run.path / "metrics.jsonl").write_bytes(content[:size])
    complete = [json.loads(line) for line in content[:size].split(b"\n")[:-1]]
    expected = {
        (f"{line['split']}/{line['name']}", line["epoch"]): float(line["value"])
        for line in complete
        if not line["name"].startswith("batch/")
    }
    history = read(run).history()
    found = {(name, epoch): value for name, values in history.items() for epoch, value in values.items()}
    assert found == pytest.approx(expected, nan_ok=True)


@FEW
@given(st.binary(max_size=60))
@example(b'{"name": "x", "split": "test", "epoch": 1, "step": 1, "value": null}')
@example(b'{"name": "x", "split": "test", "epoch": Infinity, "step": 1, "value": 1}')
@example(b"[" * 100_000)
@example(b"\n\n[]\n7\n")
def test_lines_that_are_damaged_do_not_hide_the_others(run, lines, damage):
    (run.path / "metrics.jsonl").write_bytes(b"".join(lines))
    sound = read(run).history()
    (run.path / "metrics.jsonl").write_bytes(b"".join([*lines[:2], damage, b"\n", *lines[2:]]))
    found = read(run).history()
    assert found.keys() == sound.keys()


def test_damaged_lines_are_told(run, lines, caplog):
    (run.path / "metrics.jsonl").write_bytes(b"".join([b"{}\n", *lines, b"\x00\x00\n", b'{"half']))
    read(run).history()
    (warning,) = {record.getMessage() for record in caplog.records}
    assert warning == f"{run.path / 'metrics.jsonl'}: 2 damaged lines are left out."


# Runs that have not ended.


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A run that was read between its epochs and killed in the third, and what was read."""
    root = tmp_path_factory.mktemp("killed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", TRAINING, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        seen = []
        for epoch in (1, 2, 3):
            path = Path(process.stdout.readline().strip())
            seen.append((find_run(path), find_run(path).history()))
            if epoch == 2:
                RunDirectory.open(path).tag("tagged meanwhile")
            if epoch < 3:
                process.stdin.write("go\n")
                process.stdin.flush()
        process.kill()
    with (path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"name": "loss", "spl')  # as if it had been in the middle of a line
    return path, seen


@pytest.mark.lengthy
def test_a_run_is_read_while_another_process_writes_it(killed):
    _, seen = killed
    assert [(run.status, run.epochs, run.steps) for run, _ in seen] == [("running", n, 4 * n) for n in (1, 2, 3)]
    assert [list(history["train/loss"]) for _, history in seen] == [[1], [1, 2], [1, 2, 3]]
    assert 0 <= seen[0][0].seconds <= seen[1][0].seconds <= seen[2][0].seconds
    assert {(run.ended, run.reason) for run, _ in seen} == {(None, "")}


@pytest.mark.lengthy
def test_tagging_a_run_in_progress_loses_nothing(killed):
    path, seen = killed
    assert seen[-1][0].tags == ("first", "tagged meanwhile")
    assert find_run(path).tags == ("first", "tagged meanwhile")


@pytest.mark.lengthy
def test_a_run_whose_process_was_killed_is_killed(killed):
    path, seen = killed
    run = find_run(path)
    assert (run.status, run.epochs, run.steps) == ("killed", 3, 12)
    assert run.history() == seen[-1][1]
    began = datetime.fromisoformat(run.record["process"]["since"]).timestamp()
    for file in path.glob("*.*"):
        os.utime(file, (began + 10, began + 10))
    assert find_run(path).seconds == pytest.approx(10, abs=0.01)  # up to the last thing it wrote


@pytest.mark.lengthy
def test_what_a_resumed_run_did_again_counts_once(killed, tmp_path):
    path, _ = killed
    whole = trainer_of(tmp_path, epochs=4)
    whole.train()
    resumed = trainer_of(None, epochs=4, run=RunDirectory.open(path))
    resumed.load_checkpoint()  # of the first epoch
    resumed.train(2)
    run = find_run(path)
    assert (run.status, run.epochs) == ("finished", 2)
    assert list(run.history()["train/loss"]) == [1, 2]
    resumed.train(4)
    run = find_run(path)
    assert (run.epochs, run.steps) == (4, 16)
    pd.testing.assert_frame_equal(run.metrics(), whole.epoch_scores)
    numbers = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert len({(each["name"], each["step"]) for each in numbers}) == len(numbers)


def test_what_an_earlier_end_left_in_the_record_does_not_count_once_a_run_goes_on(trained, tmp_path):
    trainer = trainer_of(tmp_path)
    trainer.train()
    run = trainer.run
    run.update(scores={"distance": 1.0})
    run.begin([], seed=0)
    try:
        found = read(run)
        assert (found.status, found.reason, found.ended, found.scores) == ("running", "", None, {})
        assert found.epochs == 3
    finally:
        run.finish("finished", "")


def test_a_process_of_another_machine_may_be_running(run):
    rewrite(run, status="running", process={"host": "elsewhere", "pid": 1})
    assert read(run).status == "running"
    assert not RunDirectory.open(run.path).is_in_progress


def test_another_process_that_has_the_number_now_does_not_count(run):
    rewrite(run, status="running", process=this_process())
    assert read(run).status == "running"
    assert RunDirectory.open(run.path).is_in_progress
    rewrite(run, process={**this_process(), "start": "another time"})
    assert read(run).status == "killed"
    assert not RunDirectory.open(run.path).is_in_progress
    rewrite(run, process={"host": platform.node(), "pid": os.getpid()})  # from before the start was recorded
    assert read(run).status == "running"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell the state of processes")
def test_a_process_that_has_ended_and_was_not_waited_for_has_ended(run):
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        rewrite(run, status="running", process={"host": platform.node(), "pid": process.pid})
        assert read(run).status == "killed"


def test_a_run_that_has_not_begun_has_no_time(run):
    assert (read(run).status, read(run).seconds, read(run).epochs) == ("created", None, 0)


# Tags.


@pytest.mark.parametrize("tag", ["", " ", "a,b", " a", "a ", "a\nb", "\0", "x" * 61])
def test_a_tag_that_would_blur_a_list_of_tags_is_refused(tag, run, tmp_path):
    with pytest.raises(UsageError, match="cannot be a tag"):
        run.tag("good", tag)
    assert run.record["tags"] == []
    with pytest.raises(UsageError, match="cannot be a tag"):
        RunDirectory.create("refused", root=tmp_path, tags=[tag])
    assert not (tmp_path / "refused").exists()


def test_one_text_in_place_of_tags_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"not one text: write \['abc'\]"):
        RunDirectory.create(root=tmp_path, tags="abc")


def test_tags_come_and_go(run):
    run.tag("b", "a", "b")
    run.tag("a", "größer als 1")
    assert read(run).tags == ("b", "a", "größer als 1")
    run.untag("a", "unknown")
    assert read(run).tags == ("b", "größer als 1")
    assert RunDirectory.open(run.path).record["tags"] == ["b", "größer als 1"]


def test_two_who_write_a_record_at_once_lose_nothing(run):
    other = RunDirectory.open(run.path)
    writing = threading.Thread(target=lambda: [run.update(**{f"field {n}": n}) for n in range(25)])
    writing.start()
    for n in range(25):
        other.tag(f"tag {n}")
    writing.join()
    record = RunDirectory.open(run.path).record
    assert [record[f"field {n}"] for n in range(25)] == list(range(25))
    assert record["tags"] == [f"tag {n}" for n in range(25)]


# What reading costs.


def test_reading_imports_neither_torch_nor_pandas_and_writes_nothing(trained):
    root = trained.run.path.parent.parent
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    code = """
import sys
from artifact_torch.runs import find_run, runs
for run in (*runs(sys.argv[1]), find_run("latest", sys.argv[1])):
    run.history(), run.best("train/loss", "min")
assert not {"torch", "pandas", "numpy", "pydantic"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code, root], check=True)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
