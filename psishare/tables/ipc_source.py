"""Reads Arrow IPC, as file and as stream, batch by batch; what it holds is checked, not trusted."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from psishare.errors import InputError
from psishare.tables.arrow_source import plain_schema
from psishare.tables.text_check import require_text_valid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psishare.tables.data_file import DataFile

_FILE_MAGIC = b"ARROW1"


@dataclass(frozen=True, slots=True)
class IpcSource:
    """An Arrow IPC file, or a stream in a file.

    Attributes:
        file: where it is.
        schema: its columns; string views as strings.
    """

    file: DataFile
    schema: pa.Schema

    @classmethod
    def open(cls, file: DataFile) -> Self:
        """Read the schema.

        Raises:
            InputError: ``arrow_malformed``, or as ``DataFile.open``.
        """
        with contextlib.closing(_Reading(file)) as reading:
            return cls(file, plain_schema(reading.schema).remove_metadata())

    def batches(self, columns: list[str], max_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the named columns, in that order, in batches of at most ``max_rows`` rows.

        Raises:
            InputError: ``arrow_malformed`` or ``encoding_invalid``.
        """
        n_rows = 0
        schema = pa.schema([self.schema.field(column) for column in columns])
        with contextlib.closing(_Reading(self.file)) as reading:
            for whole in reading:
                require_text_valid(whole, first_row=n_rows)
                batch = whole.select(columns).replace_schema_metadata().cast(schema)
                n_rows += batch.num_rows
                for start in range(0, batch.num_rows, max_rows):
                    yield batch.slice(start, max_rows)


class _Reading:
    """One pass over a file or a stream; nothing that Arrow raises leaves it."""

    def __init__(self, file: DataFile) -> None:
        self._file = file
        self._stream = file.open()
        is_file = self._stream.read(len(_FILE_MAGIC)) == _FILE_MAGIC
        self._stream.close()
        if is_file and file.compression is not None:
            raise InputError(
                f"{file} is an Arrow file that was compressed as a whole, which cannot be read in parts",
                mend="Write an Arrow stream, or compress within the file.",
                reason="format_unknown",
            )
        self._stream = file.open()
        try:
            opened = pa.ipc.open_file if is_file else pa.ipc.open_stream
            self._reader = opened(self._stream)
            self.schema: pa.Schema = self._reader.schema
        except (pa.ArrowException, OSError, ValueError):
            self._reader = None
        if self._reader is None:
            self._stream.close()
            raise self._malformed()
        self._n_batches = self._reader.num_record_batches if is_file else None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the record batches as they are stored."""
        index = 0
        while (batch := self._next(index)) is not None:
            index += 1
            yield batch

    def _next(self, index: int) -> pa.RecordBatch | None:
        try:
            if self._n_batches is None:
                return self._reader.read_next_batch()
            return self._reader.get_batch(index) if index < self._n_batches else None
        except StopIteration:
            return None
        except (pa.ArrowException, OSError, ValueError):
            pass
        raise self._malformed()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _malformed(self) -> InputError:
        return InputError(
            f"{self._file} is not an Arrow file or stream that can be read to its end",
            mend="Write the file anew, or name its true format.",
            reason="arrow_malformed",
        )
