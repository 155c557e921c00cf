"""What an experiment would do: who runs at each hook, in which order, without any training."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from artifact_torch.config import ExperimentConfig
from artifact_torch.core.data import DataSplit
from artifact_torch.core.trainer import Trainer
from artifact_torch.core.validation import ValidationRoutine
from artifact_torch.experiment import prepare_experiment
from artifact_torch.plugin.hooks import Implementation
from artifact_torch.plugin.inspection import HOOKS

__all__ = ["Explanation", "HookExplanation", "explain_experiment"]


@dataclass(frozen=True, slots=True)
class HookExplanation:
    """Who runs at a hook.

    Attributes:
        hook: the hook.
        overridden_by: the subclass method that runs first and decides whether plugins are called, if there is one.
        implementations: the plugins, in calling order.
    """

    hook: str
    overridden_by: str | None
    implementations: tuple[Implementation, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What an experiment would do.

    Attributes:
        model: the model's class.
        trainer: the trainer's class.
        epochs: how long it would train, at most.
        parameters: everything that was chosen, by dotted name.
        validation_period: how often it would validate.
        plans: split -> names of its validation plans.
        loader_callbacks: split -> names of what is computed over its loader.
        hooks: who runs at each hook, in the order of the specifications.
        warnings: what is worth knowing: data, plugins that are left out.
    """

    model: str
    trainer: str
    epochs: int
    parameters: Mapping[str, object]
    validation_period: str
    plans: Mapping[str, list[str]]
    loader_callbacks: Mapping[str, list[str]]
    hooks: tuple[HookExplanation, ...]
    warnings: tuple[str, ...]


def explain_experiment(
    config: ExperimentConfig, *, folder: Path | None = None, source: str = "the configuration"
) -> Explanation:
    """Check an experiment and build everything as for training, its data included, and say who would run.

    Args:
        config: the description.
        folder: what relative paths in it are meant from; by default the working directory.
        source: where the description comes from, for messages.

    Raises:
        ConfigError, PluginError, DataError: as for ``prepare_experiment``.
    """
    with tempfile.TemporaryDirectory() as root:  # the run directory is a plugin too, and goes with its folder
        experiment = prepare_experiment(config, folder=folder, root=Path(root), source=source)
        trainer = experiment.trainer
        _ = trainer.run  # takes part from here on, as it will in training
        return Explanation(
            model=type(trainer.model).__qualname__,
            trainer=type(trainer).__qualname__,
            epochs=trainer.epochs,
            parameters=dict(trainer.params),
            validation_period=str(trainer.validation.period),
            plans={
                str(split): [plan.name for plan in trainer.validation.plans if plan.split is split]
                for split in (DataSplit.TRAIN, DataSplit.VALIDATION)
            },
            loader_callbacks={
                str(split): [callback.name for callback in trainer.validation.callbacks[split]]
                for split in (DataSplit.TRAIN, DataSplit.VALIDATION)
            },
            hooks=tuple(
                HookExplanation(hook, _overridden_by(trainer, hook), trainer.hooks.implementations(hook))
                for hook in HOOKS
            ),
            warnings=(*experiment.warnings, *trainer.plugins.warnings),
        )


def _overridden_by(trainer: Trainer, hook: str) -> str | None:
    """The subclass whose method of the hook's name, with an underscore, replaces that of the core."""
    method = f"_{hook}"
    for base, instance in ((Trainer, trainer), (ValidationRoutine, trainer.validation)):
        if hasattr(base, method):
            found = getattr(type(instance), method)
            if found is not getattr(base, method):
                return str(found.__qualname__)
    return None
