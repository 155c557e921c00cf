"""The exponential average is that of a loop written by hand, is what is validated and saved, and leaves no trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from artifact_torch_callbacks import EMA, SWA
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from artifact_torch import (
    Callback,
    CheckpointError,
    InMemoryDataLoader,
    Model,
    ModelTracker,
    ScoreCallback,
    Trainer,
    UsageError,
    ValidationRoutine,
    hookimpl,
)
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters
from artifact_torch.testing import TinyModel

MakeTrainer = Callable[..., Trainer]
EPOCHS, BATCHES = 3, 7
FEATURES = torch.randn(26, 4, generator=torch.Generator().manual_seed(5))


class Net(Model):
    """Batch normalization, dropout, a frozen parameter with an infinity, and buffers of every kind."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 4))
        self.mask = nn.Parameter(torch.tensor([0.0, -torch.inf]), requires_grad=False)
        self.register_buffer("bounds", torch.tensor([1.0, torch.inf]))

    def forward(self, batch: Any) -> Any:
        output = self.layers(batch["features"])
        return {"output": output, "loss": (output - batch["features"]).square().mean()}


def loader() -> InMemoryDataLoader[Any]:
    batches: Any = {"features": FEATURES}
    return InMemoryDataLoader(batches, batch_size=4, shuffle=True, seed=3)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=0.1, momentum=0.9)


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=0.01, fused=True)


def by_hand(
    after_step: Callable[[nn.Module, int], None],
    *,
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] = adam,
    accumulate: int = 1,
    clip: float | None = None,
    spoilt: int | None = None,
) -> Net:
    """A training loop of bare torch, three epochs; in the step ``spoilt``, the gradient is not finite."""
    model = Net()
    optimizing = optimizer(model)
    torch.manual_seed(0)
    step = 0
    for epoch in range(1, EPOCHS + 1):
        batches = list(loader().batches(epoch))
        for first in range(0, len(batches), accumulate):
            of_step = batches[first : first + accumulate]
            optimizing.zero_grad()
            for batch in of_step:
                (model(batch)["loss"] / accumulate).backward()
            if len(of_step) < accumulate:
                for parameter in model.parameters():
                    if parameter.grad is not None:
                        parameter.grad.mul_(accumulate / len(of_step))
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            step += 1
            if step != spoilt:
                optimizing.step()
                after_step(model, step)
    return model


def evaluated(trainer: Trainer) -> dict[str, Tensor]:
    with trainer.evaluating():
        return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [name for name, tensor in ours.items() if not torch.equal(tensor, theirs[name])] == []


class Spoil(Callback):
    """Makes the gradient of one step NaN."""

    changes_training = True

    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def on_before_optimizer_step(self, trainer: Trainer) -> None:
        if trainer.state.step + 1 == self.step:
            next(each.grad for each in trainer.model.parameters() if each.grad is not None).fill_(torch.nan)


