"""The average of late weights is that of a loop written by hand, batch normalization included, and leaves no trace."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from artifact_torch_callbacks import EMA, SWA
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn

from artifact_torch import (
    Callback,
    DataLoader,
    InMemoryDataLoader,
    IterableDataset,
    Model,
    ScoreCallback,
    StepStopper,
    Trainer,
    UsageError,
    ValidationRoutine,
    hookimpl,
)
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters
from artifact_torch.testing import TinyModel

MakeTrainer = Callable[..., Trainer]
EPOCHS, BATCHES = 5, 7
FEATURES = torch.randn(26, 4, generator=torch.Generator().manual_seed(5))


class Net(Model):
    """Batch normalization, dropout if wanted, a counter, and a layer that draws from every generator in training."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(dropout), nn.Linear(8, 4))
        self.dropout = dropout
        self.batches = 0
        self.register_buffer("last", torch.zeros(()))

    def config(self) -> dict[str, Any]:
        return {"dropout": self.dropout}

    def forward(self, batch: Any) -> Any:
        features = batch["features"]
        if self.training:
            self.batches += 1
            self.last = features.mean()  # another tensor each time
            if self.dropout:
                features = features * (1 + 0.1 * random.random() + 0.1 * float(np.random.rand()))
        output = self.layers(features)
        return {"output": output, "loss": (output - batch["features"]).square().mean()}


class Stream(IterableDataset[Any]):
    """Samples whose number is not known before they are read."""

    def __iter__(self) -> Any:
        for row in FEATURES:
            yield {"features": row}


def loader() -> InMemoryDataLoader[Any]:
    batches: Any = {"features": FEATURES}
    return InMemoryDataLoader(batches, batch_size=4, shuffle=True, seed=3)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def by_hand(
    after_step: Callable[[nn.Module, int, int], None],
    *,
    accumulate: int = 1,
    clip: float | None = None,
    before_epoch: Callable[[torch.optim.Optimizer, int], None] | None = None,
) -> Net:
    """A training loop of bare torch; after each step it is told how many batches are left of the epoch."""
    model = Net()
    optimizer = sgd(model)
    step = 0
    for epoch in range(1, EPOCHS + 1):
        if before_epoch is not None:
            before_epoch(optimizer, epoch)
        batches = list(loader().batches(epoch))
        for first in range(0, len(batches), accumulate):
            of_step = batches[first : first + accumulate]
            optimizer.zero_grad()
            for batch in of_step:
                (model(batch)["loss"] / accumulate).backward()
            if len(of_step) < accumulate:
                for parameter in model.parameters():
                    parameter.grad.mul_(accumulate / len(of_step))  # type: ignore[union-attr]
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            step += 1
            after_step(model, step, len(batches) - first - len(of_step))
    return model


def evaluated(trainer: Trainer) -> dict[str, Tensor]:
    with trainer.evaluating():
        return copied(trainer.model)


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items() if name != "last"}


def assert_same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [name for name, tensor in ours.items() if not torch.equal(tensor, theirs[name])] == []


def trainer_of(make_trainer: MakeTrainer, *callbacks: Callback, **options: Any) -> Trainer:
    model = Net(options.pop("dropout", 0.0))
    clip = options.pop("clip", None)
    options = {"loader": loader(), "epochs": EPOCHS, **options}
    return make_trainer(model, callbacks=callbacks, optimizer=sgd(model), clip_gradient_norm=clip, **options)


class Weights(ScoreCallback):
    """Copies what is validated, by step."""

    def __init__(self, trainer: list[Trainer], **options: Any) -> None:
        super().__init__("weights", **options)
        self.trainer = trainer
        self.seen: dict[int, dict[str, Tensor]] = {}

    def reset(self) -> None:
        self.seen[self.trainer[0].state.step] = copied(self.trainer[0].model)

    def update(self, batch: Any, model_output: Any) -> None:
        pass

    def compute(self) -> float:
        return 0.0


class Saving(Callback):
    """Saves a checkpoint after each batch and each epoch, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: list[Path] = []

    @hookimpl(trylast=True)
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        self.paths.append(trainer.save_checkpoint(self.folder / str(len(self.paths))))

    @hookimpl
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        self.paths.append(trainer.save_checkpoint(self.folder / str(len(self.paths))))


class Rates(Callback):
    """The learning rate of each step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    @hookimpl(trylast=True)
    def on_before_optimizer_step(self, trainer: Trainer) -> None:
        self.seen.append(trainer.optimizer.param_groups[0]["lr"])


