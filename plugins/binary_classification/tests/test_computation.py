"""Artifacts are those of artifact-core on the same rows, and what it passes over in silence is told."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
from artifact_core.binary_classification import BinaryClassificationEngine, BinaryClassSpec
from artifact_torch_binary_classification import BinaryClassificationComputation
from artifact_torch_binary_classification.toolkit import names_of
from matplotlib import pyplot
from numpy.testing import assert_array_equal

from artifact_torch import Artifact, ArtifactKind, ArtifactWarning, ConfigError

EVERY = [Artifact(kind, name) for kind in ArtifactKind for name in names_of(kind)]
CLASSES = {"label": "diagnosis", "negative": "benign", "positive": "malignant"}


def computation_of(*artifacts, threshold=0.5, hyperparameters=None):
    parameters = {
        **CLASSES,
        "threshold": threshold,
        "artifacts": [list(artifact) for artifact in artifacts],
        "hyperparameters": hyperparameters or {},
        "modules": [],
    }
    return BinaryClassificationComputation(parameters, {})


def computed(artifact, true, probability, **options):
    """The artifact, and what is warned of."""
    computation = computation_of(artifact, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ArtifactWarning)
        prepared = computation.prepare({"true": np.array(true), "probability": np.array(probability)})
        value = computation.compute(artifact, prepared)
    return value, [str(warning.message) for warning in caught]


def score(name):
    return Artifact(ArtifactKind.SCORE, name)


@pytest.fixture(scope="module")
def sample(cancer):
    """Breast cancers, and how likely the size of a tumour alone makes it malignant; two are certain."""
    radius = cancer.features.frame["mean radius"].to_numpy()
    probability = 1 / (1 + np.exp(-(radius - radius.mean())))
    probability[radius.argmax()], probability[radius.argmin()] = 1.0, 0.0
    return cancer.is_positive.astype(np.int8), probability


@pytest.fixture(scope="module")
def prepared(sample):
    true, probability = sample
    return computation_of(*EVERY).prepare({"true": true, "probability": probability})


@pytest.fixture(scope="module")
def engine():
    return BinaryClassificationEngine.build(
        resource_spec=BinaryClassSpec(class_names=["benign", "malignant"], positive_class="malignant")
    )


@pytest.mark.parametrize("artifact", EVERY, ids=lambda artifact: artifact.name)
def test_an_artifact_is_that_of_the_engine_of_artifact_core(artifact, sample, prepared, engine):
    true, probability = sample
    names = np.array(["benign", "malignant"], dtype=object)
    produce = getattr(engine, f"produce_binary_classification_{artifact.kind}")
    expected = produce(
        artifact.name,
        true=dict(enumerate(names[true])),
        predicted=dict(enumerate(names[(probability >= 0.5).astype(int)])),
        probs_pos=dict(enumerate(probability.tolist())),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ArtifactWarning)
        value = computation_of(*EVERY).compute(artifact, prepared)
    assert_same(artifact.kind, value, expected)
    pyplot.close("all")


def assert_same(kind, value, expected):
    if kind in (ArtifactKind.SCORE, ArtifactKind.SCORE_COLLECTION):
        assert value == expected
    elif kind is ArtifactKind.ARRAY:
        assert_array_equal(value, expected)
    elif kind is ArtifactKind.PLOT:
        for one, other in zip(drawn(value), drawn(expected), strict=True):
            assert_array_equal(one, other)
    else:
        assert list(value) == list(expected)
        for item, each in value.items():
            assert_same(ArtifactKind(kind.removesuffix("_collection")), each, expected[item])


def drawn(figure):
    """The numbers that a figure shows."""
    for axes in figure.axes:
        yield from (line.get_xydata() for line in axes.lines)
        yield from (image.get_array() for image in axes.images)
        yield from (patch.get_bbox().get_points() for patch in axes.patches)
        yield from (path.vertices for collection in axes.collections for path in collection.get_paths())


def test_all_artifacts_of_a_round_share_its_resources(prepared):
    results = prepared.resources.classification_results
    one, other = results.id_to_prob_pos, results.id_to_prob_pos
    assert one == other
    one.clear()  # an artifact may do what it likes with its mapping
    assert len(results.id_to_prob_pos) == len(results) == len(other)
    assert_array_equal(results.get_probs(3), results.get_probs(3))


def test_the_threshold_decides_what_is_predicted():
    true, probability = [0, 0, 1, 1], [0.1, 0.4, 0.6, 0.9]
    assert computed(score("RECALL"), true, probability)[0] == 1
    assert computed(score("RECALL"), true, probability, threshold=0.7)[0] == 0.5
    assert computed(score("RECALL"), true, probability, threshold=0.9)[0] == 0.5  # the threshold itself is positive


def test_hyperparameters_take_the_place_of_those_of_artifact_core():
    artifact = Artifact(ArtifactKind.ARRAY, "CONFUSION_MATRIX")
    given = {"CONFUSION_MATRIX": {"normalization": "ALL"}}
    matrix, _ = computed(artifact, [0, 0, 1, 1], [0.1, 0.6, 0.6, 0.9], hyperparameters=given)
    assert_array_equal(matrix, [[0.5, 0], [0.25, 0.25]])
    curves = Artifact(ArtifactKind.PLOT_COLLECTION, "THRESHOLD_VARIATION_CURVES")
    given = {"THRESHOLD_VARIATION_CURVES": {"curve_types": ["PR"]}}
    assert list(computed(curves, [0, 1], [0.1, 0.6], hyperparameters=given)[0]) == ["pr"]


def test_probabilities_of_0_and_1_are_told_once_a_round():
    value, told = computed(score("ACCURACY"), [0, 1, 1], [0.0, 1.0, 0.5])
    assert value == 1
    assert told == ["2 of 3 probabilities are 0 or 1, or nearly; artifact-core takes them for 1e-15 and 1 - 1e-15"]
    computation = computation_of(score("ACCURACY"), score("RECALL"))
    prepared = computation.prepare({"true": np.array([0, 1]), "probability": np.array([0.0, 1.0])})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        computation.compute(score("RECALL"), prepared)


@pytest.mark.parametrize("only", [0, 1])
@pytest.mark.parametrize("artifact", EVERY, ids=lambda artifact: artifact.name)
def test_one_class_alone_is_a_warning_where_it_matters_and_no_failure(artifact, only):
    value, told = computed(artifact, [only] * 4, [0.1, 0.2, 0.6, 0.7])
    items = value.values() if isinstance(value, dict) else [value]
    if any(isinstance(item, float) and np.isnan(item) for item in items):
        assert any("is nan" in message for message in told)
    if artifact.name in ("ROC_CURVE", "RECALL", "MCC", "SCORE_PDF", "BINARY_PREDICTION_SCORES"):
        name = ("benign", "malignant")[only]
        assert f"all 4 rows are of the class {name!r}, so it means nothing" in told
    pyplot.close("all")


def test_nan_is_told_by_the_name_of_the_item():
    collection = Artifact(ArtifactKind.SCORE_COLLECTION, "SCORE_MEANS")
    value, told = computed(collection, [1, 1], [0.2, 0.7])
    assert np.isnan(value["NEGATIVE"])
    assert told == ["NEGATIVE cannot be computed of these 2 rows and is nan"]


@pytest.mark.parametrize(
    ("artifact", "probability", "message"),
    [
        (score("PRECISION"), 0.1, "no row is predicted to be 'malignant', so PRECISION counts as 0"),
        (score("NPV"), 0.9, "no row is predicted to be 'benign', so NPV counts as 0"),
        (score("MCC"), 0.9, "no row is predicted to be 'benign', so MCC counts as 0"),
        (
            Artifact(ArtifactKind.SCORE_COLLECTION, "BINARY_PREDICTION_SCORES"),
            0.1,
            "no row is predicted to be 'malignant', so PRECISION and MCC count as 0",
        ),
    ],
)
def test_a_score_of_predictions_that_there_are_none_of_is_told(artifact, probability, message):
    value, told = computed(artifact, [0, 1], [probability, probability])
    assert (value["precision"] if isinstance(value, dict) else value) == 0
    assert told == [message]
    assert computed(artifact, [0, 1], [0.1, 0.9])[1] == []


def test_artifact_core_takes_the_areas_of_decisions_and_this_is_told():
    """If this fails, artifact-core has been mended: drop the warning, and name ROC_AUC among the default scores."""
    true, probability = [0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4]
    value, told = computed(score("ROC_AUC"), true, probability)
    assert value == 0.5  # of four negative predictions
    assert "of the predicted classes, not of the probabilities" in told[0]
    collection = Artifact(ArtifactKind.SCORE_COLLECTION, "THRESHOLD_VARIATION_SCORES")
    assert computed(collection, true, probability)[0]["ROC_AUC"] == 0.75


@pytest.mark.parametrize(
    ("probability", "message"),
    [([0.5, np.nan], "1 of 2 rows have a probability that is not between 0 and 1, such as nan"), ([2, 0.5], "2.0")],
)
def test_what_is_no_probability_is_refused(probability, message):
    with pytest.raises(ValueError, match=message):
        computed(score("ACCURACY"), [0, 1], probability)


def test_plots_name_the_classes():
    matrix = Artifact(ArtifactKind.PLOT, "CONFUSION_MATRIX_PLOT")
    given = {"CONFUSION_MATRIX_PLOT": {"normalization": "TRUE"}}
    figure, _ = computed(matrix, [0, 1], [0.1, 0.6], hyperparameters=given)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["malignant", "benign"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["malignant", "benign"]
    assert axes.get_title() == "Confusion Matrix (shares of each true class)"
    figure, _ = computed(Artifact(ArtifactKind.PLOT, "SCORE_PDF"), [0, 0, 1, 1], [0.1, 0.2, 0.6, 0.7])
    assert figure.get_suptitle() == "PDF Comparison: probability of malignant"
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["malignant", "benign"]
    pyplot.close("all")


@pytest.mark.parametrize(
    ("artifact", "given", "message"),
    [
        (score("ACURACY"), {}, "There is no score ACURACY of classifications: did you mean 'ACCURACY'?"),
        (score("ROC_CURVE"), {}, "'ROC_CURVE' is a plot, so name it under plots."),
        (score("ACCURACY"), {"x": 1}, "The score ACCURACY has no hyperparameter 'x': it has none."),
        (
            Artifact(ArtifactKind.PLOT, "CONFUSION_MATRIX_PLOT"),
            {"normalisation": "ALL"},
            "The plot CONFUSION_MATRIX_PLOT has no hyperparameter 'normalisation': it has 'normalization'.",
        ),
        (
            Artifact(ArtifactKind.PLOT, "CONFUSION_MATRIX_PLOT"),
            {"normalization": "ROWS"},
            "cannot be given normalization = 'ROWS': normalization takes one of 'NONE', 'TRUE', 'PRED', 'ALL'.",
        ),
        (
            Artifact(ArtifactKind.SCORE_COLLECTION, "SCORE_MEANS"),
            {"split_types": "ALL"},
            "cannot be given split_types = 'ALL': split_types takes a list of 'ALL', 'POSITIVE', 'NEGATIVE'.",
        ),
    ],
)
def test_unknown_names_and_values_are_refused_with_what_there_is(artifact, given, message):
    with pytest.raises(ConfigError) as refused:
        computed(artifact, [0, 1], [0.1, 0.6], hyperparameters={artifact.name: given})
    assert message in str(refused.value)


@pytest.mark.lengthy
def test_torch_is_not_imported():
    program = """
        import sys
        import numpy as np
        from artifact_torch import Artifact, ArtifactKind, Recipe
        recipe = Recipe(
            "artifact_torch_binary_classification.computation:BinaryClassificationComputation",
            {"label": "y", "negative": "0", "positive": "1", "threshold": 0.5, "artifacts": [["score", "ACCURACY"]],
             "hyperparameters": {}, "modules": []},
        )
        computation = recipe.build()
        prepared = computation.prepare({"true": np.array([0, 1]), "probability": np.array([0.2, 0.7])})
        assert computation.compute(Artifact(ArtifactKind.SCORE, "ACCURACY"), prepared) == 1
        computation.compute(Artifact(ArtifactKind.PLOT, "ROC_CURVE"), prepared)
        assert "torch" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=120)
