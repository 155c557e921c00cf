"""``artifact-torch predict``: predictions of new rows by the classifier of a run."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from artifact_torch_binary_classification.prediction import predict
from click.testing import CliRunner

from artifact_torch import DataError, RunDirectory, load_model, parse_config, run_experiment


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    frame = pd.DataFrame(
        {
            "size": [number / 9 for number in range(60)],
            "colour": ["red", "blue", None] * 20,
            "tame": [number % 4 > 1 for number in range(60)],
            "ripe": ["no", "yes"] * 30,
        }
    )
    frame.to_csv(folder / "fruit.csv", index=False)
    description = {
        "experiment": {"group": "binary_classification"},
        "data": {"file": str(folder / "fruit.csv"), "label": "ripe"},
        "model": {"hidden_size": 4},
        "training": {"epochs": 1},
        "validation": {
            "scores": ["ACCURACY"],
            "score_collections": [],
            "plots": [],
            "mode": "inline",
            "threshold": 0.4,
        },
    }
    return run_experiment(parse_config(description), root=folder / "runs").run_directory, frame, folder


def test_rows_of_a_file_are_predicted_with_the_threshold_of_the_run(run, tmp_path):
    path, frame, _ = run
    data = tmp_path / "new.csv"
    frame[["tame", "colour", "size"]].assign(note="!").head(7).to_csv(data, index=False)
    result = CliRunner().invoke(predict, [str(path), "--data", str(data), "--json"], catch_exceptions=False)
    said = json.loads(result.stdout)
    assert (said["rows"], said["predictions"]) == (7, str(path / "predictions" / "new.csv"))
    found = pd.read_csv(said["predictions"])
    assert list(found.columns) == ["row", "probability", "predicted"]
    assert found["row"].tolist() == list(range(1, 8))
    expected = load_model(path / "model").predict(frame.head(7))
    assert found["probability"].tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    assert ((found["probability"] >= 0.4) == (found["predicted"] == "yes")).all()


def test_one_row_may_be_predicted_into_a_file_of_ones_own(run, tmp_path):
    path, frame, _ = run
    data, output = tmp_path / "one.csv", tmp_path / "there" / "one.csv"
    frame.head(1).to_csv(data, index=False)
    arguments = [str(path), "--data", str(data), "--output", str(output), "--threshold", "0"]
    result = CliRunner().invoke(predict, arguments, catch_exceptions=False)
    assert result.stdout == f"Wrote the predictions of 1 rows to {output}.\n"
    assert pd.read_csv(output)["predicted"].tolist() == ["yes"]


def test_what_cannot_be_predicted_is_refused(run, tmp_path):
    path, frame, folder = run
    data = tmp_path / "less.csv"
    frame[["size", "tame"]].to_csv(data, index=False)
    with pytest.raises(DataError, match="has no column 'colour'"):
        CliRunner().invoke(predict, [str(path), "--data", str(data)], catch_exceptions=False)
    with pytest.raises(DataError, match="There is no file"):
        CliRunner().invoke(predict, [str(path), "--data", "absent.csv"], catch_exceptions=False)
    untrained = RunDirectory.create(root=tmp_path)
    with pytest.raises(DataError, match="has no trained model"):
        CliRunner().invoke(predict, [str(untrained.path), "--data", str(folder / "fruit.csv")], catch_exceptions=False)
