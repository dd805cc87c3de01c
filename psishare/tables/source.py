"""What a table is read from: something that can be read again and again, batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa


class Source(Protocol):
    """Rows behind a schema. Reading starts anew with each call."""

    @property
    def schema(self) -> pa.Schema:
        """The columns' names and types."""

    def batches(self, columns: list[str], max_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the named columns, in that order, in batches of at most ``max_rows`` rows.

        Raises:
            InputError: the data cannot be read to its end.
        """
