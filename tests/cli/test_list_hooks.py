"""``list-hooks``: all hooks from their specifications alone, and one hook with who implements it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from artifact_torch.cli.hooks import list_hooks
from artifact_torch.plugin.discovery import discover
from artifact_torch.plugin.documentation import document_hooks

PROGRAM = "import sys; from artifact_torch.cli.hooks import list_hooks; list_hooks(sys.argv[1:])"
HEAVY = {"torch", "pandas", "numpy", "pydantic", "pyarrow", "matplotlib", "artifact_core", "artifact_experiment"}

IMPLEMENTING = """
from artifact_torch import hookimpl


@hookimpl{mark}
def should_stop(trainer):
    return None
"""

WRAPPING = """
from artifact_torch import hookimpl


@hookimpl(wrapper=True)
def should_stop():
    return (yield)
"""


def shown(*arguments):
    result = CliRunner().invoke(list_hooks, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def on_a_terminal(columns, *arguments):
    """What the command prints to a terminal of so many columns."""
    terminal, its_other_end = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns)}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    with subprocess.Popen(command, stdout=its_other_end, stderr=subprocess.DEVNULL, env=environment) as process:
        os.close(its_other_end)
        parts = []
        try:
            while part := os.read(terminal, 65536):
                parts.append(part)
        except OSError:  # this is how Linux says that the other end is closed
            pass
    os.close(terminal)
    assert process.returncode == 0
    return b"".join(parts).decode().replace("\r\n", "\n")


@pytest.fixture
def installed(install):
    """Four hook plugins that implement should_stop; their order is by distribution but for the marks."""
    group = "artifact_torch.plugins"
    plain, first, last = (IMPLEMENTING.format(mark=mark) for mark in ("", "(tryfirst=True)", "(trylast=True)"))
    install("acme-a", {group: {"late": "late_for_test"}}, late_for_test=last)
    install("acme-b", {group: {"plain": "plain_for_test"}}, version="2.5", plain_for_test=plain)
    install("acme-c", {group: {"early": "early_for_test"}}, early_for_test=first)
    install("acme-d", {group: {"around": "around_for_test"}}, around_for_test=WRAPPING)


EXPECTED = [
    ("around", "acme-d", "1.0", "wrapper"),
    ("early", "acme-c", "1.0", "tryfirst"),
    ("plain", "acme-b", "2.5", ""),
    ("late", "acme-a", "1.0", "trylast"),
]


# All hooks.


def test_the_table_has_a_line_for_each_hook_under_its_subject():
    lines = shown().splitlines()
    subject, found = "", {}
    for line in lines:
        if heading := re.match(r"(\w+) hooks\. ", line):
            subject = heading[1].lower()
        elif entry := re.match(r"  (\w+\(.*?\)) +(Called .*)", line):
            found[entry[1], entry[2]] = subject
    assert found == {(hook.call, hook.summary): hook.subject for hook in document_hooks()}


@pytest.mark.parametrize("columns", [80, 160])
def test_the_table_fits_the_terminal_and_leaves_nothing_out(columns):
    table = on_a_terminal(columns)
    assert max(len(line) for line in table.splitlines()) <= columns
    words = " ".join(table.split())
    for hook in document_hooks():
        assert f"{hook.call} {hook.summary}" in words
    (line,) = [line for line in table.splitlines() if "should_stop(trainer)" in line]
    assert ("Called" in line) == (columns == 160)  # a narrow terminal has the summary on the next line


@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=["table", "json"])
def test_listing_all_hooks_imports_no_plugin_and_nothing_heavy(arguments):
    command = [sys.executable, "-X", "importtime", "-c", PROGRAM, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    imported = set(re.findall(r"^import time:.*\|\s+(\w+)", done.stderr, flags=re.MULTILINE))
    assert "artifact_torch" in imported
    assert not imported & HEAVY
    assert not {name for name in imported if name.startswith("artifact_torch_")}


def test_json_has_everything_about_every_hook():
    rows = json.loads(shown("--json"))["hooks"]
    assert [row["name"] for row in rows] == [hook.name for hook in document_hooks()]
    (row,) = [row for row in rows if row["name"] == "should_stop"]
    assert row.pop("order").startswith("Last in an epoch")
    assert row.pop("text").startswith("A training that is resumed")
    assert "def should_stop(trainer):" in row.pop("example")
    (argument,) = row.pop("arguments")
    assert (argument["name"], argument["type"]) == ("trainer", "Trainer")
    assert argument["description"].startswith("the trainer; ")
    assert row == {
        "name": "should_stop",
        "subject": "loop",
        "signature": "should_stop(trainer: Trainer) -> str | None",
        "summary": "Called after each epoch: a reason to stop training, in words, or None.",
        "returns": 'The reason to stop now, in words that follow "training stopped because ...", or None to go on.',
        "return_type": "str | None",
        "first_result": False,
        "version_added": "1.0",
        "implementations": None,
    }


# One hook.


@pytest.mark.parametrize("hook", document_hooks(), ids=lambda hook: hook.name)
def test_one_hook_is_shown_in_full(hook):
    text = shown(hook.name)
    assert text.startswith(f"{hook.signature}\n\n{hook.summary}\n")
    for part in (hook.order, hook.returns, *(argument.description for argument in hook.arguments)):
        assert part in text
    assert "".join(f"  {line}".rstrip() + "\n" for line in hook.example.splitlines()) in text
    assert "artifact-torch explain CONFIG" in text.splitlines()[-1]


def test_one_hook_fits_the_terminal_but_for_its_example():
    text = on_a_terminal(60, "log_batch_metrics")
    documentation, _, rest = text.partition("Example")
    assert max(len(line) for line in documentation.splitlines()) <= 60
    assert 'return {"learning_rate": trainer.optimizer.param_groups[0]["lr"]}\n' in rest


def test_who_implements_a_hook_is_shown_in_calling_order(installed):
    _, _, listed = shown("should_stop").partition("Implemented by, in calling order:\n")
    lines = [" ".join(line.split()) for line in listed.splitlines()]
    ours = [line for line in lines if "acme" in line]
    assert ours == [
        "around acme-d 1.0 (wrapper)",
        "early acme-c 1.0 (tryfirst)",
        "plain acme-b 2.5",
        "late acme-a 1.0 (trylast)",
    ]


def test_json_of_one_hook_says_who_implements_it(installed):
    (row,) = json.loads(shown("should_stop", "--json"))["hooks"]
    assert row["name"] == "should_stop"
    keys = ("plugin", "distribution", "version", "position")
    found = [tuple(each[key] for key in keys) for each in row["implementations"]]
    assert [each for each in found if each[1].startswith("acme")] == EXPECTED


def test_a_hook_that_no_plugin_implements_says_so(monkeypatch):
    installed = [entry.qualified_name for entry in discover("plugins")]
    monkeypatch.setenv("ARTIFACT_TORCH_DISABLE", ",".join(installed))
    assert "No installed plugin implements it.\n" in shown("on_train_start")
    (row,) = json.loads(shown("on_train_start", "--json"))["hooks"]
    assert row["implementations"] == []


def test_a_broken_plugin_is_named_and_does_not_hide_the_others(installed, install, caplog):
    install("acme-broken", {"artifact_torch.plugins": {"broken": "no_such_module_for_test"}})
    (row,) = json.loads(shown("should_stop", "--json"))["hooks"]
    assert {each["plugin"] for each in row["implementations"]} >= {"around", "early", "plain", "late"}
    assert "'broken' of acme-broken 1.0" in caplog.text


@pytest.mark.parametrize(
    ("name", "hint"),
    [("should_stopp", "did you mean 'should_stop'?"), ("x", "`artifact-torch list-hooks` shows them all.")],
)
def test_an_unknown_hook_is_wrong_usage_with_the_nearest_one(name, hint):
    result = CliRunner().invoke(list_hooks, [name])
    assert result.exit_code == 2
    assert result.stderr.endswith(f"Error: There is no hook {name!r}: {hint}\n")
    assert not result.stdout
