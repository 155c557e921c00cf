"""Discovery reads metadata and imports nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import artifact_torch
from artifact_torch.plugin.discovery import GROUPS, PluginEntry, discover
from artifact_torch.plugin.selection import conflicting

BROKEN = "raise RuntimeError('imported')"


def found(kind=None, *, distributions=("acme-tools", "other-tools")):
    return [entry for entry in discover(kind) if entry.distribution in distributions]


def test_every_kind_is_found_in_metadata_without_importing_it(install):
    install("acme-tools", {group: {"x": "acme_broken:thing"} for group in GROUPS.values()}, acme_broken=BROKEN)
    assert found() == [PluginEntry("acme-tools", kind, "x", "1.0", "acme_broken:thing") for kind in sorted(GROUPS)]
    assert "acme_broken" not in sys.modules


def test_only_the_kind_asked_for_is_listed(install):
    install("acme-tools", {"artifact_torch.stoppers": {"s": "m:S"}, "artifact_torch.models": {"m": "m:M"}})
    assert [entry.name for entry in found("models")] == ["m"]


def test_groups_of_other_projects_are_left_alone(install):
    install("acme-tools", {"console_scripts": {"x": "m:f"}, "artifact_torch.unknown": {"y": "m:f"}})
    assert found() == []


def test_entries_are_sorted_by_distribution_kind_and_name(install):
    install("other-tools", {"artifact_torch.models": {"a": "m:A"}})
    install("acme-tools", {"artifact_torch.stoppers": {"b": "m:B"}, "artifact_torch.models": {"z": "m:Z", "c": "m:C"}})
    order = [(entry.distribution, entry.kind, entry.name) for entry in found()]
    assert order == [
        ("acme-tools", "models", "c"),
        ("acme-tools", "models", "z"),
        ("acme-tools", "stoppers", "b"),
        ("other-tools", "models", "a"),
    ]


def test_a_name_conflicts_only_within_its_kind(install):
    install("acme-tools", {"artifact_torch.models": {"same": "m:A"}, "artifact_torch.stoppers": {"only": "m:B"}})
    install("other-tools", {"artifact_torch.models": {"same": "m:C"}, "artifact_torch.callbacks": {"only": "m:D"}})
    assert {entry.qualified_name for entry in conflicting(tuple(found()))} == {"acme-tools:same", "other-tools:same"}


def test_an_entry_loads_what_it_names(install):
    install(
        "acme-tools", {"artifact_torch.models": {"m": "acme_loads:Outer.inner"}}, acme_loads="class Outer: inner = 5"
    )
    (entry,) = found()
    assert entry.load() == 5


# What is imported when, in a process of its own.

LAZY = """
import json, sys
import artifact_torch
from artifact_torch.plugin.discovery import discover
after_import = sorted({name.partition(".")[0] for name in sys.modules})
entries = discover()
artifact_torch.registry.names("models")
after_discovery = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([after_import, after_discovery, len(entries), sorted(dir(artifact_torch))]))
"""
HEAVY = {"torch", "pandas", "numpy", "pydantic", "safetensors", "matplotlib", "artifact_core", "artifact_experiment"}


@pytest.mark.lengthy
def test_importing_the_package_and_listing_plugins_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=True)
    after_import, after_discovery, count, names = json.loads(done.stdout)
    assert not HEAVY & set(after_import)
    assert not HEAVY & set(after_discovery)
    plugins = [name for name in after_discovery if name.startswith("artifact_torch_")]
    assert plugins == []
    assert count >= 1
    assert {"Trainer", "Model", "registry", "hookimpl"} <= set(names)


PUBLIC = [name for name in dir(artifact_torch) if not name.startswith("_")]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_resolves(name):
    assert PUBLIC.count(name) == 1
    assert getattr(artifact_torch, name) is not None


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Trianer'"):
        _ = artifact_torch.Trianer
