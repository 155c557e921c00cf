"""Runs reach trackers whatever these do: slow, absent for a while, picky, silent for ever, or killed with the run."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path

import pytest

from artifact_torch import DataError, DataSplit, MirrorTracker, RunDirectory, TrackedKind, hookimpl, sync_to
from artifact_torch.core import mirror as mirrors
from artifact_torch.core.mirror import Mirror
from artifact_torch.testing import MirroredRun, TrackerConformance


class FolderTracker(MirrorTracker):
    """Keeps one JSON file for each run, replaced at each call, so that nothing is there twice."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def open(self, run, remembered):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / remembered.get("name", f"{run.run_id}.json")
        self.content = {"items": {}, "params": {}, "tags": [], "status": "running"}
        if self.path.exists():
            self.content = json.loads(self.path.read_text())
        self.content["params"] = {name: str(value) for name, value in run.params.items()}
        self.content["tags"] = list(run.tags)
        return {"name": self.path.name}

    def write(self, items):
        for item in items:
            key = json.dumps([item.kind, item.full_name if item.kind != TrackedKind.FILE else item.name, item.step])
            self.content["items"][key] = repr(item.value)
            if item.path is not None and item.path.is_file():
                shutil.copy(item.path, self.folder / f"copy-{len(self.content['items'])}")
        self._save()

    def close(self, run):
        self.content["status"] = run.status
        self._save()

    def _save(self):
        self.path.write_text(json.dumps(self.content))


def read_folder(path):
    content = json.loads(path.read_text())
    found = MirroredRun(params=content["params"], tags=set(content["tags"]), status=content["status"])
    for key, value in content["items"].items():
        kind, name, step = json.loads(key)
        if kind == TrackedKind.SCORE:
            found.add_score(name, step, float(value))
        elif kind == TrackedKind.PLOT:
            found.plots.setdefault(name, []).append(step)
        elif kind == TrackedKind.ARRAY:
            found.arrays.setdefault(name, []).append(step)
        elif kind == TrackedKind.FILE:
            found.files.add(name)
    return found


class TestFolderTracker(TrackerConformance):
    num_scores = 2_000

    def make_tracker(self):
        return FolderTracker(self.folder / "mirror")

    def read_back(self, run):
        return read_folder(self.folder / "mirror" / f"{run.name}.json")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(mirrors, "_LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(mirrors, "_SECONDS_BETWEEN", 0.01)


@pytest.fixture
def run(tmp_path):
    run = RunDirectory.create("mirrored", root=tmp_path / "runs")
    run.begin([], seed=0)
    run.track_params({"width": 3})
    return run


def scores(run, count, start=0):
    for number in range(start, start + count):
        run.track_score("score", float(number), DataSplit.TRAIN, 1, number + 1)


def arrived(tracker, run):
    return sorted(read_folder(tracker.folder / f"{run.path.name}.json").scores.get("train/score", {}))


class Absent(FolderTracker):
    """Is out of reach for its first calls of a method."""

    def __init__(self, folder, **absent):
        super().__init__(folder)
        self.absent = absent
        self.batch_size = 10

    def open(self, run, remembered):
        self._fail("open")
        return super().open(run, remembered)

    def write(self, items):
        self._fail("write")
        super().write(items)

    def close(self, run):
        self._fail("close")
        super().close(run)

    def _fail(self, method):
        if self.absent.get(method, 0) > 0:
            self.absent[method] -= 1
            raise ConnectionError("nobody answers")


@pytest.mark.parametrize("absent", [{"open": 3}, {"write": 30}, {"open": 1, "write": 7}, {"write": 1}])
def test_a_mirror_that_is_away_for_a_while_gets_everything(run, tmp_path, absent, caplog):
    tracker = Absent(tmp_path / "mirror", **absent)
    mirror = Mirror(tracker, "away", run.path)
    mirror.start()
    scores(run, 35)
    run.finish("finished", "done")
    assert mirror.end() == 0
    assert arrived(tracker, run) == list(range(1, 36))
    assert "The tracker away cannot be reached (ConnectionError: nobody answers)" in caplog.text
    assert caplog.text.count("cannot be reached") == 1


def test_a_mirror_that_never_answers_leaves_all_for_later(run, tmp_path, caplog):
    tracker = Absent(tmp_path / "mirror", open=10**6)
    mirror = Mirror(tracker, "absent", run.path, seconds=0.2)
    mirror.start()
    scores(run, 25)
    run.finish("finished", "done")
    assert mirror.end() == 25
    reason = "25 results have not reached the tracker absent (ConnectionError: nobody answers)"
    assert f"{reason}: `artifact-torch sync {run.path}`" in caplog.text
    tracker.absent.clear()
    assert sync_to(run.path, tracker, "absent") == 0
    assert arrived(tracker, run) == list(range(1, 26))
    assert read_folder(tracker.folder / f"{run.path.name}.json").status == "finished"


def test_a_result_that_is_refused_does_not_keep_the_others(run, tmp_path):
    class Picky(FolderTracker):
        refused = {3, 10, 17}

        def write(self, items):
            if any(item.step in self.refused for item in items):
                raise ValueError("that one I do not take")
            super().write(items)

    tracker = Picky(tmp_path / "mirror")
    scores(run, 20)
    run.finish("finished", "done")
    assert Mirror(tracker, "picky", run.path).end() == 3
    assert arrived(tracker, run) == [step for step in range(1, 21) if step not in Picky.refused]
    state = json.loads((run.path / "trackers" / "picky.json").read_text())
    assert sorted(entry["item"]["step"] for entry in state["left"]) == [3, 10, 17]
    assert state["left"][0]["error"] == "ValueError: that one I do not take"
    tracker.refused = set()
    assert sync_to(run.path, tracker, "picky") == 0
    assert arrived(tracker, run) == list(range(1, 21))


def test_a_mirror_that_hangs_is_left_behind(run, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(mirrors, "GRACE_SECONDS", 0.1)
    released = threading.Event()

    class Hanging(FolderTracker):
        def write(self, items):
            released.wait()

    mirror = Mirror(Hanging(tmp_path / "mirror"), "hanging", run.path, seconds=0.1)
    mirror.start()
    scores(run, 3)
    run.finish("finished", "done")
    assert mirror.end() == 3
    assert "it has not answered for" in caplog.text
    again = FolderTracker(tmp_path / "mirror")
    assert sync_to(run.path, again, "hanging") == 0  # in the same process, while the first still hangs
    state = (run.path / "trackers" / "hanging.json").read_text()
    released.set()
    mirror._thread.join()
    assert (run.path / "trackers" / "hanging.json").read_text() == state
    assert arrived(again, run) == [1, 2, 3]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), MemoryError("full")], ids=repr)
