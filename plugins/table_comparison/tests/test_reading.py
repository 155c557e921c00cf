from __future__ import annotations

import gzip
import lzma
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from artifact_torch_table_comparison.reading import read_csv, table_from_frame
from artifact_torch_table_comparison.schema import ColumnSchema, Table
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from artifact_torch import DataError


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    return tmp_path / "t.csv"


def read(path: Path, content: str | bytes, **options: Any) -> Table:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_csv(path, **options)


def read_column(path: Path, *fields: str) -> tuple[ColumnSchema, list[Any], tuple[str, ...]]:
    """A column x of these fields beside a column of numbers, so that empty lines cannot arise."""
    table = read(path, "x,n\n" + "".join(f"{field},{row % 3}\n" for row, field in enumerate(fields)))
    return table.schema.columns[0], table.frame["x"].tolist(), tuple(text for text in table.warnings if "'x'" in text)


def refusal(path: Path, content: str | bytes, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(path, content, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows(count: int, *, head: str = "id,n", first: str = "{}") -> str:
    return head + "\n" + "".join(f"{first.format(row)},{row % 3}\n" for row in range(count))


@pytest.mark.parametrize(
    ("fields", "kind", "values"),
    [
        (["1", "-20", "0"], "integer", [1, -20, 0]),
        ([" 1", "+2", "3 "], "integer", [1, 2, 3]),
        (["9223372036854775807", "1"], "integer", [2**63 - 1, 1]),
        (["1", "1"], "integer", [1, 1]),
        (["0", "1", "1"], "integer", [0, 1, 1]),
        (["32.0", "5"], "float", [32.0, 5.0]),
        (["1e3", "-.5", "2."], "float", [1000.0, -0.5, 2.0]),
        (["true", "false"], "boolean", [True, False]),
        (["TRUE", "TRUE"], "boolean", [True, True]),
        (["Yes", "No"], "boolean", [True, False]),
        (["f", "t"], "boolean", [False, True]),
        (["yes", "yes"], "category", ["yes", "yes"]),
        (["yes", "no", "maybe"], "category", ["yes", "no", "maybe"]),
        (["true", "True", "false"], "category", ["true", "True", "false"]),
        (["007", "123"], "category", ["007", "123"]),
        (["a ", "a"], "category", ["a ", "a"]),
        (['""', "a"], "category", ["", "a"]),
        (['"NA"', "a"], "category", ["NA", "a"]),
        (["inf", "a"], "category", ["inf", "a"]),
        (["2020-01-02", "1999-12-31"], "date", [pd.Timestamp(2020, 1, 2), pd.Timestamp(1999, 12, 31)]),
        (["2020-01-02 03:04:05"] * 2, "date", [pd.Timestamp(2020, 1, 2, 3, 4, 5)] * 2),
        (["2020-01-02T03:04:05"] * 2, "date", [pd.Timestamp(2020, 1, 2, 3, 4, 5)] * 2),
        (["2020/1/2", "2020/01/03"], "date", [pd.Timestamp(2020, 1, 2), pd.Timestamp(2020, 1, 3)]),
        (["13/2/2020", "01/02/2020"], "date", [pd.Timestamp(2020, 2, 13), pd.Timestamp(2020, 2, 1)]),
        (["2/13/2020", "01/02/2020"], "date", [pd.Timestamp(2020, 2, 13), pd.Timestamp(2020, 1, 2)]),
    ],
)
def test_a_column_is_what_its_texts_are(csv_file: Path, fields: list[str], kind: str, values: list[Any]) -> None:
    schema, found, warnings = read_column(csv_file, *fields)
    assert (schema.kind, found, warnings) == (kind, values, ())


@pytest.mark.parametrize("missing", ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "<NA>", "#N/A"])
@pytest.mark.parametrize(
    ("field", "dtype"),
    [("1", "Int64"), ("1.5", "float64"), ("true", "boolean"), ("2020-01-01", "datetime64[ns]"), ("a", "object")],
)
def test_missing_texts_are_missing_in_every_kind_of_column(
    csv_file: Path, missing: str, field: str, dtype: str
) -> None:
    table = read(csv_file, f"x,n\n{field},1\n{missing},2\n")
    assert table.frame["x"].isna().tolist() == [False, True]
    assert table.frame["x"].dtype == dtype
    assert table.schema.columns[0].dtype == dtype


def test_a_missing_label_is_none(csv_file: Path) -> None:
    assert read_column(csv_file, "a", "")[1] == ["a", None]


def test_a_column_without_values_stays_empty(csv_file: Path) -> None:
    schema, values, warnings = read_column(csv_file, "", "NA")
    assert (schema.kind, values) == ("empty", [None, None])
    assert warnings == ("column 'x' has no values: it stays empty",)


def test_words_among_numbers_are_named_with_what_to_do(csv_file: Path) -> None:
    schema, _, warnings = read_column(csv_file, "1", "2", "3", "4", "?", "?", "low", "high")
    assert schema.kind == "category"
    assert warnings[0].startswith("column 'x' is mostly numbers, but '?', 'low', 'high' in it are none")
    assert "leave those fields empty" in warnings[0]
    assert "and 1 more" in read_column(csv_file, *"12345678", "a", "b", "c", "d")[2][0]
    assert read_column(csv_file, "1", "a", "b")[2] == ()
    assert read_column(csv_file, "01234", "12345", "23456")[2] == ()


def test_integers_beyond_64_bits_are_labels_with_a_warning(csv_file: Path) -> None:
    schema, values, warnings = read_column(csv_file, "9223372036854775808", "1")
    assert (schema.kind, values) == ("category", ["9223372036854775808", "1"])
    assert "more than 64 bits" in warnings[0]


def test_dates_that_are_ambiguous_or_impossible_are_labels_with_a_warning(csv_file: Path) -> None:
    schema, _, warnings = read_column(csv_file, "01/02/2020", "03/04/2020")
    assert schema.kind == "category"
    assert "day first or month first" in warnings[0]
    schema, _, warnings = read_column(csv_file, "2020-02-29", "2021-02-29")
    assert schema.kind == "category"
    assert "'2021-02-29' is none" in warnings[0]


def test_more_than_a_thousand_labels_are_warned_of(csv_file: Path) -> None:
    labels = [f"label {row % 1001}" for row in range(1100)]
    assert "1,001 different labels" in read_column(csv_file, *labels)[2][0]
    assert read_column(csv_file, *[f"label {row % 1000}" for row in range(1100)])[2] == ()


def test_all_different_numbers_in_disorder_dates_and_short_texts_are_learnt(csv_file: Path) -> None:
    squares = [str(row * row) for row in range(50)]
    assert read_column(csv_file, *squares)[0].kind == "integer"
    assert read_column(csv_file, *[f"{row}.5" for row in range(50)])[0].kind == "float"
    days = [str(date(2020, 1, 1) + timedelta(days=row)) for row in range(50)]
    assert read_column(csv_file, *days)[0].kind == "date"
    assert read_column(csv_file, *[f"name {row}" for row in range(20)])[0].kind == "category"
    assert read_column(csv_file, *[str(row) for row in range(20)])[0].kind == "integer"


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_compressed_files_are_read(tmp_path: Path, suffix: str) -> None:
    compress = {".gz": gzip.compress, ".xz": lzma.compress}[suffix]
    assert read(tmp_path / f"t.csv{suffix}", compress(b"a,b\n1,x\n2,y\n")).frame["a"].tolist() == [1, 2]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffa,b\n1,ä\n2,y\n",
        "a,b\r\n1,ä\r\n2,y\r\n",
        "a,b\r1,ä\r2,y\r",
        "a;b\n1;ä\n2;y",
        "a\tb\n1\tä\n2\ty\n",
        '\n"a","b"\n"1","ä"\n\n"2","y"\n\n',
    ],
)
def test_marks_line_ends_separators_quotes_and_blank_lines_do_not_matter(csv_file: Path, content: str) -> None:
    assert_frame_equal(read(csv_file, content).frame, pd.DataFrame({"a": [1, 2], "b": ["ä", "y"]}, dtype=None))


