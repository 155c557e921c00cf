"""What a run looks like in Weights & Biases."""

from __future__ import annotations

import json

import numpy as np
import pytest
from artifact_torch_wandb import WandbTracker

from artifact_torch import DataSplit, ModelTracker, RunDirectory, Trainer, sync_to
from artifact_torch.testing.parts import TinyModel, tiny_loader

pytestmark = pytest.mark.lengthy


@pytest.fixture
def run(tmp_path):
    run = RunDirectory.create("tables", root=tmp_path / "runs")
    run.begin([], seed=3)
    return run


def finished(run, **parameters):
    run.finish("finished", "done")
    assert sync_to(run.path, WandbTracker(mode="offline", **parameters), "wandb") == 0
    return run.path


def of_kind(records, kind):
    return [record[kind] for record in records if record["type"] == kind]


@pytest.fixture
def trained(tmp_path):
    trainer = Trainer(
        TinyModel(),
        tiny_loader(),
        epochs=2,
        seed=3,
        model_tracker=ModelTracker(score="train/loss"),
        params={"model": "tiny"},
        run=RunDirectory.create("tables", root=tmp_path / "runs", tags=["first try"]),
        trackers=[WandbTracker(mode="offline", project="my project", entity="team")],
    )
    trainer.train()
    return trainer


def test_a_training_is_a_run_with_config_history_artifacts_and_summary(trained, records):
    found = records(trained.run.path)
    begun = of_kind(found, "run")[0]
    assert (begun["run_id"], begun["display_name"]) == (trained.run.path.name, trained.run.path.name)
    assert (begun["project"], begun["entity"], begun["tags"]) == ("my project", "team", ["first try"])
    config = begun["config"]["update"]
    about = config["artifact_torch"]
    assert config["model"] == "tiny"
    assert about["seed"] == 3
    assert about["experiment"] == "tables"
    assert "run_directory" in [plugin["name"] for plugin in about["plugins"]]
    rows = [record["item"] for record in of_kind(found, "history")]
    assert [(row["trainer/step"], row["epoch"]) for row in rows if "train/loss" in row] == [(4, 1), (8, 2)]
    assert [row["_step"] for row in rows] == list(range(len(rows)))
    metrics = [
        (metric.get("name"), metric.get("glob_name"), metric.get("step_metric")) for metric in of_kind(found, "metric")
    ]
    assert (None, "*", "trainer/step") in metrics
    artifacts = {json.loads(artifact["metadata"])["name"]: artifact for artifact in of_kind(found, "artifact")}
    assert set(artifacts) == {"model", "best_model"}
    assert set(artifacts["model"]["aliases"]) == {"latest", "step-8"}
    assert set(artifacts["best_model"]["aliases"]) == {"latest", "step-8", "best"}
    assert {artifact["type"] for artifact in artifacts.values()} == {"model"}
    summary = {name: value for each in of_kind(found, "summary") for name, value in each["update"].items()}
    assert summary["run/status"] == "finished"
    assert summary["run/reason"] == "all 2 epochs are done"
    assert summary["train/loss"] == trained.epoch_scores["train/loss"].iloc[-1]
    assert (summary["best/epoch"], summary["best/step"]) == (2, 8)
    assert summary["best/score"] == trained.epoch_scores["train/loss"].min()
    assert [end.get("exit_code", 0) for end in of_kind(found, "exit")] == [0]


def test_a_training_that_fails_ends_with_exit_code_1(tmp_path, records):
    class Failing(TinyModel):
        def forward(self, batch):
            raise RuntimeError("broken on purpose")

    run = RunDirectory.create("tables", root=tmp_path / "runs")
    trainer = Trainer(Failing(), tiny_loader(), epochs=1, run=run, trackers=[WandbTracker(mode="offline")])
    with pytest.raises(RuntimeError, match="broken on purpose"):
        trainer.train()
    found = records(run.path)
    assert [end["exit_code"] for end in of_kind(found, "exit")] == [1]
    summary = {name: value for each in of_kind(found, "summary") for name, value in each["update"].items()}
    assert summary["run/status"] == "failed"
    assert "broken on purpose" in summary["run/reason"]


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.arange(5), "histogram"),
        (np.array([1.0, np.nan, np.inf, 3.0]), "histogram"),
        (np.array([True, False]), "histogram"),
        (np.eye(3), "table-file"),
        (np.array([[1.0, np.nan]]), "table-file"),
        (np.zeros((2, 3, 4)), None),
        (np.zeros((1, 101)), None),
        (np.array([]), None),
        (np.array([np.nan]), None),
        (np.array(["text"]), None),
        (np.array(3.0), None),
    ],
    ids=lambda value: f"{value.dtype}{value.shape}" if isinstance(value, np.ndarray) else str(value),
)
def test_an_array_is_a_histogram_a_table_or_a_file(run, records, array, kind):
    run.track_array("a/b", array, DataSplit.TRAIN, 1, 1)
    found = records(finished(run))
    kinds = [row["item"]["arrays/train/a/b._type"] for row in of_kind(found, "history")]
    assert kinds == ([kind] if kind else [])
    own = [each for each in of_kind(found, "artifact") if each["type"] == "array"]
    assert [json.loads(each["metadata"])["name"] for each in own] == ([] if kind else ["a/b"])


def test_results_of_one_step_are_one_row(run, records, tmp_path):
    for step in (1, 2):
        for name in ("a", "b", "c"):
            run.track_score(name, step / 2, DataSplit.TRAIN, 1, step)
    run.track_score("late", 0.0, DataSplit.TRAIN, 1, 1)
    run.track_score("a", 7.0, DataSplit.TRAIN, 1, 2)
    rows = [record["item"] for record in of_kind(records(finished(run)), "history")]
    names = [(row["trainer/step"], sorted(name for name in row if name.startswith("train/"))) for row in rows]
    assert names == [
        (1, ["train/a", "train/b", "train/c", "train/late"]),
        (2, ["train/a", "train/b", "train/c"]),
        (2, ["train/a"]),
    ]


def test_checkpoints_are_sent_if_asked_for(run, records):
    folder = run.path / "checkpoints" / "0001-step-000000004"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{}")
    run.note_checkpoint(folder, epoch=1, step=4)
    run.finish("finished", "done")
    for wanted in (False, True):
        name = f"wandb_{wanted}"
        assert sync_to(run.path, WandbTracker(mode="offline", checkpoints=wanted), name) == 0
        assert [each["type"] for each in of_kind(records(run.path), "artifact")] == ["checkpoint"] * wanted


def test_the_command_of_wandb_finds_the_run(run, wandb_command):
    run.track_score("score", 0.5, DataSplit.TRAIN, 1, 1)
    path = finished(run)
    (folder,) = (path / "wandb").glob("offline-run-*")
    told = wandb_command("sync", "--dry-run", folder)
    assert "Would sync 1 run(s)" in told.stdout + told.stderr
    assert f"run-{path.name}.wandb" in told.stdout + told.stderr
    summary = json.loads(wandb_command("leet", "inspect", "--summary", "--json", folder).stdout)
    assert "train/score" in json.dumps(summary)
