"""A table: named columns that can be read, batch by batch, as often as needed.

A file is read anew each time and must be the same file each time: one that changes in between ends
in an error, never in rows that do not belong together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from psishare.errors import InputError
from psishare.tables.arrow_source import ArrowSource
from psishare.tables.csv_source import CsvSource
from psishare.tables.format import TableFormat
from psishare.tables.parquet_source import ParquetSource
from psishare.tables.stamp import Stamp, require_unchanged
from psishare.tables.text_check import is_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from psishare.tables.source import Source

MAX_BATCH_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under named columns. Make one with ``open_table`` or ``Table.from_arrow``."""

    _source: Source
    _file: tuple[Path, Stamp] | None

    def __post_init__(self) -> None:
        """Refuse a table without columns, or with two of one name."""
        names = self.schema_names
        twice = sorted({name for name in names if names.count(name) > 1})
        if not names or twice:
            what = f"names a column twice: {_list(twice)}" if twice else "has no columns"
            raise InputError(
                f"the table {what}",
                mend="Give each column a name of its own.",
                reason="column_duplicated" if twice else "table_empty",
            )

    @classmethod
    def from_arrow(cls, data: Any) -> Self:
        """Take a table that is in memory.

        Args:
            data: anything with the Arrow PyCapsule interface (``__arrow_c_stream__`` or
                ``__arrow_c_array__``): a ``pyarrow.Table``, a pandas or polars frame, a DuckDB
                relation.

        Raises:
            InputError: ``not_a_table``, ``column_duplicated`` or ``table_empty``.
        """
        return cls(ArrowSource.of(data), None)

    @property
    def schema(self) -> pa.Schema:
        """The columns' names and types; of a CSV file all ``string``."""
        return self._source.schema

    @property
    def schema_names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(self.schema.names)

    def batches(
        self, columns: Sequence[str] | None = None, max_rows: int = MAX_BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Read the table from its start.

        Args:
            columns: which columns, in which order; None for all.
            max_rows: the most rows in a batch.

        Yields:
            Batches with 1 to ``max_rows`` rows, in the table's order; none for a table without rows.

        Raises:
            InputError: ``column_missing``; ``input_changed``: the file is no longer the one that was
                opened; or the data cannot be read to its end.
        """
        wanted = list(self.schema_names if columns is None else columns)
        self._require_columns(wanted)
        return self._read(wanted, max_rows)

    def require_text(self, column: str) -> None:
        """Refuse a key column that is missing or not text.

        Raises:
            InputError: ``column_missing`` or ``column_not_text``.
        """
        self._require_columns([column])
        type_ = self.schema.field(column).type
        if not is_text(type_):
            raise InputError(
                f"column {column!r} holds {type_}, not text: leading zeros and plus signs may be lost",
                mend="Write the column as strings where it comes from, then try again.",
                reason="column_not_text",
            )

    def stamp(self) -> Stamp | None:
        """Return the stamp of the file as it was opened; None for a table in memory."""
        return self._file[1] if self._file else None

    def unchanged_since(self, stamp: Stamp | None) -> bool:
        """Tell whether the file, as it is now, is the one of the stamp; in memory it always is.

        Raises:
            InputError: ``input_unreadable``: the file is gone.
        """
        return self._file is None or Stamp.of(self._file[0]) == stamp

    def _read(self, columns: list[str], max_rows: int) -> Iterator[pa.RecordBatch]:
        self._require_unchanged()
        try:
            yield from self._source.batches(columns, max_rows)
        except InputError:
            # A file that changes under the reader looks damaged: that it changed is the better word.
            self._require_unchanged()
            raise
        self._require_unchanged()

    def _require_unchanged(self) -> None:
        if self._file is not None:
            require_unchanged(*self._file)

    def _require_columns(self, columns: Sequence[str]) -> None:
        missing = [column for column in columns if column not in self.schema_names]
        if missing:
            raise InputError(
                f"the table has no column {_list(missing)}",
                mend=f"Choose among its columns: {_list(self.schema_names)}.",
                reason="column_missing",
            )


def open_table(
    path: Path | str,
    *,
    format: TableFormat | str | None = None,  # noqa: A002  the word that everyone looks for
    encoding: str = "utf-8",
    delimiter: str = ",",
) -> Table:
    """Open a CSV or Parquet file as a table.

    Args:
        path: a regular file.
        format: ``csv`` or ``parquet``; None: by the name's suffix.
        encoding: of a CSV file, as Python names it. Never guessed.
        delimiter: of a CSV file.

    Raises:
        InputError: ``input_unreadable``, ``format_unknown``, ``table_empty``, ``column_duplicated``,
            ``csv_malformed``, ``parquet_malformed``, ``encoding_invalid``, ``encoding_unknown`` or
            ``delimiter_invalid``.
    """
    path = Path(path)
    chosen = TableFormat.choose(path, format)
    stamp = Stamp.of(path)
    source: Source
    if chosen is TableFormat.CSV:
        source = CsvSource.open(path, encoding=encoding, delimiter=delimiter)
    else:
        source = ParquetSource.open(path)
    return Table(source, (path, stamp))


def _list(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
