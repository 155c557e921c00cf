"""What a run records, as summaries that TensorBoard shows."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.text import metadata as texts

from artifact_torch import TrackedItem, TrackedKind, TrackedRun
from artifact_torch_tensorboard.messages import (
    DT_STRING,
    STATUS_FAILURE,
    STATUS_SUCCESS,
    HistogramProto,
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
    Summary,
    SummaryMetadata,
    TensorProto,
    TensorShapeProto,
)

__all__ = ["NotShownError", "about", "ending", "summary_of"]

_BINS = 64
_PNG = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
"""Channels of a picture by the colour type of the PNG (https://www.w3.org/TR/png-3/, section 11.2.1)."""

_PLUGINS = {TrackedKind.SCORE: "scalars", TrackedKind.ARRAY: "histograms", TrackedKind.PLOT: "images"}


class NotShownError(Exception):
    """TensorBoard has no form for it; the message says why."""


def summary_of(item: TrackedItem, tag: str) -> Summary:
    """A score as a scalar, an array as a histogram, a plot as an image.

    Args:
        item: it.
        tag: what it is called in the event file; if that is not its full name, that is there too, as ``display_name``.

    Raises:
        NotShownError: it is an array that has no histogram.
        OSError: the file cannot be read.
        ValueError: the file is damaged.
    """
    summary = Summary()
    value = summary.value.add(tag=tag)
    if tag != item.full_name:
        plugin = SummaryMetadata.PluginData(plugin_name=_PLUGINS[item.kind])
        value.metadata.CopyFrom(SummaryMetadata(display_name=item.full_name, plugin_data=plugin))
    if item.kind is TrackedKind.SCORE:
        value.simple_value = math.nan if item.value is None else item.value
    elif item.path is None:
        raise ValueError(f"{item.kind} {item.full_name} at step {item.step} has no file.")
    elif item.kind is TrackedKind.ARRAY:
        value.histo.CopyFrom(_histogram(np.load(item.path, allow_pickle=False)))
    else:
        value.image.CopyFrom(_image(item.path))
    return summary


def about(run: TrackedRun) -> list[Summary]:
    """What was chosen for a run and where it was made: hyperparameters and texts.

    TensorBoard itself lists the scalars of all runs beside their hyperparameters, so no list of them is written: it
    would have to be the same in all runs.
    """
    session = SessionStartInfo(start_time_secs=_seconds(run.created))
    for name, value in run.params.items():
        if isinstance(value, bool):
            session.hparams[name].bool_value = value
        elif isinstance(value, int | float):
            session.hparams[name].number_value = value
        else:
            session.hparams[name].string_value = _text(value)
    facts = {
        "experiment": run.experiment,
        "run": run.run_id,
        "path": str(run.path),
        "created": run.created,
        "seed": run.seed,
        "revision": run.revision,
        **{f"environment.{name}": value for name, value in run.environment.items()},
        "plugins": ", ".join(dict.fromkeys(str(plugin.get("name", "")) for plugin in run.plugins)),
    }
    summaries = [
        _hparams(hparams.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=session)),
        _texts("run/params", [_table(run.params)]),
        _texts("run/about", [_table(facts)]),
    ]
    return [*summaries, _texts("run/tags", run.tags)] if run.tags else summaries


def ending(run: TrackedRun, seconds: float) -> list[Summary]:
    """How a run has ended, as the hyperparameters' page shows it, and in words.

    Args:
        run: the run.
        seconds: when, in seconds since 1970.
    """
    status = STATUS_SUCCESS if run.status in ("finished", "stopped") else STATUS_FAILURE
    session = SessionEndInfo(status=status, end_time_secs=seconds)
    return [
        _hparams(hparams.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=session)),
        _texts("run/status", [f"{run.status}: {run.reason}" if run.reason else run.status]),
    ]


def _histogram(array: np.ndarray[Any, np.dtype[Any]]) -> HistogramProto:
    """The distribution of an array's finite values, in bins of equal width."""
    if array.dtype.kind not in "biuf":
        raise NotShownError(f"its elements are {array.dtype}, and a histogram needs numbers")
    values = array.astype(np.float64).ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        raise NotShownError("it has no finite value")
    counts, edges = np.histogram(values, bins=_BINS)
    return HistogramProto(
        min=values.min(),
        max=values.max(),
        num=values.size,
        sum=values.sum(),
        sum_squares=values @ values,
        bucket_limit=edges[1:].tolist(),
        bucket=counts.tolist(),
    )


def _image(path: Path) -> Any:
    """A picture as it is in its file: nothing is drawn again."""
    content = path.read_bytes()
    if not content.startswith(_PNG) or len(content) < 33:
        raise ValueError(f"{path} is not a PNG picture.")
    width, height, _, colour = struct.unpack_from(">IIBB", content, 16)
    return Summary.Image(height=height, width=width, colorspace=_CHANNELS.get(colour, 3), encoded_image_string=content)


def _texts(tag: str, parts: Sequence[str]) -> Summary:
    tensor = TensorProto(
        dtype=DT_STRING,
        string_val=[part.encode() for part in parts],
        tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=len(parts))]),
    )
    value = Summary.Value(tag=tag, metadata=texts.create_summary_metadata("", ""), tensor=tensor)
    return Summary(value=[value])


def _hparams(tag: str, content: HParamsPluginData) -> Summary:
    metadata = hparams.create_summary_metadata(content)
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=hparams.NULL_TENSOR)])


def _table(rows: Mapping[str, Any]) -> str:
    """A table in Markdown, which TensorBoard renders."""
    lines = [f"| {_cell(name)} | {_cell(_text(value))} |" for name, value in rows.items()]
    return "\n".join(["| name | value |", "|---|---|", *lines])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _seconds(created: str) -> float:
    try:
        return datetime.fromisoformat(created).timestamp()
    except ValueError:
        return 0.0
