"""A PyTorch training framework in which everything around the loop is a plugin.

Names are imported when they are first used, so ``import artifact_torch`` imports neither torch nor pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact_torch.plugin.lazy import lazy_attributes

if TYPE_CHECKING:
    from artifact_torch.cli.output import print_loading as print_loading
    from artifact_torch.cli.output import print_result as print_result
    from artifact_torch.config import ExperimentConfig as ExperimentConfig
    from artifact_torch.config import parse_config as parse_config
    from artifact_torch.continuation import resume_experiment as resume_experiment
    from artifact_torch.continuation import resume_or_run_experiment as resume_or_run_experiment
    from artifact_torch.core.artifact_group import ArtifactGroup as ArtifactGroup
    from artifact_torch.core.artifact_group import Conclusion as Conclusion
    from artifact_torch.core.artifact_group import TrainerParts as TrainerParts
    from artifact_torch.core.artifacts import Artifact as Artifact
    from artifact_torch.core.artifacts import ArtifactKind as ArtifactKind
    from artifact_torch.core.artifacts import ArtifactWarning as ArtifactWarning
    from artifact_torch.core.artifacts import Plot as Plot
    from artifact_torch.core.batch_size import find_batch_size as find_batch_size
    from artifact_torch.core.callback import ArrayCallback as ArrayCallback
    from artifact_torch.core.callback import ArrayCollectionCallback as ArrayCollectionCallback
    from artifact_torch.core.callback import BatchCallback as BatchCallback
    from artifact_torch.core.callback import Callback as Callback
    from artifact_torch.core.callback import EpochCallback as EpochCallback
    from artifact_torch.core.callback import LoaderCallback as LoaderCallback
    from artifact_torch.core.callback import PlotCallback as PlotCallback
    from artifact_torch.core.callback import PlotCollectionCallback as PlotCollectionCallback
    from artifact_torch.core.callback import ScoreCallback as ScoreCallback
    from artifact_torch.core.callback import ScoreCollectionCallback as ScoreCollectionCallback
    from artifact_torch.core.callback import TrackedResult as TrackedResult
    from artifact_torch.core.callback import TrackingCallback as TrackingCallback
    from artifact_torch.core.callback import ValidationCallback as ValidationCallback
    from artifact_torch.core.checkpoint import Retention as Retention
    from artifact_torch.core.components import TrainerOptions as TrainerOptions
    from artifact_torch.core.computation import Computation as Computation
    from artifact_torch.core.computation import Recipe as Recipe
    from artifact_torch.core.data import BatchLoader as BatchLoader
    from artifact_torch.core.data import Dataset as Dataset
    from artifact_torch.core.data import IterableDataset as IterableDataset
    from artifact_torch.core.data_loader import DataLoader as DataLoader
    from artifact_torch.core.exchange import Data as Data
    from artifact_torch.core.execution import execute_plan as execute_plan
    from artifact_torch.core.in_memory import InMemoryDataLoader as InMemoryDataLoader
    from artifact_torch.core.interruption import Interrupted as Interrupted
    from artifact_torch.core.learning_rate import find_learning_rate as find_learning_rate
    from artifact_torch.core.model import GenerationParams as GenerationParams
    from artifact_torch.core.model import GenerativeModel as GenerativeModel
    from artifact_torch.core.model import Model as Model
    from artifact_torch.core.model import ModelInput as ModelInput
    from artifact_torch.core.model import ModelOutput as ModelOutput
    from artifact_torch.core.model import load_model as load_model
    from artifact_torch.core.model_tracker import ModelTracker as ModelTracker
    from artifact_torch.core.observer import ActivationObserver as ActivationObserver
    from artifact_torch.core.observer import BatchObserver as BatchObserver
    from artifact_torch.core.observer import GradientObserver as GradientObserver
    from artifact_torch.core.optimizer import adam as adam
    from artifact_torch.core.optimizer import make_optimizer as make_optimizer
    from artifact_torch.core.options import OptionPath as OptionPath
    from artifact_torch.core.options import Options as Options
    from artifact_torch.core.options import TrainingSettings as TrainingSettings
    from artifact_torch.core.options import ValidationOptions as ValidationOptions
    from artifact_torch.core.plan import ValidationPlan as ValidationPlan
    from artifact_torch.core.results import Artifacts as Artifacts
    from artifact_torch.core.results import ValidationResults as ValidationResults
    from artifact_torch.core.run import RunDirectory as RunDirectory
    from artifact_torch.core.split import DataSplit as DataSplit
    from artifact_torch.core.stopper import EarlyStopper as EarlyStopper
    from artifact_torch.core.stopper import StepStopper as StepStopper
    from artifact_torch.core.summary import summarize as summarize
    from artifact_torch.core.tracker import MirrorTracker as MirrorTracker
    from artifact_torch.core.tracker import TrackedItem as TrackedItem
    from artifact_torch.core.tracker import TrackedKind as TrackedKind
    from artifact_torch.core.tracker import TrackedRun as TrackedRun
    from artifact_torch.core.tracker import Tracker as Tracker
    from artifact_torch.core.trainer import Trainer as Trainer
    from artifact_torch.core.training_result import TrainingResult as TrainingResult
    from artifact_torch.core.validation import ValidationRoutine as ValidationRoutine
    from artifact_torch.core.validation import ValidationRoutineOptions as ValidationRoutineOptions
    from artifact_torch.core.validation_history import ValidationHistory as ValidationHistory
    from artifact_torch.errors import ArtifactTorchError as ArtifactTorchError
    from artifact_torch.errors import CheckpointError as CheckpointError
    from artifact_torch.errors import ConfigError as ConfigError
    from artifact_torch.errors import DataError as DataError
    from artifact_torch.errors import DivergedError as DivergedError
    from artifact_torch.errors import MissingLossError as MissingLossError
    from artifact_torch.errors import OutOfMemoryError as OutOfMemoryError
    from artifact_torch.errors import PluginError as PluginError
    from artifact_torch.errors import UsageError as UsageError
    from artifact_torch.errors import ValidationError as ValidationError
    from artifact_torch.experiment import Experiment as Experiment
    from artifact_torch.experiment import ExperimentResult as ExperimentResult
    from artifact_torch.experiment import prepare_experiment as prepare_experiment
    from artifact_torch.experiment import run_experiment as run_experiment
    from artifact_torch.plugin.markers import hookimpl as hookimpl
    from artifact_torch.plugin.period import Period as Period
    from artifact_torch.plugin.registry import registry as registry
    from artifact_torch.plugin.selection import PluginSelection as PluginSelection
    from artifact_torch.runs import Run as Run
    from artifact_torch.runs import find_run as find_run
    from artifact_torch.synchronization import sync_run as sync_run
    from artifact_torch.synchronization import sync_to as sync_to

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "ActivationObserver": "artifact_torch.core.observer",
        "ArrayCallback": "artifact_torch.core.callback",
        "ArrayCollectionCallback": "artifact_torch.core.callback",
        "Artifact": "artifact_torch.core.artifacts",
        "ArtifactGroup": "artifact_torch.core.artifact_group",
        "ArtifactKind": "artifact_torch.core.artifacts",
        "ArtifactTorchError": "artifact_torch.errors",
        "ArtifactWarning": "artifact_torch.core.artifacts",
        "Artifacts": "artifact_torch.core.results",
        "BatchCallback": "artifact_torch.core.callback",
        "BatchLoader": "artifact_torch.core.data",
        "BatchObserver": "artifact_torch.core.observer",
        "Callback": "artifact_torch.core.callback",
        "CheckpointError": "artifact_torch.errors",
        "Computation": "artifact_torch.core.computation",
        "Conclusion": "artifact_torch.core.artifact_group",
        "ConfigError": "artifact_torch.errors",
        "Data": "artifact_torch.core.exchange",
        "DataError": "artifact_torch.errors",
        "DataLoader": "artifact_torch.core.data_loader",
        "DataSplit": "artifact_torch.core.split",
        "Dataset": "artifact_torch.core.data",
        "DivergedError": "artifact_torch.errors",
        "EarlyStopper": "artifact_torch.core.stopper",
        "EpochCallback": "artifact_torch.core.callback",
        "Experiment": "artifact_torch.experiment",
        "ExperimentConfig": "artifact_torch.config",
        "ExperimentResult": "artifact_torch.experiment",
        "GenerationParams": "artifact_torch.core.model",
        "GenerativeModel": "artifact_torch.core.model",
        "GradientObserver": "artifact_torch.core.observer",
        "InMemoryDataLoader": "artifact_torch.core.in_memory",
        "Interrupted": "artifact_torch.core.interruption",
        "IterableDataset": "artifact_torch.core.data",
        "LoaderCallback": "artifact_torch.core.callback",
        "MirrorTracker": "artifact_torch.core.tracker",
        "MissingLossError": "artifact_torch.errors",
        "Model": "artifact_torch.core.model",
        "ModelInput": "artifact_torch.core.model",
        "ModelOutput": "artifact_torch.core.model",
        "ModelTracker": "artifact_torch.core.model_tracker",
        "OptionPath": "artifact_torch.core.options",
        "Options": "artifact_torch.core.options",
        "OutOfMemoryError": "artifact_torch.errors",
        "Period": "artifact_torch.plugin.period",
        "Plot": "artifact_torch.core.artifacts",
        "PlotCallback": "artifact_torch.core.callback",
        "PlotCollectionCallback": "artifact_torch.core.callback",
        "PluginError": "artifact_torch.errors",
        "PluginSelection": "artifact_torch.plugin.selection",
        "Recipe": "artifact_torch.core.computation",
        "Retention": "artifact_torch.core.checkpoint",
        "Run": "artifact_torch.runs",
        "RunDirectory": "artifact_torch.core.run",
        "ScoreCallback": "artifact_torch.core.callback",
        "ScoreCollectionCallback": "artifact_torch.core.callback",
        "StepStopper": "artifact_torch.core.stopper",
        "TrackedItem": "artifact_torch.core.tracker",
        "TrackedKind": "artifact_torch.core.tracker",
        "TrackedResult": "artifact_torch.core.callback",
        "TrackedRun": "artifact_torch.core.tracker",
        "Tracker": "artifact_torch.core.tracker",
        "TrackingCallback": "artifact_torch.core.callback",
        "Trainer": "artifact_torch.core.trainer",
        "TrainerOptions": "artifact_torch.core.components",
        "TrainerParts": "artifact_torch.core.artifact_group",
        "TrainingResult": "artifact_torch.core.training_result",
        "TrainingSettings": "artifact_torch.core.options",
        "UsageError": "artifact_torch.errors",
        "ValidationCallback": "artifact_torch.core.callback",
        "ValidationError": "artifact_torch.errors",
        "ValidationHistory": "artifact_torch.core.validation_history",
        "ValidationOptions": "artifact_torch.core.options",
        "ValidationPlan": "artifact_torch.core.plan",
        "ValidationResults": "artifact_torch.core.results",
        "ValidationRoutine": "artifact_torch.core.validation",
        "ValidationRoutineOptions": "artifact_torch.core.validation",
        "adam": "artifact_torch.core.optimizer",
        "execute_plan": "artifact_torch.core.execution",
        "find_batch_size": "artifact_torch.core.batch_size",
        "find_learning_rate": "artifact_torch.core.learning_rate",
        "find_run": "artifact_torch.runs",
        "hookimpl": "artifact_torch.plugin.markers",
        "load_model": "artifact_torch.core.model",
        "make_optimizer": "artifact_torch.core.optimizer",
        "parse_config": "artifact_torch.config",
        "prepare_experiment": "artifact_torch.experiment",
        "print_loading": "artifact_torch.cli.output",
        "print_result": "artifact_torch.cli.output",
        "registry": "artifact_torch.plugin.registry",
        "resume_experiment": "artifact_torch.continuation",
        "resume_or_run_experiment": "artifact_torch.continuation",
        "run_experiment": "artifact_torch.experiment",
        "summarize": "artifact_torch.core.summary",
        "sync_run": "artifact_torch.synchronization",
        "sync_to": "artifact_torch.synchronization",
    },
)
