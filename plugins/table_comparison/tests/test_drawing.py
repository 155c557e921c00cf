"""What makes plots readable."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from artifact_torch_table_comparison.drawing import (
    MOST_LABELS,
    FewerLabels,
    readable,
    with_both_lines_visible,
)
from matplotlib.figure import Figure
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


def test_of_two_lines_upon_each_other_the_second_is_thin_and_neither_has_markers():
    figure = Figure()
    axes = figure.subplots()
    for width in (5, 5):
        axes.plot([0, 1], [0, 1], marker="o", linewidth=width, label="a line")
    with_both_lines_visible(figure)
    assert [line.get_linewidth() for line in axes.lines] == [5, 1.5]
    assert [line.get_marker() for line in axes.lines] == ["", ""]
