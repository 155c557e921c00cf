"""What every tracker must do, as tests: a subclass says how to build the tracker and how to read its mirror back."""

from __future__ import annotations

import math
import struct
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from artifact_torch.core.artifacts import Plot
from artifact_torch.core.mirror import Mirror
from artifact_torch.core.run import RunDirectory
from artifact_torch.core.split import DataSplit
from artifact_torch.core.tracker import MirrorTracker, TrackedKind

__all__ = ["MirroredRun", "TrackerConformance"]

HOSTILE_NAMES = (
    "validation/PDF/weight",
    "../../outside",
    "a@b//c",
    "//",
    "name with spaces, commas; and: colons",
    "Größe 測試 🦉",
    "percent%2Fencoded",
    "UPPER",
    "upper",
    "tab\tand\nline",
    "x" * 300,
)


@dataclass(slots=True)
class MirroredRun:
    """What stands in a mirror.

    Attributes:
        scores: full name -> step -> all values there, in order.
        plots: full name -> steps.
        arrays: full name -> steps.
        files: names of files and folders.
        params: dotted name -> value as text.
        tags: the run's tags.
        status: how the run has ended, in the words of ``TrackedRun``; empty if the mirror cannot say.
    """

    scores: dict[str, dict[int, list[float]]] = field(default_factory=dict[str, dict[int, list[float]]])
    plots: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    arrays: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    files: set[str] = field(default_factory=set[str])
    params: dict[str, str] = field(default_factory=dict[str, str])
    tags: set[str] = field(default_factory=set[str])
    status: str = ""

    def add_score(self, name: str, step: int, value: float) -> None:
        """Note a value."""
        self.scores.setdefault(name, {}).setdefault(step, []).append(value)


