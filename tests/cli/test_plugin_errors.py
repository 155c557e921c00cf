"""Plugins on the command line: switched off, broken, failing in training; one sentence each, and exit code 4."""

from __future__ import annotations

import json

import pytest

from artifact_torch.cli.main import main

FEW = ["--set", "training.epochs=2", "--set", "validation.plots=[]", "--set", "validation.score_collections=[]"]

FAILING = """
from artifact_torch import Callback, hookimpl


class Failing(Callback):
    @hookimpl
    def execute_epoch_preprocessing(self, trainer):
        raise KeyError("speed")
"""

WRONG = """
from artifact_torch import Callback, hookimpl


class Wrong(Callback):
    @hookimpl
    def execute_epoch_preprocessing(self, trainr):
        pass

    @hookimpl
    def on_train_ende(self):
        pass
"""

GREETING = """
from artifact_torch import hookimpl


@hookimpl
def log_epoch_metrics():
    return {"greeting": 1.0}
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("number,label\n" + "".join(f"{row % 7},{'ab'[row % 2]}\n" for row in range(40)))
    return path


def exit_code(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def test_a_plugin_that_fails_in_a_hook_is_one_sentence_that_says_whose_and_where(table, tmp_path, install, capsys):
    install("speedo", {"artifact_torch.callbacks": {"speed": "speed_for_test:Failing"}}, speed_for_test=FAILING)
    runs = tmp_path / "runs"
    options = ["--set", "callbacks.speed={}", "--set", "training.standard_callbacks=false", *FEW]
    assert exit_code("train", "--data", table, "--runs", runs, *options) == 4
    (record,) = runs.glob("default/*/run.json")
    assert capsys.readouterr().err == (
        "Error: The plugin 'Failing' (speedo 1.0) failed in execute_epoch_preprocessing, epoch 1, step 0: KeyError: "
        f"'speed' ({tmp_path}/site/speed_for_test.py:8). The traceback is in {record}.\n"
    )
    written = json.loads(record.read_text())
    assert written["status"] == "failed"
    assert "In the plugin 'Failing' (speedo 1.0), hook execute_epoch_preprocessing, epoch 1" in written["traceback"]


LEAVING = """
import sys

from artifact_torch import Callback, hookimpl


class Leaving(Callback):
    @hookimpl
    def execute_epoch_preprocessing(self):
        sys.exit(0)
"""

UNBUILT = """
from artifact_torch import Callback


class Unbuilt(Callback):
    def __init__(self) -> None:
        self.size = 1 / 0
