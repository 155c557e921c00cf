"""``resume``: an interrupted run goes on to what it would have been."""

from __future__ import annotations

import json

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
        "is finished: there is nothing to go on with. Train anew for another run.\n"
    )
    assert exit_code("resume", folder) == 2
    assert "is not a run directory" in capsys.readouterr().err