class TrackerConformance(ABC):
    """The contract of trackers. In a test module::

        class TestConsole(TrackerConformance):
            def make_tracker(self) -> MirrorTracker:
                return Console(folder=self.folder / "mirror")

            def read_back(self, run: Path) -> MirroredRun:
                ...

    Attributes:
        folder: an empty folder of the test's own, for what the tracker needs.
    """

    keeps: ClassVar[frozenset[TrackedKind]] = frozenset(
        {TrackedKind.SCORE, TrackedKind.ARRAY, TrackedKind.PLOT, TrackedKind.FILE}
    )
    """The kinds of results that the mirror has room for."""

    keeps_params: ClassVar[bool] = True
    keeps_tags: ClassVar[bool] = True
    keeps_status: ClassVar[bool] = True
    keeps_nonfinite: ClassVar[bool] = True
    """Whether NaN and infinity can be read back."""

    num_scores: ClassVar[int] = 10_000
    seconds: ClassVar[float] = 300.0
    """How long a mirror may take to have everything."""

    folder: Path

    @abstractmethod
    def make_tracker(self) -> MirrorTracker:
        """A new object of the tracker; all of one test bring runs to the same place."""

    @abstractmethod
    def read_back(self, run: Path) -> MirroredRun:
        """What the mirror has of a run, whose directory is given; read in another way than the tracker writes."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def test_everything_arrives_with_its_step(self) -> None:
        run = self._run(params={"model.width": 3, "data.file": "a b.csv"}, tags=["first", "größer"])
        for number in range(self.num_scores):
            run.track_score(f"score_{number % 10}", number / 7, DataSplit.VALIDATION, number // 1000, number // 10 + 1)
        for number in range(50):
            run.track_plot(f"plot_{number % 5}", self._plot(number), DataSplit.TRAIN, 1, number // 5 + 1)
        for number in range(20):
            run.track_array(f"array_{number % 2}", np.arange(number + 1), DataSplit.TRAIN, 1, number // 2 + 1)
        for number in range(3):
            file = run.path / f"file_{number}.txt"
            file.write_text(f"content {number}", encoding="utf-8")
            run.track_file(f"file_{number}", file, DataSplit.TRAIN, 1, 5)
        self._finish(run)
        assert self._deliver(run) == 0
        found = self.read_back(run.path)
        scores = {name: by_step for name, by_step in found.scores.items() if "score_" in name}
        assert len(scores) == 10
        for number in range(self.num_scores):
            values = scores[f"validation/score_{number % 10}"][number // 10 + 1]
            assert values == [pytest.approx(number / 7, rel=1e-6)]
        if TrackedKind.PLOT in self.keeps:
            expected = {f"train/plot_{number}": list(range(1, 11)) for number in range(5)}
            assert {name: sorted(steps) for name, steps in found.plots.items()} == expected
        if TrackedKind.ARRAY in self.keeps:
            expected = {f"train/array_{number}": list(range(1, 11)) for number in range(2)}
            assert {name: sorted(steps) for name, steps in found.arrays.items()} == expected
        if TrackedKind.FILE in self.keeps:
            assert found.files == {"file_0", "file_1", "file_2"}
        if self.keeps_params:
            assert found.params["model.width"] == "3"
            assert found.params["data.file"] == "a b.csv"
        if self.keeps_tags:
            assert found.tags >= {"first", "größer"}
        if self.keeps_status:
            assert found.status == "finished"

    def test_hostile_names_arrive_and_stay_apart(self) -> None:
        run = self._run()
        for number, name in enumerate(HOSTILE_NAMES):
            run.track_score(name, float(number), DataSplit.TRAIN, 1, number + 1)
            run.track_plot(name, self._plot(number), DataSplit.TRAIN, 1, number + 1)
        self._finish(run)
        assert self._deliver(run) == 0
        found = self.read_back(run.path)
        for number, name in enumerate(HOSTILE_NAMES):
            assert found.scores[f"train/{name}"] == {number + 1: [float(number)]}
            if TrackedKind.PLOT in self.keeps:
                assert found.plots[f"train/{name}"] == [number + 1]
        outside = [path for path in self.folder.parent.iterdir() if path != self.folder]
        assert not [path for path in outside if path.name.startswith("outside")]

    def test_numbers_that_are_not_finite_arrive_or_are_left_out(self) -> None:
        run = self._run()
        for step, value in enumerate((1.0, math.nan, math.inf, -math.inf, 2.0), start=1):
            run.track_score("number", value, DataSplit.TRAIN, 1, step)
        self._finish(run)
        assert self._deliver(run) == 0
        found = {step: values[0] for step, values in self.read_back(run.path).scores["train/number"].items()}
        assert (found[1], found[5]) == (1.0, 2.0)
        if self.keeps_nonfinite:
            assert math.isnan(found[2])
            assert found[3] > 1e300
            assert found[4] < -1e300

    def test_what_is_sent_again_does_not_appear_twice(self) -> None:
        run = self._run()
        self._some_results(run, range(1, 6))
        self._finish(run)
        assert self._deliver(run) == 0
        before = self.read_back(run.path)
        assert self._deliver(run) == 0  # everything is there: nothing is sent
        (state,) = (run.path / "trackers").glob("*.json")
        text = state.read_text(encoding="utf-8")
        position = f'"metrics.jsonl": {(run.path / "metrics.jsonl").stat().st_size}'
        assert position in text
        state.write_text(text.replace(position, '"metrics.jsonl": 0'), encoding="utf-8")  # as a kill may leave it
        assert self._deliver(run) == 0
        assert self.read_back(run.path) == before

    def test_a_resumed_run_goes_on_without_a_gap_or_a_duplicate(self) -> None:
        run = self._run()
        self._some_results(run, range(1, 4))
        position = run.position()
        self._some_results(run, range(4, 7))
        self._finish(run, "failed", RuntimeError("broken on purpose"))
        assert self._deliver(run) == 0
        again = RunDirectory.open(run.path)
        again.go_back(position)
        again.begin([], seed=0)
        self._some_results(again, range(4, 10))
        self._finish(again)
        assert self._deliver(again) == 0
        found = self.read_back(run.path)
        assert found.scores["train/score"] == {step: [step / 2] for step in range(1, 10)}
        if TrackedKind.PLOT in self.keeps:
            assert sorted(set(found.plots["train/plot"])) == list(range(1, 10))
        if self.keeps_status:
            assert found.status == "finished"

    @pytest.mark.parametrize("status", ["finished", "failed", "interrupted", "killed", "stopped"])
    def test_the_status_is_that_of_the_run(self, status: str) -> None:
        run = self._run()
        self._some_results(run, range(1, 3))
        if status == "killed":
            run.update(process={**run.record["process"], "pid": 2**22 + 1})  # of no process: there are fewer numbers
        else:
            self._finish(run, status, RuntimeError("broken") if status == "failed" else None)
        assert self._deliver(run) == 0
        assert self.read_back(run.path).status == (status if self.keeps_status else "")

    def test_two_runs_do_not_mix(self) -> None:
        runs = [self._run(), self._run()]
        mirrors = [Mirror(self.make_tracker(), "conformance", run.path, seconds=self.seconds) for run in runs]
        for mirror in mirrors:
            mirror.start()
        for number, run in enumerate(runs):
            run.track_score("number", float(number), DataSplit.TRAIN, 1, 1)
        for run in runs:
            self._finish(run)
        assert [mirror.end() for mirror in mirrors] == [0, 0]
        for number, run in enumerate(runs):
            assert self.read_back(run.path).scores["train/number"] == {1: [float(number)]}

    # The parts.

    def _run(self, params: dict[str, object] | None = None, tags: tuple[str, ...] | list[str] = ()) -> RunDirectory:
        run = RunDirectory.create("conformance", root=self.folder / "runs", tags=tags)
        run.begin([], seed=0)
        run.track_params(params or {})
        return run

    def _finish(self, run: RunDirectory, status: str = "finished", error: BaseException | None = None) -> None:
        run.finish(status, "all is done" if error is None else str(error), error)

    def _deliver(self, run: RunDirectory) -> int:
        return Mirror(self.make_tracker(), "conformance", run.path, seconds=self.seconds).end()

    def _some_results(self, run: RunDirectory, steps: range) -> None:
        for step in steps:
            run.track_score("score", step / 2, DataSplit.TRAIN, 1, step)
            run.track_plot("plot", self._plot(step), DataSplit.TRAIN, 1, step)

    def _plot(self, number: int) -> Plot:
        """A tiny picture, written without a library that draws."""
        path = self.folder / f"drawn-{number}.png"
        path.write_bytes(_png(8, 8, number % 256))
        return Plot(path)


def _png(width: int, height: int, gray: int) -> bytes:
    """A gray picture as PNG (https://www.w3.org/TR/png-3/)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + bytes([gray]) * width for _ in range(height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
