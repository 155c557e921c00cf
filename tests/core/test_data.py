"""Loaders: every sample once an epoch, in an order that the seed and the epoch alone decide."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact_torch import DataError, DataLoader, Dataset, InMemoryDataLoader, IterableDataset, UsageError
from artifact_torch.core.transfer import to_device

META = torch.device("meta")


class Numbers(Dataset):
    """Sample ``i`` holds the number ``i``."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return {"number": torch.tensor(index)}


class Stream(IterableDataset):
    def __init__(self, size):
        self.size = size

    def __iter__(self):
        return ({"number": torch.tensor(index)} for index in range(self.size))


def in_memory(size, **options):
    return InMemoryDataLoader({"number": torch.arange(size)}, **options)


def over_dataset(size, **options):
    return DataLoader(Numbers(size), **options)


LOADERS = [in_memory, over_dataset]


def batches_of(loader, epoch=1, **options):
    return [batch["number"].tolist() for batch in loader.batches(epoch, **options)]


def samples_of(loader, epoch=1, **options):
    return [number for batch in batches_of(loader, epoch, **options) for number in batch]


@pytest.mark.parametrize("make", LOADERS)
@given(
    size=st.integers(1, 40),
    batch_size=st.integers(1, 12),
    shuffle=st.booleans(),
    seed=st.integers(-5, 2**40),
    epoch=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=30)
def test_every_sample_comes_exactly_once_an_epoch(make, size, batch_size, shuffle, seed, epoch):
    loader = make(size, batch_size=batch_size, shuffle=shuffle, seed=seed)
    batches = batches_of(loader, epoch)
    assert sorted(number for batch in batches for number in batch) == list(range(size))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert len(batches) == len(loader)


@pytest.mark.parametrize("make", LOADERS)
@given(size=st.integers(1, 40), batch_size=st.integers(1, 12), shuffle=st.booleans(), start=st.integers(0, 45))
@settings(deadline=None, max_examples=30)
def test_starting_at_a_batch_gives_the_tail_of_the_epoch(make, size, batch_size, shuffle, start):
    loader = make(size, batch_size=batch_size, shuffle=shuffle, seed=3)
    assert batches_of(loader, 2, start=start) == batches_of(loader, 2)[start:]


@pytest.mark.parametrize("make", LOADERS)
def test_the_order_depends_on_the_seed_and_the_epoch_alone(make):
    def order(seed, epoch, disturbance):
        loader = make(50, batch_size=8, shuffle=True, seed=seed)
        torch.manual_seed(disturbance)
        for earlier in range(disturbance):
            next(loader.batches(earlier))
        return samples_of(loader, epoch)

    assert order(1, 4, disturbance=0) == order(1, 4, disturbance=3)
    orders = [order(seed, epoch, 0) for seed in (0, 1, 2) for epoch in (0, 1, 2)]
    assert len({tuple(each) for each in orders}) == 9


def test_both_loaders_give_the_same_order():
    options = {"batch_size": 8, "shuffle": True, "seed": 5}
    assert batches_of(in_memory(50, **options), 3) == batches_of(over_dataset(50, **options), 3)


@pytest.mark.parametrize("make", [*LOADERS, lambda size, **options: DataLoader(Stream(size), **options)])
def test_reading_batches_leaves_the_global_random_state_alone(make):
    torch.manual_seed(0)
    expected = torch.rand(())
    torch.manual_seed(0)
    samples_of(make(20, batch_size=4))
    assert torch.rand(()) == expected


@pytest.mark.parametrize("make", LOADERS)
def test_without_shuffling_the_order_is_that_of_the_data(make):
    assert batches_of(make(5, batch_size=2)) == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("make", [*LOADERS, lambda size, **options: DataLoader(Stream(size), **options)])
def test_a_smaller_last_batch_can_be_left_out(make):
    assert batches_of(make(5, batch_size=2, drop_last=True)) == [[0, 1], [2, 3]]
    assert batches_of(make(4, batch_size=2, drop_last=True)) == [[0, 1], [2, 3]]


@pytest.mark.parametrize("make", LOADERS)
def test_the_length_counts_batches(make):
    assert len(make(5, batch_size=2)) == 3
    assert len(make(5, batch_size=2, drop_last=True)) == 2
    assert len(make(4, batch_size=2)) == 2


@pytest.mark.parametrize("make", LOADERS)
def test_iterating_a_loader_gives_batches(make):
    assert [batch["number"].tolist() for batch in make(3, batch_size=2)] == [[0, 1], [2]]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("start", [0, 3])
def test_two_worker_processes_give_the_batches_of_none(shuffle, start):
    options = {"batch_size": 3, "shuffle": shuffle, "seed": 2}
    alone, together = over_dataset(20, **options), over_dataset(20, num_workers=2, **options)
    assert batches_of(together, start=start) == batches_of(alone, start=start)


