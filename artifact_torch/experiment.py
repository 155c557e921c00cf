"""Runs an experiment from its description: checks everything, trains, validates, generates, says what was made."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from artifact_torch.config import ExperimentConfig, validated_options, validated_parameters
from artifact_torch.core.artifact_group import ArtifactGroup, TrainerParts
from artifact_torch.core.callback import Callback
from artifact_torch.core.components import built_component
from artifact_torch.core.model import GenerationParams, Model, load_model
from artifact_torch.core.model_tracker import ModelTracker
from artifact_torch.core.options import Options
from artifact_torch.core.random_state import seed_everything
from artifact_torch.core.run import RunDirectory
from artifact_torch.core.stopper import EarlyStopper
from artifact_torch.core.storage import json_number
from artifact_torch.core.tracker import Tracker
from artifact_torch.core.trainer import Trainer
from artifact_torch.errors import ConfigError, DataError, PluginError
from artifact_torch.plugin.discovery import discover
from artifact_torch.plugin.registry import registry
from artifact_torch.plugin.selection import PluginSelection
from artifact_torch.runs import flattened

__all__ = [
    "Experiment",
    "ExperimentResult",
    "chosen",
    "generate_from_run",
    "prepare_experiment",
    "recorded",
    "run_experiment",
]

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
        files: what else was made, by name.
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
    files: dict[str, Path]
    plots: list[Path]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment that can begin: everything was checked and built, and nothing was trained.

    Attributes:
        config: the description.
        group: what it is about, with its data loaded.
        trainer: trains the model on the data.
        warnings: what is worth knowing about the data, a sentence each.
    """

    config: ExperimentConfig
    group: ArtifactGroup
    trainer: Trainer
    warnings: tuple[str, ...]

    def run(self) -> ExperimentResult:
        """Train, judge and generate; what was made stands in the run directory."""
        run = self.trainer.run
        run.update(warnings=list(self.warnings))
        with self.trainer.tracking.kept_open():  # the samples are to arrive too
            trained = self.trainer.train()
            with self.trainer.evaluating():
                conclusion = self.group.conclude(self.trainer, self.config.generation.num_samples)
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
            files=conclusion.files,
            plots=run.plot_paths(),
            warnings=self.warnings,
        )


def prepare_experiment(
    config: ExperimentConfig,
    *,
    folder: Path | None = None,
    root: Path | None = None,
    run: RunDirectory | None = None,
    tags: Sequence[str] = (),
    source: str = "the configuration",
) -> Experiment:
    """Check a description and its data, and build everything that it names.

    If something is wrong, no new run directory stays behind.

    Args:
        config: the description.
        folder: what relative paths in it are meant from; by default the working directory.
        root: where run directories are kept; see ``RunDirectory.create``.
        run: the directory of a run that goes on; by default a new one is made.
        tags: what to tag a new run with.
        source: where the description comes from, for messages.

    Raises:
        ConfigError: a section holds an unknown key, a wrong value or the name of an unknown component.
        PluginError: no component of a kind is installed, or those that are named are broken, with a line for each.
        DataError: the data cannot be used.
    """
    selection = config.plugins.selection()
    selection.check(discover())  # before the data is read, which may take long
    group_class = cast("type[ArtifactGroup]", chosen("artifact_groups", config.experiment.group, selection))
    data = validated_options(
        group_class.data_options, config.data, source=source, section="data", folder=folder or Path()
    )
    validation = validated_options(
        group_class.validation_options, config.validation, source=source, section="validation"
    )
    group = group_class(data, validation, seed=config.experiment.seed)
    model_name = config.model.name or group_class.default_model
    model_class = _model_class(group_class, model_name, selection)
    components = _components(
        selection,
        source,
        callbacks=_callback_sections(config, selection),
        stoppers=config.stoppers,
        trackers=config.trackers,
    )
    model_tracker = None
    if config.model_tracker is not None:
        given = validated_parameters(ModelTracker, config.model_tracker, source=source, section="model_tracker")
        model_tracker = ModelTracker(**given)
    warnings = tuple(group.load())
    for warning in warnings:
        logger.warning(warning)
    factory = group.model_factory(model_class)
    model_parameters = validated_parameters(factory, config.model.parameters, source=source, section="model")
    settings = config.training.settled(group.default_settings())
    seed_everything(config.experiment.seed)  # the model's first parameters are drawn here
    model = factory(**model_parameters)
    sections = config.model_dump(mode="json") | {
        "data": data.model_dump(mode="json"),
        "model": {"name": model_name, **model_parameters},
        "training": dataclasses.asdict(settings),
        "validation": validation.model_dump(mode="json"),
    }
    opened = run or RunDirectory.create(config.experiment.name, root=root, tags=tags)
    parts = TrainerParts(
        settings=settings,
        seed=config.experiment.seed,
        run=opened,
        params=flattened(sections),
        callbacks=cast("list[Callback]", components["callbacks"]),
        stoppers=cast("list[EarlyStopper]", components["stoppers"]),
        trackers=cast("list[Tracker]", components["trackers"]),
        model_tracker=model_tracker,
        plugins=selection,
        plugin_time_share=config.plugins.time_share,
    )
    try:
        trainer = group.build_trainer(model, parts)
        if run is None or run.record["description"] != config.model_dump(mode="json"):
            opened.update(description=config.model_dump(mode="json"), folder=str((folder or Path()).resolve()))
    except BaseException:
        if run is None:
            _discard(opened)
        raise
    return Experiment(config, group, trainer, warnings)


