"""Reads several files as one table, one behind the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from psishare.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from psishare.tables.source import Source


@dataclass(frozen=True, slots=True)
class JoinedSource:
    """Sources with the same columns.

    Attributes:
        parts: in the order in which they are read; at least one.
        schema: the columns of each.
    """

    parts: tuple[Source, ...]
    schema: pa.Schema

    @classmethod
    def of(cls, parts: Sequence[Source], labels: Sequence[str]) -> Self:
        """Join sources.

        Args:
            parts: at least one.
            labels: what errors call each of them.

        Raises:
            InputError: ``schema_differs``.
        """
        schema = parts[0].schema
        for part, label in zip(parts, labels, strict=True):
            if part.schema != schema:
                raise InputError(
                    f"{label} has other columns, or columns of other types, than {labels[0]}",
                    mend="Give files with the same columns, in the same order and of the same types.",
                    reason="schema_differs",
                )
        return cls(tuple(parts), schema)

    def batches(self, columns: list[str], max_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the named columns, in that order, in batches of at most ``max_rows`` rows.

        Raises:
            InputError: a part cannot be read to its end.
        """
        for part in self.parts:
            yield from part.batches(columns, max_rows)
