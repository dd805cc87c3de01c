"""Reads Parquet, streamed. Text that is not UTF-8 is refused: pyarrow takes Parquet's word for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.parquet as pq

from psishare.errors import InputError
from psishare.tables.text_check import require_text_valid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psishare.tables.data_file import DataFile


@dataclass(frozen=True, slots=True)
class ParquetSource:
    """A Parquet file.

    Attributes:
        file: where it is.
        schema: its columns.
    """

    file: DataFile
    schema: pa.Schema

    @classmethod
    def open(cls, file: DataFile) -> Self:
        """Read a Parquet file's schema.

        Raises:
            InputError: ``parquet_malformed``.
        """
        with _open(file) as opened:
            return cls(file, opened.schema_arrow.remove_metadata())

    def batches(self, columns: list[str], max_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the named columns, in that order, in batches of at most ``max_rows`` rows.

        Raises:
            InputError: ``parquet_malformed`` or ``encoding_invalid``.
        """
        n_rows = 0
        with _open(self.file) as opened:
            reader = opened.iter_batches(batch_size=max_rows, columns=columns)
            while (batch := _next(reader, self.file)) is not None:
                # Parquet's paths have dots, so more columns may come than were named.
                batch = batch.select(columns).replace_schema_metadata()
                require_text_valid(batch, first_row=n_rows)
                n_rows += batch.num_rows
                if batch.num_rows:
                    yield batch


def _open(file: DataFile) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file.path, memory_map=False, pre_buffer=False)
    except (pa.ArrowException, OSError, ValueError):
        pass
    raise _malformed(file)


def _next(reader: Iterator[pa.RecordBatch], file: DataFile) -> pa.RecordBatch | None:
    try:
        return next(reader, None)
    except (pa.ArrowException, OSError, ValueError):
        pass
    raise _malformed(file)


def _malformed(file: DataFile) -> InputError:
    return InputError(
        f"{file} is not a Parquet file that can be read to its end",
        mend="Write the file anew, unencrypted, or name its true format.",
        reason="parquet_malformed",
    )
