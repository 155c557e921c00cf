"""Awkward tables from the command line: learnt as a person would expect, or refused in one sentence."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch
from artifact_torch_table_comparison import Table, read_csv

from artifact_torch.cli.main import main

NUM_ROWS = 60
HELD_OUT_ROWS = (2, 4, 8, 10, 16, 20, 27, 34, 42, 51, 52, 57)
"""What the default seed leaves for validation of so many rows."""

FEW_ARTIFACTS = [
    "--set",
    "training.epochs=2",
    "--set",
    "validation.plots=[]",
    "--set",
    "validation.score_collections=[]",
    "--set",
    "validation.mode='inline'",  # a process of its own would take longer to start than all the rest
]


@dataclass
class Learnt:
    """A table and what was generated after learning it, both as they are read."""

    original: Table
    synthetic: Table
    text: str
    result: dict
    talk: str

    def values(self, name):
        return self.synthetic.frame[name]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def learn(tmp_path, capfd):
    """Writes a table to a file, learns it and reads both again."""

    def learn(content, *options):
        path = written(tmp_path / "table.csv", content)
        arguments = ["--data", path, "--runs", tmp_path / "runs", *FEW_ARTIFACTS, *options]
        code, out, talk = run(capfd, arguments)
        assert code == 0, talk
        result = json.loads(out)
        synthetic = Path(result["synthetic"])
        flags = dropped_and_renumbered(options)
        return Learnt(
            read_csv(path, **flags),
            read_csv(synthetic, renumber=flags["renumber"]),
            synthetic.read_text(encoding="utf-8"),
            result,
            talk,
        )

    return learn


@pytest.fixture
def refuse(tmp_path, capfd):
    """Tries to learn what cannot be learnt; returns the sentence, and the path that it may name."""

    def refuse(content, *options):
        path = written(tmp_path / "table.csv", content)
        before = {*tmp_path.iterdir(), tmp_path / "runs"}
        code, out, talk = run(capfd, ["--data", path, "--runs", tmp_path / "runs", *options])
        assert code == 2
        assert not out
        assert set(tmp_path.rglob("*")) <= before
        assert talk.startswith("Error: ")
        assert talk.count("\n") == 1
        return talk.removeprefix("Error: ").removeprefix(str(path)).strip()

    return refuse


def run(capfd, arguments):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--json", *map(str, arguments)])
    shown = capfd.readouterr()
    return ended.value.code, shown.out, shown.err


def written(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8", newline="")
    elif content is not None:
        lines = [",".join(content), *(",".join(map(str, row)) for row in zip(*content.values(), strict=True))]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def dropped_and_renumbered(options):
    chosen = {"drop": [], "renumber": []}
    for flag, column in itertools.pairwise(options):
        if flag in ("--drop", "--renumber"):
            chosen[flag.removeprefix("--")].append(column)
    return chosen


def drawn(choices, seed=0, num_rows=NUM_ROWS):
    return random.Random(seed).choices(choices, k=num_rows)


def sizes(num_rows=NUM_ROWS):
    """A column of decimals to go with the awkward one."""
    draw = random.Random(99)
    return [round(draw.gauss(5, 1), 1) for _ in range(num_rows)]


def same_columns(learnt):
    """Whether every column was written in a way in which it is read as what it was."""
    return learnt.synthetic.schema == learnt.original.schema


def lines_of_warnings(talk):
    return [line.removeprefix("WARNING: ") for line in talk.splitlines() if line.startswith("WARNING: ")]


@pytest.mark.parametrize("value", ["7", "1.50", "north", "2020-02-29", "yes"])
def test_a_constant_column_is_reproduced(value, learn):
    learnt = learn({"size": sizes(), "constant": [value] * NUM_ROWS})
    assert {line.split(",")[1] for line in learnt.text.splitlines()[1:]} == {value}
    assert not learnt.result["warnings"]


def test_a_constant_column_alone_is_reproduced(learn):
    learnt = learn({"constant": ["7"] * NUM_ROWS})
    assert learnt.text == "constant\n" + "7\n" * 48
    assert learnt.result["scores"]["MEAN_JS_DISTANCE"] == pytest.approx(0, abs=1e-9)


def test_an_all_missing_column_stays_so_with_a_warning(learn):
    learnt = learn({"size": sizes(), "nothing": [""] * NUM_ROWS})
    assert learnt.values("nothing").isna().all()
    (warning,) = learnt.result["warnings"]
    assert warning == "column 'nothing' has no values: it stays empty"
    assert lines_of_warnings(learnt.talk) == [warning]


@pytest.mark.parametrize("labels", [("True", "False"), ("yes", "no"), ("T", "F")])
def test_booleans_stay_booleans_as_they_were_written(labels, learn):
    learnt = learn({"size": sizes(), "flag": drawn(labels)})
    assert same_columns(learnt)
    assert learnt.values("flag").dtype == bool
    assert {line.split(",")[1] for line in learnt.text.splitlines()[1:]} == set(labels)


def test_booleans_with_missing_values_stay_booleans(learn):
    learnt = learn({"size": sizes(), "flag": drawn(["true", "false", ""])})
    assert same_columns(learnt)
    assert set(learnt.values("flag").dropna()) == {True, False}
    assert learnt.values("flag").isna().any()


@pytest.mark.parametrize("date", ["2021-03-{:02d}", "{:02d}/12/2021", "2021-03-{:02d}T07:30"])
@pytest.mark.parametrize("missing", [[], [""] * 9])
def test_dates_round_trip_as_dates(date, missing, learn):
    learnt = learn({"size": sizes(), "day": drawn([*(date.format(day) for day in range(1, 29)), *missing])})
    assert same_columns(learnt)
    days, known = learnt.values("day"), learnt.original.frame["day"]
    assert pd.api.types.is_datetime64_any_dtype(days)
    assert days.min() >= known.min()
    assert days.max() <= known.max()
    assert days.isna().any() == bool(missing)


def test_integers_with_missing_values_stay_integers(learn):
    learnt = learn({"size": sizes(), "count": drawn(["", 3, 4, 5, 900])})
    assert same_columns(learnt)
    assert learnt.values("count").dtype == "Int64"
    assert set(learnt.values("count").dropna()) == {3, 4, 5, 900}
    assert learnt.values("count").isna().any()
    assert ".0" not in {line.split(",")[1] for line in learnt.text.splitlines()[1:]}


@pytest.mark.parametrize("row", range(0, NUM_ROWS, 12))
def test_a_category_seen_once_is_no_problem_wherever_it_is(row, learn):
    labels = ["common"] * NUM_ROWS
    labels[row] = "rare"
    learnt = learn({"size": sizes(), "label": labels})
    assert set(learnt.values("label")) <= {"common", "rare"}
    assert all(score < 1 for score in learnt.result["scores"].values())


def test_held_out_rows_may_have_labels_that_training_rows_lack(learn):
    # Of 30 labels that occur once, some are held out in any split.
    labels = [f"once {row}" if row % 2 else "common" for row in range(NUM_ROWS)]
    learnt = learn({"size": sizes(), "label": labels})
    assert set(learnt.values("label")) < set(labels)
    metrics = (Path(learnt.result["run_dir"]) / "metrics.jsonl").read_text().splitlines()
    held_out = [line for line in map(json.loads, metrics) if line["split"] == "validation"]
    assert {line["name"] for line in held_out} == {
        "MEAN_JS_DISTANCE",
        "CORRELATION_DISTANCE",
        "MAX_MISSING_SHARE_DIFFERENCE",
    }
    assert all(0 <= line["value"] <= 1 for line in held_out)


def test_unicode_and_empty_strings_come_back_and_are_not_missing_values(learn):
    labels = ["Ж", "日本", "naïve 😀", '""', "", '"NA"', '"a, ""b"""']
    learnt = learn({"Größe 📏": sizes(), "label": drawn(labels)}, "--target-rows", "200")
    assert learnt.text.startswith("Größe 📏,label\n")
    values = learnt.values("label")
    assert set(values.dropna()) == {"Ж", "日本", "naïve 😀", "", "NA", 'a, "b"'}
    assert values.isna().any()