def run_experiment(
    config: ExperimentConfig,
    *,
    folder: Path | None = None,
    root: Path | None = None,
    tags: Sequence[str] = (),
    source: str = "the configuration",
) -> ExperimentResult:
    """Run an experiment from its description; see ``prepare_experiment`` for arguments and errors."""
    return prepare_experiment(config, folder=folder, root=root, tags=tags, source=source).run()


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
    group = cast("Mapping[str, Any]", recorded(run, "description"))["experiment"]["group"]
    if not run.model_path.is_dir():
        status = run.record.get("status")
        raise DataError(f"The run {run_path} has no trained model (its status is {status!r}): train it to its end.")
    group_class = cast("type[ArtifactGroup]", registry.get("artifact_groups", str(group)))
    name = f"{params.num_samples}-seed-{params.seed}{group_class.sample_suffix}"
    path = output or run.path / "samples" / name
    group_class.generate(load_model(run.model_path), params, path)
    return path


def recorded(run: RunDirectory, field: str) -> object:
    """A field of the record of a run that was made from a description."""
    value: object = run.record.get(field)
    if not value or not run.record.get("description"):
        raise DataError(
            f"The run {run.path} was not made from a description: load its model with Model.load, or go on with it "
            "from Python with Trainer.load_checkpoint."
        )
    return value


def chosen(kind: str, name: str, selection: PluginSelection) -> type:
    """The component that a description names; a name that no installed one has is a mistake in the description."""
    try:
        return registry.get(kind, name, selection)
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


def _model_class(group_class: type[ArtifactGroup], name: str, selection: PluginSelection) -> type[Model]:
    model_class = chosen("models", name, selection)
    if not issubclass(model_class, group_class.model_class):
        raise ConfigError(
            f"The model {name!r} cannot be used here: it is not a {group_class.model_class.__qualname__}. "
            "Choose another one; `artifact-torch list-components models` shows them."
        )
    return cast("type[Model]", model_class)


def _callback_sections(config: ExperimentConfig, selection: PluginSelection) -> dict[str, dict[str, Any]]:
    sections = dict(config.callbacks)
    if config.training.standard_callbacks:
        enabled = {entry.name for entry in discover("callbacks") if not selection.disabled(entry)}
        for name in STANDARD_CALLBACKS:
            if name in enabled:
                sections.setdefault(name, {})
    return sections


class _Place(Options):
    """What the section of any component may say of its place among the others."""

    priority: int | None = None


def _components(
    selection: PluginSelection, source: str, **sections: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[object]]:
    """The components of each kind, built; all that are broken are told at once."""
    components: dict[str, list[object]] = {kind: [] for kind in sections}
    broken: list[str] = []
    for kind, given in sections.items():
        for name, parameters in given.items():
            try:
                component = chosen(kind, name, selection)
            except PluginError as error:
                broken.append(str(error))
                continue
            section = f"{kind}.{name}"
            place = {key: value for key, value in parameters.items() if key == "priority"}  # every component has one
            others = {key: value for key, value in parameters.items() if key not in place}
            checked = validated_parameters(component, others, source=source, section=section)
            place = validated_options(_Place, place, source=source, section=section)
            try:
                built = built_component(kind, name, component, checked)
            except PluginError as error:
                broken.append(str(error))
                continue
            if place.priority is not None:
                built.priority = place.priority  # type: ignore[attr-defined]
            components[kind].append(built)
    if broken:
        raise PluginError("\n".join(broken))
    return components
