"""Writes record batches as CSV: RFC 4180, minimal quoting, line feeds, values as they are.

Values are not escaped for spreadsheets: a value that starts with ``=``, ``+``, ``-`` or ``@`` stays as
it is, for a phone number must keep its plus. Whoever opens a result in a spreadsheet imports its
columns as text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from psishare.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

_TEXT = pa.large_string()
_NEEDS_QUOTES = r'[",\r\n]'


class CsvRows:
    """Writes batches of one schema to a stream, after a header.

    Raises:
        InputError: ``column_not_writable``.
    """

    def __init__(self, stream: BinaryIO, schema: pa.Schema) -> None:
        require_writable(schema)
        self._stream = stream
        stream.write(header(schema.names))

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        self._stream.write(rows(batch))

    def close(self) -> None:
        """End the rows; the stream stays open."""


def require_writable(schema: pa.Schema) -> None:
    """Refuse columns that have no form in CSV or JSON lines, before anything is written.

    Raises:
        InputError: ``column_not_writable``.
    """
    for field in schema:
        if not _has_text_form(field.type):
            raise InputError(
                f"column {field.name!r} holds {field.type}, which has no form in a text file",
                mend="Write the result as Parquet or Arrow.",
                reason="column_not_writable",
            )


def header(names: Sequence[str]) -> bytes:
    """Return the header line."""
    return _lines([pa.array([name], _TEXT) for name in names])


def rows(batch: pa.RecordBatch) -> bytes:
    """Return a batch's lines, one for each row; a null is an empty value.

    Args:
        batch: with at least one column, of a schema that ``require_writable`` took.
    """
    if batch.num_rows == 0:
        return b""
    return _lines([column.cast(_TEXT) for column in batch.columns])


def _lines(columns: list[pa.Array]) -> bytes:
    quoted = [_quoted(pc.fill_null(column, "")) for column in columns]
    if len(quoted) == 1:
        # A lone empty value would be a blank line, which readers skip.
        quoted = [pc.if_else(pc.equal(quoted[0], ""), '""', quoted[0])]
    joined = pc.binary_join_element_wise(*quoted, pa.scalar(",", _TEXT))
    ended = pc.binary_join_element_wise(joined, pa.scalar("", _TEXT), pa.scalar("\n", _TEXT))
    return bytes(pc.binary_join(_one_list(ended), pa.scalar("", _TEXT))[0].as_buffer())


def _quoted(column: pa.Array) -> pa.Array:
    needs = pc.match_substring_regex(column, _NEEDS_QUOTES)
    if not pc.any(needs).as_py():
        return column
    doubled = pc.replace_substring(column, '"', '""')
    mark = pa.scalar('"', _TEXT)
    wrapped = pc.binary_join_element_wise(mark, doubled, mark, pa.scalar("", _TEXT))
    return pc.if_else(needs, wrapped, column)


def _one_list(values: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), values)


def _has_text_form(type_: pa.DataType) -> bool:
    if pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_nested(type_):
        return False
    try:
        pa.nulls(0, type_).cast(_TEXT)
    except (pa.ArrowException, NotImplementedError):
        return False
    return True