@pytest.mark.parametrize("drop_last", [False, True])
def test_two_worker_processes_give_an_iterable_data_set_once(drop_last):
    alone = DataLoader(Stream(20), batch_size=3, drop_last=drop_last)
    together = DataLoader(Stream(20), batch_size=3, drop_last=drop_last, num_workers=2)
    assert batches_of(together) == batches_of(alone)
    assert batches_of(together, start=4) == batches_of(alone)[4:]


def test_an_iterable_data_set_is_read_in_its_own_order():
    loader = DataLoader(Stream(5), batch_size=2)
    assert batches_of(loader) == [[0, 1], [2, 3], [4]]
    assert batches_of(loader, start=1) == [[2, 3], [4]]
    with pytest.raises(TypeError, match="not known before it is read"):
        len(loader)


def test_an_iterable_data_set_is_not_shuffled():
    with pytest.raises(UsageError, match="has an order of its own"):
        DataLoader(Stream(5), batch_size=2, shuffle=True)


def test_a_data_set_that_reads_many_samples_at_once_is_asked_once_a_batch():
    class Blocks(Numbers):
        asked = []

        def __getitems__(self, indices):
            self.asked.append(indices)
            return [self[index] for index in indices]

    assert batches_of(DataLoader(Blocks(5), batch_size=2)) == [[0, 1], [2, 3], [4]]
    assert Blocks.asked == [[0, 1], [2, 3], [4]]


def test_a_loader_collates_as_it_is_told():
    loader = DataLoader(Numbers(4), batch_size=2, collate=lambda samples: {"sum": sum(s["number"] for s in samples)})
    assert [int(batch["sum"]) for batch in loader] == [1, 5]


def test_in_memory_entries_stay_aligned():
    numbers = torch.arange(30)
    loader = InMemoryDataLoader({"x": numbers, "y": -numbers[:, None].expand(30, 2)}, batch_size=7, shuffle=True)
    for batch in loader.batches(1):
        assert torch.equal(batch["y"], -batch["x"][:, None].expand(-1, 2))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("make", LOADERS)
def test_batches_are_placed_on_the_device(make, shuffle):
    loader = make(4, batch_size=2, shuffle=shuffle)
    assert [batch["number"].device for batch in loader.batches(0, device=META)] == [META, META]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "there is none"),
        ({"a": torch.zeros(3), "b": torch.zeros(4)}, "a has 3, b has 4"),
        ({"a": torch.zeros(0, 2)}, "at least one sample"),
    ],
)
def test_tensors_that_are_no_table_are_refused(tensors, message):
    with pytest.raises(DataError, match=message):
        InMemoryDataLoader(tensors, batch_size=2)


@pytest.mark.parametrize("make", LOADERS)
def test_a_batch_size_below_one_is_refused(make):
    with pytest.raises(UsageError, match="batch_size must be at least 1, not 0"):
        make(4, batch_size=0)


def test_dropping_the_only_batch_is_refused():
    with pytest.raises(UsageError, match="drop_last leaves no batch: there are 3 samples and batch_size is 4"):
        in_memory(3, batch_size=4, drop_last=True)


# Placement.

Pair = namedtuple("Pair", ["left", "right"])


class Row(list):
    pass


@dataclass(frozen=True)
class Frozen:
    value: torch.Tensor
    name: str


@dataclass(slots=True)
class Derived:
    value: torch.Tensor
    double: torch.Tensor = field(init=False)

    def __post_init__(self):
        self.double = self.value * 2


def test_placement_keeps_every_type():
    one = torch.ones(1)
    value = {
        "tensor": one,
        "ordered": OrderedDict(a=one),
        "default": defaultdict(list, a=one),
        "list": [one, "text", None],
        "row": Row([one]),
        "tuple": (one, 3),
        "pair": Pair(one, 2.5),
        "size": torch.Size([2, 3]),
        "frozen": Frozen(one, "name"),
        "derived": Derived(one),
    }
    moved = to_device(value, META)
    assert {name: type(each) for name, each in moved.items()} == {name: type(each) for name, each in value.items()}
    inner = [
        moved["tensor"],
        moved["ordered"]["a"],
        moved["default"]["a"],
        moved["list"][0],
        moved["row"][0],
        moved["tuple"][0],
        moved["pair"].left,
        moved["frozen"].value,
        moved["derived"].value,
        moved["derived"].double,
    ]
    assert all(tensor.device == META for tensor in inner)
    assert moved["list"][1:] == ["text", None]
    assert (moved["tuple"][1], moved["pair"].right, moved["frozen"].name) == (3, 2.5, "name")
    assert moved["size"] == torch.Size([2, 3])
    assert moved["default"]["absent"] == []


def test_placement_leaves_the_original_where_it_was():
    value = {
        "list": [torch.ones(1)],
        "frozen": Frozen(torch.ones(1), "name"),
        "default": defaultdict(list, a=torch.ones(1)),
    }
    to_device(value, META)
    cpu = torch.device("cpu")
    assert value["list"][0].device == value["frozen"].value.device == value["default"]["a"].device == cpu
