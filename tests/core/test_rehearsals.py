"""Short trainings, to see that everything runs: fast_dev_run, limits, a sanity validation."""

from __future__ import annotations

import pytest
import torch

from artifact_torch import Callback, ScoreCallback, UsageError, ValidationRoutine, hookimpl
from artifact_torch.testing import tiny_loader


class Batches(Callback):
    """Counts training batches, and keeps their first samples."""

    def __init__(self):
        self.first = []

    @hookimpl
    def execute_batch_postprocessing(self, batch):
        self.first.append(batch["features"][0].tolist())


class Counted(ScoreCallback):
    """The number of validation batches."""

    all_counts: list[int]

    def __init__(self):
        super().__init__("batches")
        self.all_counts = []

    def reset(self):
        self.count = 0

    def update(self, batch, model_output):
        self.count += 1

    def compute(self):
        self.all_counts.append(self.count)
        return float(self.count)


@pytest.fixture
def build(make_trainer):
    def build(**options):
        batches, counted = Batches(), Counted()
        validation = ValidationRoutine(val_loader=tiny_loader(seed=1))
        return make_trainer(callbacks=[batches, counted], validation=validation, **options), batches, counted

    return build


@pytest.mark.parametrize(("fast", "expected"), [(True, 1), (3, 3)])
def test_a_fast_run_is_one_epoch_of_so_many_batches(build, fast, expected):
    trainer, batches, counted = build(fast_dev_run=fast)
    assert trainer.train().epochs == 1
    assert len(batches.first) == expected
    assert counted.all_counts == [expected]
    assert trainer.run.model_path.is_dir()


@pytest.mark.parametrize(("limit", "expected"), [(2, 2), (0.5, 2)])
def test_a_limit_holds_for_training_and_validation(build, limit, expected):
    trainer, batches, counted = build(limit_batches=limit)
    trainer.train()
    assert len(batches.first) == 2 * expected
    assert counted.all_counts == [expected] * 2
    assert batches.first[:2] != batches.first[2:]


def test_batches_to_overfit_are_the_same_in_every_epoch(build):
    trainer, batches, counted = build(overfit_batches=2)
    trainer.train()
    assert batches.first[:2] == batches.first[2:]
    assert counted.all_counts == [4, 4]


def test_a_schedule_is_made_for_the_batches_that_there_will_be(build):
    made = []

    def schedule(optimizer, steps):
        made.append(steps)
        return torch.optim.lr_scheduler.ConstantLR(optimizer)

    build(fast_dev_run=2, scheduler=schedule)
    build(limit_batches=3, scheduler=schedule)
    assert made == [2, 6]


def test_a_sanity_validation_comes_before_the_first_batch_and_leaves_nothing(build):
    plain, _, _ = build()
    plain.train()
    trainer, _, counted = build(sanity_validation=True)
    trainer.train()
    assert counted.all_counts == [2, 4, 4]
    assert trainer.epoch_scores.equals(plain.epoch_scores)
    assert all(map(torch.equal, trainer.model.parameters(), plain.model.parameters()))


def test_a_mistake_in_validation_shows_before_the_first_batch(build):
    class Mistaken(ScoreCallback):
        def reset(self):
            pass

        def update(self, batch, model_output):
            raise KeyError("label")

        def compute(self):
            return 0.0

    trainer, batches, _ = build(sanity_validation=True)
    trainer.validation.callbacks = {split: (Mistaken("score"),) for split in trainer.validation.callbacks}
    with pytest.raises(KeyError, match="label"):
        trainer.train()
    assert batches.first == []


def test_numbers_out_of_range_are_refused(make_trainer):
    for options in ({"limit_batches": 0}, {"limit_batches": 2.5}, {"overfit_batches": 0}, {"epochs": 0}):
        with pytest.raises(UsageError):
            make_trainer(**options)
    with pytest.raises(UsageError, match="epochs must be at least 1, not 0"):
        make_trainer().train(epochs=0)


def test_the_pace_is_known_while_training_and_afterwards(make_trainer):
    paces = []

    class Looking(Callback):
        @hookimpl
        def execute_batch_postprocessing(self, trainer):
            paces.append((trainer.throughput.batches, trainer.throughput.batches_per_second))

    trainer = make_trainer(callbacks=[Looking()])
    assert trainer.throughput.batches_per_second == 0.0
    trainer.train()
    assert [batches for batches, _ in paces] == [1, 2, 3, 4] * 2
    assert all(pace > 0 for _, pace in paces)
    assert 0.0 <= trainer.throughput.data_wait_share <= 1.0
