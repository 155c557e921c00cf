"""The plan of classifiers: which artifacts, of which rows, and those that plugins add."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from artifact_core.binary_classification.spi import BinaryClassificationScore, BinaryClassificationScoreRegistry
from artifact_torch_binary_classification import (
    BinaryClassificationValidationPlan,
    ClassificationArtifacts,
    TabularClassifier,
)
from artifact_torch_binary_classification.toolkit import names_of

from artifact_torch import (
    Artifact,
    ArtifactKind,
    ConfigError,
    DataError,
    DataSplit,
    InMemoryDataLoader,
    Trainer,
    UsageError,
    execute_plan,
)

NOTHING = {"scores": [], "score_collections": [], "plots": []}
ACCURACY = ClassificationArtifacts(**NOTHING | {"scores": ["ACCURACY"]})

CUSTOM = """
from artifact_core.binary_classification.spi import BinaryClassificationScore, BinaryClassificationScoreRegistry
from artifact_core.spi.artifact import ArtifactHyperparams


@BinaryClassificationScoreRegistry.register_custom_artifact("{name}")
class LogLoss(BinaryClassificationScore[ArtifactHyperparams]):
    def _evaluate_classification(self, true_class_store, classification_results):
        import math

        positive = true_class_store.id_to_is_positive
        losses = [
            -math.log(probability if positive[row] else 1 - probability)
            for row, probability in classification_results.id_to_prob_pos.items()
        ]
        return sum(losses) / len(losses)
"""


def named(plan):
    return {str(artifact) for artifact in plan.artifacts}


def test_all_stands_for_everything_that_artifact_core_has(cancer):
    every = {f"{kind}s": "all" for kind in ArtifactKind}
    plan = BinaryClassificationValidationPlan(cancer, ClassificationArtifacts(**every))
    assert len(plan.artifacts) == sum(len(names_of(kind)) for kind in ArtifactKind) == 48
    some = ClassificationArtifacts(**NOTHING | {"scores": ["RECALL", "all"]})
    assert [artifact.name for artifact in BinaryClassificationValidationPlan(cancer, some).artifacts][:2] == [
        "RECALL",
        "ACCURACY",
    ]


def test_the_recipe_is_json_and_its_artifacts_are_computed(cancer, tmp_path):
    artifacts = ClassificationArtifacts(
        **NOTHING | {"scores": ["ACCURACY"], "arrays": ["CONFUSION_MATRIX"]},
        hyperparameters={"CONFUSION_MATRIX": {"normalization": member_of_artifact_core()}},
    )
    plan = BinaryClassificationValidationPlan(cancer, artifacts)
    recipe = plan.recipe()
    assert json.loads(json.dumps(recipe.parameters)) == recipe.parameters
    found = execute_plan(plan, plan.inputs(cancer.is_positive.astype(float) * 0.8 + 0.1), tmp_path)
    assert found.scores == {"ACCURACY": 1}
    assert found.arrays["CONFUSION_MATRIX"].sum() == pytest.approx(1)


def member_of_artifact_core():
    """A member of artifact-core's enumeration, as a user of Python may give it."""
    from artifact_torch_binary_classification import Classes
    from artifact_torch_binary_classification.toolkit import artifact_of, class_specification

    artifact = Artifact(ArtifactKind.ARRAY, "CONFUSION_MATRIX")
    built = artifact_of(artifact, class_specification(Classes("y", "0", "1")), {})
    return type(built.hyperparams.normalization)["ALL"]


