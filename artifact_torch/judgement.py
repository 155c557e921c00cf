"""Judges files by the artifacts of a group, without a model: one table against another, predictions against labels."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from artifact_torch.config import ExperimentConfig, validated_options
from artifact_torch.core.artifact_group import ArtifactGroup, Conclusion
from artifact_torch.core.artifacts import Plot
from artifact_torch.core.record import file_name
from artifact_torch.core.storage import json_number, write_json
from artifact_torch.errors import ConfigError, UsageError
from artifact_torch.experiment import chosen

__all__ = ["judge_files"]


def judge_files(
    config: ExperimentConfig,
    files: Mapping[str, Any],
    output: Path,
    *,
    folder: Path | None = None,
    source: str = "the files",
) -> Conclusion:
    """Compute the artifacts that ``[validation]`` names, and write ``scores.json`` and ``plots/`` in a new folder.

    Args:
        config: names the group, the seed and the artifacts.
        files: the group's ``file_options``, as texts.
        output: the folder to make.
        folder: what relative paths in ``files`` are meant from; by default the working directory.
        source: where they come from, for messages.

    Raises:
        ConfigError: a section holds an unknown key or a wrong value.
        DataError: a file cannot be used.
        UsageError: the group judges no files, or ``output`` exists.
    """
    group = cast("type[ArtifactGroup]", chosen("artifact_groups", config.experiment.group, config.plugins.selection()))
    if group.file_options is None:
        raise ConfigError(f"The artifact group {config.experiment.group!r} judges trained models only, and no files.")
    given = validated_options(group.file_options, files, source=source, folder=folder or Path(), texts=True)
    validation = validated_options(group.validation_options, config.validation, source=source, section="validation")
    try:
        output.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"The folder {output} cannot be made ({error.strerror}): choose another --output.") from error
    try:
        with tempfile.TemporaryDirectory(dir=output) as working:
            found = group.judge_files(given, validation, seed=config.experiment.seed, folder=Path(working))
            plots = {name: output / "plots" / f"{file_name(name)}.png" for name in found.plots}
            for name, path in found.plots.items():
                Plot(path).move(plots[name])
        write_json(output / "scores.json", {name: json_number(score) for name, score in found.scores.items()})
    except BaseException:
        with contextlib.suppress(OSError):
            output.rmdir()
        raise
    return Conclusion(found.scores, found.meaning, None, plots)
