"""Reads columns of whole numbers as text, where someone has said that they are identifiers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psishare.tables.source import Source


@dataclass(frozen=True, slots=True)
class TextSource:
    """A source some of whose integer columns are text: their decimal digits.

    What the numbers lost when they were stored, leading zeros and plus signs, stays lost.

    Attributes:
        source: the source as it is.
        schema: its columns, the chosen integer columns as ``string``.
    """

    source: Source
    schema: pa.Schema

    @classmethod
    def of(cls, source: Source, as_text: frozenset[str]) -> Self:
        """Choose columns by name; those that are no integers stay as they are."""
        fields = [
            field.with_type(pa.string())
            if field.name in as_text and pa.types.is_integer(field.type)
            else field
            for field in source.schema
        ]
        return cls(source, pa.schema(fields))

    def batches(self, columns: list[str], max_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the named columns, in that order, in batches of at most ``max_rows`` rows.

        Raises:
            InputError: the data cannot be read to its end.
        """
        schema = pa.schema([self.schema.field(column) for column in columns])
        for batch in self.source.batches(columns, max_rows):
            yield batch.cast(schema)
