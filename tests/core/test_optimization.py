"""Steps: accumulated, clipped, in mixed precision, scheduled."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau, StepLR

from artifact_torch import Callback, DataLoader, DivergedError, IterableDataset, Trainer, UsageError, hookimpl
from artifact_torch.core.optimization import with_step_ends
from artifact_torch.testing import TinyModel, tiny_loader


class Gradients(Callback):
    """Keeps the gradients of each step, and the learning rate."""

    def __init__(self):
        self.all = []
        self.rates = []

    @hookimpl
    def on_before_optimizer_step(self, trainer):
        self.all.append([parameter.grad.clone() for parameter in trainer.model.parameters()])
        self.rates.append(trainer.optimizer.param_groups[0]["lr"])


def sgd(model, rate=0.1):
    return torch.optim.SGD(model.parameters(), lr=rate)


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@given(st.integers(0, 20), st.integers(1, 7), st.data())
def test_the_optimizer_steps_after_every_nth_batch_and_after_the_last(batches, accumulate, data):
    done = data.draw(st.integers(0, batches))
    ends = [end for _, end in with_step_ends(range(batches), accumulate)]
    assert ends == [(n + 1) % accumulate == 0 or n + 1 == batches for n in range(batches)]
    assert list(with_step_ends(range(done, batches), accumulate, done)) == list(
        zip(range(done, batches), ends[done:], strict=True)
    )


def test_accumulated_batches_are_one_big_batch(make_trainer):
    small, big = TinyModel(dropout=0.0), TinyModel(dropout=0.0)
    make_trainer(small, tiny_loader(64, batch_size=8), optimizer=sgd(small), accumulate=4).train()
    make_trainer(big, tiny_loader(64, batch_size=32), optimizer=sgd(big)).train()
    assert torch.allclose(weights(small), weights(big), atol=1e-6)


def test_the_last_step_of_an_epoch_is_a_mean_over_the_batches_it_has(make_trainer):
    model, gradients = TinyModel(dropout=0.0), Gradients()
    loader = tiny_loader(40, batch_size=8, shuffle=False)  # five batches: two steps, of four and of one
    trainer = make_trainer(model, loader, optimizer=sgd(model, 1e-9), accumulate=4, callbacks=[gradients], epochs=1)
    trainer.train()
    assert trainer.state.step == 2
    last = list(loader.batches(1))[-1]
    model.zero_grad()
    model.train()(last)["loss"].backward()
    assert torch.allclose(gradients.all[-1][0], model.layers[1].weight.grad, rtol=1e-4)


def test_the_number_of_batches_need_not_be_known(make_trainer):
    class Stream(IterableDataset):
        def __iter__(self):
            for sample in range(40):
                yield {"features": torch.full((3,), float(sample)), "target": torch.ones(1)}

    trainer = make_trainer(loader=DataLoader(Stream(), batch_size=8), accumulate=3, epochs=2)
    trainer.train()
    assert trainer.state.step == 4


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradients_are_clipped_as_torch_clips_them(make_trainer, precision):
    def steps(**options):
        model = TinyModel(dropout=0.0)
        make_trainer(model, optimizer=sgd(model, 1.0), epochs=1, precision=precision, **options).train()
        return weights(model)

    def by_hand(clip):
        model = TinyModel(dropout=0.0)
        optimizer = sgd(model, 1.0)
        for batch in tiny_loader().batches(1):
            optimizer.zero_grad()
            model(batch)["loss"].backward()
            clip(model.parameters())
            optimizer.step()
        return weights(model)

    tolerance = 1e-6 if precision == "fp32" else 5e-3
    expected = by_hand(lambda parameters: nn.utils.clip_grad_norm_(parameters, 0.1))
    assert torch.allclose(steps(clip_gradient_norm=0.1), expected, atol=tolerance)
    expected = by_hand(lambda parameters: nn.utils.clip_grad_value_(parameters, 0.05))
    assert torch.allclose(steps(clip_gradient_value=0.05), expected, atol=tolerance)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_in_mixed_precision_parameters_stay_whole_and_the_model_is_learnt(make_trainer, precision):
    class Watching(TinyModel):
        seen = None

        def forward(self, batch):
            type(self).seen = self.layers(batch["features"]).dtype
            return super().forward(batch)

    model = Watching(dropout=0.0)
    trainer = make_trainer(model, optimizer=torch.optim.Adam(model.parameters(), 0.05), epochs=20, precision=precision)
    trainer.train()
    assert Watching.seen == {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert torch.allclose(model.layers[1].weight, torch.ones(1, 3), atol=0.1)


def test_in_fp16_a_step_that_overflows_is_left_out_and_the_scale_falls(make_trainer):
    class Large(TinyModel):
        def forward(self, batch):
            output = super().forward(batch)
            output["loss"] = output["loss"] * 1e34  # finite, and its scaled gradients are not
            return output

    trainer = make_trainer(Large(), precision="fp16")
    before = trainer.optimization.state_dict()["scaler"]["scale"]
    trainer.train()
    assert trainer.optimization.state_dict()["scaler"]["scale"] < before


def test_in_fp16_gradients_that_always_overflow_end_training(make_trainer):
    class Endless(TinyModel):
        def forward(self, batch):
            output = super().forward(batch)
            output["loss"].register_hook(lambda gradient: gradient * float("inf"))
            return output

    with pytest.raises(DivergedError, match="Every gradient overflows in fp16, whatever its scale in epoch"):
        make_trainer(Endless(), precision="fp16", epochs=20).train()


def test_a_schedule_is_made_for_the_steps_of_the_whole_training(make_trainer):
    made = []

    def schedule(optimizer, steps):
        made.append(steps)
        return OneCycleLR(optimizer, 0.1, steps)

    gradients = Gradients()
    make_trainer(
        TinyModel(),
        tiny_loader(40, batch_size=8),
        scheduler=schedule,
        scheduler_interval="step",
        accumulate=2,
        epochs=3,
        callbacks=[gradients],
    ).train()
    assert made == [9]
    assert len(set(gradients.rates)) == 9


def test_past_its_end_a_schedule_keeps_its_last_rate(make_trainer):
    gradients = Gradients()
    trainer = make_trainer(
        scheduler=lambda optimizer, steps: OneCycleLR(optimizer, 0.1, steps),
        scheduler_interval="step",
        callbacks=[gradients],
    )
    trainer.train()
    trainer.train(epochs=4)
    assert len(gradients.rates) == 16
    assert len(set(gradients.rates[7:])) == 1


def test_what_is_logged_of_a_step_sees_the_learning_rate_that_it_was_made_with(make_trainer):
    class Rate(Callback):
        @hookimpl
        def log_batch_metrics(self, trainer):
            return {"rate": trainer.optimizer.param_groups[0]["lr"]}

    def halving(optimizer, num_steps):
        return LambdaLR(optimizer, lambda step: 0.5**step)

    trainer = make_trainer(scheduler=halving, scheduler_interval="step", callbacks=[Rate()], log_every=1, epochs=1)
    trainer.train()
    assert trainer.batch_metrics["rate"].tolist() == [0.001 * 0.5**step for step in range(4)]


def test_a_schedule_counts_a_step_whose_logging_fails(make_trainer):
    class Failing(Callback):
        @hookimpl
        def log_batch_metrics(self, trainer):
            if trainer.state.step == 3:
                raise ValueError("no number")

    def stairs(optimizer, num_steps):
        return StepLR(optimizer, step_size=5)

    trainer = make_trainer(scheduler=stairs, scheduler_interval="step", callbacks=[Failing()], log_every=1)
    with pytest.raises(ValueError, match="no number"):
        trainer.train()
    assert trainer.scheduler.last_epoch == trainer.state.step == 3


@pytest.mark.filterwarnings("error:Detected call of")
def test_a_schedule_may_move_before_the_first_step_after_a_resume(make_trainer, tmp_path):
    class SavingAfterTheLastBatch(Callback):
        @hookimpl
        def execute_batch_postprocessing(self, trainer):
            if trainer.state.step == 4:
                trainer.save_checkpoint(tmp_path / "checkpoints")

    def build(**options):
        return make_trainer(scheduler=lambda optimizer, _: StepLR(optimizer, 1, 0.5), epochs=1, **options)

    build(callbacks=[SavingAfterTheLastBatch()]).train()
    resumed = build()
    resumed.load_checkpoint(tmp_path / "checkpoints")
    resumed.train()
    assert resumed.optimizer.param_groups[0]["lr"] == pytest.approx(5e-4)


def test_a_schedule_by_epoch_moves_once_an_epoch(make_trainer):
    gradients = Gradients()
    make_trainer(scheduler=lambda optimizer, _: StepLR(optimizer, 1, 0.5), callbacks=[gradients], epochs=3).train()
    assert gradients.rates == pytest.approx([1e-3] * 4 + [5e-4] * 4 + [2.5e-4] * 4)


def test_a_schedule_on_a_metric_falls_when_it_does_not(make_trainer):
    class Score(Callback):
        @hookimpl
        def log_epoch_metrics(self, trainer):
            return {"score": {1: 1.0, 2: 0.5}.get(trainer.state.epoch, 0.7)}

    gradients = Gradients()
    make_trainer(
        scheduler=lambda optimizer, _: ReduceLROnPlateau(optimizer, factor=0.1, patience=0),
        scheduler_metric="train/score",
        callbacks=[gradients, Score()],
        epochs=5,
    ).train()
    assert gradients.rates[::4] == pytest.approx([1e-3, 1e-3, 1e-3, 1e-4, 1e-5])


def test_a_metric_that_there_is_not_is_told(make_trainer):
    trainer = make_trainer(
        scheduler=lambda optimizer, _: ReduceLROnPlateau(optimizer), scheduler_metric="validation/loss"
    )
    with pytest.raises(UsageError, match="watches 'validation/loss', which this epoch does not have"):
        trainer.train(epochs=1)


def test_a_frozen_parameter_is_left_alone_and_gathers_no_gradient(make_trainer):
    model = TinyModel()
    model.layers[1].bias.requires_grad_(False)
    trainer = make_trainer(model, optimizer=torch.optim.Adam([model.layers[1].weight], fused=True))
    trainer.train()
    assert model.layers[1].bias.item() == 0.0
    assert model.layers[1].bias.grad is None


def test_a_parameter_that_the_optimizer_does_not_have_gathers_no_gradients_over_steps(make_trainer):
    model = TinyModel(dropout=0.0)
    trainer = make_trainer(model, optimizer=torch.optim.SGD([model.layers[1].weight], lr=0.0), epochs=1)
    trainer.train()
    last = model.layers[1].bias.grad.clone()
    model.zero_grad()
    model(list(tiny_loader().batches(1))[-1])["loss"].backward()
    assert torch.equal(model.layers[1].bias.grad, last)


def other_optimizer():
    return sgd(TinyModel())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (lambda _: {"accumulate": 0}, "accumulate must be at least 1 batch"),
        (lambda _: {"clip_gradient_norm": 0.0}, r"clip_gradient_norm must be above 0, not 0\.0"),
        (lambda _: {"clip_gradient_value": float("nan")}, "clip_gradient_value must be above 0, not nan"),
        (lambda _: {"precision": "fp8"}, "precision is one of 'fp32', 'bf16', 'fp16', not 'fp8'"),
        (lambda _: {"on_nonfinite": "ignore"}, "on_nonfinite is one of 'stop', 'skip', 'raise', not 'ignore'"),
        (lambda _: {"skip_limit": 0}, "skip_limit must be at least 1 step"),
        (lambda _: {"scheduler_interval": "batch"}, "scheduler_interval is one of 'epoch', 'step'"),
        (lambda _: {"optimizer": other_optimizer()}, "The optimizer holds no parameter of the model"),
        (lambda _: {"scheduler_metric": "train/loss"}, "needs a ReduceLROnPlateau as scheduler"),
        (lambda _: {"scheduler": StepLR(other_optimizer(), 1)}, "belongs to another optimizer than the trainer's"),
        (lambda o: {"optimizer": o, "scheduler": ReduceLROnPlateau(o)}, "ReduceLROnPlateau needs scheduler_metric"),
        (
            lambda o: {"optimizer": o, "scheduler": StepLR(o, 1), "scheduler_metric": "train/loss"},
            "scheduler_metric is for ReduceLROnPlateau, and the scheduler is StepLR",
        ),
        (
            lambda o: {
                "optimizer": o,
                "scheduler": ReduceLROnPlateau(o),
                "scheduler_metric": "train/loss",
                "scheduler_interval": "step",
            },
            "leave scheduler_interval at 'epoch'",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make_trainer, options, message):
    model = TinyModel()
    with pytest.raises(UsageError, match=message):
        make_trainer(model, **options(sgd(model)))


def test_a_schedule_of_an_unknown_number_of_steps_is_refused(make_trainer):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(())

    with pytest.raises(UsageError, match="the training loader does not know how many batches it has"):
        make_trainer(loader=DataLoader(Stream(), batch_size=2), scheduler=lambda o, _: LambdaLR(o, float))


@pytest.mark.slow
def test_a_compiled_model_learns_the_same(make_trainer, tmp_path):
    plain, compiled = TinyModel(dropout=0.0), TinyModel(dropout=0.0)
    make_trainer(plain, optimizer=sgd(plain)).train()
    trainer: Trainer = make_trainer(compiled, optimizer=sgd(compiled), compile=True)
    trainer.train()
    assert torch.allclose(weights(plain), weights(compiled), atol=1e-5)
    assert set(compiled.state_dict()) == set(plain.state_dict())
    trainer.save_checkpoint(tmp_path)
    other = TinyModel()
    make_trainer(other, optimizer=sgd(other)).load_checkpoint(tmp_path)
    assert torch.equal(weights(other), weights(compiled))