def test_numbers_as_text_with_a_few_words_are_a_category_with_a_warning(learn):
    values = ["unknown", "n.d.", *drawn(range(5), num_rows=NUM_ROWS - 2)]
    learnt = learn({"size": sizes(), "reading": values})
    assert same_columns(learnt)
    assert learnt.synthetic.schema.columns[1].kind == "category"
    assert set(learnt.values("reading")) <= set(map(str, values))
    (warning,) = learnt.result["warnings"]
    assert "'reading' is mostly numbers, but 'unknown', 'n.d.' in it are none" in warning
    assert lines_of_warnings(learnt.talk) == [warning]


def test_two_rows_are_enough(learn):
    learnt = learn("number,label\n1,x\n2,y\n", "--target-rows", "30")
    assert len(learnt.synthetic) == 30
    assert set(learnt.values("number")) <= {1, 2}
    assert set(learnt.values("label")) <= {"x", "y"}


@pytest.mark.parametrize("values", [sizes(), drawn("abc"), drawn(["a", "b", ""]), drawn(["", "1.5", "2"])])
def test_one_column_is_enough(values, learn):
    learnt = learn({"only": values})
    assert same_columns(learnt)
    assert len(learnt.synthetic) == 48
    assert set(learnt.values("only").dropna()) <= set(learnt.original.frame["only"].dropna())