def test_fields_hold_separators_quotes_and_lines(csv_file: Path) -> None:
    table = read(csv_file, 'a,"b,""c"\n"x,y","say ""hi"""\n"two\r\nlines",5" disc\n')
    assert table.frame.to_dict("list") == {"a": ["x,y", "two\r\nlines"], 'b,"c': ['say "hi"', '5" disc']}


def test_an_empty_line_in_a_table_of_one_column_is_a_missing_value(csv_file: Path) -> None:
    assert read(csv_file, "a\nx\n\ny\n").frame["a"].tolist() == ["x", None, "y"]


def test_columns_are_dropped_and_renumbered_on_request(csv_file: Path) -> None:
    table = read(csv_file, rows(30, head="id,n", first="{}"), renumber=["id"])
    assert table.schema.columns[0].kind == "identifier"
    assert table.schema.restore({"n": table.frame["n"]}, 30)["id"].tolist() == list(range(30))
    assert [column.name for column in read(csv_file, rows(30), drop=["id"]).schema.columns] == ["n"]
    named = read(csv_file, rows(30, first="user-{}"), renumber=["id"])
    assert named.frame["id"][3] == "user-3"
    assert named.schema.restore({"n": named.frame["n"]}, 30)["id"].tolist() == list(range(1, 31))


