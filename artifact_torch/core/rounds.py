"""A round of validation: the artifacts of one plan after one step, their inputs and results in a folder of the run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from artifact_torch.core.artifacts import Artifact, ArtifactKind
from artifact_torch.core.computation import Outcome
from artifact_torch.core.exchange import Data, write_data
from artifact_torch.core.split import DataSplit
from artifact_torch.core.storage import JsonDict, write_json
from artifact_torch.core.temporary import remove

__all__ = ["Round"]

_RESULTS = "results.json"


@dataclass(slots=True, eq=False)
class Round:
    """The artifacts of one plan after one step.

    Attributes:
        plan: the plan's name; what loader callbacks compute goes by the name of ``callbacks``.
        split: the part of the data.
        epoch: the epoch; 0 before training.
        step: optimizer steps done.
        folder: where everything about it is.
        left: the artifacts that are not there yet.
        rows: how many rows were judged, if that is known.
        seed: the seed of the sample of these rows, if there is one.
        entries: what came of the others, as ``results.json`` holds it.
    """

    plan: str
    split: DataSplit
    epoch: int
    step: int
    folder: Path
    left: list[Artifact]
    rows: int | None = None
    seed: int | None = None
    entries: list[JsonDict] = field(default_factory=list[JsonDict])

    @property
    def inputs(self) -> Path:
        """The folder of what the artifacts are computed of."""
        return self.folder / "inputs"

    def begin(self, inputs: Mapping[str, Data] | None = None) -> None:
        """Make the folder anew, with the inputs if another process needs them."""
        remove(self.folder)
        if inputs is None:
            self.folder.mkdir(parents=True)
        else:
            write_data(self.inputs, inputs)

    def place(self, artifact: Artifact) -> Path:
        """The folder for the arrays and plots of an artifact until they are tracked."""
        return self.folder / f"{artifact.kind}-{len(self.entries)}-{self.left.index(artifact)}"

    def take(self, artifact: Artifact, outcome: Outcome, value: Any) -> None:
        """Note what came of an artifact; when it was the last, ``results.json`` is written and the inputs go."""
        self.left.remove(artifact)
        self.note(artifact, outcome, value)
        if not self.left:
            self.write()
            remove(self.inputs)

    def note(self, artifact: Artifact, outcome: Outcome, value: Any) -> None:
        """Add what came of an artifact to the entries."""
        entry: JsonDict = {"kind": str(artifact.kind), "name": artifact.name, "seconds": round(outcome.seconds, 4)}
        if outcome.error:
            entry |= {"error": outcome.error, "traceback": outcome.traceback}
        else:
            entry["value"] = value
        if outcome.warnings:
            entry["warnings"] = outcome.warnings
        self.entries.append(entry)

    def write(self) -> None:
        """Write ``results.json``."""
        about = {"plan": self.plan, "split": str(self.split), "epoch": self.epoch, "step": self.step}
        write_json(self.folder / _RESULTS, {**about, "rows": self.rows, "seed": self.seed, "artifacts": self.entries})

    def state(self) -> JsonDict:
        """What a checkpoint keeps of a round that is not complete."""
        return {
            "plan": self.plan,
            "split": str(self.split),
            "epoch": self.epoch,
            "step": self.step,
            "left": [[str(artifact.kind), artifact.name] for artifact in self.left],
            "entries": list(self.entries),
        }

    def __str__(self) -> str:
        return f"{self.plan} of {self.split}"


def read_results(path: Path) -> JsonDict | None:
    """What ``results.json`` in a folder holds; None if there is none that can be read."""
    try:
        return cast("JsonDict", json.loads((path / _RESULTS).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def artifacts_of(pairs: Iterable[tuple[str, str]]) -> list[Artifact]:
    """Artifacts from their kinds and names as a checkpoint keeps them."""
    return [Artifact(ArtifactKind(kind), name) for kind, name in pairs]
