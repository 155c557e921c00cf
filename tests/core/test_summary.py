"""The summary of a model: which modules are listed, and what is counted how often."""

from __future__ import annotations

import pytest
from torch import nn

from artifact_torch import UsageError, summarize


class Classifier(nn.Module):
    """An encoder and a frozen head, and one scale of its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(nn.Linear(1, 1).bias.detach())
        self.encoder = nn.Sequential(nn.Linear(39, 128), nn.Sequential(nn.ReLU(), nn.Linear(128, 3)))
        self.head = nn.Linear(3, 2).requires_grad_(False)


class Tied(nn.Module):
    """An embedding whose weight is also that of the output."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.output = nn.Linear(4, 10, bias=False)
        self.output.weight = self.embedding.weight


def test_every_module_is_a_row_with_all_that_is_inside_it():
    summary = summarize(Classifier())
    assert [(row.path, row.class_name, row.parameters, row.trainable) for row in summary.rows] == [
        ("encoder", "Sequential", 5507, 5507),
        ("encoder.0", "Linear", 5120, 5120),
        ("encoder.1", "Sequential", 387, 387),
        ("encoder.1.0", "ReLU", 0, 0),
        ("encoder.1.1", "Linear", 387, 387),
        ("head", "Linear", 8, 0),
    ]
    assert (summary.class_name, summary.parameters, summary.trainable) == ("Classifier", 5516, 5508)


@pytest.mark.parametrize(
    ("depth", "paths"),
    [(0, []), (1, ["encoder", "head"]), (2, ["encoder", "encoder.0", "encoder.1", "head"])],
)
def test_depth_limits_the_rows_and_changes_no_number(depth, paths):
    model = Classifier()
    summary, whole = summarize(model, depth=depth), summarize(model)
    assert [row.path for row in summary.rows] == paths
    assert set(summary.rows) <= set(whole.rows)
    assert (summary.parameters, summary.trainable) == (whole.parameters, whole.trainable)


def test_tied_parameters_count_once_in_all():
    summary = summarize(Tied())
    assert [row.parameters for row in summary.rows] == [40, 40]
    assert (summary.parameters, summary.trainable) == (40, 40)


def test_a_module_in_two_places_is_listed_in_both():
    shared = nn.Linear(2, 2)
    summary = summarize(nn.Sequential(shared, nn.ReLU(), shared))
    assert [(row.path, row.parameters) for row in summary.rows] == [("0", 6), ("1", 0), ("2", 6)]
    assert summary.parameters == 6


def test_the_table_is_aligned_and_ends_with_the_whole():
    assert str(summarize(Classifier(), depth=1)) == (
        "module   class       parameters  trainable\n"
        "encoder  Sequential       5,507      5,507\n"
        "head     Linear               8          0\n"
        "in all   Classifier       5,516      5,508"
    )


def test_a_lazy_module_has_no_numbers_yet():
    assert summarize(nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 1))).parameters == 4


def test_a_negative_depth_is_refused():
    with pytest.raises(UsageError, match="depth must be at least 0 levels of modules, not -1"):
        summarize(nn.Linear(1, 1), depth=-1)
