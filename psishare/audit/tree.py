"""A tree of one size, read from the tiles on the disk: entries, hashes and proofs.

Reads only. A partial tile may give way to the full one while it is looked for, because logs go on
growing; the full one holds the same hashes and is taken instead.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from psishare.audit.merkle import (
    HASH_BYTES,
    consistency_ranges,
    fold_peaks,
    inclusion_ranges,
    leaf_hash,
    peak_ranges,
)
from psishare.audit.tile import (
    ENTRIES_LEVEL,
    FULL_WIDTH,
    MAX_ENTRY_BYTES,
    WIDTH_BITS,
    Tile,
    levels,
    root_of_edge,
    split_bundle,
    split_hashes,
    subtree_hash,
)
from psishare.errors import AuditError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psishare.audit.merkle import Range

MAX_BUNDLE_BYTES = FULL_WIDTH * (MAX_ENTRY_BYTES + 2)
_KEPT_TILES = 32
_KEPT_SUBTREES = 1024


class StoredTree:
    """The tree of ``size`` entries in a log's folder.

    Args:
        folder: the log's folder.
        size: how many entries.
        head_size: the size of the log's newest tree, whose tiles lie there; ``size`` where None.
    """

    def __init__(self, folder: Path, size: int, head_size: int | None = None) -> None:
        self.folder = folder
        self.size = size
        self._head_size = size if head_size is None else head_size
        # A tree of one size never changes, so that neighbouring proofs need read nothing twice.
        self._known_hashes = lru_cache(_KEPT_TILES)(self._load_hashes)
        self._known_subtrees = lru_cache(_KEPT_SUBTREES)(self._load_subtree)
        self._known_bundle = lru_cache(1)(self._load_bundle)

    def entry(self, index: int) -> bytes:
        """Return one entry's bytes.

        Raises:
            VerificationError: the bundle is missing or damaged.
            AuditError: the tree has no such entry, or the disk cannot be read.
        """
        self._require_range(index, index + 1)
        return self.bundle(index >> WIDTH_BITS)[index % FULL_WIDTH]

    def entries(self, start: int, end: int) -> Iterator[bytes]:
        """Return the bytes of the entries ``[start, end)``, one bundle in memory at a time.

        Raises:
            VerificationError: a bundle is missing or damaged.
            AuditError: the tree has no such entries, or the disk cannot be read.
        """
        self._require_range(start, end)
        for index in range(start >> WIDTH_BITS, -(-end >> WIDTH_BITS)):
            first = index << WIDTH_BITS
            yield from self.bundle(index)[max(start - first, 0) : end - first]

    def bundle(self, index: int) -> list[bytes]:
        """Return the entries of one bundle: 256, or what the last one holds."""
        return self._known_bundle(index)

    def hashes(self, level: int, index: int) -> list[bytes]:
        """Return the hashes of one tile: 256, or what the last one of its level holds."""
        return self._known_hashes(level, index)

    def edge(self) -> list[list[bytes]]:
        """Return the hashes of each level's partial tile, from level 0; empty where it is full."""
        edge = []
        for level in levels(self.size):
            hashes = self.size >> (WIDTH_BITS * level)
            has_partial = hashes % FULL_WIDTH
            edge.append(self.hashes(level, hashes >> WIDTH_BITS) if has_partial else [])
        return edge

    def open_bundle(self) -> list[bytes]:
        """Return the entries of the partial bundle, checked against the leaf hashes beside it.

        Raises:
            VerificationError: they differ.
        """
        if self.size % FULL_WIDTH == 0:
            return []
        index = self.size >> WIDTH_BITS
        entries = self.bundle(index)
        if [leaf_hash(entry) for entry in entries] != self.hashes(0, index):
            raise _damaged(f"bundle {index} differs from its leaf hashes")
        return entries

    def root(self) -> bytes:
        """Return the root hash that the tiles give."""
        return root_of_edge(self.edge())

    def inclusion_proof(self, index: int) -> list[bytes]:
        """Return the inclusion proof of an entry in this tree (RFC 6962, section 2.1.1).

        Raises:
            AuditError: the tree has no such entry.
        """
        self._require_range(index, index + 1)
        return [self._range_hash(each) for each in inclusion_ranges(index, self.size)]

    def consistency_proof(self, old_size: int) -> list[bytes]:
        """Return the proof that this tree extends an older one (RFC 6962, section 2.1.2).

        Empty where the older tree is empty or is this one.

        Raises:
            AuditError: the older tree would be larger.
        """
        self._require_range(old_size, self.size)
        if old_size == 0:
            return []
        return [self._range_hash(each) for each in consistency_ranges(old_size, self.size)]

    def _range_hash(self, leaves: Range) -> bytes:
        return fold_peaks([self._known_subtrees(*peak) for peak in peak_ranges(*leaves)])

    def _load_bundle(self, index: int) -> list[bytes]:
        data, width = self._read(ENTRIES_LEVEL, index, MAX_BUNDLE_BYTES)
        return split_bundle(data, width)[: _width(self.size, ENTRIES_LEVEL, index)]

    def _load_hashes(self, level: int, index: int) -> list[bytes]:
        data, width = self._read(level, index, FULL_WIDTH * HASH_BYTES)
        return split_hashes(data, width)[: _width(self.size, level, index)]

    def _load_subtree(self, start: int, end: int) -> bytes:
        """Return the hash of a complete, aligned subtree; one tile holds all that it needs."""
        level = ((end - start).bit_length() - 1) // WIDTH_BITS
        first, last = start >> (WIDTH_BITS * level), end >> (WIDTH_BITS * level)
        index = first >> WIDTH_BITS
        begin = index << WIDTH_BITS
        return subtree_hash(self.hashes(level, index)[first - begin : last - begin])

    def _read(self, level: int, index: int, max_bytes: int) -> tuple[bytes, int]:
        """Return a tile's bytes and the width of the file that they were found in."""
        tile = Tile(level, index, _width(self._head_size, level, index))
        for candidate in (tile, Tile(level, index)):
            try:
                with (self.folder / candidate.path).open("rb") as file:
                    data = file.read(max_bytes + 1)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise _unreadable(candidate, error) from error
            if len(data) > max_bytes:
                raise _damaged(f"{candidate.path} is too long")
            return data, candidate.width
        raise _damaged(f"{tile.path} is missing")

    def _require_range(self, start: int, end: int) -> None:
        if not 0 <= start <= end <= self.size:
            raise AuditError(
                f"the log has {self.size} entries, not {max(start, end)}",
                mend="Ask for entries that the log has.",
                reason="entry_unknown",
            )


def _width(size: int, level: int, index: int) -> int:
    """Return how many hashes or entries a tile has in a tree of a size."""
    hashes = size >> (WIDTH_BITS * max(level, 0))
    return min(FULL_WIDTH, hashes - (index << WIDTH_BITS))


def _damaged(fault: str) -> VerificationError:
    return VerificationError(
        f"the log's folder is damaged: {fault}",
        mend="Restore the log's folder from a copy that verifies, the newest there is.",
        reason="log_damaged",
    )


def _unreadable(tile: Tile, error: OSError) -> AuditError:
    return AuditError(
        f"{tile.path} cannot be read: {error.strerror or type(error).__name__}",
        mend="Check the disk and the permissions of the log's folder.",
        reason="log_unreadable",
    )
