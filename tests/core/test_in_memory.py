"""The in-memory loader: weights, seeds, descriptions, memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact_torch import DataError, InMemoryDataLoader


def rows(loader, epoch=1, start=0):
    return [batch["row"].tolist() for batch in loader.batches(epoch, start=start)]


def loader_of(num_samples, **options):
    return InMemoryDataLoader({"row": torch.arange(num_samples)}, **{"batch_size": 4, **options})


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 12), st.booleans(), st.booleans(), st.integers(0, 5), st.integers(0, 12))
def test_an_epoch_has_each_sample_once_and_can_be_entered_anywhere(n, size, shuffle, drop, epoch, start):
    if drop and n < size:
        return
    loader = loader_of(n, batch_size=size, shuffle=shuffle, drop_last=drop, seed=1)
    whole = rows(loader, epoch)
    assert len(whole) == len(loader)
    seen = [row for batch in whole for row in batch]
    assert len(seen) == len(set(seen)) == (n - n % size if drop else n)
    assert rows(loader, epoch, start) == whole[start:]


def test_weighted_samples_come_in_proportion():
    weights = torch.tensor([1.0, 0.0, 3.0, 6.0])
    loader = InMemoryDataLoader({"row": torch.arange(4)}, batch_size=4, weights=weights, seed=0)
    drawn = torch.tensor([row for epoch in range(2500) for batch in rows(loader, epoch) for row in batch])
    shares = torch.bincount(drawn, minlength=4) / len(drawn)
    assert torch.allclose(shares, weights / 10, atol=0.02)
    assert rows(loader, 7) == rows(loader, 7)


def test_a_weight_of_zero_at_the_end_is_never_drawn():
    loader = loader_of(1000, weights=torch.cat([torch.ones(500), torch.zeros(500)]), batch_size=1000)
    assert max(row for epoch in range(50) for batch in rows(loader, epoch) for row in batch) < 500


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.ones(3), r"needs shape \(4,\)"),
        (torch.zeros(4), "one of them above 0"),
        (torch.tensor([1.0, -1.0, 1.0, 1.0]), "not negative"),
        (torch.tensor([1.0, float("nan"), 1.0, 1.0]), "must be finite"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(weights, message):
    with pytest.raises(DataError, match=message):
        loader_of(4, weights=weights)


def test_the_tensors_are_not_copied():
    tensor = torch.arange(12).reshape(6, 2)
    for options in ({}, {"shuffle": True}, {"weights": torch.ones(6)}):
        loader = InMemoryDataLoader({"row": tensor}, batch_size=4, **options)
        assert loader._tensors["row"].data_ptr() == tensor.data_ptr()
    (first, _) = InMemoryDataLoader({"row": tensor}, batch_size=4).batches(1)
    assert first["row"].data_ptr() == tensor.data_ptr()


def test_the_seed_is_the_trainers_unless_it_has_one_of_its_own():
    of_trainer, own = loader_of(30, shuffle=True), loader_of(30, shuffle=True, seed=2)
    for loader in (of_trainer, own):
        loader.use_seed(7)
    assert rows(of_trainer) == rows(loader_of(30, shuffle=True, seed=7))
    assert rows(own) == rows(loader_of(30, shuffle=True, seed=2))


def test_its_description_changes_with_everything_that_its_batches_depend_on():
    tensor = torch.arange(10_000.0)
    changed = tensor.clone()
    changed[0] = 5.0
    loaders = [
        InMemoryDataLoader({"row": tensor}, batch_size=4, shuffle=True),
        InMemoryDataLoader({"row": tensor}, batch_size=5, shuffle=True),
        InMemoryDataLoader({"row": tensor}, batch_size=4),
        InMemoryDataLoader({"row": tensor}, batch_size=4, shuffle=True, drop_last=True),
        InMemoryDataLoader({"row": tensor}, batch_size=4, shuffle=True, seed=1),
        InMemoryDataLoader({"row": changed}, batch_size=4, shuffle=True),
        InMemoryDataLoader({"row": tensor.double()}, batch_size=4, shuffle=True),
        InMemoryDataLoader({"row": tensor[:-1]}, batch_size=4, shuffle=True),
        InMemoryDataLoader({"row": tensor}, batch_size=4, weights=torch.ones(10_000)),
        InMemoryDataLoader({"row": tensor}, batch_size=4, weights=torch.arange(10_000.0)),
    ]
    descriptions = [str(loader.description()) for loader in loaders]
    assert len(set(descriptions)) == len(loaders)
    assert descriptions[0] == str(loaders[0].with_batch_size(9).with_batch_size(4).description())


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_samples_may_have_any_shape_and_type(shape):
    for dtype in (torch.bool, torch.int8, torch.bfloat16, torch.complex64):
        tensor = torch.zeros((6, *shape)).to(dtype)
        loader = InMemoryDataLoader({"row": tensor}, batch_size=4, shuffle=True)
        batches = list(loader.batches(1))
        assert [(len(batch["row"]), batch["row"].dtype) for batch in batches] == [(4, dtype), (2, dtype)]
        assert loader.description()["samples"] == 6
