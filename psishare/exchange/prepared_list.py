"""A party's list, made ready: canonical, distinct, and joined back to the rows that it came from.

Neither file order nor multiplicity travels: what is asked are the distinct canonical values, and the
answer is joined back here, so that every matching row of the input comes back in input order.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from psishare import _native
from psishare.errors import InputError
from psishare.exchange.offer import Ruleset
from psishare.exchange.row_counts import RowCounter
from psishare.identifiers import canonicalise, ruleset_digest, ruleset_version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from psishare.exchange.row_counts import RowCounts
    from psishare.identifiers import Canonical
    from psishare.tables.table import Table

Progress = Callable[[int], None]
_VALUES = pa.large_binary()


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """Which column holds the identifiers, and what they are.

    Attributes:
        kind: the identifiers' kind, such as ``phone``.
        column: the column's name.
        namespace: sets apart opaque identifiers of different origin; may be empty.
        region: the default region of phone numbers without a country code, such as ``DE``.
    """

    kind: str
    column: str
    namespace: str = ""
    region: str | None = None

    @classmethod
    def parse(cls, text: str, *, namespace: str = "", region: str | None = None) -> KeyColumn:
        """Parse ``KIND=COLUMN``.

        Args:
            text: such as ``phone=number``.
            namespace: sets apart opaque identifiers of different origin; may be empty.
            region: the default region of phone numbers without a country code, such as ``DE``.

        Returns:
            The key column.

        Raises:
            InputError: not of that form.
        """
        kind, equals, column = text.partition("=")
        if not (kind and equals and column):
            raise InputError(
                "a key is KIND=COLUMN, such as phone=number",
                mend="Name the kind, an equals sign and the column.",
                reason="key_malformed",
            )
        return cls(kind, column, namespace, region)

    @property
    def ruleset(self) -> Ruleset:
        """The version and digest of the kind's canonical form here."""
        return Ruleset(version=ruleset_version(self.kind), digest=ruleset_digest(self.kind))


@dataclass(frozen=True, slots=True)
class PreparedList:
    """A list that is ready to be asked about, or to be served.

    Attributes:
        distinct: the distinct canonical identifiers, ``large_binary``, in first-occurrence order.
        rows: for each row of the input the index into ``distinct``, ``uint32``; null where the row
            was rejected.
        counts: the rows in figures.
    """

    distinct: pa.Array
    rows: pa.UInt32Array
    counts: RowCounts

    @property
    def rejected(self) -> dict[str, int]:
        """Rows rejected, by reason code."""
        return self.counts.rejected

    @property
    def first_rejects(self) -> tuple[tuple[int, str], ...]:
        """Up to ten rejected row numbers, from 0, with their reason codes."""
        return self.counts.first_rejects

    @property
    def n_rows(self) -> int:
        """Rows of the input."""
        return len(self.rows)

    @property
    def n_rejected(self) -> int:
        """Rows that hold no identifier of the kind."""
        return self.counts.n_rejected

    def mask(self, matched: pa.Array) -> pa.ChunkedArray:
        """Tell for each row of the input whether its identifier is among the matched.

        Args:
            matched: ``uint64`` indices into ``distinct``.

        Returns:
            ``bool``, shape ``(n_rows,)``, no nulls.
        """
        return pa.chunked_array([pc.is_in(self.rows, value_set=matched.cast(pa.uint32()))])


def prepare(table: Table, key: KeyColumn, progress: Progress) -> PreparedList:
    """Read a table's key column, canonicalise it and find its distinct values.

    Args:
        table: read once, batch by batch; only the key column is kept.
        key: which column, and of what kind.
        progress: called with the number of rows read, batch by batch.

    Raises:
        InputError: the column is missing or not text, the kind is unknown, or the file is damaged.
    """
    values: list[pa.Array] = []
    accepted: list[pa.BooleanArray] = []
    counter = RowCounter()
    table.require_text(key.column)
    for canonical in canonicalised(table, key):
        accepted.append(pc.is_valid(canonical.values))
        values.append(canonical.values.drop_null())
        counter.add(canonical)
        progress(len(canonical.values))
    counts = counter.counts()
    distinct, indices = _distinct(values)
    # What reading needed is given back before the exchange needs as much again.
    pa.default_memory_pool().release_unused()
    if counts.rejected:
        mask = pa.concat_arrays(accepted)
        indices = pc.replace_with_mask(pa.nulls(counts.rows, pa.uint32()), mask, indices)
    return PreparedList(distinct, indices, counts)


def canonicalised(table: Table, key: KeyColumn) -> Iterator[Canonical]:
    """Yield the canonical column batch by batch, on all cores while the next batches are read.

    Args:
        table: read once.
        key: which column, and of what kind.

    Raises:
        InputError: the kind is unknown, or the file is damaged.
    """
    coming: deque[Future[Canonical]] = deque()
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as threads:
        for batch in table.batches(columns=[key.column]):
            column = batch.column(0)
            coming.append(
                threads.submit(
                    canonicalise, column, key.kind, namespace=key.namespace, region=key.region
                )
            )
            if len(coming) > cores:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def _distinct(values: list[pa.Array]) -> tuple[pa.Array, pa.UInt32Array]:
    """Return the distinct values, and for each value its index among them; empties ``values``."""
    joined = pa.concat_arrays(values) if values else pa.array([], _VALUES)
    values.clear()
    first_rows, indices = _native.distinct_rows(joined)
    all_distinct = len(first_rows) == len(joined)
    return (joined if all_distinct else joined.take(first_rows)), indices
