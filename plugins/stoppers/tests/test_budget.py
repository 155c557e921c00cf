from __future__ import annotations

from collections.abc import Callable

import pytest
from artifact_torch_stoppers import Budget

from artifact_torch import Trainer, UsageError

MakeTrainer = Callable[..., Trainer]


def resumed_after(make_trainer: MakeTrainer, hours: float, *stoppers: Budget) -> Trainer:
    """A training of two epochs that goes on after the first, as if that had taken so long."""
    first = make_trainer(epochs=1)
    first.train()
    first.state.seconds = 3600 * hours
    second = make_trainer(epochs=2, stoppers=stoppers)
    second.load_checkpoint(first.save_checkpoint())
    return second


def test_hours_are_counted_over_all_processes(make_trainer: MakeTrainer) -> None:
    trainer = resumed_after(make_trainer, 12, Budget(amount=12))
    assert trainer.train().reason == "Budget: 12 of 12 hours are spent (epoch 1, step 4)"
    assert resumed_after(make_trainer, 12, Budget(amount=13)).train().reason == "all 2 epochs are done"


def test_money_is_hours_at_a_price(make_trainer: MakeTrainer) -> None:
    trainer = resumed_after(make_trainer, 40, Budget(amount=100, price_per_hour=2.5, currency="EUR"))
    assert trainer.train().reason == (
        "Budget: 100 of 100 EUR are spent, for 40 hours at 2.5 EUR each (epoch 1, step 4)"
    )
    trainer = resumed_after(make_trainer, 40, Budget(amount=101, price_per_hour=2.5))
    assert trainer.train().reason == "all 2 epochs are done"
    trainer = resumed_after(make_trainer, 40, Budget(amount=99, price_per_hour=2.5))
    assert trainer.train().reason == "Budget: 100 of 99 are spent, for 40 hours at 2.5 each (epoch 1, step 4)"


def test_a_budget_that_is_spent_ends_training_within_an_epoch(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(stoppers=[Budget(amount=1.0, price_per_hour=1e12)])
    assert trainer.train().steps == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"amount": 0}, "The amount of Budget must be above 0, not 0"),
        ({"amount": float("nan")}, "The amount of Budget must be a finite number, not nan"),
        ({"amount": 10, "price_per_hour": -1}, "The price_per_hour of Budget must be above 0, not -1"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Budget(**options)  # type: ignore[arg-type]