class StopAt(StepStopper):
    def __init__(self, step: int) -> None:
        self.step = step

    def check(self, trainer: Trainer) -> str | None:
        return "enough" if trainer.state.step >= self.step else None


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated": {"accumulate": 3},  # 7 batches: the last step of an epoch has one
    "clipped": {"clip": 0.05},
    "accumulated and clipped": {"accumulate": 2, "clip": 0.05},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_it_is_the_average_of_a_loop_written_by_hand_to_the_last_bit(
    make_trainer: MakeTrainer, options: dict[str, Any]
) -> None:
    swa = SWA(start=3)
    trainer = trainer_of(make_trainer, swa, **options)
    trainer.train()
    start = Net()
    expected = AveragedModel(start)
    ends = 0

    def average(model: nn.Module, step: int, left: int) -> None:
        nonlocal ends
        ends += left == 0
        if left == 0 and ends >= 3:
            expected.update_parameters(model)

    trained = by_hand(average, **options)
    update_bn(loader().batches(0), expected)
    assert swa.taken == 3
    assert_same(evaluated(trainer), copied(expected.module))
    assert_same(copied(trainer.model), copied(trained))
    assert trainer.model.batches == EPOCHS * BATCHES


def test_a_period_of_steps_and_statistics_that_are_left_alone(make_trainer: MakeTrainer) -> None:
    swa = SWA(start=0.4, period="4 steps", update_batch_norm=False)
    trainer = trainer_of(make_trainer, swa)
    trainer.train()
    expected = AveragedModel(Net())
    taken: list[int] = []

    def average(model: nn.Module, step: int, left: int) -> None:
        if step % 4 == 0 and step > 2 * BATCHES:
            taken.append(step)
            expected.update_parameters(model)

    trained = by_hand(average)
    assert taken == [16, 20, 24, 28, 32]
    assert swa.taken == len(taken)
    found = evaluated(trainer)
    parameters = dict(expected.module.named_parameters())
    assert_same({name: found[name] for name in parameters}, {name: each.detach() for name, each in parameters.items()})
    for name, buffer in copied(trained).items():
        assert name in parameters or torch.equal(found[name], buffer)


@pytest.mark.parametrize("known", [True, False], ids=["known length", "unknown length"])
def test_what_is_validated_is_the_average_with_the_epoch_that_has_just_ended(
    make_trainer: MakeTrainer, known: bool
) -> None:
    holder: list[Trainer] = []
    weights = Weights(holder, split="train")
    trainer = trainer_of(
        make_trainer,
        SWA(start=2, period=2, update_batch_norm=False),
        loader=loader() if known else DataLoader(Stream(), batch_size=4),
        validation=ValidationRoutine(period="2 steps", callbacks=[weights]),
    )
    ends: dict[int, dict[str, Tensor]] = {}

    class End(Callback):
        @hookimpl
        def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
            ends[trainer.state.epoch] = copied(trainer.model)

    trainer.plugins.register(End())
    holder.append(trainer)
    trainer.train()
    name = "layers.0.weight"
    raw, mean = ends[2][name], ends[2][name] + (ends[4][name] - ends[2][name]) / 2
    assert torch.equal(weights.seen[2 * BATCHES][name], ends[2][name])  # the first average, at the end of epoch 2
    assert all(torch.equal(weights.seen[step][name], raw) for step in range(16, 28, 2))  # and within the next two
    assert torch.equal(weights.seen[4 * BATCHES][name], mean if known else raw)  # a step whose epoch may go on
    assert all(torch.equal(weights.seen[step][name], mean) for step in (30, 32, 34, 35))
    assert len({tuple(weights.seen[step][name].flatten().tolist()) for step in range(2, 13, 2)}) == 6


def test_training_is_the_same_as_without_it(make_trainer: MakeTrainer) -> None:
    def validation(holder: list[Trainer]) -> ValidationRoutine:
        return ValidationRoutine(period="3 steps", callbacks=[Weights(holder, split="train")])

    trainers: list[Trainer] = []
    for callbacks in ([], [SWA(start=2)], [SWA(start=2, period="1 step")]):
        holder: list[Trainer] = []
        holder.append(trainer_of(make_trainer, *callbacks, dropout=0.3, validation=validation(holder)))
        holder[0].train()
        trainers += holder
    for trainer in trainers[1:]:
        assert_same(copied(trainer.model), copied(trainers[0].model))
        assert trainer.metrics.history("train/loss") == trainers[0].metrics.history("train/loss")
        assert trainer.model.batches == trainers[0].model.batches
        assert [module.training for module in trainer.model.modules()] == [True] * 6
        assert trainer.model.layers[1].momentum == 0.1


