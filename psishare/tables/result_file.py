"""Writes a result: whole and for its owner's eyes only, or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from psishare.errors import InputError
from psishare.keys.pending_file import PendingFile
from psishare.tables.arrow_rows import ArrowRows
from psishare.tables.csv_rows import CsvRows, require_writable
from psishare.tables.format import TableFormat
from psishare.tables.jsonl_rows import JsonlRows
from psishare.tables.parquet_rows import ParquetRows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from psishare.tables.table import Table

STANDARD_OUTPUT = "-"

_ROWS: dict[TableFormat, type[CsvRows | ParquetRows | ArrowRows | JsonlRows]] = {
    TableFormat.CSV: CsvRows,
    TableFormat.PARQUET: ParquetRows,
    TableFormat.ARROW: ArrowRows,
    TableFormat.JSONL: JsonlRows,
}


class ResultFile:
    """A file of rows that exists only once it is complete.

    Use as a context manager. Leaving it without an exception puts the file in its place, durably and
    atomically, mode 0600; leaving it with one leaves nothing. CSV values are written as they are,
    also those that a spreadsheet takes for a formula (``csv_rows``).

    Args:
        path: where; ``-`` is standard output: the rows stay in memory until all of them are there.
        schema: the columns.
        format: ``csv``, ``parquet``, ``arrow`` or ``jsonl``; None: by the path's suffix, and CSV for
            ``-``.
        overwrite: whether a file that is there is replaced.

    Attributes:
        n_rows: rows written.

    Raises:
        InputError: ``format_unknown``, ``column_not_writable``; on entering, writing and leaving:
            ``output_exists`` or ``output_not_written``.
    """

    def __init__(
        self,
        path: Path | str,
        schema: pa.Schema,
        format: TableFormat | str | None = None,  # noqa: A002  the word that everyone looks for
        *,
        overwrite: bool = False,
    ) -> None:
        self.n_rows = 0
        self._path = Path(path)
        self._schema = schema
        self._overwrite = overwrite
        self._to_standard_output = str(path) == STANDARD_OUTPUT
        self._format = self._choose(format)
        if self._format in {TableFormat.CSV, TableFormat.JSONL}:
            require_writable(schema)

    def __enter__(self) -> Self:
        """Make the file, without its name."""
        if not self._to_standard_output and not self._overwrite and os.path.lexists(self._path):
            raise self._exists()
        with self._failures():
            self._pending = None if self._to_standard_output else PendingFile(self._path)
            stream = self._pending.stream if self._pending else io.BytesIO()
            self._stream = stream
            self._rows = _ROWS[self._format](stream, self._schema)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Complete the file and name it; after an exception, leave nothing of it."""
        if kind is not None:
            self._drop()
            return
        try:
            with self._failures():
                self._rows.close()
                self._publish()
        except BaseException:
            self._drop()
            raise

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows.

        Raises:
            InputError: ``output_not_written``.
        """
        with self._failures():
            self._rows.write(batch)
        self.n_rows += batch.num_rows

    def _choose(self, format_: TableFormat | str | None) -> TableFormat:
        if self._to_standard_output and format_ is None:
            return TableFormat.CSV
        return TableFormat.choose(self._path, format_)

    def _publish(self) -> None:
        if self._pending is not None:
            self._pending.publish(overwrite=self._overwrite)
        elif isinstance(self._stream, io.BytesIO):
            sys.stdout.buffer.write(self._stream.getbuffer())
            sys.stdout.buffer.flush()

    def _drop(self) -> None:
        # A writer that is collected while open would write its footer into a closed file.
        with contextlib.suppress(OSError, ValueError, pa.ArrowException):
            self._rows.close()
        if self._pending is not None:
            self._pending.drop()

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except FileExistsError:
            raise self._exists() from None
        except (OSError, pa.ArrowException) as error:
            why = getattr(error, "strerror", None) or "the rows cannot be encoded"
        else:
            return
        raise InputError(
            f"the result cannot be written to {self._path}: {why}",
            mend="Check the folder, its permissions, free space and quota, then try again.",
            reason="output_not_written",
        )

    def _exists(self) -> InputError:
        return InputError(
            f"{self._path} is there already",
            mend="Choose another name, or say --overwrite.",
            reason="output_exists",
        )


def write_matches(
    table: Table,
    mask: pa.BooleanArray | pa.ChunkedArray,
    path: Path | str,
    format: TableFormat | str | None = None,  # noqa: A002  the word that everyone looks for
    *,
    overwrite: bool = False,
) -> int:
    """Write the rows of a table that matched: all columns, in the table's order.

    The table is read anew, batch by batch; without matches the result has its header and no rows.

    Args:
        table: the table that was asked about.
        mask: ``bool``, shape ``(n_rows,)``, no nulls: which of its rows matched.
        path: where; ``-`` is standard output.
        format: ``csv``, ``parquet``, ``arrow`` or ``jsonl``; None: by the path's suffix.
        overwrite: whether a file that is there is replaced.

    Returns:
        The number of rows written.

    Raises:
        InputError: ``input_changed``, or as ``ResultFile`` and ``Table.batches``; there is no
            result then.
    """
    with ResultFile(path, table.schema, format, overwrite=overwrite) as result:
        for batch in matched_batches(table, mask):
            result.write(batch)
    return result.n_rows


def matched_batches(
    table: Table, mask: pa.BooleanArray | pa.ChunkedArray
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a table that matched, in batches; see ``write_matches``.

    Raises:
        InputError: ``input_changed``: the table has not as many rows as the mask.
    """
    n_rows = 0
    for batch in table.batches():
        part = mask.slice(n_rows, batch.num_rows)
        if len(part) != batch.num_rows:
            break
        n_rows += batch.num_rows
        whole = part.combine_chunks() if isinstance(part, pa.ChunkedArray) else part
        if whole.true_count:
            yield batch.filter(whole)
    else:
        if n_rows == len(mask):
            return
    raise InputError(
        "the table has another number of rows than when it was read before",
        mend="Let nothing write to the file, then start again.",
        reason="input_changed",
    )
