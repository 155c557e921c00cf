"""What the averages of weights have in common: how they are kept, and how they take the place of the model's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from artifact_torch import Callback, CheckpointError, UsageError, hookimpl

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["Average", "Exchange", "WeightAveraging"]


class Exchange:
    """Tensors of a model that hold other numbers for a while: where the numbers are is exchanged, nothing is copied."""

    def __init__(self) -> None:
        self._own: list[tuple[Tensor, Tensor]] = []

    def __bool__(self) -> bool:
        return bool(self._own)

    def put(self, tensor: Tensor, numbers: Tensor) -> None:
        """Let ``tensor`` be what ``numbers`` is, of the same shape and type."""
        self._own.append((tensor, tensor.data))  # first, so that an interruption in between loses nothing
        tensor.data = numbers

    def undo(self) -> None:
        """Let each tensor be what it was, to the bit."""
        while self._own:
            tensor, own = self._own[-1]
            tensor.data = own
            self._own.pop()


class Average:
    """An average of a model's parameters, and of its buffers if wanted.

    It begins with the numbers that they have now. Buffers that are whole numbers, or not finite, are not averaged.

    Args:
        model: whose they are.
        parameters: paths of the parameters to average.
        buffers: whether floating-point buffers are averaged too.

    Attributes:
        model: whose average it is.
        tensors: path in the model -> average.
    """

    def __init__(self, model: nn.Module, parameters: Iterable[str], *, buffers: bool = False) -> None:
        self.model = model
        named = dict(model.named_parameters())
        self._parameters = {path: named[path] for path in parameters}
        self._buffers = [path for path, each in model.named_buffers() if buffers and _can_be_averaged(each)]
        self.tensors = {path: tensor.detach().clone() for path, tensor in self.originals()}

    def originals(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors of the model that are averaged, by path."""
        yield from self._parameters.items()
        if self._buffers:  # a model may put another tensor in the place of one
            buffers = dict(self.model.named_buffers())
            yield from ((path, buffers[path]) for path in self._buffers)

    def approach(self, share: float | Tensor) -> None:
        """Move it this share of the way to the model's present numbers; a share in a tensor may be on a device."""
        averages, originals = list(self.tensors.values()), [tensor for _, tensor in self.originals()]
        with torch.no_grad():
            # What torch.optim.swa_utils averages with; on a CPU it is lerp_ for each.
            if isinstance(share, Tensor):
                shares = [share.to(average.dtype) for average in averages]
                torch._foreach_lerp_(averages, originals, shares)  # type: ignore[reportPrivateUsage]
            else:
                torch._foreach_lerp_(averages, originals, share)  # type: ignore[reportPrivateUsage]

    def include(self, count: int) -> None:
        """From the mean of ``count`` weights, make it the mean of these and the model's present ones."""
        with torch.no_grad():
            for path, tensor in self.originals():
                average = self.tensors[path]
                average.add_((tensor - average) / (count + 1))

    def put_into_model(self, exchange: Exchange) -> None:
        """Put it in the place of the model's own numbers."""
        for path, tensor in self.originals():
            exchange.put(tensor, self.tensors[path])

    def load(self, saved: Mapping[str, Tensor]) -> None:
        """Go back to saved averages.

        Raises:
            CheckpointError: they are of other tensors.
        """
        if others := sorted(saved.keys() ^ self.tensors.keys()):
            raise CheckpointError(
                f"The checkpoint averages other tensors than this training does: they differ in {', '.join(others)}. "
                "Build the model, and the callback that averages it, as they were when it was written."
            )
        for path, average in self.tensors.items():
            average.copy_(saved[path])


class WeightAveraging(Callback):
    """Base of what averages weights: the model is validated and saved with them, and trained with its own.

    ``average`` is what there is of an average now; None as long as there is none.
    """

    changes_training = True

    def __init__(self) -> None:
        self.average: Average | None = None
        self._exchange = Exchange()
        self._trained: list[str] = []

    def _begin_anew(self, trainer: Trainer) -> None:
        """Forget everything: a training begins."""
        self.average = None

    def _before_evaluation(self, trainer: Trainer) -> None:
        """Called before the average takes the model's place."""

    def _in_place(self, trainer: Trainer, exchange: Exchange) -> None:
        """Called when the average has taken the model's place."""

    @hookimpl
    def on_train_start(self, trainer: Trainer) -> None:
        for each in trainer.hooks.functions("on_evaluation_start"):
            other = each.plugin.implementation
            if isinstance(other, WeightAveraging) and other is not self:
                raise UsageError(
                    f"{type(self).__name__} and {type(other).__name__} both average the weights, and the model can be "
                    "validated and saved with one average only: leave one of them out."
                )
        is_fresh = trainer.state.step == 0 and trainer.state.batch_in_epoch == 0
        if is_fresh or (self.average is not None and self.average.model is not trainer.model):
            self._begin_anew(trainer)
        self._find_trained(trainer.model)

    @hookimpl
    def on_evaluation_start(self, trainer: Trainer) -> None:
        self._before_evaluation(trainer)
        if self.average is not None and self.average.model is trainer.model:
            self.average.put_into_model(self._exchange)
            self._in_place(trainer, self._exchange)

    @hookimpl
    def on_evaluation_end(self) -> None:
        self._exchange.undo()

    @hookimpl
    def on_save_checkpoint(self) -> dict[str, Any]:
        self._refuse_in_evaluation("saved")
        return {"average": None if self.average is None else dict(self.average.tensors)}

    @hookimpl
    def on_load_checkpoint(self, trainer: Trainer, state: Mapping[str, Any]) -> None:
        self._refuse_in_evaluation("loaded")
        self._begin_anew(trainer)
        self._find_trained(trainer.model)
        if state["average"] is not None:
            average = self._new_average(trainer.model)
            average.load(state["average"])
            self.average = average

    def _new_average(self, model: nn.Module) -> Average:
        return Average(model, self._trained)

    def _find_trained(self, model: nn.Module) -> None:
        """Now, for within a batch a parameter may require no gradients that is trained later (``Freezing``)."""
        self._trained = [path for path, parameter in model.named_parameters() if parameter.requires_grad]

    def _refuse_in_evaluation(self, what: str) -> None:
        if self._exchange:
            raise UsageError(
                f"A checkpoint cannot be {what} while the model holds the average of {type(self).__name__}, in place "
                "of the weights that are trained: do it before or after trainer.evaluating()."
            )


def _can_be_averaged(buffer: Tensor) -> bool:
    """A mask of infinities would become NaN."""
    return buffer.is_floating_point() and bool(buffer.isfinite().all())
