"""What the README says of artifacts: its tables are complete, and its example of one's own works as it stands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from artifact_torch_table_comparison import ComparisonArtifacts, TableComparisonValidationPlan, table_from_frame
from artifact_torch_table_comparison.catalogue import known_names
from artifact_torch_table_comparison.group import TableComparison

from artifact_torch import ArtifactKind, execute_plan

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
REAL = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0], "label": ["a", "b", "a", "b"]})
SYNTHETIC = pd.DataFrame({"size": [0.0, 2.0, 3.0, 9.0], "label": ["a", "b", "a", "b"]})


def block(after, language):
    """The first code block of a language after some words."""
    text = README[README.index(after) :]
    found = re.search(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The folder of the example, on the path of this process."""
    (tmp_path / "boundaries.py").write_text(block("An artifact of your own", "python"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.lengthy
def test_the_example_of_an_artifact_is_computed_in_this_process_and_in_one_without_torch(module):
    import boundaries  # noqa: F401 # pyright: ignore[reportMissingImports]

    artifacts = ComparisonArtifacts(scores=["SHARE_OUT_OF_RANGE"], score_collections=[], plots=[])
    plan = TableComparisonValidationPlan(table_from_frame(REAL), artifacts)
    assert execute_plan(plan, plan.inputs(SYNTHETIC), module).scores == {"SHARE_OUT_OF_RANGE": 0.5}

    recipe = plan.recipe()
    program = """
import json, sys
import pandas as pd
from artifact_torch import Artifact, ArtifactKind, Recipe
parameters, real, synthetic = json.loads(sys.argv[1])
shares = pd.DataFrame({"size": [0.0], "label": [0.0]})
data = {"real": pd.DataFrame(real), "shares": shares}
computation = Recipe("artifact_torch_table_comparison.computation:TableComputation", parameters, data).build()
prepared = computation.prepare({"synthetic": pd.DataFrame(synthetic), "shares": shares})
score = computation.compute(Artifact(ArtifactKind.SCORE, "SHARE_OUT_OF_RANGE"), prepared)
print(json.dumps([score, "torch" in sys.modules]))
"""
    given = json.dumps([recipe.parameters, REAL.to_dict("list"), SYNTHETIC.to_dict("list")])
    run = subprocess.run([sys.executable, "-c", program, given], capture_output=True, text=True, check=True, cwd=module)
    assert json.loads(run.stdout) == [0.5, False]


def test_the_entry_point_of_the_example_is_one_of_artifacts():
    entries = tomllib.loads(block("and the entry point", "toml"))["project"]["entry-points"]
    assert entries == {"artifact_torch.artifacts": {"boundaries": "boundaries"}}


def test_the_options_of_the_example_are_accepted():
    given = tomllib.loads(block("| `artifact_seconds` |", "toml"))["validation"]
    options = TableComparison.validation_options.model_validate(given)
    assert options.columns == {"plot_id": "categorical"}
    table = table_from_frame(REAL.rename(columns={"size": "plot_id"}))
    assert TableComparisonValidationPlan(table, options).comparison.categorical == ["plot_id", "label"]


def test_every_option_is_in_the_readme():
    section = README[README.index("`[validation]`") :]
    for name in TableComparison.validation_options.model_fields:
        assert f"`{name}`" in section


@pytest.mark.parametrize("kind", list(ArtifactKind))
def test_every_artifact_is_in_the_readme(kind):
    section = README[README.index("### The artifacts") : README.index("### What is compared")]
    rows = [row for row in section.splitlines() if row.startswith("|") and str(kind).replace("_", " ") in row]
    for name in known_names(kind):
        stem, _, last = name.rpartition("_")
        assert any(f"`{name}`" in row or (f"`{stem}_`" in row and f"_{last}`" in row) for row in rows), name
