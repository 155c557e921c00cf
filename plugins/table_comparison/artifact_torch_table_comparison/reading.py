"""Reading tables, from CSV files or from frames in memory, with every problem named in one sentence."""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import lzma
import re
import shlex
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as arrow_csv

from artifact_torch import DataError
from artifact_torch_table_comparison.inference import (
    Column,
    Texts,
    as_identifier,
    column_from_series,
    column_from_texts,
    is_identifier,
    level_warnings,
    values_like,
)
from artifact_torch_table_comparison.schema import MISSING_TEXTS, Table, TableSchema

_BLOCK_BYTES = 1 << 24
"""How much pyarrow parses at once; no row of a table may be larger."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the columns come from, and how its reader drops or renumbers one of them."""

    name: str
    drop: str
    renumber: str

    def remedy(self, option: str, column: str) -> str:
        return option.format(shlex.quote(column) if option.startswith("--") else repr(column))


def read_csv(path: Path, *, drop: Sequence[str] = (), renumber: Sequence[str] = ()) -> Table:
    """Read a CSV file (also ``.gz`` or ``.xz``) and tell from its texts what each column holds.

    The file is UTF-8 with a header line; fields are separated by commas or, if the header has none, by semicolons or
    tabs. An empty field is a missing value, and so are NA, N/A, n/a, NaN, nan, null, NULL, None, <NA> and #N/A; in
    quotes they are text, and ``""`` is an empty text.

    Args:
        path: The file.
        drop: Columns to leave out.
        renumber: Columns that identify rows: they are not learnt but numbered anew in generated tables.

    Raises:
        DataError: The file cannot be read as a table, or a column cannot be learnt; the message says what to do.
    """
    path = Path(path)
    source = _Source(str(path), "--drop {}", "--renumber {}")
    columns = _columns_of_file(path, lambda names: _kept(source, names, drop, renumber))
    _refuse_few_rows(source, len(next(iter(columns.values())).codes))
    where = f"{path}, column "
    return _table(
        source, {name: column_from_texts(name, texts, f"{where}{name!r}") for name, texts in columns.items()}, renumber
    )


