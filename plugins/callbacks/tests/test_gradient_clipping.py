"""Clipped gradients are those of a loop written by hand, and what is recorded of them is right."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from artifact_torch_callbacks import GradientClipping
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from artifact_torch import Callback, DivergedError, InMemoryDataLoader, Model, Trainer, UsageError, hookimpl
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters

MakeTrainer = Callable[..., Trainer]
Clip = Callable[[nn.Module, torch.optim.Optimizer], object]
EPOCHS, BATCHES = 2, 7
FEATURES = torch.randn(26, 4, generator=torch.Generator().manual_seed(5))


class Net(Model):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.body = nn.Sequential(nn.Conv1d(1, 3, 2), nn.Flatten(), nn.ReLU())
            self.head = nn.Linear(9, 4)
            self.scale = nn.Parameter(torch.tensor(1.0))
            self.unused = nn.Parameter(torch.ones(2))

    def forward(self, batch: Any) -> Any:
        output = self.scale * self.head(self.body(batch["features"].unsqueeze(1)))
        return {"output": output, "loss": (output - batch["features"]).square().sum(dim=1).mean()}


def loader() -> InMemoryDataLoader[Any]:
    batches: Any = {"features": FEATURES}
    return InMemoryDataLoader(batches, batch_size=4, shuffle=True, seed=3)


def sgd(model: Any) -> torch.optim.Optimizer:
    rest = [model.scale, model.unused]
    return torch.optim.SGD(
        [{"params": [*model.body.parameters(), *rest]}, {"params": model.head.parameters(), "lr": 0.05}],
        lr=0.1,
        momentum=0.9,
    )


def by_hand(clip: Clip, *, accumulate: int = 1) -> Net:
    """A training loop of bare torch."""
    model = Net()
    optimizer = sgd(model)
    for epoch in range(1, EPOCHS + 1):
        batches = list(loader().batches(epoch))
        for first in range(0, len(batches), accumulate):
            of_step = batches[first : first + accumulate]
            optimizer.zero_grad()
            for batch in of_step:
                (model(batch)["loss"] / accumulate).backward()
            if len(of_step) < accumulate:
                for parameter in model.parameters():
                    if parameter.grad is not None:
                        parameter.grad.mul_(accumulate / len(of_step))
            clip(model, optimizer)
            optimizer.step()
    return model


def trainer_of(make_trainer: MakeTrainer, *callbacks: Callback, **options: Any) -> Trainer:
    model = Net()
    options = {"epochs": EPOCHS, "log_every": 2, **options}
    return make_trainer(model, loader(), callbacks=callbacks, optimizer=sgd(model), **options)


def assert_same(ours: nn.Module, theirs: nn.Module) -> None:
    found, expected = ours.state_dict(), theirs.state_dict()
    assert [name for name, tensor in found.items() if not torch.equal(tensor, expected[name])] == []


def by_group(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        nn.utils.clip_grad_norm_(group["params"], 0.5)


def by_parameter(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for parameter in model.parameters():
        nn.utils.clip_grad_norm_([parameter], 0.5)


def adaptively(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Row by row, in plain words."""
    for path, parameter in model.named_parameters():
        if parameter.grad is None or path.startswith("head."):
            continue
        whole = parameter.ndim < 2
        rows = [slice(None)] if whole else range(len(parameter))
        for row in rows:
            place: Any = ... if whole else row
            weight = max(float(torch.linalg.vector_norm(parameter.detach()[place])), 1e-3)
            norm = float(torch.linalg.vector_norm(parameter.grad[place]))
            if norm > 0.05 * weight:
                parameter.grad[place] *= 0.05 * weight / norm


CASES: dict[str, tuple[dict[str, Any], Clip]] = {
    "norm": ({"limit": 0.5}, lambda model, _: nn.utils.clip_grad_norm_(model.parameters(), 0.5)),
    "highest norm": (
        {"limit": 0.5, "norm_type": math.inf},
        lambda model, _: nn.utils.clip_grad_norm_(model.parameters(), 0.5, math.inf),
    ),
    "norm of groups": ({"limit": 0.5, "scope": "group"}, by_group),
    "norm of parameters": ({"limit": 0.5, "scope": "parameter"}, by_parameter),
    "norm of a part": (
        {"limit": 0.5, "exclude": ["head.*"]},
        lambda model, _: nn.utils.clip_grad_norm_(
            [each for name, each in model.named_parameters() if not name.startswith("head.")], 0.5
        ),
    ),
    "value": (
        {"algorithm": "value", "limit": 0.2},
        lambda model, _: nn.utils.clip_grad_value_(model.parameters(), 0.2),
    ),
}


