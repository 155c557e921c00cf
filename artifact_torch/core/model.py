"""Models: typed input and output, saving and loading without pickle, and generation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypedDict, cast

from torch import Tensor, nn
from typing_extensions import TypeVar

from artifact_torch.core.storage import JsonDict, read_bundle, write_bundle
from artifact_torch.errors import CheckpointError, PluginError
from artifact_torch.plugin.registry import registry

__all__ = [
    "GenerationParams",
    "GenerativeModel",
    "Model",
    "ModelInput",
    "ModelOutput",
    "load_model",
]


class ModelInput(TypedDict):
    """Base of a model's input: a batch as a dictionary with named, typed entries."""


class ModelOutput(TypedDict):
    """Base of a model's output.

    ``loss`` is the scalar that training differentiates, shape ``()``, already averaged over the batch.
    """

    loss: Tensor


InputT = TypeVar("InputT", bound=ModelInput, default=Any)
OutputT = TypeVar("OutputT", bound=ModelOutput, default=Any)
GeneratedT = TypeVar("GeneratedT", default=Any)
ModelT = TypeVar("ModelT", bound="Model")


class Model(nn.Module, ABC, Generic[InputT, OutputT]):
    """A neural network with typed input and output that can be saved and loaded.

    A subclass writes ``forward``. If its constructor takes parameters, it also returns them from ``config`` so that a
    saved model can be built again::

        class Autoencoder(Model[Features, Reconstruction]):
            def __init__(self, width: int) -> None:
                super().__init__()
                self.width = width
                self.layers = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 8))

            def config(self) -> JsonDict:
                return {"width": self.width}

            def forward(self, batch: Features) -> Reconstruction:
                output = self.layers(batch["features"])
                return {"output": output, "loss": nn.functional.mse_loss(output, batch["features"])}
    """

    format_version: ClassVar[int] = 1
    """Raise it when a saved model of an older version of the class can no longer be loaded."""

    @abstractmethod
    def forward(self, batch: InputT) -> OutputT:
        """Compute the output of one batch; in training mode it must hold ``loss``."""

    def __call__(self, batch: InputT) -> OutputT:
        return cast("OutputT", super().__call__(batch))

    def config(self) -> JsonDict:
        """The constructor's parameters as JSON values (numbers, strings, booleans, lists, dictionaries)."""
        return {}

    @classmethod
    def from_config(cls, config: JsonDict) -> Self:
        """Build an untrained model from what ``config`` returned."""
        return cls(**config)

    @classmethod
    def configurable(cls) -> Callable[..., Self]:
        """What builds an untrained model from the parameters that a configuration may set; by default the class.

        A model that is built from data overrides it with a partial that takes the other parameters only. It is asked
        for their names, types, defaults and documentation, and is not called.
        """
        return cls

    def save(self, path: Path | str) -> Path:
        """Write the model to the directory ``path``: tensors as safetensors, the rest as JSON, with checksums.

        The directory appears whole or not at all; an existing one is replaced.
        """
        entry = registry.entry_of("models", type(self))
        description: JsonDict = {
            "class": type(self).__qualname__,
            "name": registry.name_of("models", type(self)),
            "distribution": None if entry is None else entry.source,
            "format_version": self.format_version,
            "config": self.config(),
        }
        return write_bundle(Path(path), self.state_dict(), description)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a model of this class from the directory ``path``, onto the CPU.

        Raises:
            CheckpointError: the directory is absent or damaged, or holds a model that this class cannot take.
        """
        tensors, description = read_bundle(Path(path))
        return _restored(cls, Path(path), tensors, description)


def load_model(path: Path | str) -> Model:
    """Read a saved model of any installed class, onto the CPU.

    The class is found by its registered name, among the installed ``artifact_torch.models`` plugins and the classes
    added with ``registry.add``: what a file says never chooses code to import. The type of the model's input and output
    is known only then, hence ``Any``.

    Raises:
        CheckpointError: the directory is absent or damaged, or its class is not registered under a name.
        PluginError: no installed plugin provides the model's name.
    """
    tensors, description = read_bundle(Path(path))
    _check_is_model(path, description)
    name = description["name"]
    if name is None:
        raise CheckpointError(
            f"{path} holds a model of the unregistered class {description['class']}: load it with "
            f"{description['class']}.load(path), or register the class first with registry.add('models', ...)."
        )
    try:
        model_class = registry.get("models", name)
    except PluginError as error:
        distribution = description.get("distribution")
        if distribution is None or name in registry.names("models"):
            raise
        raise PluginError(f"{path} holds a model {name!r} of {distribution}, which is not installed here.") from error
    if not issubclass(model_class, Model):  # the registry checks it too; this tells the type checker
        raise PluginError(f"the model {name!r} is not a subclass of artifact_torch.Model.")
    return _restored(model_class, Path(path), tensors, description)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationParams:
    """What to generate.

    Attributes:
        num_samples: how many samples (for tables: rows).
        seed: the seed of a private generator; the same seed gives the same samples, and the global random state is
            neither read nor changed.
    """

    num_samples: int
    seed: int = 0


class GenerativeModel(Model[InputT, OutputT], Generic[InputT, OutputT, GeneratedT]):
    """A model that can also produce new samples."""

    @abstractmethod
    def generate(self, params: GenerationParams) -> GeneratedT:
        """Produce ``params.num_samples`` new samples, in evaluation mode and without gradients."""


def _check_is_model(path: Path | str, description: JsonDict) -> None:
    if "class" not in description:
        raise CheckpointError(f"{path} is not a saved model: a checkpoint is read with Trainer.load_checkpoint.")


def _restored(cls: type[ModelT], path: Path, tensors: dict[str, Tensor], description: JsonDict) -> ModelT:
    _check_is_model(path, description)
    if description["class"] != cls.__qualname__:
        raise CheckpointError(
            f"{path} holds a model of class {description['class']}, not {cls.__qualname__}: "
            f"load it with {description['class']}.load or with artifact_torch.load_model."
        )
    if description["format_version"] != cls.format_version:
        raise CheckpointError(
            f"{path} was saved by format version {description['format_version']} of {cls.__qualname__}, and "
            f"{cls.format_version} is installed: install the distribution it was saved with, or train it again."
        )
    try:
        model = cls.from_config(description["config"])
    except TypeError as error:
        raise CheckpointError(
            f"{path}: {cls.__qualname__} cannot be built from its saved parameters ({error}). "
            f"Return every constructor parameter from {cls.__qualname__}.config() and save it again."
        ) from error
    expected = model.state_dict()
    if missing := sorted(expected.keys() - tensors.keys()):
        raise CheckpointError(f"{path} lacks the tensors {', '.join(missing)} that {cls.__qualname__} needs.")
    if extra := sorted(tensors.keys() - expected.keys()):
        raise CheckpointError(f"{path} holds the tensors {', '.join(extra)} that {cls.__qualname__} does not have.")
    for name, tensor in expected.items():
        if tensor.shape != tensors[name].shape:
            raise CheckpointError(
                f"{path}: tensor {name} has shape {tuple(tensors[name].shape)}, and {cls.__qualname__} "
                f"expects {tuple(tensor.shape)}."
            )
    model.load_state_dict(tensors)
    return model


registry.require("models", Model)
