"""``list-plugins``: what is installed, from metadata alone."""

from __future__ import annotations

import json
import sys

import importlib_metadata
import pytest

from artifact_torch.cli.main import main
from artifact_torch.plugin.discovery import GROUPS

STANDARD = {
    ("callbacks", "checkpoint", "artifact-torch-callbacks"),
    ("callbacks", "loss", "artifact-torch-callbacks"),
    ("callbacks", "progress", "artifact-torch-callbacks"),
    ("stoppers", "max_epochs", "artifact-torch-stoppers"),
    ("stoppers", "patience", "artifact-torch-stoppers"),
    ("artifact_groups", "table_comparison", "artifact-torch-table-comparison"),
    ("commands", "demo", "artifact-torch-table-comparison"),
    ("models", "vae", "artifact-torch-tabular-models"),
}


def shown(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["list-plugins", *arguments])
    assert ended.value.code == 0
    captured = capsys.readouterr()
    assert not captured.err
    return captured.out


def test_the_json_lists_every_standard_plugin(capsys):
    listed = json.loads(shown(capsys, "--json"))
    assert isinstance(listed["schema"], int)
    rows = {(row["kind"], row["name"], row["distribution"]): row for row in listed["plugins"]}
    assert rows.keys() >= STANDARD
    row = rows["stoppers", "patience", "artifact-torch-stoppers"]
    assert row == {
        "name": "patience",
        "kind": "stoppers",
        "distribution": "artifact-torch-stoppers",
        "version": importlib_metadata.version("artifact-torch-stoppers"),
        "editable": row["editable"],
        "unmet": [],
        "status": "installed",
        "reason": "",
        "provides": "artifact_torch_stoppers.patience:Patience",
    }


def test_the_table_has_one_aligned_line_for_each_plugin(capsys):
    header, *lines = shown(capsys).splitlines()
    assert header.split() == ["NAME", "KIND", "DISTRIBUTION", "VERSION", "STATUS", "PROVIDES"]
    start = header.index("DISTRIBUTION")
    listed = {(line.split()[1], line.split()[0], line.split()[2]) for line in lines}
    assert listed >= STANDARD
    assert all(line[start - 1] == " " and line[start:].startswith(line.split()[2]) for line in lines)


def test_one_kind_can_be_asked_for(capsys):
    listed = json.loads(shown(capsys, "--kind", "stoppers", "--json"))["plugins"]
    assert {row["kind"] for row in listed} == {"stoppers"}
    assert {"max_epochs", "patience"} <= {row["name"] for row in listed}


def test_an_unknown_kind_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["list-plugins", "--kind", "model"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert all(kind in told for kind in GROUPS)


def test_a_plugin_that_cannot_be_imported_is_listed_without_trying(install, capsys):
    install("hollow", {"artifact_torch.plugins": {"hollow": "no_such_module_for_test"}}, version="2.5")
    (row,) = [row for row in json.loads(shown(capsys, "--json"))["plugins"] if row["name"] == "hollow"]
    assert (row["distribution"], row["version"], row["status"]) == ("hollow", "2.5", "installed")
    assert "no_such_module_for_test" not in sys.modules


def test_two_distributions_with_one_name_are_shown_as_a_conflict(install, capsys):
    install("rival", {"artifact_torch.stoppers": {"patience": "rival:Patience"}})
    rows = json.loads(shown(capsys, "--kind", "stoppers", "--json"))["plugins"]
    status = {(row["distribution"], row["name"]): row["status"] for row in rows}
    assert status["rival", "patience"] == status["artifact-torch-stoppers", "patience"] == "conflict"
    assert status["artifact-torch-stoppers", "max_epochs"] == "installed"
