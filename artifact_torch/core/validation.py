"""Validation routines: when to validate, on what, and how."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, cast

import torch
from torch import nn

from artifact_torch.core.artifact_work import WorkMode
from artifact_torch.core.artifacts import Artifact
from artifact_torch.core.callback import LoaderCallback
from artifact_torch.core.data import BatchLoader
from artifact_torch.core.limits import restricted
from artifact_torch.core.plan import ValidationPlan
from artifact_torch.core.random_state import preserved_random_state
from artifact_torch.core.results import ValidationResults
from artifact_torch.core.split import DataSplit
from artifact_torch.errors import UsageError
from artifact_torch.plugin.period import Period
from artifact_torch.plugin.specs import ValidationHooks

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer
    from artifact_torch.core.validating import Submit
    from artifact_torch.plugin.hooks import Answer, Hooks

__all__ = ["ValidationRoutine", "ValidationRoutineOptions", "evaluation"]

Part: TypeAlias = "ValidationPlan | LoaderCallback[Any] | ValidationRoutine"
"""What is due at a time of its own: a plan, a callback, or the whole routine."""

_SPLITS = (DataSplit.TRAIN, DataSplit.VALIDATION)


class ValidationRoutineOptions(TypedDict, total=False):
    """What every routine takes; see ``ValidationRoutine``. A domain's routine passes these on."""

    period: int | str | Period
    train_loader: BatchLoader | None
    val_loader: BatchLoader | None
    callbacks: Iterable[LoaderCallback]
    plans: Iterable[ValidationPlan]
    mode: WorkMode
    workers: int
    artifact_seconds: float
    rounds_in_flight: int


