"""The batch size that is found is the one that is trained with, and nothing else is changed by the search."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from artifact_torch_callbacks import EMA, BatchSizeFinder
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from artifact_torch import (
    BatchLoader,
    Callback,
    CheckpointError,
    DataLoader,
    Dataset,
    InMemoryDataLoader,
    Model,
    OutOfMemoryError,
    Trainer,
    UsageError,
    hookimpl,
)
from artifact_torch import registry as components
from artifact_torch.config import validated_parameters

MakeTrainer = Callable[..., Trainer]
EPOCHS, SAMPLES = 3, 40
FEATURES = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(5))


class Net(Model):
    """Statistics, random numbers, a counter, and a memory that takes so many samples."""

    def __init__(self, most: int = SAMPLES) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 4))
        self.most = most
        self.sizes: tuple[int, ...] = ()

    def forward(self, batch: Any) -> Any:
        if len(batch["features"]) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        self.sizes += (len(batch["features"]),)
        output = self.layers(batch["features"])
        return {"output": output, "loss": (output - batch["features"]).square().mean()}


class Samples(Dataset[Any]):
    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> Any:
        return {"features": FEATURES[index] + 0.1 * torch.randn(4)}


class Rigid(BatchLoader[Any]):
    """Batches of one size."""

    def batches(self, epoch: int, *, start: int = 0, device: torch.device | None = None) -> Iterator[Any]:
        yield from ({"features": rows} for rows in FEATURES.split(4)[start:])

    def __len__(self) -> int:
        return SAMPLES // 4


def loader(batch_size: int = 4) -> InMemoryDataLoader[Any]:
    batches: Any = {"features": FEATURES}
    return InMemoryDataLoader(batches, batch_size=batch_size, shuffle=True)


def trainer_of(make_trainer: MakeTrainer, *callbacks: Callback | str, **options: Any) -> Trainer:
    options = {"model": Net(), "loader": loader(), "epochs": EPOCHS, **options}
    return make_trainer(callbacks=callbacks, **options)


def finder(**options: Any) -> BatchSizeFinder:
    """Finds 16, whatever the machine does."""
    return BatchSizeFinder(**{"choose": "largest", "lowest": 8, "highest": 16, "steps": 1, **options})


class Saving(Callback):
    """Saves a checkpoint after each batch, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: list[Path] = []

    @hookimpl
    def execute_batch_postprocessing(self, trainer: Trainer) -> None:
        self.paths.append(trainer.save_checkpoint(self.folder / str(len(self.paths))))


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same(one: Trainer, other: Trainer) -> None:
    ours, theirs = copied(one.model), copied(other.model)
    assert [name for name, tensor in ours.items() if not torch.equal(tensor, theirs[name])] == []


@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_is_that_with_the_size_that_is_found_and_else_as_without_a_search(
    make_trainer: MakeTrainer, accumulate: int
) -> None:
    searched = trainer_of(make_trainer, EMA(decay=0.5), finder(), accumulate=accumulate)
    without = trainer_of(make_trainer, EMA(decay=0.5), loader=loader(16), accumulate=accumulate)
    searched.train()
    without.train()
    assert searched.model.sizes == (16, 16, 8) * EPOCHS
    assert_same(searched, without)
    with searched.evaluating(), without.evaluating():  # nor has an average taken the steps of the search
        assert_same(searched, without)
    assert searched.metrics.history("train/loss") == without.metrics.history("train/loss")


def test_a_loader_that_reads_samples_one_by_one_is_resized_too(make_trainer: MakeTrainer) -> None:
    searched, without = (
        trainer_of(make_trainer, *callbacks, loader=DataLoader(Samples(), batch_size=size, shuffle=True))
        for callbacks, size in (([finder()], 4), ([], 16))
    )
    searched.train()
    without.train()
    assert_same(searched, without)


def test_the_size_and_what_each_costs_are_in_the_record_and_in_the_log(
    make_trainer: MakeTrainer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "artifact_torch")
    trainer = trainer_of(make_trainer, finder(highest=None), model=Net(most=20))
    trainer.train()
    record = trainer.run.record["batch_size_finder"]
    assert (record["found"], record["before"], record["too_large"]) == (16, 4, 32)
    assert [row["batch_size"] for row in record["sizes"]] == [8, 16]
    assert all(row["seconds_per_step"] > 0 for row in record["sizes"])
    assert "The batch size is 16 now, and was 4: it is the largest." in caplog.text


