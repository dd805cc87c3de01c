"""What an append adds to the tiles: pure computation, from the right edge and the new entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psishare.audit.merkle import leaf_hash
from psishare.audit.tile import (
    ENTRIES_LEVEL,
    FULL_WIDTH,
    WIDTH_BITS,
    Tile,
    join_bundle,
    root_of_edge,
    subtree_hash,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Growth:
    """The files that an append writes, and the tree that they make.

    Attributes:
        files: each tile or bundle with its bytes; bundles first.
        size: the new tree's size.
        root: its root hash.
    """

    files: list[tuple[Tile, bytes]]
    size: int
    root: bytes


def grow(
    size: int,
    edge: Sequence[Sequence[bytes]],
    open_bundle: Sequence[bytes],
    entries: Sequence[bytes],
) -> Growth:
    """Work out what appending entries to a tree adds.

    Args:
        size: the tree's size.
        edge: for each level from 0, the hashes of its partial tile.
        open_bundle: the entries of the partial bundle.
        entries: what is appended, at least one.
    """
    first = size >> WIDTH_BITS
    files = [
        (Tile(ENTRIES_LEVEL, first + place, len(part)), join_bundle(part))
        for place, part in enumerate(_parts([*open_bundle, *entries]))
    ]
    new_edge: list[list[bytes]] = []
    added = [leaf_hash(entry) for entry in entries]
    level = 0
    while added or level < len(edge):
        hashes = [*(edge[level] if level < len(edge) else ()), *added]
        index = size >> (WIDTH_BITS * (level + 1))
        parts = list(_parts(hashes)) if added else []
        files += [
            (Tile(level, index + place, len(part)), b"".join(part))
            for place, part in enumerate(parts)
        ]
        full = [part for part in parts if len(part) == FULL_WIDTH]
        new_edge.append(hashes[len(full) * FULL_WIDTH :])
        added = [subtree_hash(part) for part in full]
        level += 1
    return Growth(files, size + len(entries), root_of_edge(new_edge))


def _parts(items: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(items), FULL_WIDTH):
        yield items[start : start + FULL_WIDTH]