def test_a_column_whose_values_are_all_held_out_stays_empty(learn):
    numbers = ["1.5" if row in (10, 40) else "" for row in range(NUM_ROWS)]
    learnt = learn({"number": numbers, "label": drawn("ab")}, "--set", "data.train_share=0.05")
    assert learnt.original.schema.columns[0].kind == "float"
    assert learnt.values("number").isna().all()


def test_held_out_rows_without_any_value_are_no_problem(learn):
    learnt = learn({"number": ["" if row in HELD_OUT_ROWS else "1.5" for row in range(NUM_ROWS)]})
    assert set(learnt.values("number")) == {1.5}


def test_training_rows_without_any_value_are_refused(refuse):
    table = {"number": ["1.5" if row in HELD_OUT_ROWS else "" for row in range(NUM_ROWS)]}
    message = refuse(table, *FEW_ARTIFACTS)
    assert "None of the 48 rows to compare with has a number" in message


@pytest.mark.lengthy
def test_many_columns_and_few_rows(learn):
    table = {f"column {number}": sizes(50) if number % 2 else drawn("abcd", number, 50) for number in range(30)}
    learnt = learn(table, "--set", "validation.scores=[]")
    assert same_columns(learnt)
    assert len(learnt.synthetic) == 40


@pytest.mark.lengthy
def test_every_awkward_column_at_once_is_drawn(learn):
    learnt = learn(
        {
            "size": sizes(),
            "constant": ["7"] * NUM_ROWS,
            "nothing": [""] * NUM_ROWS,
            "flag": drawn(["yes", "no", ""]),
            "day": drawn([f"2021-03-{day:02d}" for day in range(1, 29)]),
            "count": drawn(["", 3, 4, 5]),
            "label": ["once", *drawn(["Ж", "$5 and $6", '""', ""], num_rows=NUM_ROWS - 1)],
            "reading": ["unknown", *drawn(range(5), num_rows=NUM_ROWS - 1)],
        },
        "--set",
        "validation.plots=['PDF', 'CORRELATION_HEATMAP_JUXTAPOSITION', 'PCA_JUXTAPOSITION']",
    )
    assert same_columns(learnt)
    plots = [Path(plot) for plot in learnt.result["plots"]]
    assert {plot.parent.name for plot in plots} == {"PDF", "CORRELATION_HEATMAP_JUXTAPOSITION", "PCA_JUXTAPOSITION"}
    assert all(plot.read_bytes().startswith(b"\x89PNG") for plot in plots)


