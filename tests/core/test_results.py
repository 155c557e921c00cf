"""Validation results: six kinds, and their names in ``epoch_scores``."""

from __future__ import annotations

import numpy as np
import pytest

from artifact_torch import Artifact, ArtifactKind, Artifacts, DataSplit, UsageError, ValidationResults
from artifact_torch.core.results import track
from artifact_torch.plugin.manager import Plugins
from artifact_torch.testing import HookRecorder


def hooks_of(*objects):
    plugins = Plugins()
    for each in objects:
        plugins.register(each)
    return plugins.hooks


def test_scores_are_named_by_split_name_and_item():
    results = ValidationResults()
    results.of_split(DataSplit.TRAIN).scores["s"] = 1.0
    results.of_split(DataSplit.VALIDATION).scores["s"] = 2.0
    results.of_split(DataSplit.VALIDATION).score_collections["c"] = {"a": 3.0, "b": 4.0}
    assert results.scores == {"train/s": 1.0, "validation/s": 2.0, "validation/c/a": 3.0, "validation/c/b": 4.0}


def test_two_scores_of_one_name_are_refused():
    results = ValidationResults()
    results.of_split(DataSplit.TRAIN).scores["c/a"] = 1.0
    results.of_split(DataSplit.TRAIN).score_collections["c"] = {"a": 3.0}
    with pytest.raises(UsageError, match="Two validation scores are named 'train/c/a'"):
        _ = results.scores


def test_an_artifact_that_is_there_already_is_refused():
    artifacts = Artifacts(scores={"s": 0.0})
    artifacts.add(Artifact(ArtifactKind.ARRAY, "s"), np.zeros(1))
    with pytest.raises(UsageError, match="Two parts of the validation compute the score s"):
        artifacts.add(Artifact(ArtifactKind.SCORE, "s"), 1.0)


def test_every_artifact_is_handed_to_the_hook_of_its_kind():
    recorder = HookRecorder()
    for kind in ArtifactKind:
        value = {"item": 1.0} if kind.endswith("collection") else 1.0
        track(hooks_of(recorder), Artifact(kind, "x"), value, DataSplit.VALIDATION, epoch=3, step=12)
    assert recorder.names == [f"track_{kind}" for kind in ArtifactKind]
    assert all(
        (each["split"], each["epoch"], each["step"]) == (DataSplit.VALIDATION, 3, 12) for _, each in recorder.calls
    )