@pytest.mark.parametrize("accumulate", [1, 3])  # 7 batches: the last step of an epoch has one
@pytest.mark.parametrize(("options", "clip"), CASES.values(), ids=CASES)
def test_it_is_the_clipping_of_a_loop_written_by_hand_to_the_last_bit(
    make_trainer: MakeTrainer, options: dict[str, Any], clip: Clip, accumulate: int
) -> None:
    trainer = trainer_of(make_trainer, GradientClipping(**options), accumulate=accumulate)
    trainer.train()
    assert_same(trainer.model, by_hand(clip, accumulate=accumulate))
    free = trainer_of(make_trainer, accumulate=accumulate)
    free.train()
    assert not torch.equal(trainer.model.body[0].weight, free.model.body[0].weight)


def test_the_global_norm_and_the_value_are_those_of_the_trainer_s_own_settings(make_trainer: MakeTrainer) -> None:
    for settings_of_trainer, options in (
        ({"clip_gradient_norm": 0.5}, {"limit": 0.5}),
        ({"clip_gradient_value": 0.2}, {"algorithm": "value", "limit": 0.2}),
    ):
        trainer = trainer_of(make_trainer, GradientClipping(**options))  # type: ignore[arg-type]
        other = trainer_of(make_trainer, **settings_of_trainer)
        trainer.train()
        other.train()
        assert_same(trainer.model, other.model)


def test_adaptive_clipping_is_that_of_the_paper_row_by_row(make_trainer: MakeTrainer) -> None:
    clipping = GradientClipping(algorithm="adaptive", limit=0.05, exclude=["head.*"])
    trainer = trainer_of(make_trainer, clipping)
    trainer.train()
    for ours, theirs in zip(trainer.model.parameters(), by_hand(adaptively).parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert trainer.epoch_scores["train/clipping/share"].tolist() == [1.0, 1.0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-100, 100, width=32), min_size=6, max_size=6), st.floats(0.001, 10))
def test_no_row_is_above_its_limit_afterwards_and_what_was_below_is_untouched(
    numbers: list[float], limit: float
) -> None:
    parameter = nn.Parameter(torch.tensor([[1.0, 2.0], [0.0, 0.0], [-3.0, 0.5]]))
    parameter.grad = torch.tensor(numbers).reshape(3, 2)
    before = parameter.grad.clone()
    clipping = GradientClipping(algorithm="adaptive", limit=limit)
    clipping._scopes = [[parameter]]
    clipping.on_before_optimizer_step()
    highest = limit * torch.linalg.vector_norm(parameter.detach(), dim=1).clamp(min=1e-3)
    assert bool((torch.linalg.vector_norm(parameter.grad, dim=1) <= highest * (1 + 1e-5)).all())
    untouched = torch.linalg.vector_norm(before, dim=1) <= highest * (1 - 1e-5)
    assert torch.equal(parameter.grad[untouched], before[untouched])