def test_what_a_service_raises_never_reaches_training(make_trainer, tmp_path, error):
    class Raising(MirrorTracker):
        close_seconds = 0.1

        def open(self, run, remembered):
            raise error

        def write(self, items):
            raise AssertionError("it was not opened")

        def close(self, run):
            raise AssertionError("it was not opened")

    trainer = make_trainer(trackers=[Raising()])
    assert trainer.train().epochs == 2
    assert trainer.run.record["status"] == "finished"
    assert trainer.run.record["untracked"] == {"Raising": 3 + 0}


def test_training_with_a_mirror_is_bit_equal_to_training_without(make_trainer, tmp_path):
    plain, mirrored = make_trainer(), make_trainer(trackers=[FolderTracker(tmp_path / "mirror")])
    plain.train()
    mirrored.train()
    assert mirrored.epoch_scores.equals(plain.epoch_scores)
    for name, tensor in plain.model.state_dict().items():
        assert tensor.equal(mirrored.model.state_dict()[name])


@pytest.mark.parametrize("fails", [False, True])
def test_a_training_ends_with_its_true_status_in_the_mirror(make_trainer, tmp_path, fails):
    class Fail:
        @hookimpl
        def on_train_end(self):
            if fails:
                raise RuntimeError("at the very end")

    tracker = FolderTracker(tmp_path / "mirror")
    trainer = make_trainer(trackers=[tracker], callbacks=[Fail()], params={"width": 3})
    if fails:
        with pytest.raises(RuntimeError):
            trainer.train()
    else:
        trainer.train()
    found = read_folder(tmp_path / "mirror" / f"{trainer.run.path.name}.json")
    assert found.status == ("failed" if fails else "finished") == trainer.run.record["status"]
    assert sorted(found.scores["train/loss"]) == [4, 8]
    assert found.params == {"width": "3"}
    assert "model" in found.files or fails


def test_two_mirrors_of_one_class_have_each_their_own_state(make_trainer, tmp_path):
    trackers = [FolderTracker(tmp_path / "a"), FolderTracker(tmp_path / "b")]
    trainer = make_trainer(trackers=trackers)
    trainer.train()
    assert {path.name for path in (trainer.run.path / "trackers").glob("*.json")} == {
        "FolderTracker.json",
        "FolderTracker_2.json",
    }
    for folder in ("a", "b"):
        assert read_folder(tmp_path / folder / f"{trainer.run.path.name}.json").status == "finished"


def test_a_run_that_is_in_progress_is_not_synchronised(run, tmp_path):
    with pytest.raises(DataError, match="A process is training in"):
        sync_to(run.path, FolderTracker(tmp_path / "mirror"), "folder")


def test_a_checkpoint_is_told_when_it_is_written(make_trainer, tmp_path):
    seen = []

    class Look(FolderTracker):
        def write(self, items):
            seen.extend((item.name, item.step, item.path.is_dir()) for item in items if item.kind == "checkpoint")

    class Save:
        @hookimpl
        def execute_epoch_postprocessing(self, trainer):
            trainer.save_checkpoint(background=trainer.state.epoch == 2)

    make_trainer(trackers=[Look(tmp_path / "mirror")], callbacks=[Save()]).train()
    assert seen == [("0001-step-000000004", 4, True), ("0002-step-000000008", 8, True)]


