"""Data sets that draw random numbers: the same samples with any number of workers, and after a resume."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal

import numpy as np
import pytest
import torch

from artifact_torch import DataError, DataLoader, Dataset, IterableDataset, UsageError


def drawn():
    """A number from each of the global generators."""
    return torch.tensor([random.random(), np.random.random(), float(torch.rand(()))], dtype=torch.float64)


class Noisy(Dataset):
    def __len__(self):
        return 22

    def __getitem__(self, index):
        return {"index": index, "noise": drawn()}


class Fetched(Noisy):
    """Reads a whole batch at once."""

    def __getitems__(self, indices):
        assert isinstance(indices, list)
        return [{"index": index, "noise": drawn()} for index in indices]


class Stream(IterableDataset):
    def __iter__(self):
        for index in range(22):
            yield {"index": index, "noise": drawn()}


class Broken(Noisy):
    """Its worker process is killed, as the system does when memory is short."""

    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


def told(loader, epoch=1, start=0):
    return [(batch["index"].tolist(), batch["noise"].tolist()) for batch in loader.batches(epoch, start=start)]


@pytest.mark.parametrize("dataset", [Noisy(), Fetched(), Stream()], ids=lambda dataset: type(dataset).__name__)
def test_what_a_data_set_draws_depends_on_seed_epoch_and_batch_alone(dataset):
    shuffle = not isinstance(dataset, Stream)
    loader = DataLoader(dataset, batch_size=4, shuffle=shuffle, seed=3)
    whole = told(loader)
    torch.manual_seed(99)
    for start in range(7):
        assert told(loader, start=start) == whole[start:]
    assert sorted(index for indices, _ in whole for index in indices) == list(range(22))
    assert told(loader, epoch=2) != whole
    assert told(DataLoader(dataset, batch_size=4, shuffle=shuffle, seed=4)) != whole


@pytest.mark.lengthy
@pytest.mark.parametrize("dataset", [Fetched(), Noisy()], ids=lambda dataset: type(dataset).__name__)
def test_workers_give_the_same_samples_as_reading_here(dataset):
    here, workers = (DataLoader(dataset, batch_size=4, shuffle=True, num_workers=n) for n in (0, 2))
    assert told(workers) == told(here)
    assert told(workers, start=3) == told(here)[3:]


@pytest.mark.lengthy
def test_workers_that_resume_a_stream_give_the_same_samples():
    workers = DataLoader(Stream(), batch_size=4, num_workers=2)
    assert told(workers, start=2) == told(workers)[2:]


@pytest.mark.parametrize("dataset", [Noisy(), Stream()], ids=lambda dataset: type(dataset).__name__)
def test_reading_leaves_the_random_state_alone(dataset):
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = drawn()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    told(DataLoader(dataset, batch_size=4))
    assert torch.equal(drawn(), expected)


def test_a_consumer_that_draws_does_not_change_what_is_read():
    loader = DataLoader(Stream(), batch_size=4)
    seen = []
    for batch in loader.batches(1):
        drawn()
        seen.append((batch["index"].tolist(), batch["noise"].tolist()))
    assert seen == told(loader)


@pytest.mark.lengthy
def test_a_worker_that_dies_is_told():
    with pytest.raises(DataError, match=r"A process that reads data has died .* read with num_workers=0 to see"):
        told(DataLoader(Broken(), batch_size=4, num_workers=1))


@pytest.mark.lengthy
def test_reading_that_is_given_up_leaves_no_process():
    reader = DataLoader(Noisy(), batch_size=2, num_workers=2).batches(1)
    next(reader)
    assert multiprocessing.active_children()
    reader.close()
    del reader
    assert not multiprocessing.active_children()


def test_the_seed_is_the_trainers_unless_it_has_one_of_its_own():
    of_trainer, own = DataLoader(Noisy(), batch_size=4, shuffle=True), DataLoader(Noisy(), batch_size=4, seed=2)
    for loader in (of_trainer, own):
        loader.use_seed(7)
    assert (of_trainer.seed, own.seed) == (7, 2)
    assert told(of_trainer) == told(DataLoader(Noisy(), batch_size=4, shuffle=True, seed=7))


def test_it_describes_what_its_batches_depend_on():
    loader = DataLoader(Noisy(), batch_size=4, shuffle=True, seed=3)
    assert loader.description() == {
        "class": "DataLoader",
        "data set": "Noisy",
        "samples": 22,
        "batch_size": 4,
        "shuffle": True,
        "drop_last": False,
        "seed": 3,
    }
    assert loader.with_batch_size(8).description()["batch_size"] == 8
    assert loader.batch_size == 4


def test_a_negative_number_of_workers_is_refused():
    with pytest.raises(UsageError, match="num_workers must be 0 or more, not -1"):
        DataLoader(Noisy(), batch_size=4, num_workers=-1)
