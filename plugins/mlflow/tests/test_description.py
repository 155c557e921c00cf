"""Parameters, tags, files and models of a run stand in MLflow where one looks for them."""

from __future__ import annotations

import json
import os

import pytest
from artifact_torch_mlflow import MLflowTracker
from artifact_torch_mlflow.store import quick

from artifact_torch import DataSplit, ModelTracker, RunDirectory, Trainer, UsageError, sync_to
from artifact_torch.testing import TinyModel, tiny_loader


@pytest.fixture
def uri(runs_root):
    return f"sqlite:///{runs_root / 'mlflow.db'}"


def make_run(root, params=(), tags=()):
    run = RunDirectory.create("described", root=root, tags=tags)
    run.begin([{"name": "optimizers", "version": "1.0"}], seed=7)
    run.track_params(dict(params))
    return run


def deliver(run, **options):
    assert sync_to(run.path, MLflowTracker(**options), "mlflow") == 0


def test_parameters_are_written_once_and_changes_are_told(runs_root, uri, reader):
    run = make_run(runs_root, {"epochs": 3, "flag": True, "text": "a b", "list": [1, 2], "strange@name": None})
    run.finish("finished", "done")
    deliver(run)
    found = reader.mirrored(uri, run.path)
    assert found.params == {"epochs": "3", "flag": "true", "text": "a b", "list": "[1, 2]", "strange@name": "null"}
    run.track_params({"epochs": 5, "flag": True, "new": 1})
    deliver(run)
    again = reader.read_one(uri, run.path)
    assert (again["params"]["epochs"], again["params"]["new"]) == ("3", "1")
    assert json.loads(again["tags"]["artifact_torch.changed_params"]) == {"epochs": "5"}


def test_a_parameter_that_is_too_long_is_cut_and_kept_in_full(runs_root, uri, reader):
    text = "größer " * 2000
    run = make_run(runs_root, {"data/description": text} | {f"number_{number}": number for number in range(250)})
    run.finish("finished", "done")
    deliver(run)
    deliver(run)
    found = reader.read_one(uri, run.path)
    assert found["params"]["data/description"].endswith("(cut: all of it is in params/data/description.txt)")
    assert found["texts"]["params/data/description.txt"] == text
    assert len(found["params"]) == 251
    assert not found["tags"].get("artifact_torch.changed_params"), "what was cut is no change"


def test_tags_say_what_the_run_is_and_follow_it(runs_root, uri, reader):
    run = make_run(runs_root, tags=["first", "größer als / alles"])
    run.finish("stopped", "the loss has diverged")
    deliver(run)
    found = reader.read_one(uri, run.path)
    tags = found["tags"]
    assert found["experiment"] == "described"
    assert found["status"] == "FINISHED"
    assert (tags["artifact_torch.status"], tags["artifact_torch.reason"]) == ("stopped", "the loss has diverged")
    assert (tags["artifact_torch.seed"], tags["artifact_torch.plugins"]) == ("7", "optimizers 1.0")
    assert (tags["mlflow.runName"], tags["artifact_torch.run_id"]) == (run.path.name, run.path.name)
    assert run.record["revision"].startswith(tags["mlflow.source.git.commit"])
    assert json.loads(found["texts"]["environment.json"]) == run.record["environment"]
    run.untag("first")
    run.tag("later")
    deliver(run)
    assert reader.mirrored(uri, run.path).tags == {"größer als / alles", "later"}


