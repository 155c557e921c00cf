"""Computing the artifacts of classifications with artifact-core; nothing here imports torch."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from artifact_core.binary_classification.spi import BinaryClassificationArtifactResources

from artifact_torch import Artifact, ArtifactKind, ArtifactWarning, Computation, Data
from artifact_torch_binary_classification.drawing import name_classes
from artifact_torch_binary_classification.labels import Classes
from artifact_torch_binary_classification.toolkit import artifact_of, class_specification

__all__ = ["BinaryClassificationComputation", "Classification"]

_NEAREST_PROBABILITY = 1e-15
"""How near to 0 and 1 artifact-core lets a probability come."""

_OF_DECISIONS = {
    Artifact(ArtifactKind.SCORE, "ROC_AUC"),
    Artifact(ArtifactKind.SCORE, "PR_AUC"),
}
"""Scores that artifact-core 0.2.1 computes of the predicted classes, though they are meant for probabilities."""

_OF_BOTH_CLASSES = {
    *("BALANCED_ACCURACY", "PRECISION", "NPV", "RECALL", "TNR", "FPR", "FNR", "F1", "MCC", "ROC_AUC", "PR_AUC"),
    *("ROC_CURVE", "PR_CURVE", "DET_CURVE", "RECALL_THRESHOLD_CURVE", "PRECISION_THRESHOLD_CURVE", "SCORE_PDF"),
    *("BINARY_PREDICTION_SCORES", "THRESHOLD_VARIATION_SCORES", "THRESHOLD_VARIATION_CURVES", "SCORE_PDF_PLOTS"),
}
"""Artifacts that mean something only if rows of both classes are there. artifact-core computes them all the same."""

_OF_PREDICTED = (("NPV", "MCC"), ("PRECISION", "MCC"))
"""Scores that artifact-core takes for 0, without a word, if no row is predicted to be negative, or positive."""


@dataclass(frozen=True, slots=True)
class Classification:
    """One round's rows as artifact-core takes them, shared by all artifacts, and what is to be told about them."""

    resources: Any
    only_class: str | None
    not_predicted: tuple[int, ...]
    num_rows: int
    num_extreme: int