class ValidationRoutine:
    """What a trainer computes about its model, and when.

    It passes over loaders with callbacks, once for all that are due, and executes validation plans, whose artifacts may
    be computed in other processes while training goes on. A subclass adds what its domain calls for, by overriding the
    five underscored methods or ``evaluate``.

    Args:
        period: how often: a number of epochs, or a text such as ``"200 steps"``. At the end of training everything is
            validated in any case, also if a stopper ends it.
        train_loader: what callbacks of the training split pass over; the trainer's loader if None.
        val_loader: what callbacks of the validation split pass over.
        callbacks: computations over the loaders; each may have a period of its own.
        plans: validation plans; each may have a period of its own.
        mode: where the artifacts of plans are computed: ``"background"`` in other processes, ``"inline"`` in this one,
            before training goes on; ``"auto"`` is what the environment variable ``ARTIFACT_TORCH_VALIDATION`` says, or
            else ``"background"`` where there is more than one core. Scores are the same in all of them, and so is
            everything that depends on scores.
        workers: how many processes there are in the background; for what is left at the end, free cores get more.
        artifact_seconds: how long one artifact may take in the background.
        rounds_in_flight: of each plan, how many rounds may be unfinished before training waits.

    Raises:
        UsageError: an argument is out of range.
    """

    def __init__(
        self,
        *,
        period: int | str | Period = 1,
        train_loader: BatchLoader | None = None,
        val_loader: BatchLoader | None = None,
        callbacks: Iterable[LoaderCallback] = (),
        plans: Iterable[ValidationPlan] = (),
        mode: WorkMode = "auto",
        workers: int = 1,
        artifact_seconds: float = 600.0,
        rounds_in_flight: int = 2,
    ) -> None:
        if mode not in ("auto", "background", "inline"):
            raise UsageError(f"The mode of validation is 'auto', 'background' or 'inline', not {mode!r}.")
        if workers < 1 or rounds_in_flight < 1 or not artifact_seconds > 0:
            raise UsageError("workers, rounds_in_flight and artifact_seconds of a validation must be above 0.")
        self.period = Period.of_training(period)
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.mode: WorkMode = mode
        self.workers = workers
        self.artifact_seconds = artifact_seconds
        self.rounds_in_flight = rounds_in_flight
        self.limit_batches: int | float | None = None
        self._own_callbacks = tuple(callbacks)
        self._own_plans = tuple(plans)
        self.plans: tuple[ValidationPlan, ...] = ()
        self.callbacks: dict[DataSplit, tuple[LoaderCallback, ...]] = {}

    def attach(self, hooks: Hooks) -> None:
        """Ask the subclass and the plugins once for the period, the plans and the callbacks; a trainer does it.

        Raises:
            UsageError: two callbacks or artifacts share a name, or a callback's loader is missing.
        """
        self._hooks = hooks
        self.period = Period.of_training(self._get_validation_period())
        self.callbacks = {
            DataSplit.TRAIN: tuple(self._get_train_loader_callbacks()),
            DataSplit.VALIDATION: tuple(self._get_val_loader_callbacks()),
        }
        if self.callbacks[DataSplit.VALIDATION] and self.val_loader is None:
            name = self.callbacks[DataSplit.VALIDATION][0].name
            raise UsageError(f"The callback {name!r} passes over the validation loader: give the routine a val_loader.")
        plans: list[ValidationPlan] = []
        for split in _SPLITS:
            plans.extend(_listed(self._get_validation_plan(split)))
        self.plans = tuple(plans)
        _check_names(self.callbacks, self.plans)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Everything that has a period of its own: the callbacks, then the plans.

        Only the routine itself if a subclass or a plugin has a way of its own to validate: all is due when it is.
        """
        if (
            type(self)._execute_validation is not ValidationRoutine._execute_validation
            or type(self).evaluate is not ValidationRoutine.evaluate
            or any(each.position != "wrapper" for each in self._hooks.implementations("execute_validation"))
        ):
            return (self,)
        return (*(callback for split in _SPLITS for callback in self.callbacks[split]), *self.plans)

    @property
    def step_periods(self) -> frozenset[int]:
        """The periods that are counted in steps; a trainer asks what is due after no other step inside an epoch."""
        periods = (part.period or self.period for part in self.parts)
        return frozenset(period.number for period in periods if period.unit == "steps")

    def due(self, epoch: int, step: int, *, epoch_ends: bool) -> tuple[Part, ...]:
        """What is to be validated after ``step``; see ``Period.is_due``."""
        return tuple(
            part for part in self.parts if (part.period or self.period).is_due(epoch, step, epoch_ends=epoch_ends)
        )

    def validate(self, trainer: Trainer, parts: Sequence[Part], submit: Submit) -> ValidationResults:
        """Validate in evaluation mode, without gradients, and without any trace in the random state.

        Args:
            trainer: has the model.
            parts: what is due.
            submit: takes a plan and what was gathered for it.

        Returns:
            The results that are there already; those of plans come when they are computed.
        """
        self._parts, self._submit = parts, submit
        with trainer.evaluating(), evaluation(trainer.model):
            self._hooks.notify(ValidationHooks.on_validation_start, trainer=trainer)
            return self._execute_validation(trainer)

    def evaluate(self, trainer: Trainer) -> ValidationResults:
        """The routine's own logic: the callbacks that are due over their loaders, then the plans that are due."""
        results = ValidationResults(epoch=trainer.state.epoch, step=trainer.state.step)
        loaders = {DataSplit.TRAIN: self.train_loader or trainer.train_loader, DataSplit.VALIDATION: self.val_loader}
        for split, loader in loaders.items():
            callbacks = [callback for callback in self.callbacks[split] if self._is_wanted(callback)]
            if loader is not None and callbacks:
                self._pass_over(loader, callbacks, trainer)
                for callback in callbacks:
                    results.of_split(split).add(Artifact(callback.kind, callback.name), callback.compute())
        for plan in self.plans:
            if self._is_wanted(plan):
                self._submit(plan, plan.gather(trainer))
        return results

    def _is_wanted(self, part: Part) -> bool:
        return self in self._parts or part in self._parts

    def _get_validation_period(self) -> int | str | Period:
        answer = self._hooks.first(ValidationHooks.get_validation_period, routine=self)
        if answer is None:
            return self.period
        try:
            return Period.of_training(answer.value)
        except UsageError as error:
            raise answer.refused("a number of epochs, 1 or more, or a text such as '200 steps'") from error

    def _get_validation_plan(self, split: DataSplit) -> ValidationPlan | Sequence[ValidationPlan] | None:
        own = [plan for plan in self._own_plans if plan.split is split]
        answer = self._hooks.first(ValidationHooks.get_validation_plan, routine=self, split=split)
        if answer is None:
            default = self._default_plan(split)
            return own if default is None else [default, *own]
        plans = _listed(answer.value)
        if not all(isinstance(plan, ValidationPlan) and plan.split is split for plan in cast("list[object]", plans)):
            raise answer.refused(f"a ValidationPlan of the split {split}, or a list of them")
        return [*own, *plans]

    def _default_plan(self, split: DataSplit) -> ValidationPlan | None:
        """What a domain executes on a split, unless a plugin gives plans for it."""
        return None

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

    def _pass_over(self, loader: BatchLoader, callbacks: Sequence[LoaderCallback], trainer: Trainer) -> None:
        for callback in callbacks:
            callback.reset()
        for batch in restricted(loader, limit=self.limit_batches).batches(0, device=trainer.device):
            output = trainer.model(batch)
            for callback in callbacks:
                callback.update(batch, output)


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


def _listed(plans: ValidationPlan | Sequence[ValidationPlan] | None) -> list[ValidationPlan]:
    if plans is None:
        return []
    return list(plans) if isinstance(plans, Sequence) else [plans]


def _check_names(callbacks: dict[DataSplit, tuple[LoaderCallback, ...]], plans: Sequence[ValidationPlan]) -> None:
    for split in _SPLITS:
        seen: dict[str, str] = {}
        for callback in callbacks[split]:
            if callback.name in seen:
                raise UsageError(f"Two callbacks of the {split} split are named {callback.name!r}: rename one of them.")
            seen[callback.name] = f"The callback {callback.name!r}"
        known = {Artifact(callback.kind, callback.name): seen[callback.name] for callback in callbacks[split]}
        names: set[str] = set()
        for plan in plans:
            if plan.split is not split:
                continue
            if plan.name in names:
                raise UsageError(f"Two validation plans of the {split} split are named {plan.name!r}: rename one.")
            names.add(plan.name)
            for artifact in plan.artifacts:
                if artifact in known:
                    raise UsageError(
                        f"{known[artifact]} and the validation plan {plan.name!r} both compute the {artifact} of the "
                        f"{split} split: leave one of them out."
                    )
                known[artifact] = f"The validation plan {plan.name!r}"
