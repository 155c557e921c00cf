"""Validation routines: when to validate, on what, and how."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from artifact_torch.core.callback import LoaderCallback
from artifact_torch.core.data import BatchLoader, DataSplit
from artifact_torch.core.limits import restricted
from artifact_torch.core.random_state import preserved_random_state
from artifact_torch.core.results import ArtifactKind, ValidationPlan, ValidationResults
from artifact_torch.errors import UsageError
from artifact_torch.plugin.specs import ValidationHooks

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer
    from artifact_torch.plugin.hooks import Answer, Hooks

__all__ = ["ValidationRoutine", "evaluation"]


class ValidationRoutine:
    """What a trainer computes about its model every so many epochs.

    As it stands, it passes over the loaders with the callbacks it is given and those that plugins provide. A subclass
    adds what its domain calls for, by overriding the five underscored methods or ``evaluate``.

    Args:
        period: validate every so many epochs; the last epoch is validated in any case, also if a stopper ends training.
        train_loader: what callbacks of the training split pass over; the trainer's loader if None.
        val_loader: what callbacks of the validation split pass over.
        callbacks: computations over the loaders.

    Raises:
        UsageError: ``period`` is not positive.
    """

    def __init__(
        self,
        *,
        period: int = 1,
        train_loader: BatchLoader | None = None,
        val_loader: BatchLoader | None = None,
        callbacks: Iterable[LoaderCallback] = (),
    ) -> None:
        _check_period(period)
        self.period = period
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.limit_batches: int | float | None = None
        self._own_callbacks = tuple(callbacks)
        self.plans: dict[DataSplit, ValidationPlan] = {}
        self.callbacks: dict[DataSplit, tuple[LoaderCallback, ...]] = {}

    def attach(self, hooks: Hooks) -> None:
        """Ask the subclass and the plugins once for the period, the plans and the callbacks; a trainer does it.

        Raises:
            UsageError: the period is not positive, two callbacks share a name, a callback's loader is missing, or there
                is a plan and no way to execute it.
        """
        self._hooks = hooks
        self.period = self._get_validation_period()
        _check_period(self.period)
        self.callbacks = {
            DataSplit.TRAIN: tuple(self._get_train_loader_callbacks()),
            DataSplit.VALIDATION: tuple(self._get_val_loader_callbacks()),
        }
        for split, callbacks in self.callbacks.items():
            _check_names(callbacks, split)
        if self.callbacks[DataSplit.VALIDATION] and self.val_loader is None:
            name = self.callbacks[DataSplit.VALIDATION][0].name
            raise UsageError(f"The callback {name!r} passes over the validation loader: give the routine a val_loader.")
        plans = {split: self._get_validation_plan(split) for split in (DataSplit.TRAIN, DataSplit.VALIDATION)}
        self.plans = {split: plan for split, plan in plans.items() if plan is not None}
        if self.plans and type(self).execute_plan is ValidationRoutine.execute_plan:
            raise UsageError(
                f"There is a validation plan, and {type(self).__qualname__} cannot execute it: override execute_plan."
            )

    def is_due(self, epoch: int) -> bool:
        """Whether there is something to validate, and this epoch (counted from 1) is one of those to do it in."""
        return self.has_work and epoch % self.period == 0

    @property
    def has_work(self) -> bool:
        """Whether there is anything to compute: a plan, a callback, or a plugin or subclass with a way of its own."""
        overridden = (
            type(self)._execute_validation is not ValidationRoutine._execute_validation
            or type(self).evaluate is not ValidationRoutine.evaluate
        )
        return (
            overridden
            or bool(self.plans or any(self.callbacks.values()))
            or any(each.position != "wrapper" for each in self._hooks.implementations("execute_validation"))
        )

    def validate(self, trainer: Trainer) -> ValidationResults:
        """Validate now: in evaluation mode, without gradients, and without any trace in the random state."""
        with evaluation(trainer.model):
            self._hooks.notify(ValidationHooks.on_validation_start, trainer=trainer)
            results = self._execute_validation(trainer)
            self._hooks.notify(ValidationHooks.on_validation_end, trainer=trainer, results=results)
        return results

    def rehearse(self, trainer: Trainer) -> None:
        """Validate once with two batches of each loader and forget the results: what is wrong shows now."""
        limit, self.limit_batches = self.limit_batches, 2
        try:
            if self.has_work:
                self.validate(trainer)
        finally:
            self.limit_batches = limit

    def evaluate(self, trainer: Trainer) -> ValidationResults:
        """The routine's own logic: the callbacks over their loaders, then the plans."""
        results = ValidationResults()
        loaders = {DataSplit.TRAIN: self.train_loader or trainer.train_loader, DataSplit.VALIDATION: self.val_loader}
        for split, loader in loaders.items():
            if loader is not None and self.callbacks[split]:
                self._pass_over(loader, split, trainer, results)
        for split, plan in self.plans.items():
            self.execute_plan(plan, split, trainer)
            results.of_split(split).add_plan(plan)
        return results

    def execute_plan(self, plan: ValidationPlan, split: DataSplit, trainer: Trainer) -> None:
        """Compute the artifacts of a plan; overridden by a domain's routine, which knows what its plans compare."""
        raise UsageError(f"{type(self).__qualname__} does not know how to execute the validation plan of {split}.")

    def _get_validation_period(self) -> int:
        answer = self._hooks.first(ValidationHooks.get_validation_period, routine=self)
        if answer is None:
            return self.period
        wanted = "a number of epochs, 1 or more"
        period = answer.of_type(int, wanted)
        if period < 1:
            raise answer.refused(wanted)
        return period

    def _get_validation_plan(self, split: DataSplit) -> ValidationPlan | None:
        answer = self._hooks.first(ValidationHooks.get_validation_plan, routine=self, split=split)
        if answer is None:
            return None
        if not all(hasattr(answer.value, f"{kind}s") for kind in ArtifactKind):
            raise answer.refused("a validation plan, such as one of artifact-experiment")
        return answer.value

    def _get_train_loader_callbacks(self) -> Sequence[LoaderCallback]:
        answers = self._hooks.each(ValidationHooks.get_train_loader_callbacks, routine=self)
        return self._callbacks_of(DataSplit.TRAIN, answers)

    def _get_val_loader_callbacks(self) -> Sequence[LoaderCallback]:
        answers = self._hooks.each(ValidationHooks.get_val_loader_callbacks, routine=self)
        return self._callbacks_of(DataSplit.VALIDATION, answers)

    def _execute_validation(self, trainer: Trainer) -> ValidationResults:
        answer = self._hooks.first(ValidationHooks.execute_validation, routine=self, trainer=trainer)
        return self.evaluate(trainer) if answer is None else answer.of_type(ValidationResults, "ValidationResults")

    def _callbacks_of(
        self, split: DataSplit, answers: Iterable[Answer[Sequence[LoaderCallback]]]
    ) -> list[LoaderCallback]:
        callbacks = [callback for callback in self._own_callbacks if callback.split is split]
        for answer in answers:
            wanted = "a list of callbacks over a loader, such as ScoreCallback"
            found = answer.of_type(Sequence, wanted)
            if not all(isinstance(callback, LoaderCallback) for callback in found):
                raise answer.refused(wanted)
            callbacks.extend(found)
        return callbacks

    def _pass_over(self, loader: BatchLoader, split: DataSplit, trainer: Trainer, results: ValidationResults) -> None:
        callbacks = self.callbacks[split]
        for callback in callbacks:
            callback.reset()
        for batch in restricted(loader, limit=self.limit_batches).batches(0, device=trainer.device):
            output = trainer.model(batch)
            for callback in callbacks:
                callback.update(batch, output)
        artifacts = results.of_split(split)
        for callback in callbacks:
            artifacts.of_kind(callback.kind)[callback.name] = callback.compute()


@contextmanager
def evaluation(model: nn.Module) -> Generator[None]:
    """Evaluation mode without gradients; afterwards every module's mode and the random state are as before."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), preserved_random_state():
            yield
    finally:
        for module, training in modes:
            module.training = training


def _check_period(period: int) -> None:
    if period < 1:
        raise UsageError(f"The validation period must be at least 1 epoch, not {period}.")


def _check_names(callbacks: Sequence[LoaderCallback], split: DataSplit) -> None:
    seen: set[str] = set()
    for callback in callbacks:
        if callback.name in seen:
            raise UsageError(f"Two callbacks of the {split} split are named {callback.name!r}: rename one of them.")
        seen.add(callback.name)