class BinaryClassificationComputation(Computation[Classification]):
    """Computes artifacts of artifact-core's toolkit of binary classification, and such as are registered with it.

    A round's inputs are ``true``, the indices of the true classes (0 the negative, 1 the positive), and
    ``probability``, the probabilities of the positive class, both of shape ``(rows,)``.

    Args:
        parameters: ``label``, ``negative`` and ``positive``, the classes; ``threshold``, the probability from which on
            a row is predicted to be positive; ``artifacts``, kind and name of each; ``hyperparameters``, by artifact;
            ``modules``, to be imported because they register artifacts.
        data: nothing.
    """

    def __init__(self, parameters: Mapping[str, Any], data: Mapping[str, Data]) -> None:
        for module in parameters["modules"]:
            importlib.import_module(module)
        self._classes = Classes(parameters["label"], parameters["negative"], parameters["positive"])
        self._names = np.array(self._classes.names, dtype=object)
        self._specification = class_specification(self._classes)
        self._threshold = float(parameters["threshold"])
        self._first = Artifact(ArtifactKind(parameters["artifacts"][0][0]), parameters["artifacts"][0][1])
        self._hyperparameters = cast("Mapping[str, Mapping[str, Any]]", parameters["hyperparameters"])
        self._told: set[Artifact] = set()

    def prepare(self, inputs: Mapping[str, Data]) -> Classification:
        """The resources of artifact-core for one round.

        Raises:
            ValueError: there is no row, or a probability is not a number between 0 and 1.
        """
        true = np.asarray(inputs["true"], dtype=np.int64)
        probability = np.asarray(inputs["probability"], dtype=np.float64)
        if not len(true):
            raise ValueError("there is no row to judge")
        wrong = ~((probability >= 0) & (probability <= 1))
        if wrong.any():
            raise ValueError(
                f"{int(wrong.sum()):,} of {len(true):,} rows have a probability that is not between 0 and 1, such as "
                f"{probability[wrong][0]}"
            )
        predicted = (probability >= self._threshold).astype(np.int64)
        resources = BinaryClassificationArtifactResources.from_spec(
            class_spec=self._specification,
            true=_by_row(self._names[true]),
            predicted=_by_row(self._names[predicted]),
            probs_pos=_by_row(probability),
        )
        present = np.unique(true)
        extreme = (probability < _NEAREST_PROBABILITY) | (probability > 1 - _NEAREST_PROBABILITY)
        return Classification(
            resources=BinaryClassificationArtifactResources.from_stores(
                true_class_store=cast("Any", _Remembering(resources.true_class_store)),
                classification_results=cast("Any", _RememberingResults(resources.classification_results)),
            ),
            only_class=str(self._names[present[0]]) if len(present) == 1 else None,
            not_predicted=tuple({0, 1} - {int(index) for index in np.unique(predicted)}),
            num_rows=len(true),
            num_extreme=int(extreme.sum()),
        )

    def compute(self, artifact: Artifact, prepared: Classification) -> object:
        built = artifact_of(artifact, self._specification, self._hyperparameters.get(artifact.name, {}))
        value = built.compute(resources=prepared.resources)
        self._warn(artifact, prepared, value)
        if artifact.kind is ArtifactKind.PLOT:
            normalization = getattr(built.hyperparams, "normalization", None)
            name_classes(value, self._classes, getattr(normalization, "name", None))
        elif artifact.kind is ArtifactKind.PLOT_COLLECTION:
            for name, figure in value.items():
                name_classes(figure, self._classes, str(name))
        return value

    def _warn(self, artifact: Artifact, prepared: Classification, value: object) -> None:
        if prepared.num_extreme and artifact == self._first:
            _tell(
                f"{prepared.num_extreme:,} of {prepared.num_rows:,} probabilities are 0 or 1, or nearly; artifact-core "
                f"takes them for {_NEAREST_PROBABILITY:g} and 1 - {_NEAREST_PROBABILITY:g}"
            )
        if artifact in _OF_DECISIONS and artifact not in self._told:
            self._told.add(artifact)
            _tell(
                "artifact-core computes it of the predicted classes, not of the probabilities; the area under the "
                "curve is in the score collection THRESHOLD_VARIATION_SCORES"
            )
        if prepared.only_class is not None and artifact.name in _OF_BOTH_CLASSES:
            _tell(f"all {prepared.num_rows:,} rows are of the class {prepared.only_class!r}, so it means nothing")
        for index in prepared.not_predicted:
            names = [name for name in _OF_PREDICTED[index] if artifact.name in (name, "BINARY_PREDICTION_SCORES")]
            if names and prepared.only_class is None:
                verb = "count" if len(names) > 1 else "counts"
                _tell(f"no row is predicted to be {self._names[index]!r}, so {' and '.join(names)} {verb} as 0")
        if undefined := _undefined(value):
            _tell(f"{', '.join(undefined)} cannot be computed of these {prepared.num_rows:,} rows and is nan")


def _tell(message: str) -> None:
    warnings.warn(message, ArtifactWarning, stacklevel=3)


def _undefined(value: object) -> list[str]:
    if isinstance(value, float):
        return ["it"] if math.isnan(value) else []
    if not isinstance(value, Mapping):
        return []
    items = cast("Mapping[object, object]", value).items()
    return [str(name) for name, number in items if isinstance(number, float) and math.isnan(number)]


def _by_row(values: npt.NDArray[Any]) -> dict[Hashable, Any]:
    return dict(enumerate(values.tolist()))


class _Remembering:
    """A store of artifact-core that works each of its mappings out once.

    artifact-core does it for every artifact anew: on 50,000 rows, more than a second for each that needs probabilities.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self._mappings: dict[str, dict[Any, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return self._mapping(name).copy() if name.startswith("id_to_") else getattr(self._store, name)

    def __len__(self) -> int:
        return len(self._store)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._store)

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._store

    def _mapping(self, name: str) -> dict[Any, Any]:
        if name not in self._mappings:
            self._mappings[name] = dict(getattr(self._store, name))
        return self._mappings[name]


class _RememberingResults(_Remembering):
    """The same of classification results, which are also asked for the probabilities of one row after the other."""

    def get_probs(self, identifier: Any) -> npt.NDArray[np.float64]:
        return self._mapping("id_to_probs")[identifier].copy()
