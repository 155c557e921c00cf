"""The command line as a whole: what help says, what it costs, what mistakes and failures look like."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import importlib_metadata
import pytest

from artifact_torch.cli.main import _OWN_COMMANDS, main

COMMAND = Path(sys.executable).with_name("artifact-torch")
HEAVY = {"torch", "pandas", "numpy", "pydantic", "pyarrow", "matplotlib", "artifact_core", "artifact_experiment"}
LIGHT_COMMANDS = [["--help"], ["--version"], ["list-plugins"], ["list-plugins", "--json"], ["list-hooks"]]


def exit_code(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def small_table(path):
    path.write_text("number,label\n" + "".join(f"{row % 7},{'ab'[row % 2]}\n" for row in range(40)))
    return path


GREETER = """
import click


@click.command()
@click.argument("name")
def greet(name):
    click.echo(f"Hi {name}")
"""

ASKER = """
import click


@click.command()
def ask():
    raise click.Abort
"""

INTERRUPTING = """
import signal

from artifact_torch import Callback, hookimpl


class Interrupting(Callback):
    @hookimpl
    def execute_epoch_postprocessing(self, trainer):
        signal.raise_signal(signal.SIGINT)  # what Ctrl-C does
"""


@pytest.mark.parametrize("arguments", LIGHT_COMMANDS, ids=" ".join)
def test_help_and_listing_import_nothing_heavy(arguments):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", COMMAND, *arguments], check=True, capture_output=True, text=True
    )
    imported = set(re.findall(r"^import time:.*\|\s+(\w+)", done.stderr, flags=re.MULTILINE))
    assert "artifact_torch" in imported
    assert not imported & HEAVY
    assert not {name for name in imported if name.startswith("artifact_torch_")}


def test_help_lists_the_commands_of_the_core_and_of_plugins(capsys):
    assert exit_code("--help") == 0
    shown = capsys.readouterr()
    for line in (r"train +Train, validate", r"generate +Write", r"list-plugins +Show", r"demo +\(from artifact-torch-"):
        assert re.search(rf"^  {line}", shown.out, flags=re.MULTILINE)
    assert "Exit codes: 0 done" in shown.out
    assert not shown.err


def test_every_command_has_help(capsys):
    for command in ("demo", *_OWN_COMMANDS):
        assert exit_code(command, "--help") == 0
        assert capsys.readouterr().out.startswith(f"Usage: artifact-torch {command} ")


def test_version_is_that_of_the_distribution(capsys):
    assert exit_code("--version") == 0
    assert capsys.readouterr().out.split()[-1] == importlib_metadata.version("artifact-torch")


@pytest.mark.parametrize(
    ("command", "hint"), [("trian", " Did you mean 'train'?"), ("plugins", " Did you mean 'list-plugins'?"), ("x", "")]
)
def test_an_unknown_command_is_refused_with_the_nearest_one(command, hint, capsys):
    assert exit_code(command) == 2
    shown = capsys.readouterr()
    assert shown.err.endswith(f"Error: There is no command {command!r}.{hint}\n")
    assert not shown.out


def test_an_unknown_option_is_wrong_usage(capsys):
    assert exit_code("train", "--dta", "x.csv") == 2
    assert "--data" in capsys.readouterr().err


def test_a_command_of_a_plugin_runs_and_help_names_its_distribution(install, capsys):
    install("greeter", {"artifact_torch.commands": {"greet": "greeter_for_test:greet"}}, greeter_for_test=GREETER)
    assert exit_code("--help") == 0
    assert re.search(r"^  greet +\(from greeter\)$", capsys.readouterr().out, flags=re.MULTILINE)
    assert "greeter_for_test" not in sys.modules
    assert exit_code("greet", "Ada") == 0
    assert capsys.readouterr().out == "Hi Ada\n"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("absent_module_for_test:command", "cannot be imported from absent_module_for_test:command"),
        ("json:dumps", "is not a click command"),
    ],
)
def test_a_broken_command_of_a_plugin_is_a_plugin_error(value, told, install, capsys):
    install("broken", {"artifact_torch.commands": {"shatter": value}})
    assert exit_code("shatter") == 4
    shown = capsys.readouterr().err
    assert told in shown
    assert shown.count("\n") == 1


def test_a_loss_that_diverges_has_its_exit_code_and_the_run_is_recorded_as_failed(tmp_path, capsys):
    table, runs = small_table(tmp_path / "table.csv"), tmp_path / "runs"
    options = ["--set", "training.learning_rate=1e30", "--set", "training.epochs=2", "--set", "validation.plots=[]"]
    assert exit_code("train", "--data", table, "--runs", runs, *options) == 3
    assert "loss became" in capsys.readouterr().err
    (record,) = runs.glob("default/*/run.json")
    assert json.loads(record.read_text())["status"] == "failed"


def test_an_interrupted_training_has_its_exit_code_and_the_run_is_recorded_as_interrupted(tmp_path, install, capsys):
    callbacks = {"artifact_torch.callbacks": {"interrupting": "interrupting_for_test:Interrupting"}}
    install("interrupting", callbacks, interrupting_for_test=INTERRUPTING)
    options = ["--set", "callbacks.interrupting={}", "--set", "validation.plots=[]"]
    table, runs = small_table(tmp_path / "table.csv"), tmp_path / "runs"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert exit_code("train", "--data", table, "--runs", runs, *options) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    shown = capsys.readouterr()
    (record,) = runs.glob("default/*/run.json")
    assert shown.err.endswith(f"Interrupted. Go on with: artifact-torch resume {record.parent}\n")
    assert not shown.out
    assert json.loads(record.read_text())["status"] == "interrupted"
    assert not list(runs.glob("default/*/synthetic.csv"))


def test_an_aborted_prompt_counts_as_an_interrupt(install, capsys):
    install("asker", {"artifact_torch.commands": {"ask": "asker_for_test:ask"}}, asker_for_test=ASKER)
    assert exit_code("ask") == 130
    assert capsys.readouterr().err == "Interrupted.\n"


def test_a_reader_that_has_gone_ends_the_command_quietly():
    with subprocess.Popen(
        [COMMAND, "list-plugins", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == b""
    assert command.returncode == 1
