"""A table's key column as canonical identifiers, read batch by batch, as often as needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Self

from psishare.errors import InputError
from psishare.exchange.prepared_list import canonicalised
from psishare.exchange.row_counts import RowCounter
from psishare.identifiers import canonicalise

if TYPE_CHECKING:
    import pyarrow as pa

    from psishare.exchange.prepared_list import KeyColumn
    from psishare.exchange.row_counts import RowCounts
    from psishare.tables.table import Table

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class CanonicalColumn:
    """The identifiers of one column; rows that hold none of the kind are left out.

    Attributes:
        counts: the table's rows in figures.
        source: names the files as they are now, and how they are read; None for a table in memory.
    """

    counts: RowCounts
    source: str | None
    _table: Table
    _key: KeyColumn

    @classmethod
    def of(cls, table: Table, key: KeyColumn, progress: Progress) -> Self:
        """Take a column and count its rows, and those that hold no identifier.

        Args:
            table: where it is.
            key: which column, and of what kind.
            progress: called with the number of rows counted, batch by batch.

        Raises:
            InputError: the column is missing or not text, the kind is unknown, or the file is damaged.
        """
        table.require_text(key.column)
        counter = RowCounter()
        for canonical in canonicalised(table, key):
            counter.add(canonical)
            progress(len(canonical.values))
        return cls(counter.counts(), _source(table, key), table, key)

    def require_identifiers(self) -> None:
        """Refuse a table that has rows, and in all of them no identifier.

        Raises:
            InputError: ``dataset_empty``. Names column and kind, never a value.
        """
        counts, key = self.counts, self._key
        if not counts.rows or counts.n_rejected < counts.rows:
            return
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in counts.rejected.items())
        region = (
            " Numbers without a country code need --region, such as --region DE."
            if "no_country" in counts.rejected
            else ""
        )
        raise InputError(
            f"no row of column {key.column!r} holds an identifier of kind {key.kind}:"
            f" all {counts.rows:,} are rejected ({reasons})",
            mend=f"Is it the right column, and are its values of kind {key.kind}?{region}",
            reason="dataset_empty",
        )

    def batches(self, skip: int = 0) -> Iterator[pa.Array]:
        """Yield the canonical identifiers, ``binary``, no nulls, from a batch on.

        Args:
            skip: batches of the table to pass over; they are read, and not made canonical.

        Raises:
            InputError: the kind is unknown, or the file is damaged or has changed.
        """
        key = self._key
        for batch in islice(self._table.batches(columns=[key.column]), skip, None):
            column = batch.column(0)
            canonical = canonicalise(column, key.kind, namespace=key.namespace, region=key.region)
            yield canonical.values.drop_null()


def _source(table: Table, key: KeyColumn) -> str | None:
    stamps = table.stamps()
    if not stamps:
        return None
    return hashlib.sha256(repr((stamps, key)).encode("utf-8")).hexdigest()
