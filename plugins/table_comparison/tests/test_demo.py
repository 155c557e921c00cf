"""``artifact-torch demo``: the whole of the framework on a real table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from artifact_torch_table_comparison import read_csv
from artifact_torch_table_comparison.data import portal_path

from artifact_torch.cli.main import main


def exit_code(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["demo", *map(str, arguments)])
    return ended.value.code


@pytest.mark.lengthy
def test_one_epoch_of_the_demo_makes_everything_that_the_whole_makes(tmp_path, capfd):
    assert exit_code("--epochs", 1, "--runs", tmp_path, "--json") == 0
    shown = capfd.readouterr()
    result = json.loads(shown.out)
    assert "epoch 1/1" in shown.err
    run = Path(result["run_dir"])
    assert run.parent == tmp_path / "demo"
    assert result["epochs"] == 1
    assert 0 < result["scores"]["MEAN_JS_DISTANCE"] < 0.3
    assert 0 < result["scores"]["CORRELATION_DISTANCE"] < 0.5
    assert list((run / "checkpoints").iterdir())
    assert {Path(plot).parent.name for plot in result["plots"]} == {
        "PDF",
        "CORRELATION_HEATMAP_JUXTAPOSITION",
        "PCA_JUXTAPOSITION",
    }
    real, synthetic = read_csv(portal_path()), read_csv(Path(result["synthetic"]))
    assert len(synthetic) == 28_440
    assert len(real) == 35_549
    assert [(column.name, column.kind) for column in synthetic.schema.columns] == [
        (column.name, column.kind) for column in real.schema.columns
    ]
    for column in real.schema.columns:
        if column.kind == "category":
            known = set(real.frame[column.name].dropna())
            assert set(synthetic.frame[column.name].dropna()) <= known


def test_mistakes_are_refused_before_anything_is_made(tmp_path, capfd):
    assert exit_code("--epochs", 0, "--runs", tmp_path) == 2
    assert exit_code("--seed", -1, "--runs", tmp_path) == 2
    assert exit_code("--seed", 2**63, "--runs", tmp_path) == 2
    assert not list(tmp_path.iterdir())
    assert "'--epochs'" in capfd.readouterr().err
