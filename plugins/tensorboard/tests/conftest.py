"""What stands in event files, as TensorBoard's own reader sees it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata as hparams

from artifact_torch.testing import MirroredRun

ALL = {"scalars": 0, "images": 0, "histograms": 0, "tensors": 0}


@pytest.fixture(scope="session")
def accumulated() -> Callable[[Path], EventAccumulator]:
    """Reads a folder as TensorBoard does."""
    return _accumulated


@pytest.fixture(scope="session")
def read_run() -> Callable[[Path], MirroredRun]:
    """Reads what a run's folder says."""
    return _read_run


@pytest.fixture(scope="session")
def hyperparameters() -> Callable[[Path], dict[str, object]]:
    """Reads a run's hyperparameters, as the page of the same name does."""
    return _hyperparameters


def _accumulated(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance=ALL)
    found.Reload()
    return found


def _read_run(folder: Path) -> MirroredRun:
    found, run = _accumulated(folder), MirroredRun()
    tags = found.Tags()

    def named(kind: str) -> Iterator[tuple[str, str]]:
        for tag in tags[kind]:
            metadata = found.summary_metadata.get(tag)
            yield tag, (metadata.display_name if metadata is not None else "") or tag

    for tag, name in named("scalars"):
        for event in found.Scalars(tag):
            run.add_score(name, event.step, event.value)
    run.plots = {name: [event.step for event in found.Images(tag)] for tag, name in named("images")}
    run.arrays = {name: [event.step for event in found.Histograms(tag)] for tag, name in named("histograms")}
    texts = {tag: [part.decode() for part in found.Tensors(tag)[-1].tensor_proto.string_val] for tag in tags["tensors"]}
    rows = re.findall(r"^\| (.*) \| (.*) \|$", texts["run/params"][0], re.MULTILINE)
    run.params = dict(rows[1:])
    run.tags = set(texts.get("run/tags", []))
    run.status = texts["run/status"][0].partition(":")[0] if "run/status" in texts else ""
    return run


def _hyperparameters(folder: Path) -> dict[str, object]:
    content = _accumulated(folder).SummaryMetadata(hparams.SESSION_START_INFO_TAG).plugin_data.content
    values = hparams.parse_session_start_info_plugin_data(content).hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}
