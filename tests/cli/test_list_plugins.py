"""``list-plugins``: what is installed, from metadata alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

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


LISTING = """
import sys
from artifact_torch.cli.main import main
try:
    main(["list-plugins", "--json"])
finally:
    heavy = sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "pandas", "numpy"})
    plugins = [name for name in sys.modules if name.startswith("acme_")]
    print(heavy, plugins, sep="|", file=sys.stderr)
"""


def test_of_a_hundred_and_fifty_distributions_none_is_imported(install, tmp_path):
    for number in range(150):
        group = list(GROUPS.values())[number % len(GROUPS)]
        install(
            f"acme-{number:03d}",
            {group: {f"part_{number}": f"acme_{number:03d}:part"}, "console_scripts": {f"acme{number}": "x:y"}},
            **{f"acme_{number:03d}": "raise RuntimeError('imported')"},
        )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, "-c", LISTING]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stderr.strip() == "[]|[]"
    rows = json.loads(done.stdout)["plugins"]
    assert len([row for row in rows if row["distribution"].startswith("acme-")]) == 150


def test_with_load_a_broken_plugin_is_a_row_with_its_reason(install, capsys, tmp_path):
    install("hollow", {"artifact_torch.plugins": {"hollow": "hollow_for_test"}}, hollow_for_test="import no_such_thing")
    install("loud", {"artifact_torch.plugins": {"loud": "loud_for_test"}}, loud_for_test="print('x' * 10**6)")
    with pytest.raises(SystemExit) as ended:
        main(["list-plugins", "--kind", "plugins", "--load", "--json"])
    assert ended.value.code == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["plugins"]}
    assert rows["hollow"]["status"] == "broken"
    assert rows["hollow"]["reason"] == (
        "The plugin 'hollow' of hollow 1.0 cannot be imported from hollow_for_test: ModuleNotFoundError: No module "
        f"named 'no_such_thing' ({tmp_path}/site/hollow_for_test.py:1). Repair or uninstall hollow."
    )
    assert rows["loud"]["status"] == "loaded"


def test_with_load_a_component_of_the_wrong_kind_is_broken(install, capsys):
    entries = {"artifact_torch.stoppers": {"odd": "odd_for_test:Odd"}}
    install("odd", entries, odd_for_test="from artifact_torch import Callback\nclass Odd(Callback): pass")
    table = shown(capsys, "--kind", "stoppers", "--load")
    assert "odd:odd: The stopper 'odd' from odd 1.0 (odd_for_test:Odd) is not a subclass of" in table
    assert "broken" in table


def test_what_is_switched_off_is_shown_as_disabled_and_settles_a_conflict(install, capsys, monkeypatch):
    install("rival", {"artifact_torch.stoppers": {"patience": "rival:Patience"}})
    monkeypatch.setenv("ARTIFACT_TORCH_DISABLE", "rival")
    rows = json.loads(shown(capsys, "--kind", "stoppers", "--load", "--json"))["plugins"]
    status = {(row["distribution"], row["name"]): row["status"] for row in rows}
    assert status["rival", "patience"] == "disabled"
    assert status["artifact-torch-stoppers", "patience"] == "loaded"


def test_what_was_made_for_another_version_of_the_core_is_incompatible_without_an_import(install, capsys):
    install("future", {"artifact_torch.models": {"m": "future:M"}}, requires=["artifact-torch>=99"])
    (row,) = [
        row for row in json.loads(shown(capsys, "--load", "--json"))["plugins"] if row["distribution"] == "future"
    ]
    assert (row["status"], row["reason"]) == ("incompatible", "requires artifact-torch>=99, and 1.0.0 is installed")


def test_an_editable_installation_is_shown_with_its_folder(capsys):
    rows = json.loads(shown(capsys, "--json"))["plugins"]
    folder = next(row["editable"] for row in rows if row["name"] == "patience")
    assert (Path(folder) / "pyproject.toml").is_file()
