"""Training a classifier: it learns, it is validated, and scores of the validation decide about it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from artifact_torch_binary_classification import (
    BinaryClassificationTrainer,
    BinaryClassificationValidationPlan,
    BinaryClassificationValidationRoutine,
    ClassificationArtifacts,
    TabularClassifier,
)
from artifact_torch_binary_classification.trainer import settings_for
from artifact_torch_stoppers import Patience
from pandas.testing import assert_frame_equal
from sklearn.metrics import roc_auc_score

from artifact_torch import DataSplit, InMemoryDataLoader, RunDirectory, Trainer, TrainingSettings, UsageError

AREAS = {"scores": [], "plots": []}
REST = {"score_collections": [], "plots": []}
SCORES = ClassificationArtifacts(scores=["ACCURACY"], **REST)


@pytest.fixture
def trainer_of(cancer, tmp_path):
    def build(*, share=0.8, settings=None, seed=0, artifacts=None, **options):
        train, held_out = cancer.split(share, seed)
        torch.manual_seed(seed)
        return BinaryClassificationTrainer(
            TabularClassifier.from_table(train),
            train,
            held_out,
            settings=settings,
            artifacts=artifacts or ClassificationArtifacts(**AREAS),
            seed=seed,
            run=RunDirectory.create(root=tmp_path),
            **{"validation_mode": "inline", **options},
        )

    return build


@pytest.mark.lengthy
def test_breast_cancers_are_told_apart(trainer_of, cancer):
    areas = []
    for seed in range(3):
        trainer = trainer_of(seed=seed, artifacts=SCORES)
        trainer.train()
        _, held_out = cancer.split(0.8, seed)
        areas.append(roc_auc_score(held_out.is_positive, trainer.model.predict(held_out.features.frame)))
    assert min(areas) > 0.97
    assert np.mean(areas) > 0.98


def test_scores_of_both_splits_are_recorded_at_the_last_epoch_too(trainer_of):
    settings = TrainingSettings(epochs=3, batch_size=64, learning_rate=1e-3)
    trainer = trainer_of(settings=settings, validation_period=2)
    trainer.train()
    for split in ("train", "validation"):
        area = trainer.epoch_scores[f"{split}/THRESHOLD_VARIATION_SCORES/ROC_AUC"]
        assert list(area.dropna().index) == [2, 3]
        assert area.iloc[-1] > 0.8


def test_a_score_of_the_validation_can_stop_training(trainer_of):
    settings = TrainingSettings(epochs=50, batch_size=64, learning_rate=1e-9, optimizer="sgd")
    patience = Patience(score="validation/THRESHOLD_VARIATION_SCORES/ROC_AUC", mode="max", epochs=2)
    trainer = trainer_of(settings=settings, validation_period=1, stoppers=[patience])
    assert "patience" in trainer.train().reason.lower()
    assert trainer.state.epochs_completed == 3


@pytest.mark.lengthy
def test_scores_are_the_same_in_the_background_those_of_ones_own_included(trainer_of, tmp_path, monkeypatch):
    (tmp_path / "our_brier.py").write_text(
        """
from artifact_core.binary_classification.spi import BinaryClassificationScore, BinaryClassificationScoreRegistry


@BinaryClassificationScoreRegistry.register_custom_artifact("OUR_BRIER")
class Brier(BinaryClassificationScore):
    def _evaluate_classification(self, true_class_store, classification_results):
        positive, probabilities = true_class_store.id_to_is_positive, classification_results.id_to_prob_pos
        return sum((probabilities[row] - positive[row]) ** 2 for row in positive) / len(positive)
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    import our_brier  # noqa: F401 # pyright: ignore[reportMissingImports]

    settings = TrainingSettings(epochs=2, batch_size=64, learning_rate=1e-3)
    artifacts = ClassificationArtifacts(scores=["OUR_BRIER", "all"], plots=["ROC_CURVE"])
    found = []
    for mode in ("inline", "background"):
        trainer = trainer_of(settings=settings, artifacts=artifacts, validation_mode=mode, validation_period=1)
        trainer.train()
        found.append(trainer.epoch_scores.filter(regex="^validation/|^train/[A-Z]"))
        assert len(trainer.run.plot_paths()) == 2
    assert_frame_equal(*found)
    assert found[0]["validation/OUR_BRIER"].notna().all()


def test_held_out_rows_get_all_artifacts_and_training_rows_only_scores(trainer_of):
    trainer = trainer_of(artifacts=ClassificationArtifacts())
    of_split = {plan.split: {artifact.kind for artifact in plan.artifacts} for plan in trainer.validation.plans}
    assert {str(kind) for kind in of_split[DataSplit.TRAIN]} == {"score", "score_collection"}
    assert {str(kind) for kind in of_split[DataSplit.VALIDATION]} == {"score", "score_collection", "plot"}
    (alone,) = trainer_of(share=1, artifacts=ClassificationArtifacts()).validation.plans
    assert alone.split is DataSplit.TRAIN
    assert "plot" in {str(artifact.kind) for artifact in alone.artifacts}


def test_nothing_is_validated_if_no_artifact_is_named(trainer_of):
    none = ClassificationArtifacts(scores=[], score_collections=[], plots=[])
    assert trainer_of(artifacts=none).validation.plans == ()


def test_plans_of_ones_own_are_executed_besides(cancer):
    own = BinaryClassificationValidationPlan(cancer, ClassificationArtifacts(scores=["NPV"], **REST), name="own")
    routine = BinaryClassificationValidationRoutine(cancer, cancer, artifacts=SCORES, plans=[own], mode="inline")
    model = TabularClassifier.from_table(cancer)
    tensors = {**model.encode(cancer.features.frame), "targets": torch.from_numpy(cancer.is_positive).float()}
    trainer = Trainer(model, InMemoryDataLoader(tensors, batch_size=600), epochs=1, validation=routine)
    trainer.train()
    assert {"validation/NPV", "validation/ACCURACY", "train/ACCURACY"} <= set(trainer.epoch_scores.columns)


@pytest.mark.parametrize("num_rows", [2, 50, 2_000, 10_000, 10**7])
def test_settings_suit_every_size(num_rows):
    settings = settings_for(num_rows)
    assert settings.optimizer == "adamw"
    assert 8 <= settings.batch_size <= 512


def test_a_mistake_in_the_artifacts_is_told_before_training(trainer_of):
    with pytest.raises(UsageError, match="did you mean 'ACCURACY'"):
        trainer_of(artifacts=ClassificationArtifacts(scores=["ACURACY"]))
