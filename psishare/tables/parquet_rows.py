"""Writes record batches as Parquet, in row groups that do not depend on how the batches were cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from typing import BinaryIO

ROW_GROUP_ROWS = 65_536


class ParquetRows:
    """Writes batches of one schema to a stream."""

    def __init__(self, stream: BinaryIO, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(stream, schema, compression="zstd")
        self._held: list[pa.RecordBatch] = []
        self._n_held = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; they are written once a row group is full."""
        if batch.num_rows:
            self._held.append(batch)
            self._n_held += batch.num_rows
        if self._n_held >= ROW_GROUP_ROWS:
            self._write_held()

    def close(self) -> None:
        """Write what is held and the footer; the stream stays open."""
        if self._held:
            self._write_held()
        self._writer.close()

    def _write_held(self) -> None:
        table = pa.Table.from_batches(self._held, self._schema)
        self._writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        self._held, self._n_held = [], 0
