"""Writes record batches as JSON lines: strings, whole numbers, numbers, booleans and nulls.

What JSON has no form for (dates, decimals) is written as a string, as CSV would.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa

from psishare.tables.csv_rows import require_writable

if TYPE_CHECKING:
    from typing import BinaryIO


class JsonlRows:
    """Writes batches of one schema to a stream.

    Raises:
        InputError: ``column_not_writable``.
    """

    def __init__(self, stream: BinaryIO, schema: pa.Schema) -> None:
        require_writable(schema)
        self._stream = stream
        self._schema = pa.schema([field.with_type(_json_type(field.type)) for field in schema])

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        lines = [
            json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            for row in batch.cast(self._schema).to_pylist()
        ]
        self._stream.write("".join(f"{line}\n" for line in lines).encode())

    def close(self) -> None:
        """End the rows; the stream stays open."""


def _json_type(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_integer(type_) or pa.types.is_boolean(type_) or pa.types.is_null(type_):
        return type_
    return pa.float64() if pa.types.is_floating(type_) else pa.large_string()
