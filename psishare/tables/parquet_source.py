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
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class ParquetSource:
    """A Parquet file.

    Attributes:
        path: where it is.
        schema: its columns.
    """

    path: Path
    schema: pa.Schema

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a Parquet file's schema.

        Raises:
            InputError: ``parquet_malformed``.
        """
        with _open(path) as file:
            return cls(path, file.schema_arrow.remove_metadata())

    def batches(self, columns: list[str], max_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the named columns, in that order, in batches of at most ``max_rows`` rows.

        Raises:
            InputError: ``parquet_malformed`` or ``encoding_invalid``.
        """
        n_rows = 0
        with _open(self.path) as file:
            reader = file.iter_batches(batch_size=max_rows, columns=columns)
            while (batch := _next(reader, self.path)) is not None:
                # Parquet's paths have dots, so more columns may come than were named.
                batch = batch.select(columns).replace_schema_metadata()
                require_text_valid(batch, first_row=n_rows)
                n_rows += batch.num_rows
                if batch.num_rows:
                    yield batch


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, memory_map=False, pre_buffer=False)
    except (pa.ArrowException, OSError, ValueError):
        pass
    raise _malformed(path)


def _next(reader: Iterator[pa.RecordBatch], path: Path) -> pa.RecordBatch | None:
    try:
        return next(reader, None)
    except (pa.ArrowException, OSError, ValueError):
        pass
    raise _malformed(path)


def _malformed(path: Path) -> InputError:
    return InputError(
        f"{path} is not a Parquet file that can be read to its end",
        mend="Write the file anew, unencrypted, or name its true format.",
        reason="parquet_malformed",
    )
