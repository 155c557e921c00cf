"""Goes on with the run of an experiment that was interrupted, failed or killed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from artifact_torch.config import ExperimentConfig, parse_config
from artifact_torch.core.run import RunDirectory, runs_root
from artifact_torch.errors import DataError
from artifact_torch.experiment import ExperimentResult, prepare_experiment, recorded, run_experiment

__all__ = ["resume_experiment", "resume_or_run_experiment", "unfinished_run"]

logger = logging.getLogger("artifact_torch")


def resume_experiment(
    run_path: Path, *, epochs: int | None = None, allow_plugin_drift: bool = False, allow_changes: bool = False
) -> ExperimentResult:
    """Go on with a run that was interrupted or failed, from its newest undamaged checkpoint, in the same directory.

    Args:
        run_path: the run's directory.
        epochs: how many epochs to train for in all; by default as many as were meant. A run that is finished goes on
            if there are more than it has.
        allow_plugin_drift: go on although a plugin that has state in the checkpoint is not here.
        allow_changes: go on although data or settings differ from those of the checkpoint.

    Raises:
        DataError: the path is no run directory, was not made from a description, or its run is finished or in progress.
        CheckpointError: there is no usable checkpoint, a plugin that has state in it is not here, or training would not
            go on as it would have gone on without the interruption.
    """
    run = RunDirectory.open(run_path)
    description = cast("Mapping[str, Any]", recorded(run, "description"))
    if run.record.get("status") == "finished" and (epochs is None or epochs <= run.record.get("epochs", 0)):
        raise DataError(
            f"The run {run_path} is finished: there is nothing to go on with. Give it more epochs (--epochs), or train "
            "anew for another run."
        )
    if run.is_in_progress:
        raise DataError(
            f"The process {run.record['process']['pid']} of this machine is training in {run_path}: wait for it, or "
            "stop it."
        )
    overrides = [] if epochs is None else [f"training.epochs={epochs}"]
    experiment = prepare_experiment(
        parse_config(description, overrides, source=f"{run_path}/run.json"),
        folder=Path(str(recorded(run, "folder"))),
        run=run,
        source=f"{run_path}/run.json",
    )
    checkpoint = experiment.trainer.load_checkpoint(allow_plugin_drift=allow_plugin_drift, allow_changes=allow_changes)
    logger.info("Going on from %s.", checkpoint)
    return experiment.run()


def resume_or_run_experiment(
    config: ExperimentConfig,
    *,
    folder: Path | None = None,
    root: Path | None = None,
    source: str = "the configuration",
) -> ExperimentResult:
    """Go on with the newest unfinished run of a description, or begin a new run if there is none.

    So one command can be given again and again, as a scheduler does that takes machines away. See ``unfinished_run``
    for which run is meant, and ``prepare_experiment`` for the arguments and errors.
    """
    found = unfinished_run(config, folder=folder, root=root)
    if found is None:
        return run_experiment(config, folder=folder, root=root, source=source)
    logger.warning("Going on with the run %s.", found)
    return resume_experiment(found, epochs=config.training.epochs)


def unfinished_run(config: ExperimentConfig, *, folder: Path | None = None, root: Path | None = None) -> Path | None:
    """The newest run that was made from the same description, is not finished nor in progress, and has a checkpoint.

    The descriptions may differ in the number of epochs.
    """
    meant = _comparable(config.model_dump(mode="json")), str((folder or Path()).resolve())
    for record in sorted((runs_root(root) / config.experiment.name).glob("*/run.json"), reverse=True):
        try:
            run = RunDirectory.open(record.parent)
        except DataError:  # half a directory, left by a process that was killed while it was made
            continue
        description = run.record.get("description")
        if not description or (_comparable(description), run.record.get("folder")) != meant:
            continue
        if run.record.get("status") != "finished" and not run.is_in_progress and run.checkpoints.paths():
            return run.path
    return None


def _comparable(description: Mapping[str, Any]) -> dict[str, Any]:
    return {**description, "training": {**description["training"], "epochs": None}}
