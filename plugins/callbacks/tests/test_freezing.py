"""What is frozen does not move by a bit until its time has come, and nothing of it stays."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from artifact_torch_callbacks import EMA, SWA, Freezing
from torch import Tensor, nn

from artifact_torch import Callback, InMemoryDataLoader, Model, Trainer, UsageError, hookimpl
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters

MakeTrainer = Callable[..., Trainer]
EPOCHS, BATCHES = 4, 7
FEATURES = torch.randn(26, 4, generator=torch.Generator().manual_seed(5))
SCHEDULE = {"encoder": 1, "encoder.0": 3, "middle": 2}


class Net(Model):
    """An encoder with batch normalization and dropout, a middle, a head, and a parameter that is frozen anyway."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.encoder = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 8))
            self.middle = nn.Linear(8, 8)
            self.head = nn.Linear(8, 4)
        self.fixed = nn.Parameter(torch.ones(4), requires_grad=False)

    def forward(self, batch: Any) -> Any:
        output = self.head(self.middle(self.encoder(batch["features"]))) * self.fixed
        return {"output": output, "loss": (output - batch["features"]).square().mean()}


def loader() -> InMemoryDataLoader[Any]:
    batches: Any = {"features": FEATURES}
    return InMemoryDataLoader(batches, batch_size=4, shuffle=True, seed=3)


def adam(model: nn.Module) -> torch.optim.Optimizer:
    """With weight decay, which would move a parameter whose gradient is zero."""
    return torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=0.01, weight_decay=0.1)


def trainer_of(make_trainer: MakeTrainer, *callbacks: Callback, **options: Any) -> Trainer:
    model = options.pop("model", None) or Net()
    return make_trainer(model, loader(), epochs=EPOCHS, callbacks=callbacks, optimizer=adam(model), **options)


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


class Watch(Callback):
    """What each epoch leaves, and what requires gradients in the pass of a batch."""

    def __init__(self) -> None:
        self.ends: dict[int, dict[str, Tensor]] = {}
        self.modes: dict[int, dict[str, bool]] = {}
        self.gradients: dict[int, set[str]] = {}
        self.before: dict[str, Tensor] = {}

    @hookimpl
    def on_train_start(self, trainer: Trainer) -> None:
        self.before = copied(trainer.model)

    @hookimpl
    def on_before_optimizer_step(self, trainer: Trainer) -> None:
        found = {name for name, each in trainer.model.named_parameters() if each.grad is not None}
        self.gradients.setdefault(trainer.state.epoch, set()).update(found)
        modes = {name: module.training for name, module in trainer.model.named_modules()}
        assert self.modes.setdefault(trainer.state.epoch, modes) == modes

    @hookimpl
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        self.ends[trainer.state.epoch] = copied(trainer.model)

    def moved(self, epoch: int) -> set[str]:
        before = self.ends.get(epoch - 1, self.before)
        return {name for name, tensor in self.ends[epoch].items() if not torch.equal(tensor, before[name])}


