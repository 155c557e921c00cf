"""A schedule of frozen layers."""

from __future__ import annotations

import fnmatch
import logging
from typing import TYPE_CHECKING

from torch import nn

from artifact_torch import Callback, UsageError, hookimpl

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["Freezing"]

logger = logging.getLogger("artifact_torch")


class Freezing(Callback):
    """Keeps modules from being trained in the first epochs, and lets them be trained one after the other.

    As in fine-tuning: the new head learns first, then the layers before it, from the last to the first (gradual
    unfreezing; Howard and Ruder, 2018, arXiv:1801.06146). A frozen parameter requires no gradient in the forward and
    the backward pass, so none is computed, and it has none when the optimizer steps, so neither its moments nor weight
    decay move it. Between the batches it requires gradients as before, and so it does when training has ended; those
    that the model has frozen itself stay so.

    What is frozen depends on the number of the epoch alone, so a training that is resumed in the middle goes on with
    the same. The parameters have to be the optimizer's from the start, as they are unless it was made of a part of
    them.

    Each batch takes two short loops over the frozen parameters; their gradients are not computed.

    Args:
        epochs: pattern of paths of modules, such as ``"encoder"`` or ``"encoder.layers.[0-3]"`` -> for how many epochs,
            the first ones, they are frozen with everything inside. Where several apply, the longest does.
        evaluation_mode: whether frozen modules are in evaluation mode, so that dropout rests in them and batch
            normalization keeps its statistics; else they stay in the mode that they have.

    Raises:
        UsageError: an argument cannot be used; or, when training starts, a pattern matches no module, or nothing would
            be left to train in an epoch.

    Example::

        import torch

        model.layers.append(torch.nn.Linear(1, 1))  # a new head
        freezing = Freezing(epochs={"layers.[01]": 2})
        trainer = Trainer(model, train_loader, epochs=3, callbacks=[freezing])
        trainer.train()
        print((trainer.run.path / "log.txt").read_text())  # what is frozen in which epoch
    """

    changes_training = True

    def __init__(self, *, epochs: dict[str, int], evaluation_mode: bool = True) -> None:
        if not epochs:
            raise UsageError('Freezing needs to know what to freeze, such as epochs={"encoder": 2} for two epochs.')
        for pattern, number in epochs.items():
            if number < 1:
                raise UsageError(f"Freezing has to freeze {pattern!r} for at least 1 epoch, not {number}.")
        self.epochs = dict(epochs)
        self.evaluation_mode = evaluation_mode
        self._modules: list[tuple[str, nn.Module, bool, int]] = []  # path, module, its mode, epochs
        self._parameters: list[tuple[nn.Parameter, int]] = []
        self._frozen: list[nn.Parameter] = []
        self._said: list[str] = []

    @hookimpl
    def on_train_start(self, trainer: Trainer) -> None:
        self._find(trainer.model)
        if trainer.state.batch_in_epoch:  # resumed within an epoch, whose start is not told again
            self._enter(trainer)

    @hookimpl(tryfirst=True)  # the modes are those of the epoch for all others
    def execute_epoch_preprocessing(self, trainer: Trainer) -> None:
        self._enter(trainer)

    # The flags are off for the passes of a batch only, not for the epoch: what requires gradients is compared when a
    # checkpoint is loaded, before any plugin can know which epoch it is of.

    @hookimpl(tryfirst=True)
    def execute_batch_preprocessing(self) -> None:
        for parameter in self._frozen:
            parameter.requires_grad = False

    @hookimpl(tryfirst=True)
    def execute_batch_postprocessing(self) -> None:
        for parameter in self._frozen:
            parameter.requires_grad = True

    @hookimpl
    def on_train_end(self) -> None:
        self.execute_batch_postprocessing()
        for _, module, training, _ in self._modules:
            if self.evaluation_mode:
                module.training = training
        self._modules, self._parameters, self._frozen, self._said = [], [], [], []

    def _find(self, model: nn.Module) -> None:
        modules = dict(model.named_modules())
        until: dict[str, int] = {}
        for pattern, number in self.epochs.items():
            matched = [path for path in modules if path and fnmatch.fnmatchcase(path, pattern)]
            if not matched:
                known = ", ".join(path for path in modules if path)
                raise UsageError(f"Freezing finds no module {pattern!r} in the model: it has {known}.")
            for path in modules:
                if any(path == each or path.startswith(f"{each}.") for each in matched):
                    until[path] = max(number, until.get(path, 0))
        self._modules = [(path, modules[path], modules[path].training, number) for path, number in until.items()]
        # A parameter that several modules share is trained as soon as one of them is.
        owners: dict[int, list[int]] = {}
        for path, module in modules.items():
            for parameter in module.parameters(recurse=False):
                owners.setdefault(id(parameter), []).append(until.get(path, 0))
        trained = [each for each in model.parameters() if each.requires_grad]
        self._parameters = [(each, min(owners[id(each)])) for each in trained if min(owners[id(each)]) > 0]
        if len(self._parameters) == len(trained):
            first = min(number for _, number in self._parameters)
            raise UsageError(
                f"Freezing leaves no parameter to train in epoch 1, up to epoch {first}: leave a module out of its "
                f"patterns {', '.join(map(repr, self.epochs))}."
            )

    def _enter(self, trainer: Trainer) -> None:
        """Begin an epoch, or go on with one."""
        epoch = trainer.state.epoch
        self._frozen = [parameter for parameter, number in self._parameters if epoch <= number]
        if self.evaluation_mode:
            for _, module, training, number in self._modules:
                module.training = training and epoch > number
        frozen = [path for path, _, _, number in self._modules if epoch <= number]
        if frozen != self._said:
            outermost = [path for path in frozen if path.rpartition(".")[0] not in frozen]
            logger.info("From epoch %d on, frozen: %s.", epoch, ", ".join(outermost) or "nothing any more")
            self._said = frozen