class Saving(Callback):
    """Saves a checkpoint after each batch, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: list[Path] = []

    @hookimpl(trylast=True)
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        self.paths.append(trainer.save_checkpoint(self.folder / str(len(self.paths))))


class Weight(ScoreCallback):
    """A number of the model that is validated; fails in the epoch ``fails_in``."""

    def __init__(self, *, fails_in: int | None = None, **options: Any) -> None:
        super().__init__("weight", **options)
        self.fails_in = fails_in
        self.epochs = 0

    def reset(self) -> None:
        self.epochs += 1

    def update(self, batch: Any, model_output: Any) -> None:
        if self.epochs == self.fails_in:
            raise RuntimeError("validation fails")
        self.output = model_output["output"]

    def compute(self) -> float:
        return self.output.double().sum().item()


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "momentum": {"optimizer": sgd},
    "accumulated": {"accumulate": 3},  # 7 batches: the last step of an epoch has one
    "clipped": {"clip": 0.05},
    "accumulated and clipped": {"accumulate": 2, "clip": 0.05, "optimizer": sgd},
}


def trainer_of(make_trainer: MakeTrainer, *callbacks: Callback, **options: Any) -> Trainer:
    model = Net()
    optimizer = options.pop("optimizer", adam)(model)
    clip = options.pop("clip", None)
    return make_trainer(
        model,
        loader(),
        epochs=EPOCHS,
        callbacks=callbacks,
        optimizer=optimizer,
        clip_gradient_norm=clip,
        **options,
    )


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_it_is_the_average_of_a_loop_written_by_hand_to_the_last_bit(
    make_trainer: MakeTrainer, options: dict[str, Any]
) -> None:
    trainer = trainer_of(make_trainer, EMA(decay=0.9), **options)
    trainer.train()
    start = Net()
    expected = AveragedModel(start, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    expected.update_parameters(start)  # the first call copies
    by_lerp = {name: each.detach().clone() for name, each in start.named_parameters() if each.requires_grad}

    def average(model: nn.Module, step: int) -> None:
        expected.update_parameters(model)
        for name, each in model.named_parameters():
            if each.requires_grad:
                by_lerp[name].lerp_(each.detach(), 1 - 0.9)

    trained = by_hand(average, **options)
    found = evaluated(trainer)
    assert_same({name: found[name] for name in by_lerp}, by_lerp)
    assert_same(found | {"mask": start.mask}, copied(expected.module) | {"mask": start.mask})
    assert_same(copied(trainer.model), copied(trained))
    assert not torch.equal(found["layers.0.weight"], trained.state_dict()["layers.0.weight"])


def test_a_period_and_a_warm_up_are_those_of_the_formula(make_trainer: MakeTrainer) -> None:
    trainer = trainer_of(make_trainer, EMA(decay=0.6, period="2 steps", warm_up=True))
    trainer.train()
    expected = {name: each.detach().clone() for name, each in Net().named_parameters() if each.requires_grad}
    decays: list[float] = []

    def average(model: nn.Module, step: int) -> None:
        if step % 2 == 0:
            decays.append(min(0.6, (1 + len(decays)) / (10 + len(decays))))
            for name, each in model.named_parameters():
                if each.requires_grad:
                    expected[name].lerp_(each.detach(), 1 - decays[-1])

    by_hand(average)
    found = evaluated(trainer)
    assert_same({name: found[name] for name in expected}, expected)
    assert decays[:2] == [0.1, 2 / 11]
    assert len(decays) == EPOCHS * BATCHES // 2


def test_buffers_are_averaged_if_that_is_wanted_and_else_are_those_of_the_model(make_trainer: MakeTrainer) -> None:
    start = Net()
    expected = AveragedModel(start, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    expected.update_parameters(start)
    trained = by_hand(lambda model, _: expected.update_parameters(model))
    for buffers, model in (("average", expected.module), ("copy", trained)):
        trainer = trainer_of(make_trainer, EMA(decay=0.9, buffers=buffers))  # type: ignore[arg-type]
        trainer.train()
        found, wanted = evaluated(trainer), model.state_dict()
        for name in ("layers.1.running_mean", "layers.1.running_var"):
            assert torch.equal(found[name], wanted[name])
        assert found["bounds"].tolist() == [1.0, torch.inf]
        assert int(found["layers.1.num_batches_tracked"]) == EPOCHS * BATCHES
        assert_same(copied(trainer.model), copied(trained))


def test_training_is_the_same_as_without_it(make_trainer: MakeTrainer) -> None:
    def options() -> dict[str, Any]:
        callbacks = [Weight(split="train")]  # type: ignore[arg-type]
        return {"validation": ValidationRoutine(period="2 steps", callbacks=callbacks)}

    trainers = [trainer_of(make_trainer, *callbacks, **options()) for callbacks in ([], [EMA(decay=0.5)])]
    for trainer in trainers:
        trainer.train()
    without, with_it = trainers
    assert_same(copied(with_it.model), copied(without.model))
    assert with_it.metrics.history("train/loss") == without.metrics.history("train/loss")
    assert with_it.metrics.history("train/weight") != without.metrics.history("train/weight")


def test_the_average_of_the_very_step_is_validated_saved_and_kept(make_trainer: MakeTrainer) -> None:
    callback, tracker = EMA(decay=0.9), ModelTracker(score="train/weight", keep=9)
    trainer = trainer_of(
        make_trainer,
        callback,
        model_tracker=tracker,
        validation=ValidationRoutine(period="5 steps", callbacks=[Weight(split="train")]),  # type: ignore[arg-type]
    )
    averages: dict[int, dict[str, Tensor]] = {}
    expected = {name: each.detach().clone() for name, each in Net().named_parameters() if each.requires_grad}

    def average(model: nn.Module, step: int) -> None:
        for name, each in model.named_parameters():
            if each.requires_grad:
                expected[name].lerp_(each.detach(), 1 - 0.9)
        averages[step] = {name: each.clone() for name, each in expected.items()} | {
            name: each.clone() for name, each in model.named_buffers()
        }

    by_hand(average)
    trainer.train()
    assert sorted(each.step for each in tracker.kept) == [5, 10, 15, 20, 21]
    for kept in tracker.kept:
        found = copied(Net.load(tracker.folder(trainer) / kept.name))
        del found["mask"]
        assert_same(found, averages[kept.step])
        model = Net()
        model.load_state_dict({**found, "mask": model.mask})
        *_, batch = loader().batches(0)
        assert model.eval()(batch)["output"].double().sum().item() == kept.score
    saved = copied(Net.load(trainer.run.model_path))
    del saved["mask"]
    assert_same(saved, averages[21])


def test_the_best_average_takes_the_place_of_the_weights_if_it_is_to_be_restored(make_trainer: MakeTrainer) -> None:
    tracker = ModelTracker(score="train/weight", restore_best=True)
    validation = ValidationRoutine(callbacks=[Weight(split="train")])  # type: ignore[arg-type]
    trainer = trainer_of(make_trainer, EMA(decay=0.9), model_tracker=tracker, validation=validation)
    trainer.train()
    assert_same(copied(trainer.model), copied(trainer.best_model))
    assert_same(evaluated(trainer), copied(trainer.best_model))


def test_a_step_that_was_left_out_is_not_averaged(make_trainer: MakeTrainer) -> None:
    trainer = trainer_of(make_trainer, EMA(decay=0.9), Spoil(6), on_nonfinite="skip")
    trainer.train()
    expected = {name: each.detach().clone() for name, each in Net().named_parameters() if each.requires_grad}
    steps: list[int] = []

    def average(model: nn.Module, step: int) -> None:
        steps.append(step)
        for name, each in model.named_parameters():
            if each.requires_grad:
                expected[name].lerp_(each.detach(), 1 - 0.9)

    by_hand(average, spoilt=6)
    assert 6 not in steps
    found = evaluated(trainer)
    assert_same({name: found[name] for name in expected}, expected)


class Counted(torch.optim.SGD):
    """Remembers the weight after each step, and whether it was told to leave the step out on the device."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, lr=0.1, fused=True)
        self.seen: list[tuple[bool, Tensor]] = []

    def step(self, closure: Any = None) -> Any:
        result = super().step(closure)
        found: Any = getattr(self, "found_inf", None)
        self.seen.append((found is not None and bool(found), self.param_groups[0]["params"][0].detach().clone()))
        return result


