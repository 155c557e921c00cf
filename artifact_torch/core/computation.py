"""How artifacts are computed from data, in this process or in another; nothing here imports torch."""

from __future__ import annotations

import contextlib
import importlib
import io
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from typing_extensions import TypeVar

from artifact_torch.core.artifacts import Artifact, ArtifactKind, ArtifactWarning, Plot
from artifact_torch.core.exchange import Data

__all__ = ["Computation", "JsonMapping", "Outcome", "Recipe", "compute_artifact"]

JsonMapping: TypeAlias = Mapping[str, Any]

PreparedT = TypeVar("PreparedT", default=Mapping[str, Data])


class Computation(ABC, Generic[PreparedT]):
    """Computes the artifacts of a plan.

    An instance serves all rounds of a run, so what does not change (the real rows, the class names) is worked out once,
    in ``__init__``. It may live in a process of its own, where torch is not imported: the module that it is in must not
    import it either.

    Args:
        parameters: the recipe's parameters, JSON values.
        data: the recipe's data.
    """

    @abstractmethod
    def __init__(self, parameters: JsonMapping, data: Mapping[str, Data]) -> None: ...

    @abstractmethod
    def prepare(self, inputs: Mapping[str, Data]) -> PreparedT:
        """Work out what several artifacts need of one round's inputs; called once for each round."""

    @abstractmethod
    def compute(self, artifact: Artifact, prepared: PreparedT) -> object:
        """One artifact: a number, an array or a matplotlib ``Figure``, or a mapping of these for a collection.

        What the user should know is told with ``warnings.warn(message, ArtifactWarning)``. Any exception means that
        the artifact cannot be computed; the others of the round are not affected.
        """


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a process needs to compute a plan's artifacts.

    Attributes:
        computation: where the ``Computation`` is, ``"package.module:Class"``.
        parameters: JSON values that it is built of.
        data: arrays and tables that it is built of, the same for all rounds.
    """

    computation: str
    parameters: JsonMapping = field(default_factory=dict[str, Any])
    data: Mapping[str, Data] = field(default_factory=dict[str, Data])

    def build(self) -> Computation[Any]:
        """The computation, its module imported."""
        module, _, name = self.computation.partition(":")
        return cast("Computation[Any]", getattr(importlib.import_module(module), name)(self.parameters, self.data))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an artifact; JSON values, so that it can pass between processes.

    Attributes:
        value: a score's number, a collection's numbers by name; file names in place of arrays and plots.
        seconds: how long it took.
        warnings: what the user should be told.
        error: why it could not be computed, in one line; empty if it could.
        traceback: where it failed.
    """

    value: Any = None
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list[str])
    error: str = ""
    traceback: str = ""


def compute_artifact(
    computation: Computation[PreparedT], artifact: Artifact, prepared: PreparedT, folder: Path, *, dpi: int
) -> Outcome:
    """Compute one artifact; arrays and plots become files in ``folder``. Exceptions are those of the computation."""
    start = time.perf_counter()
    printed = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(printed):
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ArtifactWarning)
        found = computation.compute(artifact, prepared)
    told = [str(warning.message) for warning in caught] + printed.getvalue().splitlines()
    value = _stored(artifact.kind, found, folder, dpi)
    return Outcome(value, time.perf_counter() - start, list(dict.fromkeys(told)))


def _stored(kind: ArtifactKind, value: Any, folder: Path, dpi: int) -> Any:
    if kind is ArtifactKind.SCORE:
        return float(value)
    if kind is ArtifactKind.SCORE_COLLECTION:
        return {str(name): float(number) for name, number in value.items()}
    folder.mkdir(parents=True, exist_ok=True)
    if kind is ArtifactKind.ARRAY:
        return _stored_array(value, folder / "value.npy")
    if kind is ArtifactKind.PLOT:
        return Plot.draw(value, folder / "value.png", dpi=dpi).path.name
    items = enumerate(value.items())  # their names may hold anything, so their files are numbered
    if kind is ArtifactKind.ARRAY_COLLECTION:
        return {str(name): _stored_array(array, folder / f"{number}.npy") for number, (name, array) in items}
    return {
        str(name): Plot.draw(figure, folder / f"{number}.png", dpi=dpi).path.name for number, (name, figure) in items
    }


def _stored_array(array: npt.ArrayLike, path: Path) -> str:
    np.save(path, np.asarray(array), allow_pickle=False)
    return path.name