def test_files_lie_where_their_kind_and_name_say(runs_root, uri, reader, tmp_path):
    run = make_run(runs_root)
    folder = tmp_path / "made"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a#b.bin").write_bytes(b"1")
    (folder / "table.csv").write_text("a,b")
    run.track_file("model", folder, DataSplit.TRAIN, 1, 1)
    run.track_file("data/syn:thetic", folder / "table.csv", DataSplit.TRAIN, 1, 1)
    run.note_checkpoint(folder, epoch=1, step=1)
    run.note_checkpoint(tmp_path / "replaced", epoch=1, step=2)
    run.finish("finished", "done")
    deliver(run)
    expected = ["environment.json", "files/data/syn_x003A_thetic/table.csv"]
    expected += ["model/inner/a_x0023_b.bin", "model/table.csv", "names.json"]
    assert reader.read_one(uri, run.path)["artifacts"] == expected
    (run.path / "trackers" / "mlflow.json").unlink()
    deliver(run, checkpoints=True)
    added = set(reader.read_one(uri, run.path)["artifacts"]) - set(expected)
    assert added == {"checkpoints/made/inner/a_x0023_b.bin", "checkpoints/made/table.csv"}
    assert oct((runs_root / "mlflow-artifacts").stat().st_mode) == oct(runs_root.stat().st_mode)


@pytest.mark.parametrize("where", ["database", pytest.param("server", marks=pytest.mark.slow)])
def test_the_best_model_becomes_a_version_that_the_alias_names(where, runs_root, uri, reader, request):
    uri = uri if where == "database" else request.getfixturevalue("server").uri
    model_tracker = ModelTracker(score="train/loss")
    tracker = MLflowTracker(uri=uri, register_model="tiny model", experiment="elsewhere")
    trainer = Trainer(
        TinyModel(),
        tiny_loader(16),
        epochs=2,
        device="cpu",
        run=RunDirectory.create(root=runs_root),
        model_tracker=model_tracker,
        trackers=[tracker],
        use_installed_plugins=False,
    )
    trainer.train()
    found = reader.read_one(uri, trainer.run.path)
    ((name, aliases, versions),) = found["models"]
    assert (name, found["experiment"]) == ("tiny model", "elsewhere")
    sources = {str(version): source for version, source, run_id in versions if run_id == found["id"]}
    assert sources[str(aliases["best"])].endswith("/best_model")
    assert {source.rpartition("/")[2] for source in sources.values()} <= {"best_model", "model"}
    folder = [path for path in found["artifacts"] if path.startswith("best_model/")]
    assert len(folder) == len(list((trainer.run.path / "best" / model_tracker.kept[0].name).iterdir()))
    (trainer.run.path / "trackers" / "mlflow.json").unlink()
    assert sync_to(trainer.run.path, tracker, "mlflow") == 0
    assert reader.read_one(uri, trainer.run.path)["models"] == found["models"]


def test_mlflow_is_given_little_time_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    before = dict(os.environ)
    with quick():
        with quick():
            assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert dict(os.environ) == before


def test_the_fluent_interface_of_the_user_is_left_alone(runs_root, uri):
    import mlflow

    address = mlflow.get_tracking_uri()
    run = make_run(runs_root)
    run.track_score("score", 1.0, DataSplit.TRAIN, 1, 1)
    run.finish("finished", "done")
    deliver(run)
    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == address


def test_the_address_may_stand_in_the_environment(tmp_path, runs_root, uri, reader, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    run = make_run(tmp_path / "elsewhere")
    run.finish("finished", "done")
    deliver(run)
    assert reader.read_one(uri, run.path)["status"] == "FINISHED"
    assert not (tmp_path / "elsewhere" / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"uri": " "}, "The uri of MLflowTracker is empty"),
        ({"uri": "https://user:secret@host/mlflow"}, "has a login in it: give the address without"),
        ({"uri": "postgresql://user:secret@host/db"}, "the whole in MLFLOW_TRACKING_URI"),
        ({"experiment": ""}, "1 to 500 characters, not 0"),
        ({"experiment": "x" * 501}, "1 to 500 characters, not 501"),
        ({"register_model": "a/b"}, "MLflow cannot register a model as 'a/b'"),
        ({"register_model": ""}, "MLflow cannot register a model as ''"),
    ],
)
def test_bad_parameters_are_refused_in_one_sentence(options, message):
    with pytest.raises(UsageError) as error:
        MLflowTracker(**options)
    assert message in str(error.value)
    assert "secret" not in str(error.value)
