"""Callbacks that compute a result about a training step: from its batch, its activations or its gradients."""

from __future__ import annotations

import fnmatch
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, cast

import torch
from torch import Tensor, nn
from typing_extensions import TypeVar

from artifact_torch.core.artifacts import ArtifactKind
from artifact_torch.core.callback import Callback
from artifact_torch.core.model import ModelInput, ModelOutput
from artifact_torch.errors import UsageError
from artifact_torch.plugin.markers import hookimpl
from artifact_torch.plugin.period import Period

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer

__all__ = ["ActivationObserver", "BatchObserver", "GradientObserver"]

ValueT = TypeVar("ValueT", default=Any)


class _Observer(Callback, Generic[ValueT]):
    """A result that is computed every so often about a training step, and tracked as ``batch/<name>``.

    Attributes:
        kind: what the result is: a number, an array, a plot, or a collection of them.
    """

    kind: ClassVar[ArtifactKind]

    def __init__(self, name: str, *, period: int | str | Period = "50 steps") -> None:
        if not name:
            raise UsageError(f"{type(self).__name__} needs a name for its result.")
        self.name = name
        self.batch_period = Period.of(period)

    def _track(self, trainer: Trainer, value: ValueT) -> None:
        trainer.track(self.kind, self.name, value)


class BatchObserver(_Observer[ValueT], ABC):
    """Computes a result from a batch and the model's output for it, every so often.

    ::

        class LargestError(BatchObserver[float]):
            kind = ArtifactKind.SCORE

            def compute(self, batch: TinyInput, model_output: TinyOutput) -> float:
                return float((model_output["prediction"] - batch["target"]).abs().max())

    Where a step takes several batches, it is computed from the last one.

    Args:
        name: the result's name.
        period: how often: ``"50 steps"``, a number of epochs (then in the first step of one) or ``"10 minutes"``.

    Raises:
        UsageError: there is no name, or the period is none.
    """

    @abstractmethod
    def compute(self, batch: Any, model_output: Any) -> ValueT:
        """The result; gradients are off. The batch and the output are typed as the model's."""

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer, batch: ModelInput, model_output: ModelOutput) -> None:
        if trainer.optimization.accumulated == 0:
            with torch.no_grad():
                value = self.compute(batch, model_output)
            self._track(trainer, value)


class ActivationObserver(_Observer[ValueT], ABC):
    """Computes a result from what modules give in a training step, every so often.

    ``observe`` is called in the forward pass for each module that is meant; what it keeps, it keeps by the module's
    path, so that two modules of one class never merge. Modules are hooked for the steps that are due only.

    ::

        class MeanActivation(ActivationObserver[Mapping[str, float]]):
            kind = ArtifactKind.SCORE_COLLECTION

            def reset(self) -> None:
                self.means = {}

            def observe(self, path: str, module: nn.Module, output: Tensor) -> None:
                self.means[path] = output.mean()

            def compute(self) -> Mapping[str, float]:
                return {path: float(mean) for path, mean in self.means.items()}

    Args:
        name: the result's name.
        modules: which modules, as patterns of their paths (``"encoder.*"``); by default all without modules inside.
        period: how often: ``"50 steps"``, a number of epochs (then in the first step of one) or ``"10 minutes"``.

    Raises:
        UsageError: there is no name, the period is none, or, in training, no module is meant or the model is compiled.
    """

    def __init__(
        self, name: str, *, modules: Sequence[str] | None = None, period: int | str | Period = "50 steps"
    ) -> None:
        super().__init__(name, period=period)
        self.modules = None if modules is None else tuple(modules)
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    @abstractmethod
    def reset(self) -> None:
        """Forget everything; called before the first batch of a step that is due."""

    @abstractmethod
    def observe(self, path: str, module: nn.Module, output: Tensor) -> None:
        """Take what a module has given, detached; where it gives several tensors, the first. Gradients are off."""

    @abstractmethod
    def compute(self) -> ValueT:
        """The result over everything that was observed since ``reset``."""

    @hookimpl
    def on_train_start(self, trainer: Trainer) -> None:
        self._remove()
        if trainer.is_compiled:
            raise UsageError(
                f"{type(self).__name__} looks into the modules of the model, which is compiled into one: leave out "
                "compile, or this callback."
            )
        if not self._meant(trainer.model):
            raise UsageError(
                f"{type(self).__name__} observes the modules {', '.join(self.modules or ())}, and the model has none "
                f"of that path: it has {', '.join(path for path, _ in trainer.model.named_modules() if path)}."
            )

    @hookimpl
    def execute_batch_preprocessing(self, trainer: Trainer) -> None:
        if self._handles:
            return  # another batch of the same step
        self.reset()
        for path, module in self._meant(trainer.model):
            self._handles.append(module.register_forward_hook(self._hook(path)))

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        if trainer.optimization.accumulated == 0 and self._handles:
            self._remove()
            with torch.no_grad():
                value = self.compute()
            self._track(trainer, value)

    @hookimpl
    def on_train_end(self) -> None:
        self._remove()

    def _hook(self, path: str) -> Any:
        def observe(module: nn.Module, _arguments: object, output: object) -> None:
            tensor = first_tensor(output)
            if tensor is not None and module.training:
                with torch.no_grad():
                    self.observe(path, module, tensor.detach())

        return observe

    def _meant(self, model: nn.Module) -> list[tuple[str, nn.Module]]:
        if self.modules is None:
            return [(path, module) for path, module in model.named_modules() if path and not list(module.children())]
        return [
            (path, module)
            for path, module in model.named_modules()
            if path and any(fnmatch.fnmatchcase(path, pattern) for pattern in self.modules)
        ]

    def _remove(self) -> None:
        while self._handles:
            self._handles.pop().remove()


class GradientObserver(_Observer[ValueT], ABC):
    """Computes a result from the gradients of a step, every so often, before they are clipped.

    ::

        class LargestGradient(GradientObserver[float]):
            kind = ArtifactKind.SCORE

            def compute(self, gradients: Mapping[str, Tensor]) -> float:
                return float(max(gradient.abs().max() for gradient in gradients.values()))

    Args:
        name: the result's name.
        period: how often: ``"50 steps"``, a number of epochs (then in the first step of one) or ``"10 minutes"``.

    Raises:
        UsageError: there is no name, or the period is none.
    """

    def __init__(self, name: str, *, period: int | str | Period = "50 steps") -> None:
        super().__init__(name, period=period)
        self._found: list[ValueT] = []

    @abstractmethod
    def compute(self, gradients: Mapping[str, Tensor]) -> ValueT:
        """The result; ``gradients`` has those that there are, by the parameter's path, and must not be changed."""

    @hookimpl(tryfirst=True)
    def on_before_optimizer_step(self, trainer: Trainer) -> None:
        gradients = {
            name: parameter.grad for name, parameter in trainer.model.named_parameters() if parameter.grad is not None
        }
        with torch.no_grad():
            self._found = [self.compute(gradients)]

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        while self._found:
            self._track(trainer, self._found.pop())  # now the step counts


def first_tensor(output: object) -> Tensor | None:
    """The first tensor in what a module returned; None if there is none."""
    if isinstance(output, Tensor):
        return output
    values: Iterable[object] = ()
    if isinstance(output, Mapping):
        values = cast("Mapping[object, object]", output).values()
    elif isinstance(output, list | tuple):
        values = cast("Sequence[object]", output)
    return next((found for value in values if (found := first_tensor(value)) is not None), None)
