"""The artifacts of tables: their names, and how artifact-core's registries build them with hyperparameters.

Importing artifact-core takes seconds, so this module is itself imported when a comparison is about to be made; it does
not import torch.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, cast, get_type_hints

from artifact_core.spi.artifact import Artifact as CoreArtifact
from artifact_core.table_comparison import (
    TableComparisonArrayCollectionType,
    TableComparisonArrayType,
    TableComparisonPlotCollectionType,
    TableComparisonPlotType,
    TableComparisonScoreCollectionType,
    TableComparisonScoreType,
    TabularDataSpec,
)
from artifact_core.table_comparison.spi import (
    TableComparisonArrayCollectionRegistry,
    TableComparisonArrayRegistry,
    TableComparisonPlotCollectionRegistry,
    TableComparisonPlotRegistry,
    TableComparisonScoreCollectionRegistry,
    TableComparisonScoreRegistry,
)
from pydantic import TypeAdapter, ValidationError

from artifact_torch import Artifact, ArtifactKind, ConfigError, UsageError, registry

__all__ = [
    "ALL",
    "TSNE",
    "built_artifact",
    "built_artifacts",
    "expanded",
    "known_names",
    "load_installed_artifacts",
    "modules_of",
]


ALL = "all"
"""Stands for every artifact of a kind that takes seconds at most."""

TSNE = Artifact(ArtifactKind.PLOT, "TSNE_JUXTAPOSITION")
"""The artifact that is not among all of its kind, because it takes minutes on some thousand rows."""

_REGISTRIES: dict[ArtifactKind, Any] = {  # classes of one generic class, which artifact-core does not type for others
    ArtifactKind.SCORE: TableComparisonScoreRegistry,
    ArtifactKind.ARRAY: TableComparisonArrayRegistry,
    ArtifactKind.PLOT: TableComparisonPlotRegistry,
    ArtifactKind.SCORE_COLLECTION: TableComparisonScoreCollectionRegistry,
    ArtifactKind.ARRAY_COLLECTION: TableComparisonArrayCollectionRegistry,
    ArtifactKind.PLOT_COLLECTION: TableComparisonPlotCollectionRegistry,
}

_TYPES: dict[ArtifactKind, type[Enum]] = {
    ArtifactKind.SCORE: TableComparisonScoreType,
    ArtifactKind.ARRAY: TableComparisonArrayType,
    ArtifactKind.PLOT: TableComparisonPlotType,
    ArtifactKind.SCORE_COLLECTION: TableComparisonScoreCollectionType,
    ArtifactKind.ARRAY_COLLECTION: TableComparisonArrayCollectionType,
    ArtifactKind.PLOT_COLLECTION: TableComparisonPlotCollectionType,
}

_OURS = {
    ArtifactKind.SCORE: ("MEAN_MISSING_SHARE_DIFFERENCE", "MAX_MISSING_SHARE_DIFFERENCE"),
    ArtifactKind.SCORE_COLLECTION: ("MISSING_SHARE_DIFFERENCE",),
}
"""Those that this distribution registers, in ``missing``; artifact-core cannot be asked what is registered."""

_WITHOUT_EFFECT = {TSNE.name: ("perplexity", "learning_rate", "max_iter")}
"""Hyperparameters that artifact-core 0.2.1 takes and does not use."""

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def load_installed_artifacts() -> None:
    """Import the modules of artifacts that are installed; one that cannot be imported is warned about."""
    registry.import_all("artifacts")


def known_names(kind: ArtifactKind) -> list[str]:
    """The names of a kind that artifact-core and this distribution provide; those of other plugins are not listed."""
    return [*(member.name for member in _TYPES[kind]), *_OURS.get(kind, ())]


def expanded(kind: ArtifactKind, names: Iterable[str]) -> list[Artifact]:
    """Artifacts by their names, each once; ``"all"`` among the names stands for the known ones but the slow one."""
    found: list[str] = []
    for name in names:
        if name == ALL:
            found.extend(each for each in known_names(kind) if each != TSNE.name)
        else:
            found.append(name)
    return [Artifact(kind, name) for name in dict.fromkeys(found)]


def built_artifacts(
    artifacts: Sequence[Artifact], specification: TabularDataSpec, hyperparameters: Mapping[str, Mapping[str, Any]]
) -> dict[Artifact, CoreArtifact[Any, Any, Any, Any]]:
    """Artifacts as artifact-core's objects, with hyperparameters by the artifact's name.

    Raises:
        ConfigError: there is no artifact of a name, or a hyperparameter is unknown, of a wrong value or of no effect.
    """
    names = [artifact.name for artifact in artifacts]
    for name in hyperparameters:
        if name not in names:
            hint = _hint(name.upper(), names, "name it among the artifacts, or leave them out.")
            raise ConfigError(f"There are hyperparameters of {name!r}, which is not computed: {hint}")
    return {
        artifact: built_artifact(artifact, specification, hyperparameters.get(artifact.name, {}))
        for artifact in artifacts
    }


def built_artifact(
    artifact: Artifact, specification: TabularDataSpec, hyperparameters: Mapping[str, Any]
) -> CoreArtifact[Any, Any, Any, Any]:
    """An artifact as artifact-core's object; errors are those of ``built_artifacts``."""
    try:
        built = _REGISTRIES[artifact.kind].get(artifact_type=artifact.name, resource_spec=specification)
    except ValueError as error:
        if "not registered" not in str(error):
            raise ConfigError(f"The {artifact} cannot be built by artifact-core: {error}.") from error
        raise ConfigError(_unknown(artifact)) from error
    if not hyperparameters:
        return built
    given = _checked(artifact, built.hyperparams, hyperparameters)
    return type(built)(resource_spec=specification, hyperparams=dataclasses.replace(built.hyperparams, **given))


