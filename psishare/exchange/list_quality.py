"""The quality of a list before it is used: what is accepted, repaired, rejected, twice; no value."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from psishare.identifiers import canonicalise

if TYPE_CHECKING:
    from psishare.exchange.prepared_list import KeyColumn, Progress
    from psishare.tables import ResultFile, Table

_VALUES = pa.large_binary()
_REASON_COLUMN = "psishare_reason"
_ROW_COLUMN = "psishare_row"


@dataclass(frozen=True, slots=True)
class ListQuality:
    """A list's key column in figures.

    Attributes:
        rows: rows of the list.
        accepted: rows with an identifier of the kind.
        repaired: rows of these whose value was spelled otherwise than its canonical form.
        distinct: distinct identifiers among the accepted.
        rejected: rows rejected, by reason code.
        first_rejects: up to ten rejected row numbers, from 0, with their reason codes.
    """

    rows: int
    accepted: int
    repaired: int
    distinct: int
    rejected: dict[str, int]
    first_rejects: tuple[tuple[int, str], ...]

    @property
    def duplicates(self) -> int:
        """Accepted rows whose identifier stands in an earlier row too."""
        return self.accepted - self.distinct


def rejects_schema(table: Table) -> pa.Schema:
    """Return the columns of the file of rejected rows: row number and reason, then the table's own."""
    own = [field for field in table.schema if field.name not in {_ROW_COLUMN, _REASON_COLUMN}]
    return pa.schema([(_ROW_COLUMN, pa.uint64()), (_REASON_COLUMN, pa.string()), *own])


def list_quality(
    table: Table, key: KeyColumn, progress: Progress, *, rejects: ResultFile | None = None
) -> ListQuality:
    """Read a list's key column and count.

    Args:
        table: read once, batch by batch.
        key: which column, and of what kind.
        progress: called with the number of rows read, batch by batch.
        rejects: takes the rejected rows, whole, for the list's owner; of ``rejects_schema``.

    Raises:
        InputError: the column is missing or not text, the kind is unknown, the file is damaged, or
            the rejected rows cannot be written.
    """
    table.require_text(key.column)
    values: list[pa.Array] = []
    counts: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    first: list[tuple[int, str]] = []
    columns = None if rejects is not None else [key.column]
    for batch in table.batches(columns=columns):
        column = batch.column(key.column)
        found = canonicalise(column, key.kind, namespace=key.namespace, region=key.region)
        values.append(found.values.drop_null().unique())
        reasons = found.rejects.reasons.to_pylist()
        rejected.update(reasons)
        if len(first) < 10:
            places = found.rejects.rows.to_pylist()
            first += [(counts["rows"] + p, r) for p, r in zip(places, reasons, strict=True)][:10]
        if rejects is not None and reasons:
            rejects.write(_rejected_rows(batch, found.rejects.rows, reasons, counts["rows"]))
        counts["rows"] += batch.num_rows
        counts["accepted"] += batch.num_rows - len(reasons)
        counts["repaired"] += _repaired(column, found.values, key)
        progress(batch.num_rows)
    distinct = len(pa.chunked_array(values, _VALUES).unique())
    return ListQuality(
        rows=counts["rows"],
        accepted=counts["accepted"],
        repaired=counts["repaired"],
        distinct=distinct,
        rejected=dict(sorted(rejected.items())),
        first_rejects=tuple(first[:10]),
    )


def _repaired(column: pa.Array, canonical: pa.Array, key: KeyColumn) -> int:
    lead = pa.scalar(f"{key.kind}\0{key.namespace}\0", pa.large_string())
    empty = pa.scalar("", pa.large_string())
    raw = pc.binary_join_element_wise(lead, column.cast(pa.large_string()), empty)
    changed = pc.not_equal(raw.cast(_VALUES), canonical)
    return int(pc.sum(changed).as_py() or 0)


def _rejected_rows(
    batch: pa.RecordBatch, rows: pa.Array, reasons: list[str], first_row: int
) -> pa.RecordBatch:
    taken = batch.take(rows)
    own = [name for name in batch.schema.names if name not in {_ROW_COLUMN, _REASON_COLUMN}]
    numbers = pc.add(rows, pa.scalar(first_row, pa.uint64()))
    arrays = [numbers, pa.array(reasons, pa.string()), *(taken.column(name) for name in own)]
    schema = pa.schema(
        [
            (_ROW_COLUMN, pa.uint64()),
            (_REASON_COLUMN, pa.string()),
            *(batch.schema.field(name) for name in own),
        ]
    )
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