def read_csv_like(path: Path, schema: TableSchema, original: Path, *, drop: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV file whose columns mean what those of another table do, as synthetic rows do.

    The columns may stand in another order. A column that is not modelled is read as texts.

    Args:
        path: The file, as for :func:`read_csv`.
        schema: The columns of the other table.
        original: The file of the other table, for messages.
        drop: Columns to leave out, where they are there.

    Raises:
        DataError: The file cannot be read, has other columns, or one of them holds what it cannot mean.
    """
    path = Path(path)
    wanted = [column.name for column in schema.columns]

    def kept(names: Sequence[str]) -> list[str]:
        absent = [name for name in wanted if name not in names]
        surplus = [name for name in names if name not in wanted and name not in drop]
        if absent or surplus:
            found = [f"{path} has no column {absent[0]!r}"] if absent else []
            found += [f"{path} has a column {surplus[0]!r} that {original} has not"] if surplus else []
            raise DataError(f"{' and '.join(found)}: give tables with the same columns, or leave some out with --drop")
        return wanted

    columns = _columns_of_file(path, kept)
    return pd.DataFrame(
        {
            column.name: values_like(column, columns[column.name], f"{path}, column {column.name!r}")
            for column in schema.columns
        }
    )


def table_from_frame(frame: pd.DataFrame, *, drop: Sequence[str] = (), renumber: Sequence[str] = ()) -> Table:
    """Understand a frame in memory: numpy, nullable, Arrow, categorical, date and text columns.

    The frame is not changed; its index is not read; its dtypes are those of generated tables. Text stays text, except
    for dates written as text. Python dates come back as ``datetime64``, decimals as floats.

    Args:
        frame: The rows; column names are texts.
        drop: Columns to leave out.
        renumber: Columns that identify rows: they are not learnt but numbered anew in generated tables.

    Raises:
        DataError: The frame is no table, or a column cannot be learnt; the message says what to do.
    """
    source = _Source("The frame", "drop=[{}]", "renumber=[{}]")
    names: list[Any] = frame.columns.tolist()
    for position, name in enumerate(names):
        if not isinstance(name, str):
            raise DataError(
                f"The frame's column {position + 1} is named {name!r}, which is no text: rename it to a text"
            )
    _refuse_names(source.name, names)
    kept = _kept(source, names, drop, renumber)
    _refuse_few_rows(source, len(frame))
    return _table(
        source, {name: column_from_series(name, frame[name], f"The frame, column {name!r}") for name in kept}, renumber
    )


def _table(source: _Source, columns: Mapping[str, Column], renumber: Sequence[str]) -> Table:
    settled = {name: as_identifier(column) if name in renumber else column for name, column in columns.items()}
    for name, column in settled.items():
        if is_identifier(column):
            raise DataError(_identifier_message(source, name, column))
    if not any(column.schema.is_modelled for column in settled.values()):
        raise DataError(f"{source.name} has no column left to learn: keep one that has values and identifies no rows")
    frame = pd.DataFrame({name: column.values for name, column in settled.items()})
    warnings = [text for column in settled.values() for text in (*column.warnings, *level_warnings(column))]
    return Table(frame, TableSchema(tuple(column.schema for column in settled.values())), tuple(warnings))


def _identifier_message(source: _Source, name: str, column: Column) -> str:
    drop, renumber = source.remedy(source.drop, name), source.remedy(source.renumber, name)
    finding = "numbers its rows" if column.schema.kind == "integer" else "is different in every row"
    hint = f" ({column.warnings[0]})" if column.warnings else ""
    return (
        f"{source.name}, column {name!r} {finding}, so there is nothing to learn from it{hint}: "
        f"leave it out with {drop} or number it anew with {renumber}"
    )


def _content(path: Path) -> bytes:
    """The bytes of the file, decompressed, without the byte order mark and blank lines at the start."""
    openers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
    try:
        with openers.get(path.suffix.lower(), Path.open)(path, "rb") as stream:
            content: bytes = stream.read()
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}: check the path") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a directory: give the path of a CSV file in it") from error
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged or not compressed as its name says: make or download it again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from error
    content = content.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if not content.strip():
        raise DataError(f"{path} is empty: give a CSV file with a header line and at least two rows")
    return content


def _text(path: Path, content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line:,} is not UTF-8 text: save the table as CSV in UTF-8") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path}, line {line:,} is not text (it has a zero byte): save the table as CSV in UTF-8")
    return text


def _delimiter(text: str) -> str:
    header = re.sub(r'"[^"]*"', "", re.split(r"[\r\n]", text, maxsplit=1)[0])
    if "," in header:
        return ","
    return next((delimiter for delimiter in ";\t" if delimiter in header), ",")


def _names(path: Path, text: str, delimiter: str) -> list[str]:
    names = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    _refuse_names(str(path), names)
    return names


def _refuse_names(where: str, names: Sequence[str]) -> None:
    for position, name in enumerate(names):
        if not name.strip():
            raise DataError(f"{where}, column {position + 1} has no name: name every column in the header")
        if name in names[:position]:
            first = names.index(name) + 1
            raise DataError(
                f"{where}, columns {first} and {position + 1} are both named {name!r}: give each a name of its own"
            )


def _kept(source: _Source, names: Sequence[str], drop: Sequence[str], renumber: Sequence[str]) -> list[str]:
    for option, wanted in ((source.drop, drop), (source.renumber, renumber)):
        for name in wanted:
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                advice = f"did you mean {close[0]!r}?" if close else f"its columns are {', '.join(names)}"
                raise DataError(f"{source.name} has no column {name!r} for {source.remedy(option, name)}: {advice}")
    both = next((name for name in drop if name in renumber), None)
    if both is not None:
        raise DataError(
            f"{source.name}, column {both!r} is both to be dropped and to be renumbered: choose one of them"
        )
    kept = [name for name in names if name not in drop]
    if not kept:
        raise DataError(f"{source.name} has no column left after dropping: keep at least one")
    return kept


def _refuse_few_rows(source: _Source, num_rows: int) -> None:
    if num_rows < 2:
        found = "has one row only" if num_rows else "has column names, but no rows"
        raise DataError(f"{source.name} {found}: a table needs at least two rows")


def _columns_of_file(path: Path, kept: Callable[[list[str]], list[str]]) -> dict[str, Texts]:
    """The texts of those columns of a file that ``kept`` chooses among their names."""
    content = _content(path)
    text = _text(path, content)
    delimiter = _delimiter(text)
    names = _names(path, text, delimiter)
    return _text_columns(path, content, text, delimiter, names, kept(names))


def _text_columns(
    path: Path, content: bytes, text: str, delimiter: str, names: Sequence[str], kept: Sequence[str]
) -> dict[str, Texts]:
    if '"' in text and (problem := _malformed(path, text, delimiter, len(names))):
        raise DataError(problem)  # pyarrow takes all that follows a quotation mark that is not closed for one field
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(content),
            read_options=arrow_csv.ReadOptions(
                column_names=list(names), skip_rows_after_names=1, block_size=_BLOCK_BYTES
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter,
                newlines_in_values=True,
                # In a table of one column an empty line is a row whose value is missing.
                ignore_empty_lines=len(names) > 1,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={name: pa.string() for name in names},
                include_columns=list(kept),
                null_values=list(MISSING_TEXTS),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                check_utf8=False,
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(_malformed(path, text, delimiter, len(names)) or f"{path} is no CSV file: {error}") from error
    return {name: _encoded(table.column(name)) for name in kept}


def _encoded(texts: Any) -> Texts:
    encoded = texts.combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return Texts(encoded.dictionary.to_numpy(zero_copy_only=False).tolist(), np.asarray(codes, dtype=np.int64))


def _malformed(path: Path, text: str, delimiter: str, num_columns: int) -> str | None:
    """What is wrong with the first row that has not as many fields as the header; None if every row has."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for row in reader:
            if row and len(row) != num_columns:
                fields = "1 field" if len(row) == 1 else f"{len(row):,} fields"
                return (
                    f"{path}, line {line:,} has {fields} where the header has {num_columns:,}: "
                    "complete the line, or put fields that hold the separator in quotes"
                )
            line = reader.line_num + 1
    except csv.Error as error:
        return (
            f"{path}, line {line:,} begins a row that cannot be split into fields ({error}): "
            "close every quotation mark, and double those inside of a field"
        )
    return None
