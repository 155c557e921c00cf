"""What makes plots readable."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from artifact_torch_table_comparison.drawing import (
    MOST_LABELS,
    MOST_POINTS,
    FewerLabels,
    readable,
    with_fewer_points,
)
from pandas.testing import assert_frame_equal


def test_few_short_labels_are_left_as_they_are():
    frame = pd.DataFrame({"a": ["x", "y", "(missing)"]})
    fewer = FewerLabels({"a": ["x", "y", "(missing)"]})
    assert fewer.labels == {"a": ["x", "y", "(missing)"]}
    assert_frame_equal(fewer.of(frame), frame)


def test_rare_labels_are_put_together_and_those_of_no_real_row_are_not():
    labels = [f"{number}" for number in range(50)]
    fewer = FewerLabels({"a": labels, "b": ["x"]})
    assert fewer.labels["a"] == [*labels[: MOST_LABELS - 1], "(other)"]
    frame = pd.DataFrame({"a": ["0", "49", "30", "strange"], "b": ["x"] * 4})
    assert fewer.of(frame)["a"].tolist() == ["0", "(other)", "(other)", "strange"]


def test_missing_values_are_none_of_the_rare_labels():
    labels = [f"{number}" for number in range(50)] + ["((missing))"]
    shown = FewerLabels({"a": labels}).labels["a"]
    assert shown == [*labels[: MOST_LABELS - 2], "((missing))", "(other)"]


def test_fewer_points_have_the_same_distribution_and_the_same_ends():
    numbers = np.random.default_rng(0).normal(size=10_000)
    frame = pd.DataFrame({"a": numbers, "b": ["x"] * 10_000})
    few = with_fewer_points(frame, ["a"])
    assert len(few) == MOST_POINTS
    assert (few["a"].min(), few["a"].max()) == (numbers.min(), numbers.max())
    for share in (0.01, 0.3, 0.5, 0.9):
        assert abs((numbers <= few["a"].quantile(share)).mean() - share) < 1 / MOST_POINTS
    assert with_fewer_points(frame.head(MOST_POINTS), ["a"]).equals(frame.head(MOST_POINTS))


def test_as_many_labels_as_fit_are_not_put_together():
    labels = [f"{number}" for number in range(MOST_LABELS)]
    assert FewerLabels({"a": labels}).labels == {"a": labels}


def test_the_word_for_rare_labels_is_none_of_the_others():
    labels = ["(other)", *(f"{number}" for number in range(50))]
    assert FewerLabels({"a": labels}).labels["a"][-1] == "((other))"


def test_long_labels_are_shortened_unless_they_would_look_the_same():
    long = "a long name that goes on and on"
    fewer = FewerLabels({"a": [long], "b": [f"{long} one", f"{long} two"]})
    assert fewer.labels["a"] == ["a long name that goes on an…"]
    assert fewer.labels["b"] == [f"{long} one", f"{long} two"]


def test_text_shrinks_as_columns_grow_and_settings_are_put_back():
    before = dict(mpl.rcParams)
    sizes = []
    for num_columns in (1, 5, 12, 40, 500):
        with readable(dpi=77, num_columns=num_columns):
            assert mpl.rcParams["figure.dpi"] == 77
            sizes.append(mpl.rcParams["font.size"])
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 10
    assert sizes[-1] == 3
    assert dict(mpl.rcParams) == before
