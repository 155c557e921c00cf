"""Packaging: what the distributions declare is there, loads, and fits together."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import ModuleType

import importlib_metadata
import pytest
from packaging.requirements import Requirement

from artifact_torch import Model, registry
from artifact_torch.core.artifact_group import ArtifactGroup
from artifact_torch.core.callback import Callback
from artifact_torch.core.stopper import EarlyStopper
from artifact_torch.plugin.discovery import GROUPS, discover

ROOT = Path(__file__).parent.parent
FOLDERS = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
PROJECTS = {folder: tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")) for folder in FOLDERS}
KIND_OF_GROUP = {group: kind for kind, group in GROUPS.items()}
CONTRACTS = {"callbacks": Callback, "stoppers": EarlyStopper, "models": Model, "artifact_groups": ArtifactGroup}
DECLARED = [
    (KIND_OF_GROUP[group], name, project["project"]["name"], value)
    for project in PROJECTS.values()
    for group, names in project["project"].get("entry-points", {}).items()
    for name, value in names.items()
    if group in KIND_OF_GROUP  # the others are for pytest and for the shell
]
of_each_distribution = pytest.mark.parametrize(
    "folder", FOLDERS, ids=lambda folder: PROJECTS[folder]["project"]["name"]
)


def requirements_of(folder):
    return {Requirement(line).name: Requirement(line) for line in PROJECTS[folder]["project"].get("dependencies", [])}


def constraints():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {(entry := Requirement(line)).name: entry for line in lines if line and not line.startswith("#")}


def test_there_are_the_core_and_the_standard_plugins():
    names = {project["project"]["name"] for project in PROJECTS.values()}
    assert names >= {
        "artifact-torch",
        "artifact-torch-binary-classification",
        "artifact-torch-callbacks",
        "artifact-torch-stoppers",
        "artifact-torch-table-comparison",
        "artifact-torch-tabular-models",
    }


def test_what_is_declared_is_discovered_and_nothing_of_ours_beside_it():
    ours = {project["project"]["name"] for project in PROJECTS.values()}
    found = {
        (entry.kind, entry.name, entry.distribution, entry.value) for entry in discover() if entry.distribution in ours
    }
    assert found == set(DECLARED)


@pytest.mark.parametrize(("kind", "name", "distribution", "value"), DECLARED, ids=lambda part: str(part))
def test_every_component_that_is_declared_loads_and_keeps_its_contract(kind, name, distribution, value):
    if kind in CONTRACTS:
        component = registry.get(kind, f"{distribution}:{name}")
        assert issubclass(component, CONTRACTS[kind])
        assert registry.get(kind, name) is component
        assert registry.name_of(kind, component) == name
    elif kind == "artifacts":
        assert isinstance(registry.load(kind, name), ModuleType)
    else:
        assert callable(registry.load(kind, name))


@of_each_distribution
def test_the_installed_version_is_the_common_one(folder):
    project = PROJECTS[folder]["project"]
    assert project["version"] == PROJECTS[ROOT]["project"]["version"]
    assert importlib_metadata.version(project["name"]) == project["version"]


@of_each_distribution
def test_a_distribution_has_its_licence_readme_and_type_marker(folder):
    project = PROJECTS[folder]["project"]
    assert project["license"] == "MIT"
    assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert (folder / project["readme"]).read_text(encoding="utf-8").startswith("# ")
    (package,) = PROJECTS[folder]["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert package == project["name"].replace("-", "_")
    assert (folder / package / "py.typed").is_file()


@of_each_distribution
def test_a_plugin_asks_for_a_core_of_this_project(folder):
    # An unrelated distribution of the same name and of lower versions exists.
    project = PROJECTS[folder]["project"]
    lines = [*project.get("dependencies", []), *project.get("optional-dependencies", {}).get("standard", [])]
    internal = [entry for entry in map(Requirement, lines) if entry.name.startswith("artifact-torch")]
    assert internal
    assert all(str(entry.specifier) == ">=1.0" for entry in internal)


def test_the_extra_standard_brings_every_plugin_but_the_trackers():
    standard = PROJECTS[ROOT]["project"]["optional-dependencies"]["standard"]
    provided = {
        PROJECTS[folder]["project"]["name"]: set(PROJECTS[folder]["project"]["entry-points"]) for folder in FOLDERS[1:]
    }
    plugins = {name for name, groups in provided.items() if groups != {"artifact_torch.trackers"}}
    assert {Requirement(line).name for line in standard} == plugins


def test_the_core_requires_nothing_that_belongs_to_a_domain():
    needed = set(requirements_of(ROOT))
    assert not {name for name in needed if name.startswith("artifact-")}
    assert not needed & {"matplotlib", "mlflow", "pyarrow", "scikit-learn"}


@pytest.mark.parametrize("name", ["torch", "matplotlib", "SQLAlchemy"])
def test_constraints_pin_what_a_whole_environment_must_agree_on(name):
    pin = constraints()[name]
    assert pin.specifier.contains(importlib_metadata.version(name), prereleases=True)


def test_constraints_are_no_wider_than_what_distributions_need():
    # Whoever installs with pip alone gets no constraints: what breaks the code is excluded by the requirement too.
    needed = requirements_of(ROOT / "plugins" / "table_comparison")
    assert not needed["matplotlib"].specifier.contains("3.11.0")
    assert not needed["SQLAlchemy"].specifier.contains("2.1.0")
    assert str(constraints()["torch"].specifier) == "==2.13.0"
