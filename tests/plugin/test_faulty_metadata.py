"""Distributions whose metadata is wrong, missing, there twice or unusual: the others are found all the same."""

from __future__ import annotations

import importlib
import json
import sys

import pytest

from artifact_torch import registry
from artifact_torch.cli.main import main
from artifact_torch.plugin.discovery import discover

GREETING = """
from artifact_torch import hookimpl

@hookimpl
def log_epoch_metrics():
    return {{"{name}": 1.0}}
"""

STOPPER = """
from artifact_torch import EarlyStopper

class Stop(EarlyStopper):
    def check(self, trainer):
        return "{name}"
"""


def entries(*distributions):
    return [(each.distribution, each.name, each.version) for each in discover() if each.distribution in distributions]


def listed(capsys, *distributions):
    with pytest.raises(SystemExit) as ended:
        main(["list-plugins", "--json"])
    assert ended.value.code == 0
    shown = capsys.readouterr()
    rows = [row for row in json.loads(shown.out)["plugins"] if row["distribution"] in distributions]
    return [(row["distribution"], row["name"], row["version"], row["status"], row["reason"]) for row in rows], shown.err


# Metadata that cannot be read.

MALFORMED = [
    b"no section\n",
    b"[console_scripts]\nno equals sign\n",
    b"[console_scripts]\nbad-value = not-a-module\n",
    b"[console_scripts]\n\xff\xfe = latin\n",
    b"\x00\x01\x02",
]


@pytest.mark.parametrize("content", MALFORMED, ids=["section", "equals", "value", "encoding", "binary"])
def test_the_entry_points_of_an_unrelated_distribution_may_be_malformed(
    install, install_plugin, tmp_path, capsys, content
):
    install("a-malformed", {})
    (tmp_path / "site" / "a_malformed-1.0.dist-info" / "entry_points.txt").write_bytes(content)
    numbers = range(10, 50)  # many, so that a description that is taken for that of another is seen
    for number in numbers:
        install_plugin(GREETING.format(name="x"), f"acme-{number}", name=f"x{number}", version=f"{number}.0")
    rows, told = listed(capsys, *(f"acme-{number}" for number in numbers), "artifact-torch-stoppers")
    assert [row for row in rows if row[0].startswith("acme")] == [
        (f"acme-{number}", f"x{number}", f"{number}.0", "installed", "") for number in numbers
    ]
    assert {row[1] for row in rows} >= {"patience", "max_epochs"}
    assert told == ""


@pytest.mark.parametrize(
    ("distribution", "line"), [("b-equals", "faulty"), ("b-value", "faulty = not-a-module:plugin")]
)
def test_malformed_entry_points_of_a_plugin_are_told_with_the_line(install, tmp_path, capsys, distribution, line):
    install(distribution, {})
    folder = tmp_path / "site" / f"{distribution.replace('-', '_')}-1.0.dist-info"
    (folder / "entry_points.txt").write_text(
        f"[console_scripts]\nx = m:f\n\n# ours\n[artifact_torch.callbacks]\n{line}\n"
    )
    rows, told = listed(capsys, distribution)
    assert rows == []
    assert told == (
        f"WARNING: The plugins of {distribution} are not found, because line 6 of its entry_points.txt is not "
        f"name = module:attribute: repair or uninstall {distribution}.\n"
    )


def test_without_metadata_a_distribution_has_the_name_of_its_folder(install_plugin, tmp_path, warned, capsys):
    install_plugin("raise ValueError('broken')")
    (tmp_path / "site" / "acme_faulty-1.0.dist-info" / "METADATA").unlink()
    rows, _ = listed(capsys, "acme_faulty")
    assert rows == [("acme_faulty", "faulty", "", "installed", "")]
    (warning,) = warned()
    assert warning.startswith("The plugin 'faulty' of acme_faulty cannot be imported from acme_faulty: ValueError: ")
    assert warning.endswith(" Repair or uninstall acme_faulty. It was left out.")


def test_requirements_that_cannot_be_read_are_no_reason_to_refuse(install_plugin, warned, make_trainer):
    install_plugin(GREETING.format(name="x"), requires=["not a requirement", "artifact-torch>>2"])
    assert warned() == []
    assert make_trainer(use_installed_plugins=True).plugins.names() == ["faulty"]


# Names.


def test_two_distributions_with_a_plugin_of_one_name_both_act_and_it_is_told(install_plugin, warned, make_trainer):
    for distribution in ("acme-tools", "beta-tools"):
        install_plugin(GREETING.format(name=distribution), distribution, name="same")
    assert warned() == [
        "The plugin 'same' is provided by acme-tools and beta-tools, and all act: disable one if that is not meant."
    ]
    assert make_trainer(use_installed_plugins=True).plugins.names() == ["acme-tools:same", "beta-tools:same"]


def test_two_distributions_with_a_component_of_one_name_must_be_told_apart(install_plugin, refused, capsys, warned):
    for distribution in ("acme-tools", "beta-tools"):
        install_plugin(STOPPER.format(name=distribution), distribution, name="same", kind="stoppers", attribute="Stop")
    assert refused(stoppers=["same"]) == [
        "Several distributions provide the stopper 'same': write acme-tools:same or beta-tools:same, or disable one of "
        "them."
    ]
    rows, _ = listed(capsys, "acme-tools", "beta-tools")
    assert rows == [
        (each, "same", "1.0", "conflict", f"write '{each}:same' to choose this one, or disable another")
        for each in ("acme-tools", "beta-tools")
    ]
    assert warned(stoppers=["beta-tools:same"]) == []