def test_what_is_gathered_is_what_the_model_predicts_of_the_sampled_rows(cancer):
    torch.manual_seed(0)
    model = TabularClassifier.from_table(cancer, hidden_size=8)
    tensors = {**model.encode(cancer.features.frame), "targets": torch.from_numpy(cancer.is_positive).float()}
    trainer = Trainer(model, InMemoryDataLoader(tensors, batch_size=64, shuffle=True), epochs=1)
    plan = BinaryClassificationValidationPlan(cancer, ACCURACY, max_rows=100, seed=5)
    assert (plan.rows, plan.seed, plan.split) == (100, 5, DataSplit.VALIDATION)
    rows = cancer.sample(100, 5)
    for _ in range(2):  # the second time, of what was encoded the first time
        gathered = plan.gather(trainer)
        assert gathered["true"].tolist() == cancer.is_positive[rows].tolist()
        everything = model.predict(cancer.features.frame)
        np.testing.assert_allclose(gathered["probability"], everything[rows], rtol=1e-6)
        trainer.train(epochs=trainer.state.epochs_completed + 1)
    given = plan.inputs(everything)
    np.testing.assert_array_equal(given["probability"], everything[rows])


def test_an_artifact_that_a_plugin_registers_is_named_like_any_other(cancer, tmp_path, monkeypatch):
    (tmp_path / "our_losses.py").write_text(CUSTOM.format(name="OUR_LOG_LOSS"))
    monkeypatch.syspath_prepend(tmp_path)
    import our_losses  # pyright: ignore[reportMissingImports]

    artifacts = ClassificationArtifacts(**NOTHING | {"scores": ["OUR_LOG_LOSS"]})
    plan = BinaryClassificationValidationPlan(cancer, artifacts)
    assert plan.recipe().parameters["modules"] == ["our_losses"]
    found = execute_plan(plan, plan.inputs(np.full(len(cancer), 0.5)), tmp_path / "out")
    assert found.scores["OUR_LOG_LOSS"] == pytest.approx(np.log(2))
    assert our_losses.__name__ in sys.modules


def test_an_artifact_of_the_program_itself_is_refused(cancer):
    @BinaryClassificationScoreRegistry.register_custom_artifact("OF_THE_PROGRAM")
    class OfTheProgram(BinaryClassificationScore):
        __module__ = "__main__"

        def _evaluate_classification(self, true_class_store, classification_results):
            return 1.0

    with pytest.raises(UsageError, match=r"is defined in the program itself.*put .*OfTheProgram into a module"):
        BinaryClassificationValidationPlan(cancer, ClassificationArtifacts(scores=["OF_THE_PROGRAM"]))


def test_hyperparameters_of_what_is_not_computed_are_refused(cancer):
    artifacts = ClassificationArtifacts(hyperparameters={"CONFUSION_MATRIX_PLOTT": {"normalization": "ALL"}})
    with pytest.raises(ConfigError, match="did you mean 'CONFUSION_MATRIX_PLOT'"):
        BinaryClassificationValidationPlan(cancer, artifacts)


def test_only_scores_are_left_of_the_artifacts_for_training_rows():
    given = {
        "CONFUSION_MATRIX_PLOT": {"normalization": "ALL"},
        "THRESHOLD_VARIATION_SCORES": {"metric_types": ["PR_AUC"]},
    }
    artifacts = ClassificationArtifacts(arrays=["CONFUSION_MATRIX"], hyperparameters=given).only_scores()
    assert not any(artifacts.names(kind) for kind in ArtifactKind if not kind.is_score)
    assert artifacts.scores == ClassificationArtifacts().scores
    assert list(artifacts.hyperparameters) == ["THRESHOLD_VARIATION_SCORES"]


def test_no_rows_no_artifacts_and_too_few_probabilities_are_refused(cancer):
    with pytest.raises(DataError, match="no row to judge"):
        BinaryClassificationValidationPlan(cancer.take(np.array([], dtype=int)))
    with pytest.raises(UsageError, match="has no artifact"):
        BinaryClassificationValidationPlan(cancer, ClassificationArtifacts(**NOTHING))
    with pytest.raises(DataError, match=r"There are 3 probabilities for 569 rows"):
        BinaryClassificationValidationPlan(cancer, ACCURACY).inputs(np.array([0.1, 0.2, 0.3]))
