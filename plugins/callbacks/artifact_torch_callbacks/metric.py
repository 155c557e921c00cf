"""Any metric over a loader, in evaluation mode, and over training batches."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from artifact_torch import ArtifactKind, DataSplit, LoaderCallback, ModelInput, ModelOutput, UsageError, hookimpl
from artifact_torch_callbacks.samples import num_samples

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["Metric", "MetricObject"]

Value = float | Mapping[str, float]


@runtime_checkable
class MetricObject(Protocol):
    """What gathers batches and computes from all of them, as a metric or a collection of torchmetrics does.

    If it has a method ``to``, it is moved to the device of what it is given.
    """

    def update(self, *entries: Any) -> None: ...
    def compute(self) -> Any: ...
    def reset(self) -> None: ...


class Metric(LoaderCallback[Value]):
    """Computes any metric over a loader's samples in evaluation mode, and for training batches too if that is wanted.

    What computes it is one of these:

    - A function of a batch and the model's output for it, which gives a number or a tensor of shape ``()``: a mean over
      the batch's samples. Batches are weighted by the number of their samples, which is the first dimension of the
      batch's first tensor.
    - A metric or a collection of the package torchmetrics, or any object with their methods ``update``, ``compute`` and
      ``reset``. It is given two entries, which ``prediction`` and ``target`` name, and computes from all batches at
      once. It is moved to their device, and belongs to this callback alone::

        Metric(name="auroc", metric=BinaryAUROC(), prediction="logits", target="label")

    The score is the column ``validation/<name>`` or ``train/<name>`` of ``epoch_scores``. A metric that gives several
    numbers by name, as a collection does, gives a score collection: a column ``validation/<name>/<item>`` for each.

    Neither can be written in a configuration file, which names no code: this callback is for Python.

    Args:
        name: the score's name.
        metric: what computes it.
        split: the loader to pass over, the training or the validation loader.
        prediction: for an object, the entry that it is given first: of the model's output, or else of the batch.
        target: for an object, the entry that it is given second: of the batch, or else of the model's output. Without
            one, it is given the prediction alone.
        train_batches: whether to compute it also for each training batch that is logged, alone and in training mode;
            it stands in ``batch_metrics`` under its name.
        period: how often to pass over the loader, in epochs or as a text such as ``"200 steps"``; as the validation
            routine if None.

    Raises:
        UsageError: an argument cannot be used; or, in validation, the loader has no batch, an entry is missing, or the
            metric gives something else than numbers.

    Example::

        def absolute_error(batch, model_output):
            return (model_output["prediction"] - batch["target"]).abs().mean()


        metric = Metric(name="absolute_error", metric=absolute_error, train_batches=True)
        trainer = Trainer(model, train_loader, epochs=3, validation=validation, callbacks=[metric])
        trainer.train()
        print(trainer.epoch_scores["validation/absolute_error"])
    """

    def __init__(
        self,
        *,
        name: str,
        metric: object,
        split: Literal["train", "validation"] = "validation",
        prediction: str | None = None,
        target: str | None = None,
        train_batches: bool = False,
        period: int | str | None = None,
    ) -> None:
        if not name:
            raise UsageError("The callback Metric needs a name.")
        if name == "loss" and (split == "train" or train_batches):
            raise UsageError(
                "The name 'loss' belongs to the trainer's own loss: give the callback Metric another name."
            )
        super().__init__(name, split=cast("DataSplit", split), period=period)  # which refuses what is not a split
        self.train_batches = train_batches
        if isinstance(metric, MetricObject) and not isinstance(metric, type):
            self._computation: _Mean | _Gathered = _Gathered(self, metric, prediction, target)
        elif callable(metric) and not isinstance(metric, type):
            if prediction is not None or target is not None:
                raise UsageError(
                    f"The metric {name!r} is a function, which is given the whole batch and output: leave out "
                    "prediction and target, which are for a metric of torchmetrics."
                )
            self._computation = _Mean(self, cast("Callable[[Any, Any], object]", metric))
        else:
            raise UsageError(
                f"The metric {name!r} is {_shown(metric)}, and has to be a metric of torchmetrics or a function of "
                "(batch, model_output), which no configuration can name: build it in Python, with "
                "Trainer(..., callbacks=[Metric(name=..., metric=...)])."
            )
        self._value: Value | None = None
        self._is_collection = hasattr(metric, "items")

    @property
    def kind(self) -> ArtifactKind:  # type: ignore[reportIncompatibleVariableOverride]
        """A score, or a collection of them; what it is may be known only when the first one was computed."""
        if self._computation.batches:
            self.compute()
        return ArtifactKind.SCORE_COLLECTION if self._is_collection else ArtifactKind.SCORE

    def reset(self) -> None:
        self._value = None
        self._computation.reset()

    def update(self, batch: ModelInput, model_output: ModelOutput) -> None:
        self._value = None
        self._computation.update(batch, model_output)

    def compute(self) -> Value:
        if not self._computation.batches:
            raise UsageError(
                f"The loader of the {self.split} split gave no batch, so its {self.name!r} cannot be computed: check "
                "the data set's length."
            )
        if self._value is None:
            self._value = self._computation.compute()
            self._is_collection = isinstance(self._value, Mapping)
        return self._value

    @hookimpl
    def log_batch_metrics(
        self, trainer: Trainer, batch: ModelInput, model_output: ModelOutput
    ) -> Mapping[str, float] | None:
        if not self.train_batches:
            return None
        with torch.no_grad():
            self.reset()
            self.update(batch, model_output)
            value = self._computation.compute()
            self.reset()
        if isinstance(value, Mapping):
            return {f"{self.name}/{item}": number for item, number in value.items()}
        return {self.name: value}


class _Mean:
    """The mean of a function over the samples of batches."""

    def __init__(self, owner: Metric, function: Callable[[Any, Any], object]) -> None:
        self._owner = owner
        self._function = function
        self.reset()

    @property
    def batches(self) -> int:
        return len(self._values)

    def reset(self) -> None:
        self._values: list[float | Tensor] = []
        self._sizes: list[int] = []

    def update(self, batch: ModelInput, model_output: ModelOutput) -> None:
        with _named(self._owner):
            value = self._function(batch, model_output)
        size = num_samples(batch)
        if size is None:
            raise UsageError(
                f"The metric {self._owner.name!r} weights batches by the first dimension of their first tensor, and a "
                f"batch has no tensor with one: it holds {', '.join(batch) or 'nothing'}."
            )
        self._values.append(_checked(self._owner, value))
        self._sizes.append(size)

    def compute(self) -> float:
        total = sum(value * size for value, size in zip(_read(self._values), self._sizes, strict=True))
        return total / sum(self._sizes)


class _Gathered:
    """What an object of torchmetrics makes of two entries of all batches."""

    def __init__(self, owner: Metric, metric: MetricObject, prediction: str | None, target: str | None) -> None:
        if prediction is None:
            raise UsageError(
                f"The metric {owner.name!r} is given entries of the model's output and of the batch: name them with "
                "prediction and target."
            )
        self._owner = owner
        self._metric = metric
        self._prediction = prediction
        self._target = target
        self._device: torch.device | None = None
        self.batches = 0

    def reset(self) -> None:
        self._metric.reset()
        self.batches = 0

    def update(self, batch: ModelInput, model_output: ModelOutput) -> None:
        entries = [self._entry("prediction", self._prediction, model_output, batch)]
        if self._target is not None:
            entries.append(self._entry("target", self._target, batch, model_output))
        device = next((entry.device for entry in entries if isinstance(entry, Tensor)), None)
        with _named(self._owner):
            if device != self._device and device is not None:
                self._device = device
                if hasattr(self._metric, "to"):
                    self._metric = cast("Any", self._metric).to(device)
            self._metric.update(*entries)
        self.batches += 1

    def compute(self) -> Value:
        with _named(self._owner):
            value = self._metric.compute()
        if not isinstance(value, Mapping):
            return _read([_checked(self._owner, value)])[0]
        items = {str(item): each for item, each in cast("Mapping[object, object]", value).items()}
        return dict(zip(items, _read([_checked(self._owner, each, item) for item, each in items.items()]), strict=True))

    def _entry(self, role: str, name: str, *places: Mapping[str, Any]) -> Any:
        for place in places:
            if name in place:
                entry = place[name]
                return entry.detach() if isinstance(entry, Tensor) else entry
        known = ", ".join(dict.fromkeys(entry for place in places for entry in place))
        raise UsageError(
            f"The metric {self._owner.name!r} needs the entry {name!r} as its {role}, which neither the batch nor the "
            f"model's output has: they have {known}."
        )


@contextmanager
def _named(owner: Metric) -> Generator[None]:
    """Note on an exception of what computes a metric which one it is."""
    try:
        yield
    except Exception as error:
        error.add_note(f"In the metric {owner.name!r} of the {owner.split} split.")
        raise


def _checked(owner: Metric, value: object, item: str = "") -> float | Tensor:
    """A value of a metric that is one number."""
    if isinstance(value, Tensor):
        if not value.ndim and not value.is_complex():
            return value.detach()
        found = f"a tensor of shape {tuple(value.shape)} and type {value.dtype}"
    elif isinstance(value, numbers.Real):
        return float(value)
    else:
        found = f"an object of type {type(value).__name__}"
    raise UsageError(
        f"The metric {owner.name!r} of the {owner.split} split gives {found}{f' as {item!r}' if item else ''}, and has "
        "to give numbers or tensors of shape (): let it take a mean, or choose one number of it."
    )


def _read(values: Sequence[float | Tensor]) -> list[float]:
    """The values as numbers; an accelerator is waited for once."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    read = iter(torch.stack([tensor.to(tensors[0].device) for tensor in tensors]).tolist() if tensors else [])
    return [float(next(read)) if isinstance(value, Tensor) else value for value in values]


def _shown(metric: object) -> str:
    if isinstance(metric, type):
        return f"the class {metric.__qualname__}"
    return repr(metric) if isinstance(metric, str | int | float | bool | None) else f"of type {type(metric).__name__}"
