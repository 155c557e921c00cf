"""``resume``: an interrupted run goes on to what it would have been."""

from __future__ import annotations

import json
import os
import platform

import pytest

from artifact_torch.cli.main import main

STOPPING = """
import os

from artifact_torch import Callback, hookimpl


class Stopping(Callback):
    def __init__(self):
        self.seen = 0

    @hookimpl(trylast=True)
    def execute_epoch_postprocessing(self, trainer):
        self.seen += 1
        if trainer.state.epoch == 2 and "FAIL_FOR_TEST" in os.environ:
            raise RuntimeError("the power is off")

    @hookimpl
    def on_save_checkpoint(self):
        return {"seen": self.seen}

    @hookimpl
    def on_load_checkpoint(self, state):
        self.seen = state["seen"]
"""

CONFIG = """
[data]
file = "table.csv"

[training]
epochs = 4

[validation]
plots = []

[callbacks.checkpoint]

[callbacks.stopping]
"""


@pytest.fixture
def folder(tmp_path, install):
    install(
        "stopping", {"artifact_torch.callbacks": {"stopping": "stopping_for_test:Stopping"}}, stopping_for_test=STOPPING
    )
    (tmp_path / "table.csv").write_text("number,label\n" + "".join(f"{n % 7},{'ab'[n % 2]}\n" for n in range(40)))
    (tmp_path / "experiment.toml").write_text(CONFIG)
    return tmp_path