def test_what_is_recorded_meanwhile_is_gathered_for_one_call(run, tmp_path, monkeypatch):
    monkeypatch.setattr(mirrors, "_SECONDS_BETWEEN", 0.2)

    class Counting(FolderTracker):
        calls = 0

        def write(self, items):
            self.calls += 1
            super().write(items)

    tracker = Counting(tmp_path / "mirror")
    mirror = Mirror(tracker, "folder", run.path)
    start = time.monotonic()
    mirror.start()
    for number in range(100):
        scores(run, 1, number)
        time.sleep(0.005)
    run.finish("finished", "done")
    assert mirror.end() == 0
    assert 1 <= tracker.calls <= (time.monotonic() - start) / 0.2 + 2
    assert len(arrived(tracker, run)) == 100


def test_lines_that_tell_nothing_hold_nothing_up(run, tmp_path):
    scores(run, 1)
    damage = ['{"name": "half', "[1, 2]", '"text"', '{"name": "x"}', '{"kind": "film", "name": "x", "split": "train"}']
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write("\n".join([*damage, '{"name": "x", "split": "train", "epoch": null, "step": 1, "value": 0}', ""]))
    scores(run, 1, start=1)
    run.finish("finished", "done")
    tracker = FolderTracker(tmp_path / "mirror")
    assert Mirror(tracker, "folder", run.path).end() == 0
    assert arrived(tracker, run) == [1, 2]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"place": {}, "there": [], "left": [{}]}'])
def test_a_state_that_cannot_be_read_is_begun_anew(run, tmp_path, content):
    (run.path / "trackers").mkdir()
    (run.path / "trackers" / "folder.json").write_text(content)
    scores(run, 2)
    run.finish("finished", "done")
    tracker = FolderTracker(tmp_path / "mirror")
    assert Mirror(tracker, "folder", run.path).end() == 0
    assert arrived(tracker, run) == [1, 2]


def test_a_file_that_is_gone_is_told_and_a_checkpoint_that_is_gone_is_not(run, tmp_path):
    class Opening(FolderTracker):
        def write(self, items):
            for item in items:
                item.path.stat()

    for name in ("file", "0001-step-000000004"):
        (run.path / name).touch()
    run.track_file("file", run.path / "file", DataSplit.TRAIN, 1, 1)
    run.note_checkpoint(run.path / "0001-step-000000004", epoch=1, step=4)
    scores(run, 0)
    run.finish("finished", "done")
    for name in ("file", "0001-step-000000004"):
        (run.path / name).unlink()
    assert Mirror(Opening(tmp_path / "mirror"), "opening", run.path, seconds=5).end() == 1


def test_what_was_left_and_has_arrived_is_left_no_more(make_trainer, tmp_path):
    tracker = Absent(tmp_path / "mirror", open=10**6)
    tracker.close_seconds = 0.1
    trainer = make_trainer(trackers=[tracker])
    trainer.train()
    assert trainer.run.record["untracked"]["Absent"] > 0
    tracker.absent.clear()
    assert sync_to(trainer.run.path, tracker, "Absent") == 0
    assert RunDirectory.open(trainer.run.path).record["untracked"] == {"Absent": 0}


def test_a_run_killed_while_its_records_are_cut_is_cut_again_to_the_same(run, tmp_path, monkeypatch):
    tracker = FolderTracker(tmp_path / "mirror")
    scores(run, 3)
    position = run.position()
    scores(run, 3, start=3)
    run.finish("failed", "broken")
    assert Mirror(tracker, "folder", run.path).end() == 0

    class KilledError(Exception):
        pass

    def killed(*_):
        raise KilledError

    again = RunDirectory.open(run.path)
    again.go_back(position)
    with monkeypatch.context() as patch:
        patch.setattr("os.truncate", killed)
        with pytest.raises(KilledError):
            again.begin([], seed=0)
    once_more = RunDirectory.open(run.path)
    once_more.go_back(position)
    once_more.begin([], seed=0)
    scores(once_more, 5, start=3)
    once_more.finish("finished", "done")
    given = []

    class Noting(FolderTracker):
        def write(self, items):
            given.extend(item.step for item in items)
            super().write(items)

    assert Mirror(Noting(tmp_path / "mirror"), "folder", run.path).end() == 0
    assert given == [7, 8]  # the others are there
    assert arrived(tracker, run) == list(range(1, 9))


def test_a_secret_in_an_error_is_neither_logged_nor_written_down(run, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("ACME_TOKEN", "topsecretvalue")

    class Telling(FolderTracker):
        def write(self, items):
            raise PermissionError("the token topsecretvalue is refused")

    scores(run, 1)
    run.finish("finished", "done")
    assert Mirror(Telling(tmp_path / "mirror"), "telling", run.path, seconds=5).end() == 1
    assert "the token *** is refused" in caplog.text
    assert "topsecretvalue" not in caplog.text
    for path in run.path.rglob("*.json*"):
        assert "topsecretvalue" not in path.read_text()
