"""Labels: which class is the positive one, what is no label of two classes, and how rows are held out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from artifact_torch_binary_classification import labelled_table
from artifact_torch_table_comparison import read_csv, table_from_frame

from artifact_torch import DataError


def labelled(labels, positive=None, **columns):
    frame = pd.DataFrame({"size": np.linspace(0, 1, len(labels)), "label": labels, **columns})
    return labelled_table(table_from_frame(frame), "label", positive)


def from_csv(tmp_path, *labels, positive=None):
    path = tmp_path / "table.csv"
    path.write_text("size,label\n" + "".join(f"{number / 7},{label}\n" for number, label in enumerate(labels)))
    return labelled_table(read_csv(path), "label", positive)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["0", "1", "1"], ("0", "1")),
        (["1.0", "0.0", "1.0"], ("0", "1")),
        (["true", "false", "true"], ("false", "true")),
        (["No", "Yes", "No"], ("No", "Yes")),
        (["n", "y", "n"], ("n", "y")),
        (["F", "T", "F"], ("F", "T")),
    ],
)
def test_the_positive_class_is_inferred_where_it_is_plain(labels, classes, tmp_path):
    table = from_csv(tmp_path, *labels)
    assert table.classes.names == classes
    assert table.is_positive.tolist() == [label.startswith(classes[1]) for label in labels]
    assert table.labels.tolist() == [classes[int(positive)] for positive in table.is_positive]


def test_labels_of_a_frame_are_understood_by_their_type():
    assert labelled([0, 1, 1]).classes.names == ("0", "1")
    assert labelled([True, False, True]).classes.names == ("false", "true")
    assert labelled([0.0, 1.0, None]).classes.names == ("0", "1")
    assert labelled(pd.Categorical(["no", "yes", "no"])).classes.names == ("no", "yes")


@pytest.mark.parametrize(
    ("labels", "positive", "name"),
    [
        (["benign", "malignant"], "malignant", "malignant"),
        (["0", "1"], 0, "0"),
        (["0", "1"], False, "0"),
        (["1.0", "2.0"], 2, "2"),
        (["no", "yes"], True, "yes"),
        (["no", "yes"], "no", "no"),
        (["-1", "1"], "1", "1"),
    ],
)
def test_the_positive_class_can_be_chosen(labels, positive, name, tmp_path):
    assert from_csv(tmp_path, *labels, positive=positive).classes.positive == name


@pytest.mark.parametrize(
    ("labels", "positive", "message"),
    [
        (
            ["benign", "malignant"],
            None,
            "The label 'label' has the classes 'benign' and 'malignant', and neither is plainly the positive one: say "
            "which, with positive = 'malignant' for instance.",
        ),
        (
            ["benign", "malignant"],
            "Malignant",
            "The label 'label' has no class 'Malignant' to be the positive one: its classes are 'benign' and "
            "'malignant'.",
        ),
        (
            ["a", "b", "c", "a"],
            None,
            "The label 'label' has 3 classes, 'a' (2), 'b' (1), 'c' (1): keep the rows of two of them, or make a "
            "column that says yes or no.",
        ),
        (["a", "a"], None, "The label 'label' is 'a' in 2 rows and nothing else: give rows of two classes."),
        (
            ["", ""],
            None,
            "The label 'label' has no value in any row: give a column that says which class a row is of.",
        ),
    ],
)
def test_what_is_no_label_of_two_classes_is_refused_in_one_sentence(labels, positive, message, tmp_path):
    with pytest.raises(DataError) as refused:
        from_csv(tmp_path, *labels, positive=positive)
    assert str(refused.value) == message


def test_many_classes_are_counted_and_not_all_shown():
    with pytest.raises(DataError, match=r"has 9 classes, 'c0' \(2\), .* and 4 more: keep"):
        labelled([f"c{number}" for number in range(9)] * 2)


def test_a_table_without_the_label_or_with_nothing_else_is_refused():
    table = table_from_frame(pd.DataFrame({"size": [0.5, 0.25], "label": [0, 1]}))
    with pytest.raises(DataError, match=r"no column 'labels' for the label: the columns are 'size', 'label'\."):
        labelled_table(table, "labels")
    with pytest.raises(DataError, match="Beside the label 'label' there is no column to learn from"):
        labelled_table(table_from_frame(pd.DataFrame({"label": [0, 1], "empty": [None, None]})), "label")


def test_rows_without_a_label_are_left_out_with_a_warning_and_the_others_know_where_they_stand():
    table = labelled([1.0, None, 0.0, 1.0, None])
    assert table.numbers.tolist() == [1, 3, 4]
    assert table.features.frame["size"].tolist() == [0, 0.5, 0.75]
    assert "2 rows without a value of the label 'label': left out" in table.warnings


def test_the_label_is_no_feature():
    table = labelled([0, 1, 0], other=["a", "b", "a"])
    assert [column.name for column in table.features.schema.columns] == ["size", "other"]
    assert list(table.features.frame.columns) == ["size", "other"]


@pytest.mark.parametrize(
    ("negatives", "positives", "share", "held_out"),
    [
        (80, 20, 0.8, (16, 4)),
        (97, 3, 0.8, (19, 1)),
        (10, 10, 0.999, (1, 1)),
        (9, 1, 0.5, (5, 0)),
        (3, 3, 0.001, (2, 2)),
    ],
)
def test_rows_are_held_out_in_proportion_to_their_classes(negatives, positives, share, held_out):
    table = labelled([0] * negatives + [1] * positives)
    learnt, kept = table.split(share, seed=0)
    assert (int((~kept.is_positive).sum()), int(kept.is_positive.sum())) == held_out
    assert sorted([*learnt.numbers, *kept.numbers]) == list(range(1, len(table) + 1))
    assert learnt.numbers.tolist() == sorted(learnt.numbers)


def test_the_seed_chooses_the_rows_to_hold_out():
    table = labelled([0, 1] * 50)
    chosen = [table.split(0.8, seed)[1].numbers.tolist() for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_nothing_is_held_out_if_all_is_to_be_learnt_and_the_only_row_of_a_class_is_learnt():
    table = labelled([0] * 9 + [1])
    assert table.split(1, seed=0) == (table, None)
    assert "only one row has the class '1': it is learnt, and no row of it is held out" in table.warnings


def test_a_sample_is_the_same_each_time_and_in_order():
    table = labelled([0, 1] * 50)
    rows = table.sample(10, seed=3)
    assert rows.tolist() == sorted(rows) == table.sample(10, seed=3).tolist() != table.sample(10, seed=4).tolist()
    assert len(set(rows.tolist())) == 10
    assert table.sample(100, seed=3).tolist() == list(range(100))
