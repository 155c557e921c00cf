"""The artifact group: what a description may say, what is refused before training, and what is left behind."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from artifact_torch_binary_classification.group import BinaryClassification
from artifact_torch_binary_classification.toolkit import names_of
from click.testing import CliRunner
from pydantic import ValidationError

from artifact_torch import (
    ArtifactKind,
    ConfigError,
    DataError,
    UsageError,
    parse_config,
    prepare_experiment,
    run_experiment,
)
from artifact_torch.cli.main import artifact_torch

QUICK = {"scores": ["ACCURACY"], "score_collections": [], "plots": ["ROC_CURVE"], "mode": "inline", "period": 1}


@pytest.fixture
def file(tmp_path, cancer_frame):
    path = tmp_path / "cancer.csv"
    cancer_frame.iloc[:, -8:].head(200).to_csv(path, index=False)
    return path


def description(file, *, validation=None, **data):
    chosen = {"file": str(file), "label": "diagnosis", "positive": "malignant", **data}
    return parse_config(
        {
            "experiment": {"name": "cancer", "group": "binary_classification"},
            "data": {key: value for key, value in chosen.items() if value is not None},
            "model": {"hidden_size": 8},
            "training": {"epochs": 1},
            "validation": {**QUICK, **(validation or {})},
        }
    )


@pytest.fixture
def prepared(file, tmp_path):
    def prepare(**options):
        return prepare_experiment(description(file, **options), root=tmp_path / "runs")

    return prepare


@pytest.mark.lengthy
def test_an_experiment_leaves_predictions_scores_and_a_model(file, tmp_path, cancer_frame):
    result = run_experiment(description(file), root=tmp_path / "runs")
    assert list(result.scores)[:2] == ["ROC_AUC", "PR_AUC"]
    assert {"ACCURACY", "F1", "MCC"} <= result.scores.keys()
    assert result.meaning == "40 held-out rows, 'malignant' from a probability of 0.5 on; 1 is best"
    assert [path.parent.name for path in result.plots] == ["ROC_CURVE"]
    predictions = pd.read_csv(result.run_directory / "predictions.csv")
    assert list(predictions.columns) == ["row", "true", "probability", "predicted"]
    assert len(predictions) == 40
    truth = cancer_frame["diagnosis"].iloc[predictions["row"] - 1].tolist()
    assert predictions["true"].tolist() == truth
    assert ((predictions["probability"] >= 0.5) == (predictions["predicted"] == "malignant")).all()
    assert result.scores["ACCURACY"] == pytest.approx((predictions["true"] == predictions["predicted"]).mean())


def test_the_learnt_rows_are_judged_if_none_are_held_out(file, tmp_path):
    result = run_experiment(description(file, train_share=1.0), root=tmp_path / "runs")
    assert result.meaning.startswith("200 learnt rows")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "diagnose"}, "There is no column 'diagnose' for the label"),
        ({"positive": None}, "neither is plainly the positive one: say which"),
        ({"positive": "evil"}, "has no class 'evil' to be the positive one"),
        ({"drop": ["diagnosis"]}, "There is no column 'diagnosis' for the label"),
        ({"drop": ["nothing"]}, "has no column 'nothing'"),
        ({"label": "worst area", "positive": None}, "The label 'worst area' has 1"),
        ({"validation": {"scores": ["ACURACY"]}}, "did you mean 'ACCURACY'"),
        (
            {"validation": {"hyperparameters": {"ROC_CURVE": {"colour": "red"}}}},
            "The plot ROC_CURVE has no hyperparameter 'colour'",
        ),
        ({"validation": {"threshold": 1.5}}, "threshold"),
        ({"validation": {"period": "5 miles"}}, "is no period"),
        ({"validation": {"period": "5 minutes"}}, "how fast the machine is"),
        ({"validation": {"plotts": []}}, "did you mean 'plots'"),
    ],
)
def test_mistakes_are_refused_before_there_is_a_run(options, message, prepared, tmp_path):
    with pytest.raises((DataError, ConfigError)) as refused:
        prepared(**options)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "runs").exists()


def test_columns_that_number_the_rows_are_refused_without_talk_of_numbering_them_anew(tmp_path):
    path = tmp_path / "numbered.csv"
    rows = [f"{number},{number % 7},{number % 2}" for number in range(30)]
    path.write_text("\n".join(["id,size,label", *rows]) + "\n")
    with pytest.raises(DataError) as refused:
        prepare_experiment(description(path, label="label", positive=None), root=tmp_path)
    assert str(refused.value).endswith("nothing to learn from it: leave it out with --drop id")
    with pytest.raises(DataError, match="column 'id' is different in every row, and a label has two classes"):
        prepare_experiment(description(path, label="id", positive=None), root=tmp_path)
    prepare_experiment(description(path, label="label", positive=None, drop=["id"]), root=tmp_path)


def test_warnings_of_the_table_and_the_label_are_told(tmp_path):
    path = tmp_path / "gaps.csv"
    path.write_text("size,nothing,label\n" + "".join(f"{n},,{'' if n == 3 else n % 2}\n" for n in (0, 3, 4, 7, 9, 8)))
    experiment = prepare_experiment(description(path, label="label", positive=None), root=tmp_path)
    assert experiment.warnings == (
        "column 'nothing' has no values: it stays empty",
        "1 row without a value of the label 'label': left out",
    )


def test_a_classifier_generates_nothing_and_says_what_it_does(tmp_path):
    with pytest.raises(UsageError, match="generates nothing: `artifact-torch predict"):
        BinaryClassification.generate(None, None, tmp_path / "samples.csv")


def judged(path, folder, *, validation=None, **files):
    chosen = {"predictions": path, "label": "truth", "probability": "p", **files}
    return BinaryClassification.judge_files(
        BinaryClassification.file_options.model_validate(chosen, strict=False),  # as a command line's texts are
        BinaryClassification.validation_options.model_validate(validation or {}),
        seed=0,
        folder=folder,
    )


@pytest.fixture
def predictions(tmp_path):
    """Rows with a running number, which no model could learn from, in predictions that need none."""
    path = tmp_path / "predictions.csv"
    random = np.random.default_rng(0)
    truth = np.arange(60) % 2
    probability = np.clip(0.5 + (truth - 0.5) * 0.5 + random.normal(0, 0.2, 60), 0, 1)
    pd.DataFrame({"id": range(60), "truth": truth, "p": probability}).to_csv(path, index=False)
    return path


@pytest.mark.lengthy
def test_predictions_in_a_file_are_judged(predictions, tmp_path):
    conclusion = judged(predictions, tmp_path / "out")
    assert conclusion.scores["ACCURACY"] > 0.7
    assert conclusion.scores["THRESHOLD_VARIATION_SCORES/ROC_AUC"] > 0.8
    assert set(conclusion.plots) == {"ROC_CURVE", "PR_CURVE", "SCORE_PDF", "CONFUSION_MATRIX_PLOT"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in conclusion.plots.values())
    assert conclusion.meaning == "60 rows, '1' from a probability of 0.5 on; 1 is best of most"


def test_positive_class_and_threshold_may_come_as_texts(predictions, tmp_path):
    only = {"scores": ["RECALL"], "score_collections": [], "plots": []}
    everything = judged(predictions, tmp_path, validation=only, threshold="0", positive="0")
    assert everything.scores == {"RECALL": 1.0}
    assert judged(predictions, tmp_path, validation=only | {"threshold": 1.0}).scores["RECALL"] < 0.5


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"label": "true"}, "has no column 'true': its columns are 'id', 'truth', 'p'."),
        ({"probability": "q"}, "has no column 'q'"),
        ({"probability": "truth"}, "The label and the probability are both in column 'truth'"),
        ({"probability": "id"}, "column 'id'"),
        ({"predictions": "missing.csv"}, "There is no file missing.csv"),
        ({"label": "p", "probability": "truth"}, "The label 'p' has"),
    ],
)
def test_files_that_cannot_be_judged_are_refused(files, message, predictions, tmp_path):
    with pytest.raises(DataError) as refused:
        judged(**{"path": predictions, "folder": tmp_path, **files})
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("truth,p\n0,0.5\n1,\n", "column 'p' has no value in 1 row"),
        ("truth,p\n0,0.5\n,0.2\n1,1\n", "column 'truth' has no value in 1 row"),
        ("truth,p\n0,0.5\n1,1.5\n", "column 'p' has 1.5 in row 2: a probability is between 0 and 1."),
        ("truth,p\n0,low\n1,high\n", "column 'p' holds no numbers"),
        ("truth,p\n0,0.5\n0,0.2\n", "The label 'truth' is '0' in 2 rows and nothing else"),
    ],
)
def test_predictions_that_are_none_are_refused(content, message, tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text(content)
    with pytest.raises(DataError) as refused:
        judged(path, tmp_path)
    assert message in str(refused.value)


def test_predictions_are_judged_from_the_command_line(predictions, tmp_path):
    options = f"--predictions {predictions} --label truth --probability p --threshold 0.6 --output {tmp_path / 'out'}"
    chosen = "--set validation.scores=all --set validation.plots=[] --json"
    arguments = ["validate", "--group", "binary_classification", *options.split(), *chosen.split()]
    result = CliRunner().invoke(artifact_torch, arguments, catch_exceptions=False)
    found = json.loads(result.stdout)
    assert set(names_of(ArtifactKind.SCORE)) <= found["scores"].keys()
    assert found["plots"] == {}


def test_a_threshold_that_is_none_is_refused():
    with pytest.raises(ValidationError):
        BinaryClassification.file_options.model_validate(
            {"predictions": "p.csv", "label": "a", "probability": "b", "threshold": "high"}
        )
