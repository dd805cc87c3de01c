"""The result of an exchange, and its figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from psishare.errors import InputError
from psishare.psi.suite import Output
from psishare.tables import Table, write_matches

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psishare.exchange.authority import Outcome
    from psishare.exchange.prepared_list import PreparedList
    from psishare.exchange.receipt import SignedReceipt


@dataclass(frozen=True, slots=True)
class Summary:
    """An exchange in figures.

    Attributes:
        rows: rows of the input.
        rejected: rows without an identifier of the kind, by reason code.
        distinct: distinct identifiers, which is what was asked.
        matched: distinct identifiers that both parties hold.
        matched_rows: rows of the input that matched; None with output ``count``.
        platform_rows: the size of the platform's set.
        seconds: from reading the input to the receipt.
    """

    rows: int
    rejected: dict[str, int]
    distinct: int
    matched: int
    matched_rows: int | None
    platform_rows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Match:
    """The result of an exchange; it exists only once the doubly signed receipt is in the log.

    Attributes:
        receipt: signed by both parties.
        summary: figures.
        cosigned: whether the platform has cosigned this party's log head yet.
        first_rejects: up to ten rejected row numbers, from 0, with their reason codes.
        out: where the matching rows were written; None where nothing was.
    """

    receipt: SignedReceipt
    summary: Summary
    cosigned: bool
    first_rejects: tuple[tuple[int, str], ...]
    out: str | None
    _table: Table
    _mask: pa.ChunkedArray | None

    @property
    def exchange_id(self) -> str:
        """The exchange's id, hexadecimal."""
        return self.receipt.receipt.exchange_id

    @property
    def is_count(self) -> bool:
        """Whether it was asked only how many match."""
        return self._mask is None

    @property
    def count(self) -> int:
        """How many distinct identifiers both parties hold."""
        return self.summary.matched

    @property
    def mask(self) -> pa.ChunkedArray:
        """For each row of the input whether it matched; ``bool``, no nulls.

        Raises:
            InputError: the output was ``count``, which tells no row.
        """
        if self._mask is None:
            raise tells_no_row()
        return self._mask

    @property
    def matches(self) -> pa.Table:
        """Every matching row of the input, all columns, in input order, in memory.

        Raises:
            InputError: the output was ``count``; or the input changed, or cannot be read again.
        """
        return self.batches().read_all()

    def batches(self) -> pa.RecordBatchReader:
        """Return a reader of every matching row of the input, all columns, in input order.

        The input is read again, batch by batch: a result of any size needs the memory of one batch.

        Returns:
            ``pyarrow.RecordBatchReader`` of the input's schema; it can be read once.

        Raises:
            InputError: the output was ``count``; or, while reading, the input cannot be read again.
        """
        return pa.RecordBatchReader.from_batches(self._table.schema, self._matching(self.mask))

    def _matching(self, mask: pa.ChunkedArray) -> Iterator[pa.RecordBatch]:
        offset = 0
        for batch in self._table.batches():
            yield batch.filter(mask.slice(offset, batch.num_rows).combine_chunks())
            offset += batch.num_rows

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the matching rows as an Arrow stream, for pandas, polars, DuckDB and others.

        Args:
            requested_schema: a PyCapsule, as Arrow's PyCapsule interface says; or None.

        Returns:
            A PyCapsule of name ``arrow_array_stream``.

        Raises:
            InputError: the output was ``count``.
        """
        return self.batches().__arrow_c_stream__(requested_schema)

    def write(self, path: Path, *, overwrite: bool = False) -> int:
        """Write every matching row, all columns, in input order; atomically, mode 0600.

        Args:
            path: where; the suffix says the format.
            overwrite: whether a file that is there is replaced.

        Returns:
            The number of rows written.

        Raises:
            InputError: the file exists already, or the input changed meanwhile.
        """
        n_rows: int = write_matches(self._table, self.mask, path, overwrite=overwrite)
        return n_rows


def match_of(
    table: Table,
    prepared: PreparedList,
    outcome: Outcome,
    *,
    output: str,
    out: Path | str | None,
    seconds: float,
) -> Match:
    """Join what matched back to the rows of the input."""
    mask = None if output == Output.COUNT else prepared.mask(outcome.matched)
    matched_rows = None if mask is None else pc.sum(mask).as_py() or 0
    summary = Summary(
        rows=prepared.n_rows,
        rejected=prepared.rejected,
        distinct=len(prepared.distinct),
        matched=len(outcome.matched),
        matched_rows=matched_rows,
        platform_rows=outcome.elements,
        seconds=seconds,
    )
    return Match(
        receipt=outcome.receipt,
        summary=summary,
        cosigned=outcome.cosigned,
        first_rejects=prepared.first_rejects,
        out=None if out is None else str(out),
        _table=table,
        _mask=mask,
    )


def tells_no_row() -> InputError:
    """Return the error of whoever wants rows where only their number was asked for."""
    return InputError(
        "an exchange with output `count` tells how many match, not which",
        mend="Use `.count`, or ask for output `matches` under a mandate that permits it.",
        reason="output_is_count",
    )
