"""Runs an experiment from its description: checks everything, trains, validates, generates, and says what was made."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from artifact_torch.config import ExperimentConfig, validated_options, validated_parameters
from artifact_torch.core.artifact_group import ArtifactGroup, TrainerParts
from artifact_torch.core.callback import Callback
from artifact_torch.core.model import GenerationParams, Model, load_model
from artifact_torch.core.random_state import seed_everything
from artifact_torch.core.run import RunDirectory
from artifact_torch.core.stopper import EarlyStopper
from artifact_torch.core.storage import json_number
from artifact_torch.errors import ConfigError, DataError, PluginError
from artifact_torch.plugin.discovery import discover
from artifact_torch.plugin.registry import registry

__all__ = ["ExperimentResult", "generate_from_run", "run_experiment"]

STANDARD_CALLBACKS = ("checkpoint", "progress")

logger = logging.getLogger("artifact_torch")


@dataclass(frozen=True, slots=True)
class ExperimentResult:
    """What an experiment has made.

    Attributes:
        run_directory: where everything is.
        epochs: epochs completed.
        seconds: training time, validation included.
        reason: why training ended.
        scores: how good the result is, by name.
        meaning: how to read the scores, in a few words.
        samples: the file of generated samples, if the model generates.
        plots: the plots, oldest first.
        warnings: what is worth knowing about the data, a sentence each.
    """

    run_directory: Path
    epochs: int
    seconds: float
    reason: str
    scores: dict[str, float]
    meaning: str
    samples: Path | None
    plots: list[Path]
    warnings: tuple[str, ...]


def run_experiment(
    config: ExperimentConfig,
    *,
    folder: Path | None = None,
    root: Path | None = None,
    source: str = "the configuration",
) -> ExperimentResult:
    """Run an experiment.

    What is wrong with the description or the data is found before training, and then no run directory stays behind.

    Args:
        config: the description.
        folder: what relative paths in it are meant from; by default the working directory.
        root: where run directories are kept; see ``RunDirectory.create``.
        source: where the description comes from, for messages.

    Raises:
        ConfigError: a section holds an unknown key, a wrong value or the name of an unknown component.
        PluginError: no component of a kind is installed, or the one that is named is broken.
        DataError: the data cannot be used.
    """
    group_class = cast("type[ArtifactGroup]", _chosen("artifact_groups", config.experiment.group))
    data = validated_options(
        group_class.data_options, config.data, source=source, section="data", folder=folder or Path()
    )
    validation = validated_options(
        group_class.validation_options, config.validation, source=source, section="validation"
    )
    group = group_class(data, validation, seed=config.experiment.seed)
    model_name = config.model.name or group_class.default_model
    model_class = _model_class(group_class, model_name)
    callbacks = cast("list[Callback]", _components("callbacks", _callback_sections(config), source))
    stoppers = cast("list[EarlyStopper]", _components("stoppers", config.stoppers, source))
    warnings = tuple(group.load())
    for warning in warnings:
        logger.warning(warning)
    factory = group.model_factory(model_class)
    model_parameters = validated_parameters(factory, config.model.parameters, source=source, section="model")
    settings = config.training.settled(group.default_settings())
    seed_everything(config.experiment.seed)  # the model's first parameters are drawn here
    model = factory(**model_parameters)
    run = RunDirectory.create(config.experiment.name, root=root)
    sections = config.model_dump(mode="json") | {
        "data": data.model_dump(mode="json"),
        "model": {"name": model_name, **model_parameters},
        "training": dataclasses.asdict(settings),
        "validation": validation.model_dump(mode="json"),
    }
    parts = TrainerParts(
        settings=settings,
        seed=config.experiment.seed,
        run=run,
        params=_flat(sections),
        callbacks=callbacks,
        stoppers=stoppers,
    )
    try:
        trainer = group.build_trainer(model, parts)
    except BaseException:
        _discard(run)
        raise
    run.update(warnings=list(warnings))
    trained = trainer.train()
    conclusion = group.conclude(trainer, config.generation.num_samples)
    samples = None if conclusion.samples is None else str(conclusion.samples.relative_to(run.path))
    scores = {name: json_number(score) for name, score in conclusion.scores.items()}
    run.update(scores=scores, samples=samples)
    return ExperimentResult(
        run_directory=run.path,
        epochs=trained.epochs,
        seconds=trained.seconds,
        reason=trained.reason,
        scores=conclusion.scores,
        meaning=conclusion.meaning,
        samples=conclusion.samples,
        plots=run.plot_paths(),
        warnings=warnings,
    )


def generate_from_run(run_path: Path, params: GenerationParams, output: Path | None = None) -> Path:
    """Write new samples of the model that a run has trained, and return their file.

    Args:
        run_path: the run's directory.
        params: how many samples, and their seed.
        output: the file to write; by default one in the run directory, named by number and seed.

    Raises:
        DataError: the path is no run directory, or the run has not finished training.
        PluginError: the artifact group or the model's class is not installed.
    """
    run = RunDirectory.open(run_path)
    name = run.record.get("params", {}).get("experiment.group")
    if not isinstance(name, str):
        raise DataError(f"The run {run_path} was not made from a description: load its model with Model.load instead.")
    if not run.model_path.is_dir():
        status = run.record.get("status")
        raise DataError(f"The run {run_path} has no trained model (its status is {status!r}): train it to its end.")
    group_class = cast("type[ArtifactGroup]", registry.get("artifact_groups", name))
    name = f"{params.num_samples}-seed-{params.seed}{group_class.sample_suffix}"
    path = output or run.path / "samples" / name
    group_class.generate(load_model(run.model_path), params, path)
    return path


def _chosen(kind: str, name: str) -> type:
    """The component that a description names; a name that no installed one has is a mistake in the description."""
    try:
        return registry.get(kind, name)
    except PluginError as error:
        installed = any(name in (entry.name, entry.qualified_name) for entry in discover(kind))
        if installed or not registry.names(kind):
            raise
        raise ConfigError(str(error)) from error


def _discard(run: RunDirectory) -> None:
    """Remove the directory of a run that never began, and its experiment's unless other runs are in it."""
    shutil.rmtree(run.path, ignore_errors=True)
    with contextlib.suppress(OSError):
        run.path.parent.rmdir()


def _model_class(group_class: type[ArtifactGroup], name: str) -> type[Model]:
    model_class = _chosen("models", name)
    if not issubclass(model_class, group_class.model_class):
        raise ConfigError(
            f"The model {name!r} cannot be used here: it is not a {group_class.model_class.__qualname__}. "
            "Choose another one; `artifact-torch list-plugins` shows them."
        )
    return cast("type[Model]", model_class)


def _callback_sections(config: ExperimentConfig) -> dict[str, dict[str, Any]]:
    sections = dict(config.callbacks)
    if config.training.standard_callbacks:
        installed = registry.names("callbacks")
        for name in STANDARD_CALLBACKS:
            if name in installed:
                sections.setdefault(name, {})
    return sections


def _components(kind: str, sections: Mapping[str, Mapping[str, Any]], source: str) -> list[object]:
    components: list[object] = []
    for name, given in sections.items():
        component = _chosen(kind, name)
        parameters = validated_parameters(component, given, source=source, section=f"{kind}.{name}")
        components.append(component(**parameters))
    return components


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= _flat(cast("Mapping[str, Any]", value), f"{name}.")
        else:
            flat[name] = value
    return flat