def test_identifier_columns_are_refused_with_the_flags_that_settle_them(csv_file: Path) -> None:
    message = refusal(csv_file, rows(21))
    assert "t.csv, column 'id' numbers its rows" in message
    assert "leave it out with --drop id or number it anew with --renumber id" in message
    message = refusal(csv_file, rows(21, head="user id,n", first="u{}"))
    assert "column 'user id' is different in every row" in message
    assert "--drop 'user id'" in message
    with pytest.raises(DataError, match=r"leave it out with drop=\['id'\] or number it anew with renumber=\['id'\]"):
        table_from_frame(pd.DataFrame({"id": range(21), "n": 1}))


def test_a_unique_column_of_numbers_with_a_word_is_refused_naming_the_word(csv_file: Path) -> None:
    content = "x,n\n" + "".join(f"{row * row},1\n" for row in range(30)) + "?,1\n"
    assert "is mostly numbers, but '?' in it are none" in refusal(csv_file, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "t.csv is empty"),
        (b"\n\n \n", "t.csv is empty"),
        ("a,b\n", "has column names, but no rows: a table needs at least two rows"),
        ("a,b\n1,2\n", "has one row only: a table needs at least two rows"),
        ("a,b,a\n1,2,3\n", "columns 1 and 3 are both named 'a'"),
        ("a,,c\n1,2,3\n", "column 2 has no name"),
        ("a,b\n1,2\n1,2,3\n", "line 3 has 3 fields where the header has 2"),
        ('a,b\n"x\ny",2\n\n1\n', "line 5 has 1 field where the header has 2"),
        ('a,b\n1,2\n3,"x\n4,y\n', "line 3 begins a row that cannot be split into fields"),
        ("a,b\n1,2.5\n1,-inf\n", "column 'b' has an infinite number in row 2"),
        ("a,b\n1,1e999\n1,2\n", "column 'b' has an infinite number in row 1"),
        (b"a,b\n1,x\n2,\xff\n", "line 3 is not UTF-8 text"),
        ("a,b\n1,2\n".encode("utf-16"), "line 1 is not UTF-8 text"),
        (b"a,b\n1,\x00\n", "line 2 is not text"),
        ("a,b\n,\n,\n", "has no column left to learn"),
    ],
)
def test_a_file_that_is_no_table_is_refused_where_and_why(csv_file: Path, content: str | bytes, message: str) -> None:
    found = refusal(csv_file, content)
    assert str(csv_file) in found
    assert message in found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop": ["weigth"]}, "no column 'weigth' for --drop weigth: did you mean 'weight'?"),
        ({"renumber": ["zzz"]}, "no column 'zzz' for --renumber zzz: its columns are weight, b"),
        ({"drop": ["weight", "b"]}, "no column left after dropping"),
        ({"drop": ["b"], "renumber": ["b"]}, "column 'b' is both to be dropped and to be renumbered"),
        ({"drop": ["b"], "renumber": ["weight"]}, "no column left to learn"),
    ],
)
def test_wrong_options_are_refused(csv_file: Path, options: dict[str, Any], message: str) -> None:
    assert message in refusal(csv_file, "weight,b\n1,x\n2,y\n", **options)