class Norms(Callback):
    """The norms before clipping, by step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    @hookimpl(tryfirst=True)
    def on_before_optimizer_step(self, trainer: Trainer) -> None:
        gradients = [each.grad for each in trainer.model.parameters() if each.grad is not None]
        self.seen.append(float(nn.utils.get_total_norm(gradients)))


def test_the_norm_before_clipping_and_the_share_of_clipped_steps_are_recorded(make_trainer: MakeTrainer) -> None:
    norms = Norms()
    trainer = trainer_of(make_trainer, GradientClipping(limit=3.0), norms)
    trainer.train()
    logged = trainer.batch_metrics["clipping/norm"]
    assert logged.to_dict() == {step: norms.seen[step - 1] for step in range(2, EPOCHS * BATCHES + 1, 2)}
    shares = [sum(norm > 3.0 for norm in norms.seen[first : first + BATCHES]) / BATCHES for first in (0, BATCHES)]
    assert trainer.epoch_scores["train/clipping/share"].tolist() == shares
    assert 0 < shares[0] < 1


@pytest.mark.parametrize(
    ("options", "column", "measure"),
    [
        ({"algorithm": "value"}, "clipping/largest", lambda gradients: max(each.abs().max() for each in gradients)),
        ({"scope": "parameter"}, "clipping/norm", lambda gradients: max(each.norm() for each in gradients)),
        (
            {"norm_type": 1.0, "name": "mine"},
            "mine/norm",
            lambda gradients: sum(each.abs().sum() for each in gradients),
        ),
    ],
)
def test_what_is_recorded_is_what_is_compared_with_the_limit(
    make_trainer: MakeTrainer, options: dict[str, Any], column: str, measure: Callable[[list[Tensor]], Tensor]
) -> None:
    seen: list[float] = []

    class Measure(Callback):
        @hookimpl(tryfirst=True)
        def on_before_optimizer_step(self, trainer: Trainer) -> None:
            gradients = [each.grad for each in trainer.model.parameters() if each.grad is not None]
            seen.append(float(measure(gradients)))

    trainer = trainer_of(make_trainer, GradientClipping(**options), Measure(), log_every=1)
    trainer.train()
    assert trainer.batch_metrics[column].tolist() == pytest.approx(seen, rel=1e-5)


class Spoil(Callback):
    changes_training = True

    def __init__(self, value: float) -> None:
        self.value = value

    @hookimpl(tryfirst=True)
    def on_before_optimizer_step(self, trainer: Trainer) -> None:
        if trainer.state.step == 4:
            trainer.model.head.weight.grad[0, 0] = self.value


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("options", [{}, {"scope": "group"}, {"scope": "parameter"}, {"algorithm": "adaptive"}])
def test_a_gradient_that_is_not_finite_is_not_hidden(
    make_trainer: MakeTrainer, options: dict[str, Any], value: float
) -> None:
    trainer = trainer_of(make_trainer, Spoil(value), GradientClipping(**options))
    with pytest.raises(DivergedError, match="step 5"):
        trainer.train()
    skipping = trainer_of(make_trainer, Spoil(value), GradientClipping(**options), on_nonfinite="skip")
    assert skipping.train().steps == EPOCHS * BATCHES
    assert all(bool(parameter.isfinite().all()) for parameter in skipping.model.parameters())


def test_a_training_that_is_resumed_within_an_epoch_records_the_same(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    class Save(Callback):
        @hookimpl
        def execute_batch_postprocessing(self, trainer: Trainer) -> None:
            if trainer.state.step == 4 and not list(tmp_path.glob("saved/*")):
                trainer.save_checkpoint(tmp_path / "saved")

    whole = trainer_of(make_trainer, GradientClipping(limit=3.0), Save())
    whole.train()
    resumed = trainer_of(make_trainer, GradientClipping(limit=3.0))
    resumed.load_checkpoint(tmp_path / "saved")
    resumed.train()
    assert resumed.epoch_scores.equals(whole.epoch_scores)
    assert resumed.batch_metrics.equals(whole.batch_metrics)
    assert_same(resumed.model, whole.model)


def test_by_default_it_works_in_a_rehearsal(make_trainer: MakeTrainer) -> None:
    assert components.get("callbacks", "gradient_clipping") is GradientClipping
    trainer = make_trainer(callbacks=["gradient_clipping"], fast_dev_run=True)
    trainer.train()
    assert trainer.epoch_scores["train/clipping/share"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("exclude", "message"),
    [
        (["haed.*"], r"leave out 'haed\.\*', and no parameter .* called so: it has scale, unused, body\.0\.weight"),
        (["*"], r"leaves out every parameter \(\*\)"),
    ],
)
def test_patterns_that_match_nothing_or_everything_are_refused(
    make_trainer: MakeTrainer, exclude: list[str], message: str
) -> None:
    trainer = trainer_of(make_trainer, GradientClipping(exclude=exclude))
    with pytest.raises(UsageError, match=message):
        trainer.train()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "soft"}, "one of 'norm', 'value', 'adaptive', not 'soft'"),
        ({"limit": 0.0}, "above 0 and finite, not 0.0"),
        ({"limit": math.inf}, "above 0 and finite, not inf"),
        ({"limit": math.nan}, "above 0 and finite, not nan"),
        ({"scope": "layer"}, "'global', 'group' or 'parameter', not 'layer'"),
        ({"norm_type": 0.0}, "above 0, not 0.0"),
        ({"algorithm": "value", "scope": "group"}, "are for clipping by 'norm', not for 'value'"),
        ({"algorithm": "adaptive", "norm_type": 1.0}, "are for clipping by 'norm', not for 'adaptive'"),
        ({"name": ""}, "needs a name"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GradientClipping(**options)


def test_parameters_are_taken_from_a_configuration() -> None:
    parameters = {"algorithm": "adaptive", "limit": 0.01, "exclude": ["head.*"]}
    validated = validated_parameters(GradientClipping, parameters, source="test", section="callbacks.gradient_clipping")
    assert GradientClipping(**validated).exclude == ["head.*"]
