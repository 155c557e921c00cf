"""Loaders of fewer batches."""

from __future__ import annotations

import pytest

from artifact_torch import DataLoader, IterableDataset, UsageError
from artifact_torch.core.limits import restricted
from artifact_torch.testing import tiny_loader


class Stream(IterableDataset):
    def __iter__(self):
        yield from range(10)


def told(loader, epoch=1, start=0):
    return [batch["features"].tolist() for batch in loader.batches(epoch, start=start)]


def test_nothing_to_restrict_is_the_same_loader():
    loader = tiny_loader()
    assert restricted(loader) is loader


@pytest.mark.parametrize(("limit", "batches"), [(1, 1), (3, 3), (9, 4), (0.5, 2), (1.0, 4), (0.01, 1)])
def test_the_first_batches_of_each_epoch_are_given(limit, batches):
    loader = tiny_loader()  # of four batches
    limited = restricted(loader, limit=limit)
    assert len(limited) == batches
    for epoch in (1, 2):
        assert told(limited, epoch) == told(loader, epoch)[:batches]
        assert told(limited, epoch, start=1) == told(loader, epoch)[1:batches]


def test_batches_to_overfit_are_the_same_in_every_epoch():
    loader = tiny_loader()
    repeated = restricted(loader, overfit=2)
    assert told(repeated, 5) == told(repeated, 1) == told(loader, 1)[:2]
    assert told(repeated, 5, start=1) == told(loader, 1)[1:2]


def test_a_stream_is_limited_too():
    limited = restricted(DataLoader(Stream(), batch_size=2), limit=3)
    assert [batch.tolist() for batch in limited.batches(1)] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(TypeError):
        len(limited)


def test_what_it_is_asked_it_asks_the_loader():
    limited = restricted(tiny_loader(), limit=2)
    assert limited.batch_size == 16
    assert limited.with_batch_size(8).batch_size == 8
    assert len(limited.with_batch_size(8)) == 2
    assert limited.description() == {**tiny_loader().description(), "limit": 2, "repeated": False}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "limit_batches must be at least 1 batch, not 0"),
        ({"limit": 1.5}, "a share of them up to 1.0, not 1.5"),
        ({"overfit": 0}, "overfit_batches must be at least 1, not 0"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        restricted(tiny_loader(), **options)


def test_a_share_of_an_unknown_number_is_refused():
    with pytest.raises(
        UsageError, match=r"limit_batches=0\.5 is a share of a number of batches that the loader does not"
    ):
        restricted(DataLoader(Stream(), batch_size=2), limit=0.5)