def test_by_default_the_smallest_of_the_fast_sizes_is_taken(make_trainer: MakeTrainer) -> None:
    assert components.get("callbacks", "batch_size_finder") is BatchSizeFinder
    trainer = trainer_of(make_trainer, "batch_size_finder")
    trainer.train()
    record = trainer.run.record["batch_size_finder"]
    speeds = {row["batch_size"]: row["samples_per_second"] for row in record["sizes"]}
    fast = [size for size, speed in speeds.items() if speed >= 0.9 * max(speeds.values())]
    assert record["found"] == min(fast) == trainer.model.sizes[0]


def test_a_training_that_is_resumed_does_not_look_again_and_ends_the_same(
    make_trainer: MakeTrainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saving = Saving(tmp_path)
    whole = trainer_of(make_trainer, finder(), saving, accumulate=2)
    whole.train()
    caplog.clear()
    caplog.set_level(logging.INFO, "artifact_torch")
    for path in saving.paths[::2]:  # the first one is saved before the first step
        resumed = trainer_of(make_trainer, finder(), accumulate=2)
        resumed.load_checkpoint(path)
        resumed.train()
        assert_same(resumed, whole)
    resumed.load_checkpoint(saving.paths[3])  # a trainer that has trained with the size already
    resumed.train()
    assert_same(resumed, whole)
    assert "Looking for" not in caplog.text


def test_what_the_user_has_changed_about_the_loader_is_still_told_at_a_resume(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    whole = trainer_of(make_trainer, finder())
    whole.train()
    path = whole.save_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match=r"train_loader\.batch_size was 4 and is 5"):
        trainer_of(make_trainer, finder(), loader=loader(5)).load_checkpoint(path)


def test_a_limit_counts_batches_of_the_size_that_is_found(make_trainer: MakeTrainer) -> None:
    trainer = trainer_of(make_trainer, finder(), limit_batches=2)
    trainer.train()
    assert trainer.model.sizes == (16, 16) * EPOCHS
    assert len(trainer.train_loader) == 2


def test_a_search_that_fails_leaves_everything_as_it_was(make_trainer: MakeTrainer) -> None:
    model = Net(most=3)
    before = copied(model)
    given = loader()
    trainer = trainer_of(make_trainer, finder(), model=model, loader=given)
    with pytest.raises(OutOfMemoryError):
        trainer.train()
    assert trainer.train_loader is given
    assert [name for name, tensor in copied(model).items() if not torch.equal(tensor, before[name])] == []
    model.most = SAMPLES
    trainer.train()  # and it can be tried again
    assert model.sizes == (16, 16, 8) * EPOCHS


def test_a_schedule_of_a_number_of_steps_is_refused(make_trainer: MakeTrainer) -> None:
    trainer = trainer_of(
        make_trainer,
        finder(),
        scheduler=lambda optimizer, steps: OneCycleLR(optimizer, 0.1, steps),
        scheduler_interval="step",
    )
    with pytest.raises(UsageError, match="A OneCycleLR is made for a number of steps, and BatchSizeFinder changes it"):
        trainer.train()


def test_a_loader_that_cannot_change_its_size_is_refused(make_trainer: MakeTrainer) -> None:
    trainer = trainer_of(make_trainer, finder(), loader=Rigid())
    with pytest.raises(UsageError, match="Rigid cannot change the size of its batches"):
        trainer.train()


def test_a_rehearsal_of_one_batch_works(make_trainer: MakeTrainer) -> None:
    trainer = trainer_of(make_trainer, finder(), fast_dev_run=True)
    assert trainer.train().steps == 1
    assert trainer.model.sizes == (16,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"choose": "smallest"}, "the 'fastest' or the 'largest' size, not 'smallest'"),
        ({"lowest": 0}, "at least 1, not 0 and 10"),
        ({"steps": 0}, "at least 1, not 16 and 0"),
        ({"lowest": 16, "highest": 8}, "at least lowest, 16 samples, not 8"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        BatchSizeFinder(**options)


def test_parameters_are_taken_from_a_configuration() -> None:
    parameters = {"choose": "largest", "lowest": 8, "highest": 64, "steps": 3}
    section = "callbacks.batch_size_finder"
    callback = BatchSizeFinder(**validated_parameters(BatchSizeFinder, parameters, source="test", section=section))
    assert (callback.choose, callback.lowest, callback.highest, callback.steps) == ("largest", 8, 64, 3)