def test_statistics_do_not_depend_on_when_they_are_estimated(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = trainer_of(make_trainer, SWA(start=3), dropout=0.3)
    trainer.train()
    first = evaluated(trainer)
    loaded = trainer_of(make_trainer, SWA(start=3), dropout=0.3)
    loaded.load_checkpoint(trainer.save_checkpoint(tmp_path))
    torch.manual_seed(77)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    loaded.model.eval()
    assert_same(evaluated(loaded), first)
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert not any(module.training for module in loaded.model.modules())


def test_layers_that_are_in_evaluation_mode_keep_their_statistics(make_trainer: MakeTrainer) -> None:
    class Resting(Callback):
        changes_training = True

        @hookimpl
        def on_train_start(self, trainer: Trainer) -> None:
            trainer.model.layers[1].eval()

    trainer = trainer_of(make_trainer, SWA(start=3), Resting())
    trainer.train()
    assert evaluated(trainer)["layers.1.running_var"].tolist() == [1.0] * 8


def test_a_pass_that_fails_leaves_the_weights_of_training(make_trainer: MakeTrainer) -> None:
    trainer = trainer_of(make_trainer, SWA(start=5))
    state: dict[str, Tensor] = {}

    class Break(Callback):
        changes_training = True

        @hookimpl
        def log_epoch_metrics(self, trainer: Trainer) -> None:
            if trainer.state.epoch == 5:
                state.update(copied(trainer.model))
                trainer.train_loader = InMemoryDataLoader({"features": FEATURES[:1]}, batch_size=1)  # type: ignore[typeddict-item]

    trainer.plugins.register(Break())
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        trainer.train()
    assert_same(copied(trainer.model), state)
    assert trainer.model.layers[1].momentum == 0.1
    assert trainer.model.batches == EPOCHS * BATCHES


@pytest.mark.parametrize("annealing", ["cos", "linear"])
@pytest.mark.parametrize("annealing_epochs", [0, 2])
def test_the_learning_rate_is_that_of_torch_whatever_the_schedule_says(
    make_trainer: MakeTrainer, annealing: Any, annealing_epochs: int
) -> None:
    rates = Rates()
    swa = SWA(start=3, learning_rate=0.05, annealing=annealing, annealing_epochs=annealing_epochs)
    trainer = trainer_of(
        make_trainer,
        swa,
        rates,
        scheduler=lambda optimizer, steps: OneCycleLR(optimizer, 0.2, steps),
        scheduler_interval="step",
    )
    trainer.train()
    optimizer = sgd(Net())
    before = OneCycleLR(optimizer, 0.2, EPOCHS * BATCHES)
    expected: list[float] = []
    for _ in range(2 * BATCHES):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        before.step()
    schedule = SWALR(optimizer, 0.05, anneal_epochs=annealing_epochs, anneal_strategy=annealing)
    for _ in range(3):
        expected += [optimizer.param_groups[0]["lr"]] * BATCHES
        schedule.step()
    assert rates.seen == pytest.approx(expected, rel=1e-12)
    assert rates.seen[: 2 * BATCHES + 1] == expected[: 2 * BATCHES + 1]
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


def test_with_a_learning_rate_it_is_still_the_average_of_a_loop_written_by_hand(make_trainer: MakeTrainer) -> None:
    swa = SWA(start=3, learning_rate=0.05, annealing_epochs=2, annealing="linear")
    trainer = trainer_of(make_trainer, swa)
    trainer.train()
    expected = AveragedModel(Net())

    def set_rate(optimizer: torch.optim.Optimizer, epoch: int) -> None:
        share = min(1.0, max(0, epoch - 3) / 2)
        optimizer.param_groups[0]["lr"] = 0.05 * share + 0.1 * (1 - share)

    def average(model: nn.Module, step: int, left: int) -> None:
        if left == 0 and step >= 3 * BATCHES:
            expected.update_parameters(model)

    by_hand(average, before_epoch=set_rate)
    update_bn(loader().batches(0), expected)
    assert_same(evaluated(trainer), copied(expected.module))


def test_a_rate_in_a_tensor_is_set_in_place(make_trainer: MakeTrainer) -> None:
    model = TinyModel()
    optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.1), capturable=False, foreach=False)
    rate = optimizer.param_groups[0]["lr"]
    trainer = make_trainer(model, optimizer=optimizer, callbacks=[SWA(start=2, learning_rate=0.5, annealing_epochs=0)])
    trainer.train()
    assert optimizer.param_groups[0]["lr"] is rate
    assert float(rate) == 0.5