def exit_code(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def interrupted(folder, monkeypatch, name):
    monkeypatch.setenv("FAIL_FOR_TEST", "1")
    assert exit_code("train", folder / "experiment.toml", "--runs", folder / name) == 4
    monkeypatch.delenv("FAIL_FOR_TEST")
    (run,) = (folder / name / "default").iterdir()
    return run


def test_a_run_that_failed_goes_on_to_the_same_end(folder, monkeypatch, capsys):
    run = interrupted(folder, monkeypatch, "failed")
    capsys.readouterr()
    assert exit_code("resume", run, "--json") == 0
    resumed = json.loads(capsys.readouterr().out)
    assert exit_code("train", folder / "experiment.toml", "--runs", folder / "whole", "--json") == 0
    whole = json.loads(capsys.readouterr().out)
    assert resumed["run_dir"] == str(run)
    assert (resumed["epochs"], resumed["scores"]) == (whole["epochs"], whole["scores"])
    assert (run / "synthetic.csv").read_bytes() == (folder / "whole").glob(
        "default/*/synthetic.csv"
    ).__next__().read_bytes()
    assert json.loads((run / "run.json").read_text())["status"] == "finished"


def test_state_of_a_plugin_that_is_gone_is_refused_unless_it_is_allowed(folder, monkeypatch, capsys):
    run = interrupted(folder, monkeypatch, "failed")
    record = json.loads((run / "run.json").read_text())
    del record["description"]["callbacks"]["stopping"]
    (run / "run.json").write_text(json.dumps(record))
    capsys.readouterr()
    assert exit_code("resume", run) == 1
    assert capsys.readouterr().err.endswith(
        "Error: The checkpoint holds state of plugins that are not here: 'Stopping' (stopping 1.0). Install or choose "
        "them, or go on without their state (--allow-plugin-drift, allow_plugin_drift=True).\n"
    )
    assert exit_code("resume", run, "--allow-plugin-drift") == 0
    assert "'Stopping' (stopping 1.0)" in capsys.readouterr().err


def test_a_finished_run_and_what_is_no_run_are_refused(folder, capsys):
    assert exit_code("train", folder / "experiment.toml", "--runs", folder / "runs") == 0
    (run,) = (folder / "runs" / "default").iterdir()
    capsys.readouterr()
    assert exit_code("resume", run) == 2
    assert capsys.readouterr().err.endswith(
        "is finished: there is nothing to go on with. Give it more epochs (--epochs), or train anew for another run.\n"
    )
    assert exit_code("resume", folder) == 2
    assert "is not a run directory" in capsys.readouterr().err


def run_of(folder):
    (run,) = (folder / "runs" / "default").iterdir()
    return run


def test_a_finished_run_goes_on_for_more_epochs_to_what_a_longer_training_gives(folder, capsys):
    constant = ("--set", "training.schedule=constant")
    assert exit_code("train", folder / "experiment.toml", *constant, "--runs", folder / "runs") == 0
    capsys.readouterr()
    assert exit_code("resume", run_of(folder), "--epochs", 6, "--json") == 0
    resumed = json.loads(capsys.readouterr().out)
    longer = ("--set", "training.epochs=6", *constant)
    assert exit_code("train", folder / "experiment.toml", *longer, "--runs", folder / "longer", "--json") == 0
    whole = json.loads(capsys.readouterr().out)
    assert (resumed["epochs"], resumed["scores"]) == (6, whole["scores"])
    assert json.loads((run_of(folder) / "run.json").read_text())["description"]["training"]["epochs"] == 6


def test_a_schedule_that_was_made_for_fewer_epochs_is_told_and_kept_by_force(folder, monkeypatch, capsys):
    run = interrupted(folder, monkeypatch, "failed")
    capsys.readouterr()
    assert exit_code("resume", run, "--epochs", 6) == 1
    told = capsys.readouterr().err
    assert (
        "Training would not go on as it would have gone on without the interruption: scheduler.total_steps was" in told
    )
    assert exit_code("resume", run, "--epochs", 6, "--force", "--json") == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 6


def test_data_that_changed_is_told_and_refused(folder, monkeypatch, capsys):
    run = interrupted(folder, monkeypatch, "failed")
    (folder / "table.csv").write_text(
        "number,label\n" + "".join(f"{n % 7},{'ab'[n % 2]}\n" for n in reversed(range(40)))
    )
    capsys.readouterr()
    assert exit_code("resume", run) == 1
    assert "train_loader." in capsys.readouterr().err


def test_resume_auto_begins_then_goes_on_then_begins_anew(folder, monkeypatch, capsys):
    command = ("train", folder / "experiment.toml", "--runs", folder / "runs", "--resume", "auto", "--json")
    monkeypatch.setenv("FAIL_FOR_TEST", "1")
    assert exit_code(*command) == 4
    monkeypatch.delenv("FAIL_FOR_TEST")
    run = run_of(folder)
    capsys.readouterr()
    assert exit_code(*command[:-1], "--json", "--set", "data.train_share=0.7") == 0  # another description
    assert json.loads(capsys.readouterr().out)["run_dir"] != str(run)
    assert exit_code(*command) == 0
    assert json.loads(capsys.readouterr().out)["run_dir"] == str(run)
    assert exit_code(*command) == 0
    assert json.loads(capsys.readouterr().out)["run_dir"] != str(run)
    assert len(list((folder / "runs" / "default").iterdir())) == 3


def test_a_run_that_another_process_trains_is_left_alone(folder, monkeypatch, capsys):
    run = interrupted(folder, monkeypatch, "failed")
    record = json.loads((run / "run.json").read_text())
    record.update(status="running", process={"host": platform.node(), "pid": os.getppid()})
    (run / "run.json").write_text(json.dumps(record))
    capsys.readouterr()
    assert exit_code("resume", run) == 2
    assert f"The process {os.getppid()} of this machine is training in {run}: wait for it, or stop it." in (
        capsys.readouterr().err
    )


def test_the_records_of_what_is_done_again_are_moved_aside(folder, monkeypatch, capsys):
    run = interrupted(folder, monkeypatch, "failed")
    kept = (run / "metrics.jsonl").read_text()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"name": "loss", "split": "train", "epoch": 2, "st')  # a process that was killed while it wrote
    assert exit_code("resume", run) == 0
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    of_epochs = [line["epoch"] for line in lines if (line["name"], line["split"]) == ("loss", "train")]
    assert of_epochs == [1, 2, 3, 4]
    assert (run / "metrics.superseded.jsonl").exists()
    assert (run / "metrics.jsonl").read_text().startswith(kept[:100])
