"""Stoppers: components that end training early, and how they are combined."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from artifact_torch.plugin.markers import hookimpl
from artifact_torch.plugin.registry import registry

if TYPE_CHECKING:
    from artifact_torch.core.trainer import Trainer

__all__ = ["EarlyStopper", "StepStopper", "with_members"]


class EarlyStopper(ABC):
    """Base of the components of kind ``stoppers``: asked after each epoch whether training should stop.

    A subclass writes ``check``::

        class LossBelow(EarlyStopper):
            def __init__(self, threshold: float) -> None:
                self.threshold = threshold

            def check(self, trainer: Trainer) -> str | None:
                loss = trainer.latest_score("train/loss")
                return f"the loss is below {self.threshold}" if loss is not None and loss < self.threshold else None

    What it decides by is best read from the trainer each time (``trainer.score_history``, ``trainer.state``,
    ``trainer.seconds``): then it has no state of its own, and a resumed training stops where it would have stopped.

    Stoppers are combined with ``|`` (one of them is enough), ``&`` (all must agree) and ``~`` (the opposite)::

        stop = Patience(score="validation/loss") & MaxEpochs(epochs=20)  # not before 20 epochs

    Whatever else a stopper does in hooks, it does in a combination too.
    """

    priority: int = 0
    """See ``Callback.priority``."""

    members: tuple[EarlyStopper, ...] = ()
    """The stoppers that it is a combination of."""

    decides: bool = True
    """Whether it is asked by itself; a member of a combination is asked by that."""

    @abstractmethod
    def check(self, trainer: Trainer) -> str | None:
        """The reason to stop now, in words that follow "training stopped because ...", or None to go on."""

    @hookimpl
    def should_stop(self, trainer: Trainer) -> str | None:
        return self.check(trainer) if self.decides else None

    def __or__(self, other: EarlyStopper) -> EarlyStopper:
        return _combined(AnyOf, StepAnyOf, self, other)

    def __and__(self, other: EarlyStopper) -> EarlyStopper:
        return _combined(AllOf, StepAllOf, self, other)

    def __invert__(self) -> EarlyStopper:
        return (StepOpposite if isinstance(self, StepStopper) else Opposite)(self)


class StepStopper(EarlyStopper):
    """A stopper that is asked after each optimizer step, since what it watches cannot wait until the epoch ends.

    Training that it ends is not over: it saves a checkpoint first, its status is ``stopped``, and it can go on.
    """

    @hookimpl
    def should_stop(self, trainer: Trainer) -> str | None:
        return None  # asked by the other hook between epochs too

    @hookimpl
    def should_stop_in_epoch(self, trainer: Trainer) -> str | None:
        return self.check(trainer) if self.decides else None


class _Combination(EarlyStopper):
    """Several stoppers as one."""

    word: str

    def __init__(self, *stoppers: EarlyStopper) -> None:
        self.members = stoppers
        self.__name__ = f" {self.word} ".join(name_of(stopper) for stopper in stoppers)


class AnyOf(_Combination):
    """Stops when one of several stoppers does."""

    word = "|"

    def check(self, trainer: Trainer) -> str | None:
        reasons = [(stopper, stopper.check(trainer)) for stopper in self.members]
        return "; ".join(f"{name_of(stopper)}: {reason}" for stopper, reason in reasons if reason) or None


class AllOf(_Combination):
    """Stops when all of several stoppers do."""

    word = "&"

    def check(self, trainer: Trainer) -> str | None:
        reasons: list[str] = []
        # Those that are asked after each step first: the others may have to wait for scores.
        for stopper in sorted(self.members, key=lambda each: not isinstance(each, StepStopper)):
            reason = stopper.check(trainer)
            if reason is None:
                return None
            reasons.append(f"{name_of(stopper)}: {reason}")
        return " and ".join(reasons)


class Opposite(_Combination):
    """Stops as long as a stopper does not."""

    def __init__(self, stopper: EarlyStopper) -> None:
        self.members = (stopper,)
        self.__name__ = f"~{name_of(stopper)}"

    def check(self, trainer: Trainer) -> str | None:
        stopper = self.members[0]
        return None if stopper.check(trainer) else f"{name_of(stopper)} has no reason to stop"


class StepAnyOf(AnyOf, StepStopper):
    """The same, asked after each step."""


class StepAllOf(AllOf, StepStopper):
    """The same, asked after each step."""


class StepOpposite(Opposite, StepStopper):
    """The same, asked after each step."""


def _combined(plain: type[_Combination], asked_each_step: type[_Combination], *stoppers: EarlyStopper) -> EarlyStopper:
    of_steps = any(isinstance(stopper, StepStopper) for stopper in stoppers)
    members: list[EarlyStopper] = []
    for stopper in stoppers:  # a | b | c is one combination of three
        members.extend(stopper.members if isinstance(stopper, plain) else [stopper])
    return (asked_each_step if of_steps else plain)(*members)


def with_members(stoppers: Iterable[object]) -> list[object]:
    """Stoppers, and after them the members of those that are combinations, which no longer decide by themselves."""
    found = list(stoppers)
    for stopper in found:  # grows meanwhile
        for member in stopper.members if isinstance(stopper, EarlyStopper) else ():
            if not any(member is each for each in found):
                member.decides = False
                found.append(member)
    return found


def name_of(stopper: EarlyStopper) -> str:
    """How a stopper is called in reasons."""
    name = str(getattr(stopper, "__name__", type(stopper).__name__))
    return f"({name})" if isinstance(stopper, _Combination) and len(stopper.members) > 1 else name


registry.require("stoppers", EarlyStopper)