class Saving(Callback):
    """Saves a checkpoint after each batch and each epoch, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: list[Path] = []

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        self.paths.append(trainer.save_checkpoint(self.folder / str(len(self.paths))))

    @hookimpl
    def execute_epoch_postprocessing(self, trainer: Trainer) -> None:
        self.paths.append(trainer.save_checkpoint(self.folder / str(len(self.paths))))


NORM = {"encoder.1.weight", "encoder.1.bias"}
STATISTICS = {"encoder.1.running_mean", "encoder.1.running_var", "encoder.1.num_batches_tracked"}
HEAD = {"head.weight", "head.bias"}
MIDDLE = {"middle.weight", "middle.bias"}
LATE = {"encoder.3.weight", "encoder.3.bias"} | NORM
FIRST = {"encoder.0.weight", "encoder.0.bias"}


@pytest.mark.parametrize("accumulate", [1, 3])
def test_layers_are_trained_one_after_the_other_and_do_not_move_by_a_bit_before(
    make_trainer: MakeTrainer, accumulate: int
) -> None:
    watch = Watch()
    trainer = trainer_of(make_trainer, Freezing(epochs=SCHEDULE), watch, accumulate=accumulate)
    trainer.train()
    trained = {1: HEAD, 2: HEAD | LATE, 3: HEAD | LATE | MIDDLE, 4: HEAD | LATE | MIDDLE | FIRST}
    assert watch.gradients == trained
    for epoch, names in trained.items():
        assert watch.moved(epoch) == names | (STATISTICS if epoch > 1 else set())


def test_it_is_the_training_of_a_loop_written_by_hand_to_the_last_bit(make_trainer: MakeTrainer) -> None:
    trainer = trainer_of(make_trainer, Freezing(epochs={"encoder": 2}))
    trainer.train()
    model = Net()
    optimizer = adam(model)
    torch.manual_seed(0)
    for epoch in range(1, EPOCHS + 1):
        model.encoder.requires_grad_(epoch > 2).train(epoch > 2)
        for batch in loader().batches(epoch):
            optimizer.zero_grad()
            model(batch)["loss"].backward()
            optimizer.step()
    expected = copied(model)
    assert [name for name, tensor in copied(trainer.model).items() if not torch.equal(tensor, expected[name])] == []


def test_frozen_modules_are_in_evaluation_mode_unless_they_are_to_stay_as_they_are(make_trainer: MakeTrainer) -> None:
    for evaluation_mode in (True, False):
        watch = Watch()
        freezing = Freezing(epochs={"encoder": 2}, evaluation_mode=evaluation_mode)
        trainer = trainer_of(make_trainer, freezing, watch)
        trainer.train()
        frozen = {name for name in watch.modes[1] if name.startswith("encoder")}
        assert {name for name, training in watch.modes[1].items() if not training} == (
            frozen if evaluation_mode else set()
        )
        assert watch.modes[2] == watch.modes[1]
        assert all(watch.modes[3].values())
        assert (watch.moved(1) >= STATISTICS) is not evaluation_mode
        assert watch.moved(1) & (NORM | FIRST) == set()


def test_everything_requires_gradients_as_before_when_training_has_ended(make_trainer: MakeTrainer) -> None:
    trainer = trainer_of(make_trainer, Freezing(epochs={"encoder": 9}))
    trainer.train()
    assert {name for name, each in trainer.model.named_parameters() if not each.requires_grad} == {"fixed"}
    assert all(module.training for module in trainer.model.modules())


@pytest.mark.parametrize("hook", ["forward", "backward"])
def test_everything_requires_gradients_as_before_when_training_has_failed(make_trainer: MakeTrainer, hook: str) -> None:
    class Failing(Net):
        def forward(self, batch: Any) -> Any:
            output = super().forward(batch)
            if hook == "forward":
                raise RuntimeError("no more")
            output["loss"].register_hook(self.fail)
            return output

        def fail(self, gradient: Tensor) -> None:
            raise RuntimeError("no more")

    trainer = trainer_of(make_trainer, Freezing(epochs={"encoder": 2}), model=Failing())
    with pytest.raises(RuntimeError, match="no more"):
        trainer.train()
    assert {name for name, each in trainer.model.named_parameters() if not each.requires_grad} == {"fixed"}
    assert all(module.training for module in trainer.model.modules())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_training_that_is_resumed_after_any_batch_ends_the_same(
    make_trainer: MakeTrainer, tmp_path: Path, accumulate: int
) -> None:
    saving = Saving(tmp_path)
    whole = trainer_of(make_trainer, saving, Freezing(epochs=SCHEDULE), accumulate=accumulate)
    whole.train()
    expected = copied(whole.model)
    for number in (0, 2, 7, 8, 14, 15, 16, 25, 29):
        resumed = trainer_of(make_trainer, Freezing(epochs=SCHEDULE), accumulate=accumulate)
        resumed.load_checkpoint(saving.paths[number])
        resumed.train()
        assert [name for name, tensor in copied(resumed.model).items() if not torch.equal(tensor, expected[name])] == []


def average_of(trainer: Trainer) -> dict[str, Tensor]:
    with trainer.evaluating():
        return copied(trainer.model)


def test_averages_of_weights_take_part_of_what_is_trained_later(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    for average in (lambda: EMA(decay=0.5), lambda: SWA(start=1, period="2 steps", update_batch_norm=False)):
        saving = Saving(tmp_path / str(average))
        trainer = trainer_of(make_trainer, saving, Freezing(epochs={"encoder": 2}), average())
        trainer.train()
        found = average_of(trainer)
        assert not torch.equal(found["encoder.0.weight"], Net().encoder[0].weight)
        assert not torch.equal(found["encoder.0.weight"], trainer.model.encoder[0].weight)
        resumed = trainer_of(make_trainer, Freezing(epochs={"encoder": 2}), average())
        resumed.load_checkpoint(saving.paths[9])
        resumed.train()
        assert [name for name, tensor in average_of(resumed).items() if not torch.equal(tensor, found[name])] == []


def test_a_parameter_that_modules_share_is_trained_as_soon_as_one_of_them_is(make_trainer: MakeTrainer) -> None:
    class Tied(Net):
        def __init__(self) -> None:
            super().__init__()
            self.middle.weight = self.encoder[3].weight

    watch = Watch()
    trainer = trainer_of(make_trainer, Freezing(epochs={"encoder": 3, "middle": 1}), watch, model=Tied())
    trainer.train()
    assert "encoder.3.weight" not in watch.gradients[1]
    assert "encoder.3.weight" in watch.gradients[2]
    assert "encoder.3.bias" not in watch.gradients[3]


def test_the_log_says_what_is_frozen(make_trainer: MakeTrainer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "artifact_torch")
    trainer_of(make_trainer, Freezing(epochs=SCHEDULE)).train()
    said = [record.getMessage() for record in caplog.records if "frozen" in record.getMessage()]
    assert said == [
        "From epoch 1 on, frozen: encoder, middle.",
        "From epoch 2 on, frozen: encoder.0, middle.",
        "From epoch 3 on, frozen: encoder.0.",
        "From epoch 4 on, frozen: nothing any more.",
    ]


def test_a_rehearsal_of_one_batch_works(make_trainer: MakeTrainer) -> None:
    trainer = trainer_of(make_trainer, Freezing(epochs=SCHEDULE), fast_dev_run=True)
    assert trainer.train().steps == 1
    assert torch.equal(trainer.model.middle.weight, Net().middle.weight)


@pytest.mark.parametrize(
    ("epochs", "message"),
    [
        ({"encdoer": 1}, r"finds no module 'encdoer' in the model: it has encoder, encoder\.0, .*, middle, head\."),
        (
            {"encoder": 2, "middle": 1, "h*": 3},
            r"no parameter to train in epoch 1, up to epoch 1: .*'encoder', 'middle'",
        ),
    ],
)
def test_patterns_that_match_nothing_or_everything_are_refused(
    make_trainer: MakeTrainer, epochs: dict[str, int], message: str
) -> None:
    trainer = trainer_of(make_trainer, Freezing(epochs=epochs))
    with pytest.raises(UsageError, match=message):
        trainer.train()


@pytest.mark.parametrize(
    ("epochs", "message"),
    [({}, "needs to know what to freeze"), ({"encoder": 0}, "freeze 'encoder' for at least 1 epoch, not 0")],
)
def test_arguments_that_cannot_be_used_are_refused(epochs: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Freezing(epochs=epochs)


def test_parameters_are_taken_from_a_configuration() -> None:
    assert components.get("callbacks", "freezing") is Freezing
    parameters = {"epochs": {"encoder.*": 2}, "evaluation_mode": False}
    freezing = Freezing(**validated_parameters(Freezing, parameters, source="test", section="callbacks.freezing"))
    assert (freezing.epochs, freezing.evaluation_mode) == ({"encoder.*": 2}, False)
