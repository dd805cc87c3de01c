"""Reads what is in memory already: anything with the Arrow PyCapsule interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from psishare.errors import InputError
from psishare.tables.text_check import require_text_valid

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class ArrowSource:
    """An Arrow table in memory."""

    table: pa.Table

    @classmethod
    def of(cls, data: Any) -> Self:
        """Take in a table; without copying where its owner's memory is Arrow's.

        Args:
            data: has ``__arrow_c_stream__`` or ``__arrow_c_array__`` (a struct): a ``pyarrow.Table``,
                a pandas or polars frame, a DuckDB relation. It is asked once, since a query may
                answer in another order the second time.

        Raises:
            InputError: ``not_a_table``.
        """
        try:
            if hasattr(data, "__arrow_c_stream__"):
                table = pa.RecordBatchReader.from_stream(data).read_all()
            elif hasattr(data, "__arrow_c_array__"):
                table = pa.Table.from_batches([pa.record_batch(data)])
            else:
                table = None
        except (pa.ArrowException, TypeError, ValueError):
            table = None
        if table is None:
            raise InputError(
                "the data is no table: it has no Arrow PyCapsule interface, or no columns behind it",
                mend="Give a pyarrow.Table, a pandas or polars frame, or a DuckDB relation.",
                reason="not_a_table",
            )
        return cls(table.cast(plain_schema(table.schema)))

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        return self.table.schema

    def batches(self, columns: list[str], max_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the named columns, in that order, in batches of at most ``max_rows`` rows.

        Raises:
            InputError: ``encoding_invalid``.
        """
        n_rows = 0
        for batch in self.table.select(columns).to_batches(max_chunksize=max_rows):
            require_text_valid(batch, first_row=n_rows)
            n_rows += batch.num_rows
            if batch.num_rows:
                yield batch


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema without string views, which few kernels and no writer can take yet."""
    return pa.schema([field.with_type(_plain_type(field.type)) for field in schema])


def _plain_type(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(type_):
        return pa.large_string()
    if pa.types.is_binary_view(type_):
        return pa.large_binary()
    return type_
