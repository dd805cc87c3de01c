"""Tiles and entry bundles as they lie on the disk (C2SP tlog-tiles).

A tile of level L and index N holds the hashes of up to 256 consecutive subtrees of 256^L leaves; an
entry bundle holds the entries under a level-0 tile. The rightmost ones are partial and carry their
width in the name. This module knows names, widths and bytes; it reads and writes no file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from psishare.audit.merkle import HASH_BYTES, fold_peaks, node_hash, peak_ranges
from psishare.errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDTH_BITS = 8
FULL_WIDTH = 1 << WIDTH_BITS
MAX_ENTRY_BYTES = 65_535
MAX_LEVELS = 8
"""Tree sizes stay below 2^63: levels 0 to 7."""
ENTRIES = "entries"
ENTRIES_LEVEL = -1
"""The pseudo-level under which bundles are counted; they share width and index with level 0."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Where a tile or bundle stands: level (-1 for a bundle), index, width (1 to 256)."""

    level: int
    index: int
    width: int = FULL_WIDTH

    @property
    def path(self) -> PurePosixPath:
        """The file's path below the log's folder, ``tile/<L>/<N>[.p/<W>]``."""
        level = ENTRIES if self.level == ENTRIES_LEVEL else str(self.level)
        path = PurePosixPath("tile", level, _index_path(self.index))
        if self.width == FULL_WIDTH:
            return path
        return path.with_name(path.name + ".p") / str(self.width)

    @property
    def partial_folder(self) -> PurePosixPath:
        """The folder of this tile's partial forms, ``tile/<L>/<N>.p``."""
        return Tile(self.level, self.index, 1).path.parent

    @property
    def size(self) -> int:
        """The smallest tree that has a tile of this width here."""
        span_bits = WIDTH_BITS * max(self.level, 0)
        return ((self.index << WIDTH_BITS) + self.width) << span_bits


def parse_tile_path(path: PurePosixPath) -> Tile | None:
    """Return the tile that a path below the log's folder names, or None where it names none.

    Strict: a path that would be written otherwise is none.
    """
    parts = path.parts
    if len(parts) < 3 or parts[0] != "tile":
        return None
    if not all(_is_plain(part) for part in parts[1:]):
        return None
    level = ENTRIES_LEVEL if parts[1] == ENTRIES else _decimal(parts[1])
    is_partial = len(parts) > 3 and parts[-2].endswith(".p")
    width = _decimal(parts[-1]) if is_partial else FULL_WIDTH
    groups = [*parts[2:-2], parts[-2].removesuffix(".p")] if is_partial else parts[2:]
    index = _decimal("".join(group.removeprefix("x") for group in groups).lstrip("0") or "0")
    if level is None or index is None or not width or level >= MAX_LEVELS:
        return None
    tile = Tile(level, index, width)
    return tile if tile.path == path else None


def rightmost_tile(level: int, size: int) -> Tile | None:
    """Return the partial tile of a level in a tree of ``size`` leaves, or None where it has none."""
    hashes = size >> (WIDTH_BITS * max(level, 0))
    width = hashes % FULL_WIDTH
    return Tile(level, hashes >> WIDTH_BITS, width) if width else None


def levels(size: int) -> range:
    """Return the levels that a tree of ``size`` leaves has tiles on."""
    return range((size.bit_length() - 1) // WIDTH_BITS + 1 if size else 0)


def split_hashes(data: bytes, width: int) -> list[bytes]:
    """Split a tile's bytes into its hashes.

    Raises:
        VerificationError: not exactly ``width`` hashes.
    """
    if len(data) != width * HASH_BYTES:
        raise _malformed(f"a tile has {len(data)} bytes instead of {width * HASH_BYTES}")
    return [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]


def subtree_hash(hashes: Sequence[bytes]) -> bytes:
    """Return the root over 2^k hashes of a tile."""
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
    return row[0]


def tile_peaks(hashes: Sequence[bytes]) -> list[bytes]:
    """Return the roots of the complete subtrees of a partial tile, from the left."""
    return [subtree_hash(hashes[start:end]) for start, end in peak_ranges(0, len(hashes))]


def root_of_edge(edge: Sequence[Sequence[bytes]]) -> bytes:
    """Return a tree's root from its partial tiles.

    Args:
        edge: for each level from 0, the hashes of its partial tile, 0 to 255 of them.
    """
    peaks = [peak for hashes in reversed(edge) for peak in tile_peaks(hashes)]
    return fold_peaks(peaks)


def join_bundle(entries: Sequence[bytes]) -> bytes:
    """Serialise entries as a bundle: each after its length, big-endian in two bytes."""
    return b"".join(struct.pack(">H", len(entry)) + entry for entry in entries)


def split_bundle(data: bytes, width: int) -> list[bytes]:
    """Split a bundle's bytes into its entries.

    Raises:
        VerificationError: not exactly ``width`` entries.
    """
    entries = list(_entries(data))
    if len(entries) != width:
        raise _malformed(f"a bundle holds {len(entries)} entries instead of {width}")
    return entries


def _entries(data: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(data):
        end = place + 2
        length = int.from_bytes(data[place:end], "big")
        if end + length > len(data):
            raise _malformed("a bundle ends inside an entry")
        yield data[end : end + length]
        place = end + length


def _index_path(index: int) -> PurePosixPath:
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    return PurePosixPath(*(f"x{group}" for group in groups[:-1]), groups[-1])


def _is_plain(part: str) -> bool:
    return part.isascii() and len(part) <= 7


def _decimal(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _malformed(fault: str) -> VerificationError:
    return VerificationError(
        fault,
        mend="Restore the log's folder from a copy that verifies.",
        reason="log_damaged",
    )