def modules_of(artifacts: Iterable[CoreArtifact[Any, Any, Any, Any]]) -> list[str]:
    """The modules, other than artifact-core's, that register these artifacts when they are imported.

    Raises:
        UsageError: an artifact is of the program itself, which no other process can import.
    """
    modules: dict[str, None] = {}
    for artifact in artifacts:
        kind = type(artifact)
        if kind.__module__ == "__main__":
            raise UsageError(
                f"The artifact {kind.__qualname__} is defined in the program itself, which another process cannot "
                "import: put it into a module."
            )
        if kind.__module__.partition(".")[0] != "artifact_core":
            modules[kind.__module__] = None
    return list(modules)


def _unknown(artifact: Artifact) -> str:
    word = artifact.kind.replace("_", " ")
    known = known_names(artifact.kind)
    if artifact.name.lower() == ALL:
        hint = f"did you mean {ALL!r}?"
    else:
        hint = _hint(artifact.name.upper(), known, f"known are {', '.join(known) or 'none'}, and those of plugins.")
    return f"There is no {word} of tables named {artifact.name!r}: {hint}"


def _checked(artifact: Artifact, base: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given hyperparameters as artifact-core takes them; ``base`` is a dataclass of its hyperparameters."""
    known = [field.name for field in dataclasses.fields(base)]
    checked: dict[str, Any] = {}
    for name, value in given.items():
        if not known:
            raise ConfigError(f"The {artifact} has no hyperparameters: leave {name!r} out.")
        if name not in known:
            hint = _hint(name, known, f"it has {', '.join(known)}.")
            raise ConfigError(f"The {artifact} has no hyperparameter {name!r}: {hint}")
        if name in _WITHOUT_EFFECT.get(artifact.name, ()):
            raise ConfigError(
                f"The hyperparameter {name!r} of the {artifact} has no effect in artifact-core: leave it out."
            )
        checked[name] = _checked_value(f"{name} of the {artifact}", value, base, name)
    return checked


def _checked_value(what: str, value: Any, base: Any, name: str) -> Any:
    hint: Any = get_type_hints(type(base))[name]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _member(what, value, hint)
    current: Any = getattr(base, name)
    if isinstance(current, (list, tuple)) and isinstance(value, (list, tuple)):
        present = cast("Sequence[object]", current)
        if present and isinstance(present[0], Enum):
            return type(present)(_member(what, each, type(present[0])) for each in cast("Sequence[Any]", value))  # pyright: ignore[reportCallIssue]
    try:
        TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError:
        wanted = _WORDS.get(hint) or inspect.formatannotation(hint)
        raise ConfigError(f"{what} must be {wanted}, not {value!r}.") from None
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 1.0
    if number <= 0 and type(base).__module__.startswith("artifact_core."):  # all of these are counts and rates
        raise ConfigError(f"{what} must be more than 0, not {value}.")
    return value


def _member(what: str, value: Any, kind: type[Enum]) -> Enum:
    if isinstance(value, kind):
        return value
    names = [member.name for member in kind]
    if value in names:
        return kind[value]
    hint = _hint(str(value).upper(), names, f"it is one of {', '.join(names)}.")
    raise ConfigError(f"{what} cannot be {value!r}: {hint}")


def _hint(given: str, known: Sequence[str], otherwise: str) -> str:
    close = [name for name in known if name.startswith(given)] or difflib.get_close_matches(given, known, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else otherwise
