"""What counts as a loss, and the mean of an epoch."""

from __future__ import annotations

import math

import pytest
import torch

from artifact_torch import MissingLossError
from artifact_torch.core.loss import EpochLoss
from artifact_torch.testing import TinyModel


class Altered(TinyModel):
    """Returns an output made from the true loss."""

    def __init__(self, alter):
        super().__init__()
        self.alter = alter

    def forward(self, batch):
        return self.alter(super().forward(batch)["loss"])


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda _: {}, r"Altered.forward returned no 'loss' in training \(it returned nothing\)"),
        (lambda loss: {"output": loss}, r"returned no 'loss' in training \(it returned output\)"),
        (lambda _: {"loss": None}, "returned no 'loss'"),
        (lambda loss: {"loss": loss.reshape(1)}, r"returned a tensor of shape \(1,\) as 'loss'"),
        (lambda loss: {"loss": loss.expand(2, 3)}, r"returned a tensor of shape \(2, 3\) as 'loss'"),
        (lambda loss: {"loss": loss.item()}, "returned float as 'loss'"),
        (lambda loss: {"loss": loss.detach()}, "depends on no trainable parameter"),
        (lambda _: {"loss": torch.tensor(1.0)}, "depends on no trainable parameter"),
    ],
)
def test_an_output_without_a_scalar_loss_is_refused_before_the_step(make_trainer, alter, message):
    model = Altered(alter)
    trainer = make_trainer(model)
    with pytest.raises(MissingLossError, match=message):
        trainer.train()
    assert trainer.state.step == 0
    assert not any(parameter.any() for parameter in model.parameters())
    assert not trainer.optimizer.state


def test_the_mean_is_over_the_batches():
    loss = EpochLoss()
    assert math.isnan(loss.mean())
    for value in (1.0, 2.0, 6.0):
        loss.add(torch.tensor(value))
    assert loss.mean() == 3.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_counted_and_left_out_of_the_mean(value):
    loss = EpochLoss()
    assert loss.add(torch.tensor(2.0)) == 2.0
    assert not math.isfinite(loss.add(torch.tensor(value)))
    assert loss.mean() == 2.0
    assert loss.non_finite == 1


def test_the_mean_goes_on_from_its_state():
    first, second = EpochLoss(), EpochLoss()
    first.add(torch.tensor(0.1))
    second.load_state_dict(first.state_dict())
    for each in (first, second):
        each.add(torch.tensor(0.7))
    assert second.mean() == first.mean()
