"""Reads CSV as text, streamed: RFC 4180 with any one-character delimiter and a declared encoding.

Every column is a string. Empty and quoted empty values are the empty string. A blank line is no row.
A byte order mark is skipped. What pyarrow would let pass is refused: bytes that are not of the
declared encoding, NUL, a quote that is never closed. pyarrow's own errors quote the row, so none of
them leaves this module, not even as a cause.
"""

from __future__ import annotations

import csv
import io
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.csv as pa_csv

from psishare.errors import InputError
from psishare.tables.csv_text import CsvText, require_encoding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psishare.tables.data_file import DataFile

BLOCK_BYTES = 4 * 2**20
MAX_ROW_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class CsvSource:
    """A CSV file.

    Attributes:
        file: where it is.
        encoding: how its text is encoded.
        delimiter: what stands between its values.
        schema: its columns, all ``string``.
        header: whether its first row names the columns.
    """

    file: DataFile
    encoding: str
    delimiter: str
    schema: pa.Schema
    header: bool = True

    @classmethod
    def open(cls, file: DataFile, *, encoding: str, delimiter: str, header: bool) -> Self:
        """Read a CSV file's header, or count the values of its first row.

        Without a header the columns are named by their place: ``column_1`` and so on.

        Raises:
            InputError: ``csv_malformed``, ``table_empty``, ``encoding_invalid``,
                ``encoding_unknown``, ``delimiter_invalid`` or ``input_unreadable``.
        """
        require_encoding(encoding)
        _require_delimiter(delimiter)
        names = _first_row(file, encoding, delimiter)
        if not header:
            names = [f"column_{place}" for place in range(1, len(names) + 1)]
        schema = pa.schema([(name, pa.string()) for name in names])
        return cls(file, encoding, delimiter, schema, header)

    def batches(self, columns: list[str], max_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the named columns, in that order, in batches of at most ``max_rows`` rows.

        Raises:
            InputError: ``csv_malformed``, ``encoding_invalid`` or ``input_unreadable``.
        """
        text = CsvText(self.file, self.encoding)
        try:
            for rows in _Reading(self, columns, text):
                for batch in rows.to_batches(max_chunksize=max_rows):
                    if batch.num_rows:
                        yield batch
        finally:
            text.close()


class _Reading:
    """One pass over a file, in parts that end where a row ends.

    Where a row ends only a parser knows, since a value may hold line breaks. So a part is cut at a
    likely line break, and a row that nobody could foresee, the end mark, is added behind it. If it
    comes back as the last row, the cut was right. If a quote was open, it swallowed the end mark, and
    the part is parsed again with more behind it.

    pyarrow's streaming reader is not used: it reads ahead in threads of its own, which must not call
    Python code, as CsvText is, when the interpreter is about to end.
    """

    def __init__(self, source: CsvSource, columns: list[str], text: CsvText) -> None:
        self._file = source.file
        self._schema = source.schema
        self._columns = columns
        self._delimiter = source.delimiter
        self._text = text
        self._end_mark = secrets.token_hex(16)
        end = source.delimiter.join([self._end_mark] * len(source.schema))
        self._end = f"\n{end}\n".encode()
        self._n_rows = 0
        self._header_is_next = source.header
        self._is_first = True

    def __iter__(self) -> Iterator[pa.Table]:
        """Yield the rows of each part."""
        rest = b""
        n_bytes = BLOCK_BYTES
        while block := self._text.read(n_bytes):
            rest += block
            cut = _likely_row_end(rest)
            rows = self._parsed(rest[:cut]) if cut else None
            if rows is not None:
                yield rows
                rest, n_bytes = rest[cut:], BLOCK_BYTES
            elif len(rest) > MAX_ROW_BYTES:
                raise _long_row(self._file)
            else:
                n_bytes = max(n_bytes, len(rest))
        if rest:
            last = self._parsed(rest)
            if last is None:
                raise _open_quote(self._file, self._open_row(rest))
            yield last

    def _parsed(self, part: bytes) -> pa.Table | None:
        """Parse a part; None where it ends within a quoted value.

        Raises:
            InputError: ``csv_malformed``.
        """
        ragged: list[_Ragged] = []
        # pyarrow takes a byte order mark away wherever it starts to read; behind a blank line, which
        # is no row, it does not, and only the file's first one is to go.
        lead = b"" if self._is_first else b"\n"
        rows = self._parse(lead + part + self._end, ragged)
        if rows is None:
            # A header that ends within a quoted value leaves pyarrow without any row to count.
            unfinished_header = self._header_is_next and not ragged
            if unfinished_header or any(row.swallowed for row in ragged):
                return None
            raise self._fault(ragged)
        if not len(rows) or rows.column(0)[-1].as_py() != self._end_mark:
            return None
        self._n_rows += len(rows) - 1
        self._header_is_next = self._is_first = False
        return rows.slice(0, len(rows) - 1)

    def _open_row(self, part: bytes) -> int:
        """Return the row whose quote is never closed, from 0; -1 is the header."""
        ragged: list[_Ragged] = []
        rows = self._parse((b"" if self._is_first else b"\n") + part + b'"', ragged)
        if rows is not None:
            return self._n_rows + len(rows) - 1
        number = ragged[0].number if ragged else None
        if number is None:
            return self._n_rows - 1
        return self._n_rows + number - (2 if self._header_is_next else 1)

    def _parse(self, part: bytes, ragged: list[_Ragged]) -> pa.Table | None:
        def note(row: pa_csv.InvalidRow) -> str:
            # Of the row's text, only whether it holds the end mark.
            swallowed = self._end_mark in row.text
            ragged.append(_Ragged(row.number, row.expected_columns, row.actual_columns, swallowed))
            return "error"

        names = None if self._header_is_next else self._schema.names
        try:
            return pa_csv.read_csv(
                pa.BufferReader(part),
                read_options=pa_csv.ReadOptions(
                    # One block, and no threads: only so does pyarrow know a ragged row's number.
                    block_size=len(part) + 1,
                    use_threads=False,
                    column_names=names,
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=note
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=self._schema,
                    include_columns=self._columns,
                    strings_can_be_null=False,
                    check_utf8=False,  # the text was checked when it was read
                ),
            )
        except (pa.ArrowException, KeyError):
            # The error may quote a row: it ends here, not even as the context of ours.
            return None

    def _fault(self, ragged: list[_Ragged]) -> InputError:
        if ragged and ragged[0].number is not None:
            # pyarrow counts from 1, and the header with the rows.
            row = self._n_rows + ragged[0].number - (2 if self._header_is_next else 1)
            return _ragged_row(self._file, row, ragged[0].expected, ragged[0].actual)
        return _malformed(self._file, "is not CSV")


@dataclass(frozen=True, slots=True)
class _Ragged:
    """A row with another number of values than the header."""

    number: int | None
    expected: int
    actual: int
    swallowed: bool


def _likely_row_end(text: bytes) -> int:
    """Return where a row is likely to end: behind the last line break with an even number of quotes."""
    line_break = b"\n" if b"\n" in text else b"\r"
    end = last = text.rfind(line_break) + 1
    odd = text.count(b'"', 0, end) % 2
    while odd and end:
        before = text.rfind(line_break, 0, text.rfind(b'"', 0, end)) + 1
        odd = (odd + text.count(b'"', before, end)) % 2
        end = before
    return end or last


def _first_row(file: DataFile, encoding: str, delimiter: str) -> list[str]:
    text = CsvText(file, encoding)
    try:
        start = text.read(BLOCK_BYTES)
    finally:
        text.close()
    lines = io.StringIO(start.decode("utf-8", errors="ignore").removeprefix("\ufeff"), newline="")
    try:
        # Blank lines are no rows, before the header as after it.
        names = next((row for row in csv.reader(lines, delimiter=delimiter) if row), None)
    except csv.Error:
        names = []
    if names is None:
        raise InputError(
            f"{file} is empty: it lacks even a header",
            mend="Give a CSV file whose first line names the columns.",
            reason="table_empty",
        )
    if not names:
        raise _malformed(file, "has no readable header")
    return names


def _require_delimiter(delimiter: str) -> None:
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
        raise InputError(
            "a delimiter is one ASCII character, and neither a quote nor a line break",
            mend="Give one such as a comma, a semicolon or a tab.",
            reason="delimiter_invalid",
        )


def _malformed(file: DataFile, what: str) -> InputError:
    return InputError(
        f"{file} {what}",
        mend="Write the file as RFC 4180 says, and give its delimiter and encoding.",
        reason="csv_malformed",
    )


def _ragged_row(file: DataFile, row: int, expected: int, actual: int) -> InputError:
    return InputError(
        f"row {row} (from 0) of {file} has {actual} values where the header has {expected}",
        mend="Mend the row: a value that holds the delimiter, a quote or a line break is quoted.",
        reason="csv_malformed",
    )


def _open_quote(file: DataFile, row: int) -> InputError:
    where = "the header" if row < 0 else f"row {row} (from 0)"
    return InputError(
        f"{file} ends within a quoted value: a quote in {where} is never closed",
        mend="Close the quote; double a quote that belongs to a value.",
        reason="csv_malformed",
    )


def _long_row(file: DataFile) -> InputError:
    return InputError(
        f"a row of {file} is longer than {MAX_ROW_BYTES} bytes, or a quote in it is never closed",
        mend="Close the quote, or shorten the value.",
        reason="csv_malformed",
    )
