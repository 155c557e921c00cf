"""A bound on what a run costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifact_torch import StepStopper, UsageError
from artifact_torch_stoppers.wording import check_number, place_of

if TYPE_CHECKING:
    from artifact_torch import Trainer

__all__ = ["Budget"]


class Budget(StepStopper):
    """Stops when a run has spent its budget of hours or of money, in the middle of an epoch if need be.

    Counted is the wall time in training, validation included, over all processes that worked on the run, at the price
    of an hour of the whole machine. It is looked at after each optimizer step, which costs microseconds; what comes
    after, such as the last validation, is not in the budget. Hours and money are bounded at once by
    ``Budget(amount=48) | Budget(amount=100, price_per_hour=2.5)``.

    Args:
        amount: what may be spent: hours, or with a ``price_per_hour`` what they cost.
        price_per_hour: the price of an hour, in units of ``amount``; by default hours are counted.
        currency: the unit of ``amount`` if there is a price, for the reason, such as ``"EUR"``.

    Raises:
        UsageError: the amount or the price is not positive.

    Example::

        stopper = Budget(amount=100.0, price_per_hour=2.5, currency="EUR")
        trainer = Trainer(model, train_loader, epochs=2, stoppers=[stopper])
        result = trainer.train()
        print(result.reason)  # all 2 epochs are done
    """

    def __init__(self, *, amount: float, price_per_hour: float | None = None, currency: str = "") -> None:
        for name, given in (("amount", amount), ("price_per_hour", price_per_hour)):
            check_number("Budget", name, given)
            if given is not None and given <= 0:
                raise UsageError(f"The {name} of Budget must be above 0, not {given}.")
        self.amount = amount
        self.price_per_hour = price_per_hour
        self.currency = currency

    def check(self, trainer: Trainer) -> str | None:
        hours = trainer.seconds / 3600
        spent = hours if self.price_per_hour is None else hours * self.price_per_hour
        if spent < self.amount:
            return None
        if self.price_per_hour is None:
            return f"{spent:.4g} of {self.amount:g} hours are spent {place_of(trainer)}"
        unit = f" {self.currency}" if self.currency else ""
        return (
            f"{spent:.4g} of {self.amount:g}{unit} are spent, for {hours:.4g} hours at {self.price_per_hour:g}{unit} "
            f"each {place_of(trainer)}"
        )
