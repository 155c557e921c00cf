"""What the README says: its tables are complete, its examples run as they stand."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from artifact_torch_binary_classification import (
    BinaryClassificationValidationPlan,
    ClassificationArtifacts,
    TabularClassifier,
)
from artifact_torch_binary_classification.group import BinaryClassification
from artifact_torch_binary_classification.toolkit import names_of

from artifact_torch import ArtifactKind, execute_plan, parse_config, prepare_experiment
from artifact_torch.parameters import parameters_of

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def block(after, language):
    """The first code block of a language after some words."""
    text = README[README.index(after) :]
    found = re.search(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def folder(tmp_path, cancer_frame, monkeypatch):
    cancer_frame.iloc[:, -6:].to_csv(tmp_path / "cancer.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_description_of_the_first_run_is_accepted(folder):
    description = parse_config(tomllib.loads(block("## A first run", "toml")))
    experiment = prepare_experiment(description, folder=folder, root=folder / "runs")
    assert experiment.trainer.params["stoppers.patience.mode"] == "max"


@pytest.mark.lengthy
def test_the_python_example_runs(folder, capsys):
    namespace = {}
    exec(compile(block("## In Python", "python"), "README.md", "exec"), namespace)
    assert len(namespace["probabilities"]) == 113
    assert namespace["model"].positive_weight > 1


def test_the_example_of_an_artifact_is_computed(cancer, tmp_path, monkeypatch):
    (tmp_path / "log_loss.py").write_text(block("An artifact of your own", "python"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import log_loss  # noqa: F401 # pyright: ignore[reportMissingImports]

    artifacts = ClassificationArtifacts(scores=["LOG_LOSS"], score_collections=[], plots=[])
    plan = BinaryClassificationValidationPlan(cancer, artifacts)
    assert plan.recipe().parameters["modules"] == ["log_loss"]
    found = execute_plan(plan, plan.inputs(np.full(len(cancer), 0.5)), tmp_path / "out")
    assert found.scores["LOG_LOSS"] == pytest.approx(np.log(2))


def test_the_entry_point_of_the_example_is_one_of_artifacts():
    entries = tomllib.loads(block("and the entry point", "toml"))["project"]["entry-points"]
    assert entries == {"artifact_torch.artifacts": {"log_loss": "log_loss"}}


def test_the_options_of_the_example_are_accepted(cancer):
    given = tomllib.loads(block("| `artifact_seconds` |", "toml"))["validation"]
    options = BinaryClassification.validation_options.model_validate(given)
    assert BinaryClassificationValidationPlan(cancer, options).recipe().parameters["threshold"] == 0.3


def test_every_option_is_in_the_readme():
    section = README[README.index("`[data]`") : README.index("### The artifacts")]
    options = {**BinaryClassification.data_options.model_fields, **BinaryClassification.validation_options.model_fields}
    for name in [*options, *(parameter.name for parameter in parameters_of(TabularClassifier))]:
        assert f"`{name}`" in section, name


@pytest.mark.parametrize("kind", list(ArtifactKind))
def test_every_artifact_is_in_the_readme(kind):
    section = README[README.index("### The artifacts") : README.index("### What to know")]
    rows = [row for row in section.splitlines() if row.startswith("|")]
    kinds = {row: [word.strip() for word in row.split("|")[1].split(",")] for row in rows}
    of_kind = [row for row in rows if str(kind).replace("_", " ") in kinds[row]]
    for name in names_of(kind):
        stem = "GROUND_TRUTH_PROB_"
        short = f"`_{name.removeprefix(stem)}`"
        assert any(f"`{name}`" in row or (name.startswith(stem) and short in row) for row in of_kind), name
