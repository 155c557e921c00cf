"""What validation has produced over a run, read from the run directory when it is asked for."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from artifact_torch.core.artifacts import ArtifactKind, Plot
from artifact_torch.core.rounds import read_results
from artifact_torch.core.storage import JsonDict

__all__ = ["TrackedArtifact", "ValidationHistory"]

_COLUMNS = ["name", "split", "plan", "epoch", "step", "rows", "seed", "value"]


class TrackedArtifact(NamedTuple):
    """A plot or an array of a run.

    Attributes:
        name: its name, with ``/item`` for one of a collection.
        split: the part of the data.
        epoch: the epoch; 0 before training.
        step: optimizer steps done.
        rows: how many rows were judged, if that is known.
        seed: the seed of the sample of these rows, if there is one.
        path: its file.
    """

    name: str
    split: str
    epoch: int
    step: int
    rows: int | None
    seed: int | None
    path: Path

    def open(self) -> Any:
        """The picture of a plot, as a ``PIL.Image.Image``, or the values of an array."""
        if self.path.suffix == ".png":
            return Plot(self.path).image()
        return cast("npt.NDArray[Any]", np.load(self.path, allow_pickle=False))


class ValidationHistory:
    """The results of a run's validations, oldest first.

    Args:
        run: the run's directory.
        last_step: results of later steps, which belong to a training that was gone back from, are left out.
    """

    def __init__(self, run: Path, last_step: int | None = None) -> None:
        self._run = run
        self._last_step = last_step

    @property
    def scores(self) -> pd.DataFrame:
        """One row for each score, NaN where one could not be computed.

        The columns are ``name`` (``NAME/item`` for one of a collection), ``split``, ``plan``, ``epoch``, ``step``,
        ``rows``, ``seed`` (of the sample of rows) and ``value``.
        """
        rows: list[tuple[Any, ...]] = []
        for round, entry in self._entries():
            kind, value = ArtifactKind(entry["kind"]), entry.get("value")
            if not kind.is_score:
                continue
            numbers: Mapping[str, Any] = value if isinstance(value, dict) else {"": value}
            for item, number in numbers.items():
                name = f"{entry['name']}/{item}" if item else entry["name"]
                about = [round[each] for each in ("split", "plan", "epoch", "step", "rows", "seed")]
                rows.append((name, *about, np.nan if number is None else float(number)))
        frame = pd.DataFrame(rows, columns=_COLUMNS)
        return frame.astype({"epoch": "int64", "step": "int64", "rows": "Int64", "seed": "Int64", "value": "float64"})

    @property
    def plots(self) -> list[TrackedArtifact]:
        """The plots, each opened with ``open()``."""
        return self._files(ArtifactKind.PLOT, ArtifactKind.PLOT_COLLECTION)

    @property
    def arrays(self) -> list[TrackedArtifact]:
        """The arrays, each read with ``open()``."""
        return self._files(ArtifactKind.ARRAY, ArtifactKind.ARRAY_COLLECTION)

    def _files(self, *kinds: ArtifactKind) -> list[TrackedArtifact]:
        found: list[TrackedArtifact] = []
        for round, entry in self._entries():
            if entry["kind"] not in kinds or "value" not in entry:
                continue
            value = entry["value"]
            paths: Mapping[str, str] = value if isinstance(value, dict) else {"": value}
            for item, path in paths.items():
                name = f"{entry['name']}/{item}" if item else entry["name"]
                found.append(
                    TrackedArtifact(
                        name=name,
                        split=round["split"],
                        epoch=round["epoch"],
                        step=round["step"],
                        rows=round["rows"],
                        seed=round["seed"],
                        path=self._run / path,
                    )
                )
        return found

    def _entries(self) -> Generator[tuple[JsonDict, JsonDict]]:
        rounds = [found for path in self._run.glob("validation/epoch-*") if (found := read_results(path)) is not None]
        for round in sorted(rounds, key=lambda each: (each["step"], each["split"], each["plan"])):
            if self._last_step is None or round["step"] <= self._last_step:
                for entry in round["artifacts"]:
                    yield round, entry
