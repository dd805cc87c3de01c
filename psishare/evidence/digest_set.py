"""A set of digests, as many as there are, in memory that does not grow with them.

The newest are in memory, all others on the disk, in a file without a name. What is surely not there is
told by a table of bits, so that the disk is asked where there is something to find.
"""

from __future__ import annotations

import sqlite3

_KEPT = 2_048
_MARK_BITS = 23


class DigestSet:
    """A set of SHA-256 digests; exact."""

    def __init__(self) -> None:
        self._newest: set[bytes] = set()
        self._marks = bytearray(1 << (_MARK_BITS - 3))
        self._table = sqlite3.connect("", isolation_level=None)
        self._table.execute("PRAGMA journal_mode=OFF")
        self._table.execute("PRAGMA cache_size=-4096")
        self._table.execute("CREATE TABLE digests (digest BLOB PRIMARY KEY) WITHOUT ROWID")

    def __contains__(self, digest: bytes) -> bool:
        byte, bit = _mark(digest)
        if not self._marks[byte] & bit:
            return False
        return digest in self._newest or self._is_stored(digest)

    def add(self, digest: bytes) -> None:
        """Add a digest, which may be there already."""
        byte, bit = _mark(digest)
        self._marks[byte] |= bit
        self._newest.add(digest)
        if len(self._newest) >= _KEPT:
            rows = [(each,) for each in sorted(self._newest)]
            self._table.execute("BEGIN")
            self._table.executemany("INSERT OR IGNORE INTO digests VALUES (?)", rows)
            self._table.execute("COMMIT")
            self._newest.clear()

    def close(self) -> None:
        """Free the file."""
        self._table.close()

    def _is_stored(self, digest: bytes) -> bool:
        found = self._table.execute("SELECT 1 FROM digests WHERE digest = ?", [digest])
        return found.fetchone() is not None


def _mark(digest: bytes) -> tuple[int, int]:
    """Return the byte and the bit of the table that a digest marks."""
    number = int.from_bytes(digest[:4], "big") >> (32 - _MARK_BITS)
    return number >> 3, 1 << (number & 7)
