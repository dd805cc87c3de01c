"""Writes record batches as an Arrow IPC file, in batches that do not depend on how they were cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from typing import BinaryIO


class ArrowRows:
    """Writes batches of one schema to a stream."""

    def __init__(self, stream: BinaryIO, schema: pa.Schema) -> None:
        options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=False, unify_dictionaries=False)
        self._schema = _without_dictionaries(schema)
        self._writer = pa.ipc.new_file(stream, self._schema, options=options)

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        self._writer.write_batch(batch.cast(self._schema))

    def close(self) -> None:
        """Write the footer; the stream stays open."""
        self._writer.close()


def _without_dictionaries(schema: pa.Schema) -> pa.Schema:
    """Return the schema with plain values: a file cannot hold a dictionary that changes."""
    return pa.schema(
        [
            field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
            for field in schema
        ]
    )
