"""What the rows of a list come to: how many hold an identifier, and why the others do not; no value."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psishare.identifiers import Canonical

FIRST_REJECTS = 10


@dataclass(frozen=True, slots=True)
class RowCounts:
    """The rows of a list in figures.

    Attributes:
        rows: rows of the list.
        rejected: rows that hold no identifier of the kind, by reason code.
        first_rejects: up to ten rejected row numbers, from 0, with their reason codes.
    """

    rows: int
    rejected: dict[str, int]
    first_rejects: tuple[tuple[int, str], ...]

    @property
    def n_rejected(self) -> int:
        """Rows that hold no identifier of the kind."""
        return sum(self.rejected.values())


class RowCounter:
    """Counts the rows of a list as its batches come."""

    def __init__(self) -> None:
        self._rows = 0
        self._rejected: Counter[str] = Counter()
        self._first: list[tuple[int, str]] = []

    def add(self, canonical: Canonical) -> None:
        """Count the next batch.

        Args:
            canonical: the batch's key column, made canonical.
        """
        rejects = canonical.rejects
        for counted in rejects.reasons.value_counts():
            self._rejected[counted["values"].as_py()] += counted["counts"].as_py()
        if wanted := FIRST_REJECTS - len(self._first):
            rows = rejects.rows.slice(0, wanted).to_pylist()
            reasons = rejects.reasons.slice(0, wanted).to_pylist()
            self._first += [(self._rows + r, why) for r, why in zip(rows, reasons, strict=True)]
        self._rows += len(canonical.values)

    def counts(self) -> RowCounts:
        """Return what has been counted so far."""
        return RowCounts(self._rows, dict(sorted(self._rejected.items())), tuple(self._first))