"""


def test_a_plugin_that_leaves_the_program_is_named(table, tmp_path, install, capsys):
    install("leaver", {"artifact_torch.callbacks": {"leave": "leave_for_test:Leaving"}}, leave_for_test=LEAVING)
    options = ["--set", "callbacks.leave={}", "--set", "training.standard_callbacks=false", *FEW]
    assert exit_code("train", "--data", table, "--runs", tmp_path / "runs", *options) == 4
    (record,) = tmp_path.glob("runs/default/*/run.json")
    assert capsys.readouterr().err == (
        "Error: The plugin 'Leaving' (leaver 1.0) failed in execute_epoch_preprocessing, epoch 1, step 0: SystemExit: "
        f"0 ({tmp_path}/site/leave_for_test.py:10). The traceback is in {record}.\n"
    )


def test_a_component_that_cannot_be_built_is_named(table, tmp_path, install, capsys):
    install("unbuilt", {"artifact_torch.callbacks": {"unbuilt": "unbuilt_for_test:Unbuilt"}}, unbuilt_for_test=UNBUILT)
    assert exit_code("train", "--data", table, "--runs", tmp_path / "runs", "--set", "callbacks.unbuilt={}", *FEW) == 4
    told = capsys.readouterr().err
    assert told == (
        "Error: The callback 'unbuilt' cannot be built: ZeroDivisionError: division by zero "
        f"({tmp_path}/site/unbuilt_for_test.py:7). Repair unbuilt_for_test.Unbuilt.\n"
    )
    assert not (tmp_path / "runs").exists()


def test_all_that_is_wrong_with_chosen_plugins_is_told_before_training(table, tmp_path, install, capsys):
    callbacks = {"artifact_torch.callbacks": {"wrong": "wrong_for_test:Wrong", "lost": "lost_for_test:Lost"}}
    install("mistaken", callbacks, wrong_for_test=WRONG)
    runs = tmp_path / "runs"
    assert exit_code("train", "--data", table, "--runs", runs, "--set", "callbacks.wrong={}", *FEW) == 4
    assert capsys.readouterr().err == (
        "Error: The plugin 'Wrong' of mistaken 1.0 cannot be used: execute_epoch_preprocessing has no argument "
        f"'trainr': did you mean 'trainer'? ({tmp_path}/site/wrong_for_test.py:6).\n"
        "The plugin 'Wrong' of mistaken 1.0 cannot be used: there is no hook 'on_train_ende': did you mean "
        f"'on_train_end'? ({tmp_path}/site/wrong_for_test.py:10).\n"
    )
    assert not runs.exists() or not list(runs.iterdir())
    assert exit_code("train", "--data", table, "--runs", runs, "--set", "callbacks.lost={}", *FEW) == 4
    assert "'lost' of mistaken 1.0 cannot be imported from lost_for_test:Lost" in capsys.readouterr().err


def test_a_plugin_is_left_out_by_option_by_description_and_by_environment(
    table, tmp_path, install, capsys, monkeypatch
):
    install("greetings", {"artifact_torch.plugins": {"greeting": "greeting_for_test"}}, greeting_for_test=GREETING)

    def is_recorded(*options):
        runs = tmp_path / f"runs{len(list(tmp_path.glob('runs*')))}"
        assert exit_code("train", "--data", table, "--runs", runs, *FEW, *options) == 0
        capsys.readouterr()
        (metrics,) = runs.glob("default/*/metrics.jsonl")
        return '"greeting"' in metrics.read_text()

    assert is_recorded()
    assert not is_recorded("--no-plugin", "greeting")
    assert not is_recorded("--no-plugin", "Greetings")
    assert not is_recorded("--set", "plugins.disable=['greetings:greeting']")
    assert not is_recorded("--set", "plugins.only=[]")
    monkeypatch.setenv("ARTIFACT_TORCH_DISABLE", "greetings")
    assert not is_recorded()


def test_a_name_that_nothing_installed_has_is_refused(table, tmp_path, install, capsys):
    install("greetings", {"artifact_torch.plugins": {"greeting": "greeting_for_test"}}, greeting_for_test=GREETING)
    assert exit_code("train", "--data", table, "--no-plugin", "greetin", "--runs", tmp_path / "runs") == 2
    told = "--no-plugin: No installed plugin or distribution is named 'greetin': did you mean 'greeting'?"
    assert told in capsys.readouterr().err
    only = ["--set", "plugins.only=['greetin']"]
    assert exit_code("train", "--data", table, *only, "--runs", tmp_path / "runs") == 2
    assert "No installed plugin or distribution is named 'greetin': did you mean 'greeting'?" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_component_that_is_switched_off_cannot_be_chosen(table, tmp_path, capsys):
    options = ["--no-plugin", "artifact-torch-stoppers", "--set", "stoppers.patience={}"]
    assert exit_code("train", "--data", table, *options, "--runs", tmp_path / "runs") == 4
    assert "The stopper 'patience' of artifact-torch-stoppers 1.0.0 is switched off" in capsys.readouterr().err


def test_a_command_of_a_distribution_that_is_switched_off_is_not_there(capsys, monkeypatch):
    monkeypatch.setenv("ARTIFACT_TORCH_DISABLE", "artifact-torch-table-comparison")
    assert exit_code("demo") == 2
    assert "There is no command 'demo'." in capsys.readouterr().err
