"""Which artifacts of a classification to compute, by their names in artifact-core, and how."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from artifact_torch import (
    Artifact,
    ArtifactKind,
    ConfigError,
    Options,
    UsageError,
    registry,
)
from artifact_torch_binary_classification.labels import Classes

__all__ = ["ChosenArtifacts", "ClassificationArtifacts", "choose"]

_ALL = "all"


def _listed(value: object) -> object:
    return [value] if value == _ALL else value


Names = Annotated[list[str], BeforeValidator(_listed)]
"""Names of artifacts; ``"all"``, alone or among them, stands for all that artifact-core comes with."""


class ClassificationArtifacts(Options):
    """Names of artifacts, as artifact-core spells them.

    Attributes:
        scores, score_collections, arrays, array_collections, plots, plot_collections: names, or ``"all"``.
        hyperparameters: of artifacts, by the artifact's name, as artifact-core names them.
        threshold: the probability from which on a row is predicted to be of the positive class.
        dpi: the resolution of plots, in pixels an inch.
    """

    scores: Names = ["ACCURACY", "BALANCED_ACCURACY", "F1", "MCC"]
    score_collections: Names = ["THRESHOLD_VARIATION_SCORES"]
    arrays: Names = []
    array_collections: Names = []
    plots: Names = ["ROC_CURVE", "PR_CURVE", "SCORE_PDF", "CONFUSION_MATRIX_PLOT"]
    plot_collections: Names = []
    hyperparameters: dict[str, dict[str, Any]] = {}
    threshold: float = Field(default=0.5, ge=0, le=1)
    dpi: int = Field(default=120, ge=10, le=1000)

    def names(self, kind: ArtifactKind) -> list[str]:
        """The names of one kind."""
        names: list[str] = getattr(self, f"{kind}s")
        return names

    def only_scores(self) -> ClassificationArtifacts:
        """The same with no artifacts but scores and their collections."""
        changes: dict[str, Any] = {f"{kind}s": [] for kind in ArtifactKind if not kind.is_score}
        others = {name for kind in ArtifactKind if not kind.is_score for name in _expanded(kind, self.names(kind))}
        # Of the others only: hyperparameters of what was never named are a mistake, to be refused.
        changes["hyperparameters"] = {name: given for name, given in self.hyperparameters.items() if name not in others}
        return self.model_copy(update=changes)

    @property
    def is_empty(self) -> bool:
        """Whether no artifact is named."""
        return not any(self.names(kind) for kind in ArtifactKind)


@dataclass(frozen=True, slots=True)
class ChosenArtifacts:
    """Artifacts that were found.

    Attributes:
        artifacts: their kinds and names.
        modules: what must be imported elsewhere, so that they are found there too.
    """

    artifacts: tuple[Artifact, ...]
    modules: tuple[str, ...]


def choose(options: ClassificationArtifacts, classes: Classes) -> ChosenArtifacts:
    """Look artifacts up, those that plugins register included; a plugin that cannot be imported is warned about.

    Raises:
        ConfigError: there is no artifact of a name, or it has no such hyperparameter or value.
        UsageError: an artifact is defined in the program itself, which no other process can import.
    """
    # Here, because it takes seconds to import artifact-core.
    from artifact_torch_binary_classification.toolkit import artifact_of, class_specification, own_module_of

    registry.import_all("artifacts")
    specification = class_specification(classes)
    artifacts = [Artifact(kind, name) for kind in ArtifactKind for name in _expanded(kind, options.names(kind))]
    names = [artifact.name for artifact in artifacts]
    for name in options.hyperparameters:
        if name not in names:
            close = difflib.get_close_matches(name.upper(), names, n=1, cutoff=0.6)
            hint = f"did you mean {close[0]!r}?" if close else "name it among the artifacts, or leave them out."
            raise ConfigError(f"There are hyperparameters of {name!r}, which is not computed: {hint}")
    modules: dict[str, None] = {}
    for artifact in artifacts:
        built = artifact_of(artifact, specification, options.hyperparameters.get(artifact.name, {}))
        module = own_module_of(built)
        if module == "__main__":
            raise UsageError(
                f"The {artifact} is defined in the program itself, which another process cannot import: put "
                f"{type(built).__qualname__} into a module."
            )
        if module is not None:
            modules[module] = None
    return ChosenArtifacts(tuple(artifacts), tuple(modules))


def _expanded(kind: ArtifactKind, names: Iterable[str]) -> list[str]:
    from artifact_torch_binary_classification.toolkit import names_of

    every: dict[str, None] = {}
    for name in names:
        every |= dict.fromkeys(names_of(kind) if name == _ALL else [name])
    return list(every)