def test_paths_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no file .*absent\.csv"):
        read_csv(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="is a directory"):
        read_csv(tmp_path)
    loop = tmp_path / "loop.csv"
    loop.symlink_to(loop)
    with pytest.raises(DataError, match=r"cannot be read \(Too many levels"):
        read_csv(loop)
    for suffix in (".gz", ".xz"):
        assert "damaged or not compressed" in refusal(tmp_path / f"t.csv{suffix}", "a,b\n1,2\n")
    assert "damaged" in refusal(tmp_path / "t.csv.gz", gzip.compress(b"a,b\n1,2\n" * 100)[:-20])


LABELS = st.one_of(
    st.sampled_from(["", "NA", " ", '"', ",", "\r\n", "\r", "1", "true", "2020-01-01"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
)
VALUES = {
    "integer": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "rounded": st.floats(-1e6, 1e6).map(lambda value: round(value, 2)),
    "boolean": st.booleans(),
    "day": st.dates(date(1700, 1, 1), date(2200, 1, 1)).map(pd.Timestamp),
    "second": st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)).map(
        lambda moment: moment.replace(microsecond=0)
    ),
    "moment": st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1)),
    "category": LABELS,
}
# The value of the first row makes the kind of the column certain.
FIRST: dict[str, Any] = {
    "integer": 0,
    "float": 0.5,
    "rounded": 0.25,
    "boolean": True,
    "day": pd.Timestamp(2020, 1, 1),
    "second": datetime(2020, 1, 1, 1, 1, 1),
    "moment": datetime(2020, 1, 1, 1, 1, 1, 1),
    "category": "a label",
}


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    num_rows = draw(st.integers(2, 12))
    columns = {}
    for position, kind in enumerate(draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=4))):
        optional = st.one_of(st.none(), VALUES[kind])
        values = [FIRST[kind], *draw(st.lists(optional, min_size=num_rows - 1, max_size=num_rows - 1))]
        columns[f"{kind} {position}"] = pd.Series(values, dtype=object)
    return pd.DataFrame(columns)


@given(frame=frames())
@settings(deadline=None, max_examples=50)
def test_a_table_that_is_written_and_read_is_the_same_and_written_again_byte_for_byte(
    frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.getbasetemp()
    table = table_from_frame(frame)
    table.schema.write_csv(table.frame, directory / "once.csv")
    again = read_csv(directory / "once.csv")
    assert_frame_equal(again.frame, table.frame, check_exact=True)
    again.schema.write_csv(again.frame, directory / "twice.csv")
    assert (directory / "twice.csv").read_bytes() == (directory / "once.csv").read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        "a,b,c,d\n1,1.50,yes,2020-01-01\n,2.25,no,\n3,,,2020-01-03\n",
        "a,b,c,d\n1e-05,007,TRUE,13/02/2020\n0.5,,FALSE,01/02/2020\n",
        'a,b,c,d\n32,"x,y",t,2020-01-01T10:00:00\n5.5,"",f,2020-01-01T10:00:01\n',
        'a\n"NA"\n\nx\n',
        '"a,b"\n0.1\n0.2\n',
    ],
)
def test_a_file_in_the_canonical_form_is_written_back_byte_for_byte(csv_file: Path, content: str) -> None:
    table = read(csv_file, content)
    table.schema.write_csv(table.frame, csv_file)
    assert csv_file.read_bytes() == content.encode()
