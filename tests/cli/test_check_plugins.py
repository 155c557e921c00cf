"""``check-plugins``: one line for each plugin, the reasons, exit code 4 if there is a problem."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from artifact_torch.cli.main import main

PARTS = """
import sys
from artifact_torch import Callback, EarlyStopper, UsageError, hookimpl
import torch

print("imported")

class Quiet(Callback):
    @hookimpl
    def on_train_start(self):
        print("shown")
        print("told", file=sys.stderr)

class Drawing(Callback):
    @hookimpl
    def execute_epoch_preprocessing(self):
        torch.rand(1)

class Large(EarlyStopper):
    def __init__(self, *, size: int) -> None:
        if size < 10:
            raise UsageError(f"The size must be at least 10, not {size}.")

    def check(self, trainer): ...

class Changing(Callback):
    changes_training = True
"""


@pytest.fixture
def parts(install):
    callbacks = {"quiet": "acme_parts:Quiet", "drawing": "acme_parts:Drawing", "changing": "acme_parts:Changing"}
    groups = {"artifact_torch.callbacks": callbacks, "artifact_torch.stoppers": {"large": "acme_parts:Large"}}
    install("acme-parts", groups, version="2.0", acme_parts=PARTS)
    install("broken-parts", {"artifact_torch.plugins": {"broken": "broken_parts"}}, broken_parts="import no_such_parts")


def checked(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["check-plugins", *arguments])
    return ended.value.code, *capsys.readouterr()


@pytest.mark.lengthy
def test_a_plugin_that_keeps_its_contract_is_ok_and_what_it_prints_is_not_shown(parts, capsys):
    assert checked(capsys, "quiet") == (
        0,
        "callbacks quiet (acme-parts 2.0) ... ok, 7 checks passed\n1 plugin: 1 ok.\n",
        "",
    )


@pytest.mark.lengthy
def test_a_problem_is_told_with_its_check_and_is_exit_code_4(parts, capsys):
    code, out, err = checked(capsys, "acme-parts:drawing")
    first, passed, last = out.splitlines()
    assert first.startswith(
        "callbacks drawing (acme-parts 2.0) ... PROBLEM neutrality: The plugin 'Drawing' (acme-parts"
    )
    assert "drew from the global random state in execute_epoch_preprocessing" in first
    assert (code, passed, last, err) == (4, "    6 checks passed", "1 plugin: 1 with a problem.", "")


def test_what_cannot_be_imported_is_one_problem(parts, capsys):
    code, out, err = checked(capsys, "broken-parts")
    first, others, last = out.splitlines()
    assert first.startswith(
        "plugins broken (broken-parts 1.0) ... PROBLEM loads: The plugin 'broken' of broken-parts 1.0 c"
    )
    assert "No module named 'no_such_parts'" in first
    assert others == "    0 checks passed; 5 not judged: This presupposes the check 'loads', which fails"
    assert (code, last, err) == (4, "1 plugin: 1 with a problem.", "")


@pytest.mark.lengthy
def test_what_is_not_judged_or_not_asked_for_is_told_with_the_reason(parts, capsys):
    code, out, _ = checked(capsys, "large", "changing")
    assert code == 0
    assert out.splitlines() == [
        "callbacks changing (acme-parts 2.0) ... ok, 6 checks passed; 1 not applicable: It declares changes_training = "
        "True",
        "stoppers large (acme-parts 2.0) ... ok, 2 checks passed; 5 not judged: The stopper 'large' refuses the sample "
        "size = 1 (The size must be at least 10, not 1.): give contract_tests its parameters={'large': {...}}",
        "2 plugins: 2 ok.",
    ]


@pytest.mark.lengthy
def test_the_json_holds_every_check_and_nothing_else_goes_to_stdout(parts, capsys, monkeypatch):
    monkeypatch.setenv("ARTIFACT_TORCH_DISABLE", "quiet,changing")
    code, out, err = checked(capsys, "acme-parts", "--json")
    assert (code, err) == (4, "")
    told = json.loads(out)
    assert told["schema"] == 1
    assert [(row["name"], row["status"]) for row in told["plugins"]] == [
        ("changing", "disabled"),
        ("drawing", "problem"),
        ("quiet", "disabled"),
        ("large", "ok"),
    ]
    drawing, large = told["plugins"][1], told["plugins"][3]
    assert {key: drawing[key] for key in ("kind", "distribution", "version")} == {
        "kind": "callbacks",
        "distribution": "acme-parts",
        "version": "2.0",
    }
    assert [check["check"] for check in drawing["checks"]] == [
        "loads",
        "signatures",
        "construction",
        "state",
        "pickling",
        "time_budget",
        "neutrality",
    ]
    assert [check["outcome"] for check in drawing["checks"]] == ["passed"] * 6 + ["failed"]
    assert drawing["checks"][-1]["reason"].startswith("The plugin 'Drawing'")
    assert [check["outcome"] for check in large["checks"]] == ["passed"] * 2 + ["not judged"] * 5
    assert told["plugins"][0]["checks"] == []


def test_what_is_switched_off_is_listed_and_not_imported(parts, capsys, monkeypatch):
    monkeypatch.setenv("ARTIFACT_TORCH_DISABLE", "broken-parts")
    told = "plugins broken (broken-parts 1.0) ... disabled: switched off by ARTIFACT_TORCH_DISABLE"
    assert checked(capsys, "broken") == (0, f"{told}\n1 plugin: 1 disabled.\n", "")


def test_an_unknown_name_is_wrong_usage_with_the_nearest_known_one(parts, capsys):
    code, out, err = checked(capsys, "quiet", "drawin", "nothing-alike-42")
    assert (code, out) == (2, "")
    assert "No installed plugin or distribution is named 'drawin': did you mean 'drawing'?" in err
    assert "'nothing-alike-42': see `artifact-torch list-plugins`." in err


@pytest.mark.lengthy
def test_a_terminal_shows_what_is_being_checked_on_a_line_that_is_cleared():
    terminal, side = os.openpty()
    code = "from artifact_torch.cli.main import main; main(['check-plugins', 'demo'])"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=side, text=True, check=False)
    os.close(side)
    shown = os.read(terminal, 10_000).decode().replace("\r\n", "\n")
    os.close(terminal)
    assert done.returncode == 0
    assert done.stdout.endswith("... ok, 2 checks passed\n1 plugin: 1 ok.\n")
    assert shown.startswith("Loading torch and the plugins ...\n")
    assert "\r\x1b[K1/1 commands demo (artifact-torch-table-comparison " in shown
    assert ": help ...\r\x1b[K" in shown
    assert shown.endswith("\r\x1b[K")


@pytest.mark.lengthy
def test_all_standard_plugins_are_ok(capsys):
    _, out, err = checked(capsys)
    assert not err
    problems = [line for line in out.splitlines() if "PROBLEM" in line]
    # How long a hook takes is judged by a clock, and this machine may be busy.
    assert not [line for line in problems if "PROBLEM time_budget" not in line], out
    assert "callbacks checkpoint (artifact-torch-callbacks " in out
    assert "models vae (artifact-torch-tabular-models " in out
