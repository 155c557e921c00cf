"""Training steps on trial: made with a trainer's model and optimizer, and undone afterwards."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from artifact_torch.core.loss import training_loss
from artifact_torch.core.optimization import Optimization, with_step_ends
from artifact_torch.core.random_state import preserved_random_state, seed_everything
from artifact_torch.core.surroundings import kept_surroundings
from artifact_torch.errors import DivergedError

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer

__all__ = ["trial", "trial_steps"]


@contextmanager
def trial(trainer: Trainer) -> Generator[None]:
    """Let the model be trained in training mode, from the trainer's seed, and undo all of it.

    Parameters, buffers, gradients and modes, the optimizer's state, and the random state are as before afterwards, and
    so are the attributes of modules that are plain values. What was copied for that lies in the memory of the CPU;
    only the optimizer's state, if there is any yet, is in the memory of the device twice.
    """
    model, optimizer = trainer.model, trainer.optimizer
    parameters = list(model.parameters())
    parameters += [parameter for group in optimizer.param_groups for parameter in group["params"]]
    tensors = {id(tensor): tensor for tensor in (*parameters, *model.buffers())}.values()
    values = [(tensor, tensor.detach().to("cpu", copy=True)) for tensor in tensors]
    gradients = [(parameter, parameter.grad) for parameter in parameters]
    groups = [(group, dict(group)) for group in optimizer.param_groups]
    # The tables of a module, as that of its buffers, are objects of its own: what they hold is put back in them.
    tables = [vars(each) for each in (*model.modules(), optimizer)]
    tables += [table for module in model.modules() for table in (module._parameters, module._buffers)]  # type: ignore[reportPrivateUsage]
    contents: list[tuple[dict[str, Any], dict[str, Any]]] = [(table, dict(table)) for table in tables]
    extra = [(module, deepcopy(module.get_extra_state())) for module in model.modules() if _has_extra_state(module)]
    with preserved_random_state(), kept_surroundings(model, deterministic=trainer.deterministic, tell=_say_nothing):
        try:
            optimizer.state = _copied(optimizer.state)
            seed_everything(trainer.seed)
            yield
        finally:
            for table, content in (*contents, *groups):
                table.clear()
                table.update(content)
            with torch.no_grad():
                for tensor, value in values:
                    tensor.copy_(value)
            for parameter, gradient in gradients:
                parameter.grad = gradient
            for module, state in extra:
                module.set_extra_state(state)


def trial_steps(
    trainer: Trainer, batches: Iterable[Any], *, limit: int, before: Callable[[int], None] | None = None
) -> Generator[list[Tensor]]:
    """Make optimizer steps as the trainer would, without its schedule, its plugins and its records.

    A step whose gradients are NaN or infinite is left out.

    Args:
        trainer: has the model, the optimizer and the settings of a step.
        batches: what to train on, placed on the device; each ``accumulate`` of them make a step.
        limit: how many steps to make, at most.
        before: called with the number of each step, from 0, before its first batch.

    Yields:
        After each step the losses of its batches, before the step, each of shape ``()``.

    Raises:
        MissingLossError: the model's output holds no scalar loss.
    """
    settings = dataclasses.replace(
        trainer.optimization.settings,
        on_nonfinite="skip",
        skip_limit=limit,
        scheduler_interval="epoch",
        scheduler_metric=None,
    )
    optimization = Optimization(trainer.model, trainer.optimizer, None, settings, trainer.device, DivergedError)
    optimization.begin_epoch()
    losses: list[Tensor] = []
    number = 0
    for batch, ends_step in with_step_ends(batches, settings.accumulate):
        if not losses and before is not None:
            before(number)
        with optimization.forward_context():
            output = trainer.model(batch)
        loss = training_loss(output, trainer.model)
        del output  # it may be large, and training does not keep it either
        losses.append(loss.detach())
        optimization.backward(loss, losses[-1].item() if trainer.device.type == "cpu" else None)
        if ends_step:
            optimization.complete_gradients()
            optimization.step()
            yield losses
            losses, number = [], number + 1
            if number == limit:
                return


def _copied(state: Mapping[Tensor, Any]) -> defaultdict[Tensor, Any]:
    """An optimizer's state in tensors of its own, for the same parameters."""
    copied: defaultdict[Tensor, Any] = defaultdict(dict)
    copied.update((parameter, deepcopy(value)) for parameter, value in state.items())
    return copied


def _has_extra_state(module: nn.Module) -> bool:
    return type(module).get_extra_state is not nn.Module.get_extra_state


def _say_nothing(sentence: str) -> None:
    """Hooks of torch that a forward pass leaves on the model are removed; training would tell, a trial need not."""
