"""Artifacts by name: what is known, what is refused and how, and hyperparameters."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd
import pytest
from artifact_core.spi.artifact import ArtifactHyperparams
from artifact_core.table_comparison import TableComparisonPlotType, TabularDataSpec
from artifact_core.table_comparison.spi import TableComparisonScore, TableComparisonScoreRegistry
from artifact_torch_table_comparison.catalogue import (
    TSNE,
    built_artifact,
    built_artifacts,
    expanded,
    known_names,
    load_installed_artifacts,
    modules_of,
)

from artifact_torch import Artifact, ArtifactKind, ConfigError, UsageError

SPECIFICATION = TabularDataSpec.from_df(
    pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}), cts_features=["a"], cat_features=["b"]
)
JS = Artifact(ArtifactKind.SCORE, "MEAN_JS_DISTANCE")
CORRELATION = Artifact(ArtifactKind.SCORE, "CORRELATION_DISTANCE")


@TableComparisonScoreRegistry.register_custom_artifact("TEST_UNSET")
class Unset(TableComparisonScore):
    """A score whose hyperparameters have values nowhere."""

    def _compare_datasets(self, dataset_real, dataset_synthetic):
        return 0.0


@TableComparisonScoreRegistry.register_custom_artifact_hyperparams("TEST_UNSET")
@dataclass(frozen=True)
class UnsetHyperparams(ArtifactHyperparams):
    number: int = 3


@pytest.fixture(autouse=True)
def _installed():
    load_installed_artifacts()


@pytest.mark.parametrize("kind", list(ArtifactKind))
def test_every_known_artifact_can_be_built(kind):
    for name in known_names(kind):
        built = built_artifact(Artifact(kind, name), SPECIFICATION, {})
        assert built.resource_spec is SPECIFICATION


def test_all_plots_are_all_but_the_slow_one_unless_it_is_named():
    names = [artifact.name for artifact in expanded(ArtifactKind.PLOT, ["all"])]
    assert {*names, TSNE.name} == {member.name for member in TableComparisonPlotType}
    assert TSNE.name not in names
    named = expanded(ArtifactKind.PLOT, ["PDF", "all", TSNE.name])
    assert named[0].name == "PDF"
    assert len(named) == len(names) + 1
    assert named[-1] == TSNE


def test_all_scores_are_artifact_core_s_and_those_of_missing_values():
    assert [artifact.name for artifact in expanded(ArtifactKind.SCORE, ["all"])] == [
        "MEAN_JS_DISTANCE",
        "CORRELATION_DISTANCE",
        "MEAN_MISSING_SHARE_DIFFERENCE",
        "MAX_MISSING_SHARE_DIFFERENCE",
    ]
    assert expanded(ArtifactKind.ARRAY, ["all"]) == []


@pytest.mark.parametrize(
    ("kind", "wrong", "hint"),
    [
        ("score", "MEAN_JS", "no score of tables named 'MEAN_JS': did you mean 'MEAN_JS_DISTANCE'?"),
        ("score", "MISSING_SHARE_DIFFERENCE", "did you mean 'MAX_MISSING_SHARE_DIFFERENCE'?"),
        ("plot", "pdf", "did you mean 'PDF'?"),
        ("plot", "ALL", "did you mean 'all'?"),
        ("plot_collection", "HEATMAPS", "did you mean 'CORRELATION_HEATMAPS'?"),
        ("array_collection", "MEAN_JUXTA", "did you mean 'MEAN_JUXTAPOSITION'?"),
        ("array", "ANYTHING", "no array of tables named 'ANYTHING': known are none, and those of plugins."),
    ],
)
def test_unknown_names_are_refused_with_the_nearest_known_one(kind, wrong, hint):
    with pytest.raises(ConfigError, match=re.escape(hint)):
        built_artifact(Artifact(ArtifactKind(kind), wrong), SPECIFICATION, {})


def test_hyperparameters_replace_those_of_artifact_core():
    built = built_artifacts([JS, CORRELATION], SPECIFICATION, {"MEAN_JS_DISTANCE": {"n_bins_cts_histogram": 7}})
    assert built[JS].hyperparams.n_bins_cts_histogram == 7
    assert built[JS].hyperparams.categorical_only is False
    chosen = built_artifact(CORRELATION, SPECIFICATION, {"continuous_association_type": "SPEARMAN"}).hyperparams
    assert chosen.continuous_association_type.name == "SPEARMAN"
    assert chosen.vector_distance_metric.name == "RMSE"
    again = {"continuous_association_type": chosen.continuous_association_type}
    assert built_artifact(CORRELATION, SPECIFICATION, again).hyperparams == chosen


@pytest.mark.parametrize(
    ("artifact", "given", "message"),
    [
        (JS, {"n_bins": 5}, "The score MEAN_JS_DISTANCE has no hyperparameter 'n_bins': did you mean 'n_bins_cts_"),
        (JS, {"colour": 5}, "has no hyperparameter 'colour': it has n_bins_cts_histogram, categorical_only."),
        (JS, {"n_bins_cts_histogram": "5"}, "of the score MEAN_JS_DISTANCE must be a whole number, not '5'."),
        (JS, {"n_bins_cts_histogram": 5.5}, "must be a whole number, not 5.5."),
        (JS, {"n_bins_cts_histogram": True}, "must be a whole number, not True."),
        (JS, {"n_bins_cts_histogram": 0}, "must be more than 0, not 0."),
        (JS, {"categorical_only": 1}, "must be true or false, not 1."),
        (CORRELATION, {"vector_distance_metric": "RMS"}, "cannot be 'RMS': did you mean 'RMSE'?"),
        (CORRELATION, {"continuous_association_type": 3}, "cannot be 3: it is one of PEARSON, SPEARMAN, KENDALL."),
        (Artifact(ArtifactKind.PLOT, "PDF"), {"bins": 5}, "The plot PDF has no hyperparameters: leave 'bins' out."),
        (TSNE, {"perplexity": 5.0}, "'perplexity' of the plot TSNE_JUXTAPOSITION has no effect in artifact-core"),
    ],
)
def test_wrong_hyperparameters_are_refused(artifact, given, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        built_artifact(artifact, SPECIFICATION, given)


def test_hyperparameters_of_what_is_not_computed_are_refused():
    with pytest.raises(ConfigError, match="hyperparameters of 'MEAN_JS', which is not computed: did you mean"):
        built_artifacts([JS], SPECIFICATION, {"MEAN_JS": {}})
    with pytest.raises(ConfigError, match="name it among the artifacts, or leave them out"):
        built_artifacts([JS], SPECIFICATION, {"PCA_JUXTAPOSITION": {}})


def test_a_custom_artifact_whose_hyperparameters_have_no_values_is_refused_with_artifact_core_s_reason():
    with pytest.raises(
        ConfigError, match="TEST_UNSET cannot be built by artifact-core: Missing config for hyperparams"
    ):
        built_artifact(Artifact(ArtifactKind.SCORE, "TEST_UNSET"), SPECIFICATION, {})


def test_the_modules_of_artifacts_are_told_and_one_of_the_program_itself_is_refused(monkeypatch):
    ours = built_artifact(Artifact(ArtifactKind.SCORE, "MAX_MISSING_SHARE_DIFFERENCE"), SPECIFICATION, {})
    native = built_artifact(JS, SPECIFICATION, {})
    assert modules_of([native, ours, ours]) == ["artifact_torch_table_comparison.missing"]
    monkeypatch.setattr(Unset, "__module__", "__main__")
    with pytest.raises(UsageError, match=r"Unset is defined in the program itself.*put it into a module"):
        modules_of([Unset(SPECIFICATION, UnsetHyperparams())])