def test_unique_identifiers_are_refused_with_both_flags_and_then_both_work(refuse, learn):
    table = {"id": [f"u{row}" for row in range(NUM_ROWS)], "size": sizes()}
    message = refuse(table)
    assert "column 'id' is different in every row" in message
    assert "--drop id" in message
    assert "--renumber id" in message
    dropped = learn(table, "--drop", "id")
    assert list(dropped.synthetic.frame) == ["size"]
    renumbered = learn(table, "--renumber", "id")
    assert list(renumbered.synthetic.frame) == ["id", "size"]
    assert renumbered.values("id").tolist() == list(range(1, 49))


def test_running_numbers_are_refused_and_go_on_from_their_first_when_renumbered(refuse, learn):
    table = {"row number": range(100, 100 + NUM_ROWS), "size": sizes()}
    message = refuse(table)
    assert "column 'row number' numbers its rows" in message
    assert "--renumber 'row number'" in message
    learnt = learn(table, "--renumber", "row number", "--target-rows", "70")
    assert learnt.values("row number").tolist() == list(range(100, 170))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "There is no file"),
        ("", "is empty: give a CSV file with a header line"),
        ("\n\n", "is empty: give a CSV file with a header line"),
        ("a,b\n", "has column names, but no rows: a table needs at least two rows"),
        ("a,b\n1,2\n", "has one row only: a table needs at least two rows"),
        ("a,b,a\n1,2,3\n3,4,5\n", "columns 1 and 3 are both named 'a': give each a name of its own"),
        ("a,\n1,2\n3,4\n", "column 2 has no name: name every column"),
        ("a,b\n1,2\ninf,3\n", "column 'a' has an infinite number in row 2: replace it by a number or leave it empty"),
        ("a,b\n1,-Infinity\n2,3\n", "column 'b' has an infinite number in row 1"),
        ("a,b\n1,2\n3\n", "line 3 has 1 field where the header has 2: complete the line"),
        ('a,b\n1,2\n3,"4\n', "close every quotation mark"),
        ("a\n" + "\n" * 5, "no column left to learn"),
        (b"\xff\xfea,b\n1,2\n", "line 1 is not UTF-8 text: save the table as CSV in UTF-8"),
        (b"\x7fELF\x02\x01\x00\x00\n", "is not text"),
    ],
)
def test_what_is_no_table_is_refused_saying_what_to_do(content, told, refuse):
    assert told in refuse(content)


def test_a_folder_is_refused(tmp_path, refuse):
    (tmp_path / "table.csv").mkdir()
    assert "is a directory: give the path of a CSV file in it" in refuse(None)


def test_a_file_that_the_system_does_not_read_is_refused(tmp_path, capfd):
    path = tmp_path / ("long" * 100 + ".csv")
    code, _, talk = run(capfd, ["--data", path, "--runs", tmp_path / "runs"])
    assert code == 2
    assert "cannot be read (File name too long): check the path and its permissions" in talk
    assert not (tmp_path / "runs").exists()


def test_a_damaged_compressed_file_is_refused(tmp_path, capfd):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(b"a\n1\n2\n" * 1000)[:-9])
    code, _, talk = run(capfd, ["--data", path, "--runs", tmp_path / "runs"])
    assert code == 2
    assert "is damaged" in talk
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--set", "training.epoch=3"], "unknown key 'epoch' in [training]: did you mean 'epochs'?"),
        (["--set", "validation.plot=[]"], "unknown key 'plot' in [validation]: did you mean 'plots'?"),
        (["--set", "model.name=vea"], "There is no model named 'vea': did you mean 'vae'?"),
        (["--set", "stoppers.patiense.epochs=3"], "There is no stopper named 'patiense': did you mean 'patience'?"),
        (["--drop", "siez"], "has no column 'siez' for --drop siez: did you mean 'size'?"),
        (["--renumber", "siez"], "has no column 'siez' for --renumber siez: did you mean 'size'?"),
        (["--drop", "size", "--drop", "label"], "has no column left after dropping: keep at least one"),
        (["--drop", "size", "--renumber", "size"], "column 'size' is both to be dropped and to be renumbered"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(options, told, refuse):
    assert told in refuse({"size": sizes(), "label": drawn("ab")}, *options)