def test_a_distribution_that_is_found_twice_acts_once(install_plugin, monkeypatch, tmp_path, warned, make_trainer):
    install_plugin(GREETING.format(name="first"), version="2.0")
    site = tmp_path / "site"
    earlier = site / "earlier"
    earlier.mkdir()
    for name in ("acme_faulty.py", "acme_faulty-2.0.dist-info"):
        (site / name).rename(earlier / name)
    install_plugin(GREETING.format(name="second"), version="1.0")
    monkeypatch.syspath_prepend(earlier)
    assert entries("acme-faulty") == [("acme-faulty", "faulty", "2.0")]
    assert warned() == []
    trainer = make_trainer(epochs=1, use_installed_plugins=True)
    trainer.train()
    assert list(trainer.epoch_scores) == ["train/loss", "train/first"]


def test_a_name_that_a_distribution_declares_twice_is_the_first_one(install, tmp_path, warned, make_trainer):
    install("acme-faulty", {}, acme_first=GREETING.format(name="first"), acme_second="raise AssertionError")
    folder = tmp_path / "site" / "acme_faulty-1.0.dist-info"
    (folder / "entry_points.txt").write_text("[artifact_torch.plugins]\nsame = acme_first\nsame = acme_second\n")
    assert warned() == []
    assert make_trainer(use_installed_plugins=True).plugins.names() == ["same"]


def test_one_object_that_two_distributions_provide_acts_once(install, install_plugin, warned, make_trainer):
    install_plugin(GREETING.format(name="x"), "acme-tools", name="old")
    install("beta-tools", {"artifact_torch.plugins": {"new": "acme_tools"}}, version="2.0")
    assert warned() == [
        "The plugins 'old' (acme-tools 1.0) and 'new' (beta-tools 2.0) are one object, which acts once: disable one of "
        "them."
    ]
    assert make_trainer(use_installed_plugins=True).plugins.names() == ["old"]


def test_a_module_that_is_chosen_and_installed_acts_once(install_plugin, warned):
    install_plugin(GREETING.format(name="x"), "acme-tools")
    module = importlib.import_module("acme_tools")
    assert warned(callbacks=[module]) == [
        "The plugins 'acme_tools' (acme-tools 1.0) and 'faulty' (acme-tools 1.0) are one object, which acts once: "
        "disable one of them."
    ]


def test_a_folder_that_is_on_the_path_twice_is_no_conflict(install_plugin, monkeypatch, tmp_path, warned):
    install_plugin(GREETING.format(name="x"))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site")])
    assert warned() == []
    assert entries("acme-faulty") == [("acme-faulty", "faulty", "1.0")]


def test_names_may_be_of_any_alphabet(install_plugin, warned, capsys, make_trainer):
    module = install_plugin("raise ValueError('kaputt: größer als π')", "größe", name="übung_π")
    assert warned() == [
        "The plugin 'übung_π' of größe 1.0 cannot be imported from größe: ValueError: kaputt: größer als π "
        f"({module.at('raise')}). Repair or uninstall größe. It was left out."
    ]
    rows, _ = listed(capsys, "größe")
    assert rows == [("größe", "übung_π", "1.0", "installed", "")]
    trainer = make_trainer(epochs=1, use_installed_plugins=True)
    trainer.train()
    assert json.loads((trainer.run.path / "run.json").read_text(encoding="utf-8"))["plugins"][-1]["name"] == "übung_π"


# Components that are not what their entry says.

NOT_OF_ITS_KIND = [
    ("callbacks", "callback", "callback.Callback"),
    ("stoppers", "stopper", "stopper.EarlyStopper"),
    ("trackers", "tracker", "tracker.Tracker"),
]


@pytest.mark.parametrize(("kind", "singular", "contract"), NOT_OF_ITS_KIND, ids=[kind for kind, *_ in NOT_OF_ITS_KIND])
@pytest.mark.parametrize("source", ["class Part: pass", "def Part(): pass", "Part = 3"], ids=["class", "def", "value"])
def test_a_component_that_is_not_of_its_kind_is_refused(install_plugin, refused, kind, singular, contract, source):
    install_plugin(source, kind=kind, attribute="Part")
    assert refused(**{kind: ["faulty"]}) == [
        f"The {singular} 'faulty' from acme-faulty 1.0 (acme_faulty:Part) is not a subclass of "
        f"artifact_torch.core.{contract}: derive it from that class."
    ]


def test_a_component_that_cannot_be_imported_is_refused_with_all_others(install_plugin, refused):
    first = install_plugin("raise ValueError('broken')", kind="callbacks", attribute="Part")
    second = install_plugin("import sys; sys.exit(3)", "beta-faulty", name="other", kind="stoppers", attribute="Part")
    assert refused(callbacks=["faulty"], stoppers=["other", "zzz"]) == [
        "The callback 'faulty' of acme-faulty 1.0 cannot be imported from acme_faulty:Part: ValueError: broken "
        f"({first.at('raise')}). Repair or uninstall acme-faulty.",
        "The stopper 'other' of beta-faulty 1.0 cannot be imported from beta_faulty:Part: SystemExit: 3 "
        f"({second.at('exit')}). Repair or uninstall beta-faulty.",
        f"There is no stopper named 'zzz': installed are {', '.join(registry.names('stoppers'))}. See `artifact-torch "
        "list-plugins`.",
    ]