def test_a_step_that_the_optimizer_left_out_by_itself_is_not_averaged(make_trainer: MakeTrainer) -> None:
    # In fp16 the optimizer is called with the finding that gradients overflow, as it is on an accelerator.
    model = TinyModel(dropout=0.0)
    optimizer = Counted(model.parameters())
    trainer = make_trainer(
        model, optimizer=optimizer, callbacks=[EMA(decay=0.5), Spoil(3)], precision="fp16", on_nonfinite="skip"
    )
    weight = optimizer.param_groups[0]["params"][0]
    expected = weight.detach().clone()
    trainer.train()
    left_out = [step for step, (found, _) in enumerate(optimizer.seen, start=1) if found]
    assert 3 in left_out
    assert len(left_out) < len(optimizer.seen)
    for found, after in optimizer.seen:
        if not found:
            expected.lerp_(after, 0.5)
    assert torch.equal(evaluated(trainer)["layers.1.weight"], expected)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_training_that_is_resumed_after_any_batch_ends_with_the_same_average(
    make_trainer: MakeTrainer, tmp_path: Path, accumulate: int
) -> None:
    def options() -> dict[str, Any]:
        return {"accumulate": accumulate, "on_nonfinite": "skip"}

    def callback() -> EMA:
        return EMA(decay=0.9, warm_up=True, period="2 steps", buffers="average")

    saving = Saving(tmp_path)
    whole = trainer_of(make_trainer, callback(), Spoil(4), saving, **options())
    whole.train()
    for path in saving.paths[::4]:  # with accumulate, some stand between the batches of a step
        resumed = trainer_of(make_trainer, callback(), Spoil(4), **options())
        resumed.load_checkpoint(path)
        resumed.train()
        assert_same(evaluated(resumed), evaluated(whole))
        assert_same(copied(resumed.model), copied(whole.model))


