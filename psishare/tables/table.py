"""A table: named columns that can be read, batch by batch, as often as needed.

Files are read anew each time and must be the same files each time: one that changes in between ends
in an error, never in rows that do not belong together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from psishare.errors import InputError
from psishare.tables.arrow_source import ArrowSource
from psishare.tables.csv_source import CsvSource
from psishare.tables.format import TableFormat
from psishare.tables.found_files import found_files
from psishare.tables.ipc_source import IpcSource
from psishare.tables.joined_source import JoinedSource
from psishare.tables.jsonl_source import JsonlSource
from psishare.tables.parquet_source import ParquetSource
from psishare.tables.text_check import is_text
from psishare.tables.text_source import TextSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from psishare.tables.data_file import DataFile
    from psishare.tables.source import Source
    from psishare.tables.stamp import Stamp

MAX_BATCH_ROWS = 65_536
STANDARD_INPUT = "-"


_SEPARATORS = {";": ("semicolons", "';'"), "\t": ("tabs", "$'\\t'"), "|": ("bars", "'|'")}
"""What else stands between the values of a CSV file, its name and how a shell is given it."""


_LIKE_DATA = re.compile(r"@|\d([ ./()-]{0,2}\d){4}")
"""What an identifier has and a column's name has not: five digits in a row, or an address's sign."""
_NO_HEADER = (
    "Its first row looks like data and not like names: give --no-header, and name column_1,"
    " column_2 and so on."
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a table was read from and how: what ``open_table`` was given."""

    path: Path
    format: str | None
    encoding: str
    delimiter: str
    header: bool
    as_text: tuple[str, ...]

    def open(self, *, keep: bool = False) -> Table:
        """Open it, as it is now.

        Args:
            keep: whether its files are kept open, and can be read when others lie in their place.

        Raises:
            InputError: as ``open_table``.
        """
        found = found_files(self.path, self.format, keep=keep)
        parts = [self._opened(file, format_) for file, format_ in found]
        source = parts[0] if len(parts) == 1 else JoinedSource.of(parts, [str(f) for f, _ in found])
        again = None if str(self.path) == STANDARD_INPUT else self._absolute()
        return Table(_as_text(source, self.as_text), tuple(file for file, _ in found), again)

    def _opened(self, file: DataFile, format_: TableFormat) -> Source:
        if format_ is TableFormat.CSV:
            return CsvSource.open(
                file, encoding=self.encoding, delimiter=self.delimiter, header=self.header
            )
        if format_ is TableFormat.JSONL:
            return JsonlSource.open(file, as_text=frozenset(self.as_text))
        return (ParquetSource if format_ is TableFormat.PARQUET else IpcSource).open(file)

    def _absolute(self) -> Origin:
        return replace(self, path=self.path.absolute())


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under named columns. Make one with ``open_table`` or ``Table.from_arrow``.

    Attributes:
        origin: where it can be read again by another process; None for what was in memory.
    """

    _source: Source
    _files: tuple[DataFile, ...]
    origin: Origin | None = None

    def __post_init__(self) -> None:
        """Refuse a table without columns, or with two of one name."""
        names = self.schema_names
        twice = sorted({name for name in names if names.count(name) > 1})
        if not names or twice:
            named = "" if _is_data(names) else f": {_list(twice)}"
            what = f"names a column twice{named}" if twice else "has no columns"
            raise InputError(
                f"the table {what}",
                mend=_NO_HEADER if _is_data(names) else "Give each column a name of its own.",
                reason="column_duplicated" if twice else "table_empty",
            )

    @classmethod
    def from_arrow(cls, data: Any, *, as_text: Sequence[str] = ()) -> Self:
        """Take a table that is in memory.

        Args:
            data: anything with the Arrow PyCapsule interface (``__arrow_c_stream__`` or
                ``__arrow_c_array__``): a ``pyarrow.Table``, a pandas or polars frame, a DuckDB
                relation.
            as_text: integer columns that are read as text, digit by digit.

        Returns:
            The table; its rows are not copied.

        Raises:
            InputError: ``not_a_table``, ``column_duplicated`` or ``table_empty``.
        """
        return cls(_as_text(ArrowSource.of(data), as_text), ())

    @property
    def schema(self) -> pa.Schema:
        """The columns' names and types, an Arrow schema; of a CSV file all ``string``."""
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

        Returns:
            An iterator of batches of the columns' schema, with 1 to ``max_rows`` rows, in the table's
            order; of none for a table without rows.

        Raises:
            InputError: ``column_missing``; ``input_changed``: the file is no longer the one that was
                opened; or the data cannot be read to its end.
        """
        wanted = list(self.schema_names if columns is None else columns)
        self._require_columns(wanted)
        return self._read(wanted, max_rows)

    def require_text(self, column: str) -> None:
        """Refuse a key column that is missing or not text.

        Args:
            column: its name.

        Raises:
            InputError: ``column_missing`` or ``column_not_text``.
        """
        self._require_columns([column])
        type_ = self.schema.field(column).type
        if not is_text(type_):
            raise InputError(
                f"column {column!r} holds {type_}, not text: leading zeros and plus signs may be lost",
                mend="Write the column as strings where it comes from; or, if nothing was lost, say"
                " that whole numbers are read as text.",
                reason="column_not_text",
            )

    def stamps(self) -> tuple[Stamp, ...]:
        """Return the stamps of the files as they were opened; none for a table in memory."""
        return tuple(file.stamp for file in self._files)

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
        for file in self._files:
            file.require_unchanged()

    def _require_columns(self, columns: Sequence[str]) -> None:
        missing = [column for column in columns if column not in self.schema_names]
        if missing:
            raise InputError(
                f"the table has no column {_list(missing)}",
                mend=f"{self._choice()}{self._separated()}",
                reason="column_missing",
            )

    def _choice(self) -> str:
        if _is_data(self.schema_names):
            return _NO_HEADER
        return f"Choose among its columns: {_list(self.schema_names)}."

    def _separated(self) -> str:
        """Return what to say of a table whose one column looks like several."""
        if len(self.schema_names) == 1:
            for separator, (name, written) in _SEPARATORS.items():
                if separator in self.schema_names[0]:
                    return (
                        f" It was read as one column; is it separated by {name}?"
                        f" Then give --delimiter {written}."
                    )
        return ""


def open_table(
    path: Path | str,
    *,
    format: TableFormat | str | None = None,  # noqa: A002  the word that everyone looks for
    encoding: str = "utf-8",
    delimiter: str = ",",
    header: bool = True,
    as_text: Sequence[str] = (),
) -> Table:
    """Open files as a table: CSV, Parquet, Arrow (file or stream) or JSON lines.

    Args:
        path: a regular file; a folder or a pattern (``lists/*.csv``), whose files have the same
            columns and are read in the order of their paths; ``-`` for standard input, which is held
            in memory.
        format: ``csv``, ``parquet``, ``arrow`` or ``jsonl``, and for a file that is compressed as a
            whole ``csv.gz``, ``jsonl.zst`` and so on; None: by the name's suffixes. Needed for ``-``.
        encoding: of CSV, as Python names it. Never guessed.
        delimiter: of CSV.
        header: whether a CSV file's first row names its columns; if not, they are ``column_1`` and so
            on.
        as_text: integer columns that are read as text, digit by digit. Leading zeros and plus signs
            that they lost when they were stored stay lost.

    Returns:
        The table; of its rows none has been read but what the columns' names and types need.

    Raises:
        InputError: ``input_unreadable``, ``format_unknown``, ``table_empty``, ``column_duplicated``,
            ``schema_differs``, ``csv_malformed``, ``parquet_malformed``, ``arrow_malformed``,
            ``jsonl_malformed``, ``compression_malformed``, ``encoding_invalid``,
            ``encoding_unknown`` or ``delimiter_invalid``.
    """
    origin = Origin(Path(path), format and str(format), encoding, delimiter, header, tuple(as_text))
    return origin.open()


def _as_text(source: Source, columns: Sequence[str]) -> Source:
    return TextSource.of(source, frozenset(columns)) if columns else source


def _is_data(names: Sequence[str]) -> bool:
    """Tell whether a table's first row looks like data, which no message may show."""
    return any(_LIKE_DATA.search(name) for name in names)


def _list(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
