"""What an MLflow run says of itself: parameters, tags and names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from artifact_torch import TrackedRun
from artifact_torch_mlflow.artifacts import ArtifactFolder
from artifact_torch_mlflow.names import Names

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["PREFIX", "RUN_ID", "STATUS", "TAG_PREFIX", "describe", "milliseconds"]

PREFIX = "artifact_torch."
RUN_ID = f"{PREFIX}run_id"
STATUS = f"{PREFIX}status"
TAG_PREFIX = "tag."
"""Each tag of a run is a tag of MLflow with this before it."""

_MOST_AT_ONCE = 100  # of MLflow's log_batch
_LONGEST_PARAM = 6000
_LONGEST_TAG = 5000
_CUT = " ... (cut: all of it is in params/{key}.txt)"


def describe(client: MlflowClient, run_id: str, run: TrackedRun, names: Names, artifacts: ArtifactFolder) -> None:
    """Write parameters and tags of a run, as far as they are not there.

    MLflow does not let a parameter change: what a resumed run does otherwise stands in a tag.
    """
    from mlflow.entities import Param, RunTag

    there = client.get_run(run_id).data
    params = {names.key(name): _text(value) for name, value in run.params.items()}
    long = {key: text for key, text in params.items() if len(text) > _LONGEST_PARAM}
    params |= {key: _cut(text, key) for key, text in long.items()}
    fresh = {key: text for key, text in params.items() if key not in there.params}
    changed = {key: text for key, text in params.items() if there.params.get(key, text) != text}
    for key in long.keys() & fresh.keys():
        artifacts.write_text(f"params/{key}.txt", long[key])
    tags = {key: text[:_LONGEST_TAG] for key, text in _tags(run, names, changed).items()}
    new_tags = {key: text for key, text in tags.items() if there.tags.get(key, "") != text}
    for part in _chunks(list(fresh.items())):
        client.log_batch(run_id, params=[Param(key, text) for key, text in part])
    for part in _chunks(list(new_tags.items())):
        client.log_batch(run_id, tags=[RunTag(key, text) for key, text in part])
    for key in there.tags:
        if key.startswith(TAG_PREFIX) and key not in tags:
            client.delete_tag(run_id, key)


def milliseconds(time: str) -> int | None:
    """A time in ISO 8601 as MLflow has it: milliseconds since 1970; None for what is no time."""
    try:
        return round(datetime.fromisoformat(time).timestamp() * 1000)
    except ValueError:
        return None


def _tags(run: TrackedRun, names: Names, changed: Mapping[str, str]) -> dict[str, str]:
    tags = {
        RUN_ID: run.run_id,
        f"{PREFIX}path": str(run.path.resolve()),
        STATUS: run.status,
        f"{PREFIX}reason": run.reason,
        f"{PREFIX}seed": "" if run.seed is None else str(run.seed),
        f"{PREFIX}plugins": ", ".join(f"{plugin.get('name')} {plugin.get('version')}" for plugin in run.plugins),
        f"{PREFIX}changed_params": json.dumps(changed, ensure_ascii=False) if changed else "",
    }
    if run.revision:
        tags[f"{PREFIX}revision"] = run.revision
        tags["mlflow.source.git.commit"] = run.revision.removesuffix("-dirty")
    return tags | {names.key(TAG_PREFIX + tag): tag for tag in run.tags}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(text: str, key: str) -> str:
    note = _CUT.format(key=key)
    return text[: _LONGEST_PARAM - len(note)] + note


def _chunks(entries: Sequence[tuple[str, str]]) -> list[Sequence[tuple[str, str]]]:
    return [entries[start : start + _MOST_AT_ONCE] for start in range(0, len(entries), _MOST_AT_ONCE)]