def test_a_loaded_checkpoint_is_evaluated_with_its_average_before_training_goes_on(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    whole = trainer_of(make_trainer, EMA(decay=0.9))
    whole.train()
    loaded = trainer_of(make_trainer, EMA(decay=0.9))
    loaded.load_checkpoint(whole.save_checkpoint(tmp_path))
    assert_same(evaluated(loaded), evaluated(whole))
    assert_same(copied(loaded.model), copied(whole.model))


def test_to_evaluate_copies_nothing_and_leaves_every_tensor_where_it_was(make_trainer: MakeTrainer) -> None:
    callback = EMA(decay=0.9, buffers="average")
    trainer = trainer_of(make_trainer, callback)
    trainer.train()
    assert callback.average is not None
    places = {name: tensor.data_ptr() for name, tensor in trainer.model.state_dict().items()}
    with trainer.evaluating(), trainer.evaluating():
        inside = {name: tensor.data_ptr() for name, tensor in trainer.model.state_dict().items()}
    averages = {name: tensor.data_ptr() for name, tensor in callback.average.tensors.items()}
    assert inside == places | averages
    assert len(averages) == 8
    assert {name: tensor.data_ptr() for name, tensor in trainer.model.state_dict().items()} == places


@pytest.mark.parametrize("error", [RuntimeError("no more"), KeyboardInterrupt()])
def test_the_weights_are_back_whatever_is_raised_meanwhile(make_trainer: MakeTrainer, error: BaseException) -> None:
    trainer = trainer_of(make_trainer, EMA(decay=0.9))
    trainer.train()
    before = copied(trainer.model)
    with pytest.raises(type(error)), trainer.evaluating():
        raise error
    assert_same(copied(trainer.model), before)


def test_a_validation_that_fails_leaves_the_weights_of_training_and_no_hook(make_trainer: MakeTrainer) -> None:
    callbacks = [Weight(split="train", fails_in=2)]  # type: ignore[arg-type]
    trainer = trainer_of(make_trainer, EMA(decay=0.9), validation=ValidationRoutine(callbacks=callbacks))
    with pytest.raises(RuntimeError, match="validation fails"):
        trainer.train()
    states: list[dict[str, Tensor]] = []
    by_hand(lambda model, _: states.append(copied(model)))
    assert_same(copied(trainer.model), states[2 * BATCHES - 1])
    average = evaluated(trainer)
    trainer.optimizer.step()  # nobody averages it
    assert_same(evaluated(trainer), average)


@given(stop=st.integers(0, 5))
def test_an_exchange_that_is_interrupted_anywhere_is_undone(stop: int) -> None:
    from artifact_torch_callbacks.averaging import Average, Exchange

    class Interrupting(Exchange):
        left = stop

        def put(self, tensor: Tensor, numbers: Tensor) -> None:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            super().put(tensor, numbers)

    model = Net()
    average, exchange = Average(model, dict(model.named_parameters())), Interrupting()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    before = copied(model)
    with pytest.raises(KeyboardInterrupt):
        average.put_into_model(exchange)
    exchange.undo()
    assert_same(copied(model), before)


def test_each_training_of_another_model_begins_with_its_own_weights(make_trainer: MakeTrainer) -> None:
    callback = EMA(decay=0.9)
    results: list[dict[str, Tensor]] = []
    for _ in range(2):
        trainer = trainer_of(make_trainer, callback)
        trainer.train()
        results.append(evaluated(trainer))
    assert_same(*results)


def test_a_training_that_goes_on_keeps_its_average(make_trainer: MakeTrainer) -> None:
    whole, pieces = (trainer_of(make_trainer, EMA(decay=0.9)) for _ in range(2))
    whole.train()
    pieces.train(epochs=1)
    pieces.train(epochs=EPOCHS)
    assert_same(evaluated(pieces), evaluated(whole))


def test_a_rehearsal_of_one_batch_works(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=["ema"], fast_dev_run=True, sanity_validation=True)
    assert components.get("callbacks", "ema") is EMA
    assert trainer.train().steps == 1
    assert not torch.equal(evaluated(trainer)["layers.1.weight"], trainer.model.layers[1].weight)


@pytest.mark.parametrize("others", [[EMA()], [SWA()]], ids=["EMA", "SWA"])
def test_a_second_average_is_refused(make_trainer: MakeTrainer, others: list[Callback]) -> None:
    trainer = make_trainer(callbacks=[EMA(), *others])
    with pytest.raises(UsageError, match=r"EMA and \w+ both average the weights.*leave one of them out"):
        trainer.train()


def test_a_checkpoint_is_not_saved_nor_loaded_while_the_average_is_in_place(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[EMA()])
    trainer.train()
    path = trainer.save_checkpoint()
    for act in (trainer.save_checkpoint, lambda: trainer.load_checkpoint(path)):
        with pytest.raises(UsageError, match=r"before or after trainer\.evaluating"), trainer.evaluating():
            act()


def test_a_checkpoint_of_another_choice_of_buffers_is_refused(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = trainer_of(make_trainer, EMA(buffers="average"))
    trainer.train()
    path = trainer.save_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match=r"differ in layers\.1\.running_mean, layers\.1\.running_var"):
        trainer_of(make_trainer, EMA()).load_checkpoint(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decay": 1.0}, "at least 0 and below 1, not 1.0"),
        ({"decay": -0.1}, "at least 0 and below 1, not -0.1"),
        ({"decay": float("nan")}, "at least 0 and below 1, not nan"),
        ({"period": "2 epochs"}, "its period is 2 epochs: use steps"),
        ({"period": "10 minutes"}, "its period is 600 seconds: use steps"),
        ({"period": "often"}, "'often' is no period"),
        ({"buffers": "leave"}, "'copy' or 'average', not 'leave'"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EMA(**options)


def test_parameters_are_taken_from_a_configuration() -> None:
    parameters = {"decay": 0.99, "period": "10 steps", "warm_up": True, "buffers": "average"}
    callback = EMA(**validated_parameters(EMA, parameters, source="test", section="callbacks.ema"))
    assert (callback.decay, callback.period.number, callback.warm_up, callback.buffers) == (0.99, 10, True, "average")
