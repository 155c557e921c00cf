"""The artifacts of artifact-core's toolkit of binary classification, by name; the one place that looks them up.

It takes seconds to import; nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, cast

from artifact_core.binary_classification import (
    BinaryClassificationArrayCollectionType,
    BinaryClassificationArrayType,
    BinaryClassificationPlotCollectionType,
    BinaryClassificationPlotType,
    BinaryClassificationScoreCollectionType,
    BinaryClassificationScoreType,
    BinaryClassSpec,
)
from artifact_core.binary_classification.spi import (
    BinaryClassificationArrayCollectionRegistry,
    BinaryClassificationArrayRegistry,
    BinaryClassificationPlotCollectionRegistry,
    BinaryClassificationPlotRegistry,
    BinaryClassificationScoreCollectionRegistry,
    BinaryClassificationScoreRegistry,
)

from artifact_torch import Artifact, ArtifactKind, ConfigError
from artifact_torch_binary_classification.labels import Classes

__all__ = ["artifact_of", "class_specification", "names_of", "own_module_of"]

_TYPES: Mapping[ArtifactKind, type[Enum]] = {
    ArtifactKind.SCORE: BinaryClassificationScoreType,
    ArtifactKind.ARRAY: BinaryClassificationArrayType,
    ArtifactKind.PLOT: BinaryClassificationPlotType,
    ArtifactKind.SCORE_COLLECTION: BinaryClassificationScoreCollectionType,
    ArtifactKind.ARRAY_COLLECTION: BinaryClassificationArrayCollectionType,
    ArtifactKind.PLOT_COLLECTION: BinaryClassificationPlotCollectionType,
}
_REGISTRIES: Mapping[ArtifactKind, Any] = {
    ArtifactKind.SCORE: BinaryClassificationScoreRegistry,
    ArtifactKind.ARRAY: BinaryClassificationArrayRegistry,
    ArtifactKind.PLOT: BinaryClassificationPlotRegistry,
    ArtifactKind.SCORE_COLLECTION: BinaryClassificationScoreCollectionRegistry,
    ArtifactKind.ARRAY_COLLECTION: BinaryClassificationArrayCollectionRegistry,
    ArtifactKind.PLOT_COLLECTION: BinaryClassificationPlotCollectionRegistry,
}
_TOOLKIT = "artifact_core"
_PLAIN: Mapping[type, tuple[type, ...]] = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}
_WORDS: Mapping[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def names_of(kind: ArtifactKind) -> list[str]:
    """The names of the toolkit's own artifacts of a kind, in its order."""
    return [member.name for member in _TYPES[kind]]


def class_specification(classes: Classes) -> BinaryClassSpec:
    """Two classes as artifact-core describes them; the negative one has the index 0."""
    return BinaryClassSpec(class_names=list(classes.names), positive_class=classes.positive, label_name=classes.label)


def artifact_of(artifact: Artifact, specification: BinaryClassSpec, hyperparameters: Mapping[str, Any]) -> Any:
    """An artifact of the toolkit, or one registered with it, ready to ``compute``; it is of artifact-core's own type.

    Args:
        artifact: its kind and name.
        specification: the two classes.
        hyperparameters: values in place of those it comes with; JSON values, with the names of enum members.

    Raises:
        ConfigError: there is no artifact of that name, or it has no such hyperparameter or value.
    """
    try:
        built = _REGISTRIES[artifact.kind].get(artifact_type=artifact.name, resource_spec=specification)
    except ValueError as error:
        if "not registered" not in str(error):
            raise ConfigError(f"artifact-core cannot build the {artifact}: {error}.") from error
        raise ConfigError(f"There is no {artifact} of classifications: {_nearest(artifact)}") from error
    if not hyperparameters:
        return built
    return type(built)(resource_spec=specification, hyperparams=_replaced(artifact, built.hyperparams, hyperparameters))


def own_module_of(built: Any) -> str | None:
    """The module that registers an artifact, None for those that come with artifact-core."""
    module = type(built).__module__
    return None if module.partition(".")[0] == _TOOLKIT else module


def _nearest(artifact: Artifact) -> str:
    known = names_of(artifact.kind)
    for kind in ArtifactKind:
        if kind is not artifact.kind and artifact.name in names_of(kind):
            return f"{artifact.name!r} is a {str(kind).replace('_', ' ')}, so name it under {kind}s."
    close = difflib.get_close_matches(artifact.name.upper(), known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}."


def _replaced(artifact: Artifact, current: Any, given: Mapping[str, Any]) -> Any:
    values = {field.name: getattr(current, field.name) for field in dataclasses.fields(current)}
    for name in given:
        if name not in values:
            known = ", ".join(map(repr, values))
            hint = f"it has {known}." if known else "it has none."
            raise ConfigError(f"The {artifact} has no hyperparameter {name!r}: {hint}")
        wanted = type(values[name])
        if wanted in _PLAIN and type(given[name]) not in _PLAIN[wanted]:
            raise ConfigError(f"{name} of the {artifact} must be {_WORDS[wanted]}, not {given[name]!r}.")
    try:
        return type(current).build(**values | dict(given))
    except (KeyError, TypeError, ValueError) as error:
        named = ", ".join(f"{name} = {value!r}" for name, value in given.items())
        choices = "; ".join(f"{name} takes {_choices(values[name])}" for name in given if _choices(values[name]))
        more = choices or f"{type(error).__name__}: {error}"
        raise ConfigError(f"The {artifact} cannot be given {named}: {more}.") from error


def _choices(value: object) -> str:
    """What may stand in place of a hyperparameter's value, if it is a member of an enum or some of them."""
    several = isinstance(value, Sequence) and not isinstance(value, str)
    one: object = (cast("Sequence[object]", value) or [None])[0] if several else value
    if not isinstance(one, Enum):
        return ""
    names = ", ".join(repr(member.name) for member in type(one))
    return f"a list of {names}" if several else f"one of {names}"
