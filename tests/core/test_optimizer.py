"""The default optimizer."""

from __future__ import annotations

import pytest
import torch

from artifact_torch import UsageError, adam
from artifact_torch.testing import TinyModel


def test_it_is_adam_over_the_parameters_that_require_gradients(make_trainer):
    model = TinyModel()
    model.layers[1].bias.requires_grad_(False)
    trainer = make_trainer(model)
    assert type(trainer.optimizer) is torch.optim.Adam
    (group,) = trainer.optimizer.param_groups
    assert group["lr"] == 1e-3
    assert [id(each) for each in group["params"]] == [id(model.layers[1].weight)]
    trainer.train()
    assert model.layers[1].weight.any()
    assert not model.layers[1].bias.any()


def test_the_learning_rate_can_be_given():
    assert adam(TinyModel(), learning_rate=0.5).param_groups[0]["lr"] == 0.5


def test_complex_parameters_are_trained_in_the_plain_form():
    model = TinyModel()
    model.phase = torch.nn.Parameter(torch.ones(2, dtype=torch.complex64))
    optimizer = adam(model)
    sum(parameter.abs().sum() for parameter in model.parameters()).backward()
    optimizer.step()
    assert not torch.equal(model.phase, torch.ones(2, dtype=torch.complex64))


def test_a_model_without_trainable_parameters_is_refused(make_trainer):
    model = TinyModel().requires_grad_(False)
    with pytest.raises(UsageError, match="No parameter of TinyModel requires gradients"):
        make_trainer(model)