@pytest.mark.parametrize("period", [1, "3 steps"])
def test_a_training_that_is_resumed_after_any_batch_ends_with_the_same_average(
    make_trainer: MakeTrainer, tmp_path: Path, period: int | str
) -> None:
    def callback() -> SWA:
        return SWA(start=3, period=period, learning_rate=0.05, annealing_epochs=2)

    saving = Saving(tmp_path)
    whole = trainer_of(make_trainer, saving, callback(), dropout=0.2)
    whole.train()
    ends = [(BATCHES + 1) * epoch - 1 for epoch in range(1, EPOCHS + 1)]
    for number in sorted({*ends, 3, 18, 21, 22, 26, 30}):
        resumed_swa = callback()
        resumed = trainer_of(make_trainer, resumed_swa, dropout=0.2)
        resumed.load_checkpoint(saving.paths[number])
        resumed.train()
        assert_same(evaluated(resumed), evaluated(whole))
        assert_same(copied(resumed.model), copied(whole.model))


def test_training_that_stops_within_an_epoch_does_not_average_its_weights(make_trainer: MakeTrainer) -> None:
    swa = SWA(start=2, update_batch_norm=False)
    trainer = trainer_of(make_trainer, swa, stoppers=[StopAt(2 * BATCHES + 3)])
    trainer.train()
    assert swa.taken == 1
    whole = trainer_of(make_trainer, epochs=2)
    whole.train()
    found, expected = evaluated(trainer), copied(whole.model)
    for name, _ in whole.model.named_parameters():
        assert torch.equal(found[name], expected[name])


@pytest.mark.parametrize(("epochs", "taken"), [(1, 1), (4, 1), (10, 3)])
def test_by_default_the_last_quarter_of_the_epochs_is_averaged(
    make_trainer: MakeTrainer, epochs: int, taken: int
) -> None:
    assert components.get("callbacks", "swa") is SWA
    trainer = make_trainer(callbacks=["swa"], epochs=epochs, sanity_validation=True)
    trainer.train()
    (swa,) = [each.plugin.implementation for each in trainer.hooks.functions("on_evaluation_end")]
    assert isinstance(swa, SWA)
    assert swa.taken == taken


def test_that_nothing_was_averaged_is_a_warning_and_the_model_is_the_one_that_was_trained(
    make_trainer: MakeTrainer, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(callbacks=[SWA(start=3)], epochs=2)
    trainer.train()
    assert_same(evaluated(trainer), copied(trainer.model))
    assert_same(copied(TinyModel.load(trainer.run.model_path)), copied(trainer.model))
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        "SWA has averaged nothing: training ended before weights were to be taken, from epoch 3 on each 1 epoch. The "
        "model is the one that was trained: start earlier, or train longer."
    ]


def test_a_rehearsal_of_one_batch_works(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[SWA()], fast_dev_run=True)
    assert trainer.train().steps == 1
    assert_same(evaluated(trainer), copied(trainer.model))


def test_each_training_of_another_model_begins_anew(make_trainer: MakeTrainer) -> None:
    swa = SWA(start=2)
    results: list[dict[str, Tensor]] = []
    for _ in range(2):
        trainer = trainer_of(make_trainer, swa)
        trainer.train()
        results.append(evaluated(trainer))
        assert swa.taken == 4
    assert_same(*results)


def test_a_second_average_is_refused(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[SWA(), EMA()])
    with pytest.raises(UsageError, match="SWA and EMA both average the weights"):
        trainer.train()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": 0}, r"an epoch from 1, or a share from 0\.0 and below 1\.0, not 0"),
        ({"start": 1.0}, "below 1.0, not 1.0"),
        ({"start": True}, "not True"),
        ({"start": -0.5}, "not -0.5"),
        ({"period": 0}, "at least 1 epoch"),
        ({"period": "10 minutes"}, "write a number of epochs"),
        ({"learning_rate": 0.0}, "must be above 0, not 0.0"),
        ({"learning_rate": float("nan")}, "must be above 0, not nan"),
        ({"annealing_epochs": -1}, "at least 0, not -1"),
        ({"annealing": "steps"}, "'cos' or 'linear', not 'steps'"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SWA(**options)


def test_parameters_are_taken_from_a_configuration() -> None:
    for start, period in ((3, 2), (0.5, "20 steps")):
        parameters = {"start": start, "period": period, "learning_rate": 0.01, "annealing": "linear"}
        callback = SWA(**validated_parameters(SWA, parameters, source="test", section="callbacks.swa"))
        assert callback.start == start
        assert type(callback.start) is type(start)
