"""A log's folder, derived again from its entries: every file that differs, and the first byte of it.

``verify_log`` says whether a folder is as it must be and stops at the first difference. This looks
further, for whoever has to mend a disk: it tells an entry that was altered from a tile that was, since
the one that the signed roots bear out is right, and names the byte. Reads only; holds the leaf hashes, 32
bytes an entry, where something differs.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from psishare.audit.checkpoint import MAX_TREE_SIZE, Checkpoint, parse_checkpoint
from psishare.audit.layout import CHECKPOINT, CHECKPOINTS, INTENT
from psishare.audit.merkle import HASH_BYTES, Frontier, leaf_hash
from psishare.audit.note import MAX_NOTE_BYTES
from psishare.audit.signed_checkpoint import as_log_keys, verify_checkpoint
from psishare.audit.tile import (
    ENTRIES_LEVEL,
    FULL_WIDTH,
    MAX_ENTRY_BYTES,
    WIDTH_BITS,
    Tile,
    join_bundle,
    subtree_hash,
)
from psishare.audit.tree import MAX_BUNDLE_BYTES
from psishare.audit.verify_log import LogVerdict, followed_keys, verify_log_folder
from psishare.errors import AuditError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from psishare.keys.log_keys import LogKeys
    from psishare.keys.note_key import NoteKey

LENGTH_BYTES = 2
MAX_REPAIRED_BYTES = 4096
"""Entries up to this length are searched for the one byte whose change explains the damage."""


@dataclass(frozen=True, slots=True)
class FolderFault:
    """A file that is not what the log's entries and signatures give.

    Attributes:
        path: below the log's folder; empty where no one file is at fault.
        byte: the first byte that differs; None where the whole file does, or is missing or strange.
        finding: what is wrong, one sentence part.
    """

    path: str
    byte: int | None
    finding: str


@dataclass(frozen=True, slots=True)
class FolderReport:
    """What a check of a whole folder found.

    Attributes:
        verdict: what the folder was shown to be; None where it has a fault.
        faults: every file at fault; empty where the folder is as it must be.
    """

    verdict: LogVerdict | None
    faults: tuple[FolderFault, ...]


def check_log_folder(
    path: Path,
    verifiers: LogKeys | Sequence[NoteKey],
    *,
    cosigner_keys: Sequence[NoteKey] = (),
) -> FolderReport:
    """Derive a log's folder again from its entries, and find every file that differs.

    Args:
        path: the folder, or a copy.
        verifiers: the log's own keys, as ``verify_log_folder`` takes them.
        cosigner_keys: keys of types 0x04 and 0x06 whose cosignatures are verified where they stand.

    Raises:
        AuditError: there is no log, or the disk cannot be read.
    """
    try:
        verdict = verify_log_folder(path, verifiers, cosigner_keys=cosigner_keys)
    except VerificationError as error:
        faults = tuple(_Search(path, as_log_keys(verifiers)).faults())
        return FolderReport(None, faults or (FolderFault("", None, error.message),))
    return FolderReport(verdict, ())


class _Search:
    """Looks for the files at fault in a folder that does not verify."""

    def __init__(self, path: Path, known: LogKeys) -> None:
        self._path = path
        self._origin = known.origin
        self._followed, followed = self._follow(known)
        # Keys that the entries lead to count beside those that are known; a fault may hide them.
        self._verifiers = self._up_to_head = known
        if len(followed.terms) >= len(known.terms):
            self._verifiers, self._up_to_head = followed, followed.binding(self._followed)

    def faults(self) -> Iterator[FolderFault]:
        """Yield every file at fault that can be told."""
        notes = self._notes()
        signed = {c.tree_size: c.root_hash for c in notes.values() if c is not None}
        if not signed:
            yield FolderFault(CHECKPOINT, None, "no checkpoint here is signed by the log's keys")
            return
        size = max(signed)
        leaves, faults = self._leaves(size, signed)
        yield from faults
        yield from self._note_faults(notes, leaves)
        yield from self._tile_faults(leaves)

    # Checkpoints.

    def _notes(self) -> dict[str, Checkpoint | None]:
        """Return every checkpoint by its file, None where its signatures do not verify."""
        folder = self._path / CHECKPOINTS
        stored = sorted(folder.iterdir()) if folder.is_dir() else []
        names = [CHECKPOINT, *(f"{CHECKPOINTS}/{path.name}" for path in stored)]
        found: dict[str, Checkpoint | None] = {}
        for name in names:
            try:
                note = self._read(PurePosixPath(name), MAX_NOTE_BYTES)
                found[name] = self._verified(note or b"")
            except VerificationError:
                found[name] = None
        return found

    def _follow(self, known: LogKeys) -> tuple[int, LogKeys]:
        """Return how many entries were followed, and to which keys: to the most of those sizes that are told."""
        found = [(size, followed_keys(self._path, known, size)) for size in self._told_sizes()]
        return max(found, key=lambda each: (len(each[1].terms), not each[1].overlaps, each[0]))

    def _told_sizes(self) -> set[int]:
        """Return how many entries there may be: what the newest checkpoint says, and what others are called by.

        Either of them may be the file at fault.
        """
        folder = self._path / CHECKPOINTS
        names = folder.iterdir() if folder.is_dir() else []
        named = sorted(size for each in names if (size := _named_size(each.name)) <= MAX_TREE_SIZE)
        sizes = {0, *named[-2:]} - {-1}
        with contextlib.suppress(VerificationError):
            note = self._read(PurePosixPath(CHECKPOINT), MAX_NOTE_BYTES)
            sizes.add(parse_checkpoint(note or b"").tree_size)
        return sizes

    def _verified(self, note: bytes) -> Checkpoint:
        """Verify a note; of an overlap that the entries show not to have ended, both pairs have to sign."""
        is_followed = parse_checkpoint(note).tree_size <= self._followed
        return verify_checkpoint(note, self._up_to_head if is_followed else self._verifiers)

    def _note_faults(
        self, notes: dict[str, Checkpoint | None], leaves: list[bytes]
    ) -> Iterator[FolderFault]:
        """Compare each checkpoint with what the entries give."""
        newest = max((c.tree_size for c in notes.values() if c), default=0)
        front = self._front_size(notes.get(CHECKPOINT), newest)
        sizes = {name: front if name == CHECKPOINT else _named_size(name) for name in notes}
        roots = _roots(leaves, set(sizes.values()))
        for name, checkpoint in notes.items():
            size = sizes[name]
            if size not in roots:
                yield FolderFault(name, None, "does not belong to the log")
                continue
            expected = Checkpoint(self._origin, size, roots[size]).text()
            found = self._read(PurePosixPath(name), MAX_NOTE_BYTES) or b""
            byte = _first_difference(found[: len(expected)], expected.encode())
            if byte is not None:
                yield FolderFault(name, byte, f"is not the checkpoint of the first {size} entries")
            elif checkpoint is None:
                byte = self._signature_byte(name, found, expected.encode(), size)
                yield FolderFault(name, byte, "has a wrong signature")
            elif name == CHECKPOINT:
                yield from self._copy_fault(found, size)

    def _front_size(self, front: Checkpoint | None, newest: int) -> int:
        """Return the size of the checkpoint in front: the newest's, unless an append was cut off before that."""
        if front is None:
            return newest
        with contextlib.suppress(UnicodeDecodeError, VerificationError):
            intent = self._read(PurePosixPath(INTENT), MAX_NOTE_BYTES) or b""
            if Checkpoint.parse_text(intent.decode("utf-8")).tree_size == newest:
                return front.tree_size
        return newest

    def _copy_fault(self, newest: bytes, size: int) -> Iterator[FolderFault]:
        """Compare the newest checkpoint with the stored one, which may have more cosignatures."""
        stored = self._read(PurePosixPath(CHECKPOINTS, str(size)), MAX_NOTE_BYTES)
        if stored is None:
            yield FolderFault(f"{CHECKPOINTS}/{size}", None, "is missing")
        elif not stored.startswith(newest):
            byte = _first_difference(newest, stored)
            yield FolderFault(CHECKPOINT, byte, f"differs from {CHECKPOINTS}/{size}")

    def _signature_byte(self, name: str, found: bytes, text: bytes, size: int) -> int:
        """Return where a note whose text is right differs: from its copy, or from its signatures on."""
        signatures = len(text) + 1
        if found[len(text) : signatures] != b"\n":
            return len(text)
        twin = f"{CHECKPOINTS}/{size}" if name == CHECKPOINT else CHECKPOINT
        other = self._read(PurePosixPath(twin), MAX_NOTE_BYTES) or b""
        byte = _first_difference(found, other) if other.startswith(text) else None
        return signatures if byte is None else byte

    # Entries, and the leaf hashes beside them.

    def _leaves(self, size: int, signed: dict[int, bytes]) -> tuple[list[bytes], list[FolderFault]]:
        """Return the leaf hashes that the signed roots bear out, and what differs from them.

        Where an entry and its hash differ, one of them was altered; a signed root tells which.
        """
        faults: list[FolderFault] = []
        leaves: list[bytes] = []
        tree = Frontier()
        for index in range(-(-size >> WIDTH_BITS)):
            width = min(FULL_WIDTH, size - (index << WIDTH_BITS))
            data = self._tile(Tile(ENTRIES_LEVEL, index, width))
            hashes = _split(self._tile(Tile(0, index, width)) or b"")
            if data is None:
                tile = Tile(ENTRIES_LEVEL, index, width)
                faults.append(FolderFault(str(tile.path), None, "is missing"))
            told = [leaf_hash(entry) for entry in _entries(data or b"", width)]
            chosen = _borne_out(tree, [told, hashes], width, signed)
            if chosen is hashes and data is not None:
                faults += self._bundle_faults(index, width, data, hashes)
            leaves += chosen
            for leaf in chosen:
                tree.add(leaf)
        return leaves, faults

    def _bundle_faults(
        self, index: int, width: int, data: bytes, hashes: list[bytes]
    ) -> Iterator[FolderFault]:
        """Find the first byte of a bundle from which on it is not what its leaf hashes say."""
        place = 0
        path = str(Tile(ENTRIES_LEVEL, index, width).path)
        for at, expected in enumerate(hashes):
            end = place + LENGTH_BYTES + int.from_bytes(data[place : place + LENGTH_BYTES], "big")
            entry = data[place + LENGTH_BYTES : end]
            if end > len(data) or leaf_hash(entry) != expected:
                number = (index << WIDTH_BITS) + at
                byte = _damaged_byte(data, place, expected)
                yield FolderFault(path, byte, f"entry {number} is not the one that was signed")
                return
            place = end
        if place != len(data):
            yield FolderFault(path, place, "goes on after its last entry")

    # Tiles.

    def _tile_faults(self, leaves: list[bytes]) -> Iterator[FolderFault]:
        """Compare every tile, partial ones included, with what the leaf hashes give."""
        hashes, level = leaves, 0
        while hashes:
            for start in range(0, len(hashes), FULL_WIDTH):
                part = hashes[start : start + FULL_WIDTH]
                yield from self._compare(Tile(level, start >> WIDTH_BITS, len(part)), part)
                if level == 0:
                    yield from self._partial_bundles(start >> WIDTH_BITS, part)
            full = len(hashes) >> WIDTH_BITS
            hashes = [
                subtree_hash(hashes[i << WIDTH_BITS : (i + 1) << WIDTH_BITS]) for i in range(full)
            ]
            level += 1

    def _compare(self, tile: Tile, hashes: list[bytes]) -> Iterator[FolderFault]:
        for each in [tile, *self._narrower(tile)]:
            found, expected = self._tile(each), b"".join(hashes[: each.width])
            if found is None:
                yield FolderFault(str(each.path), None, "is missing")
                continue
            byte = _first_difference(found, expected)
            if byte is not None:
                yield FolderFault(str(each.path), byte, "differs from the entries")

    def _partial_bundles(self, index: int, hashes: list[bytes]) -> Iterator[FolderFault]:
        """Compare the narrower copies of a bundle that are still there."""
        for each in self._narrower(Tile(ENTRIES_LEVEL, index, len(hashes))):
            data = self._tile(each) or b""
            yield from self._bundle_faults(index, each.width, data, hashes[: each.width])

    def _narrower(self, tile: Tile) -> list[Tile]:
        folder = self._path / tile.partial_folder
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        widths = sorted(int(name) for name in names if name.isdecimal())
        return [Tile(tile.level, tile.index, w) for w in widths if 0 < w < tile.width]

    def _tile(self, tile: Tile) -> bytes | None:
        return self._read(tile.path, MAX_BUNDLE_BYTES)

    def _read(self, name: PurePosixPath, max_bytes: int) -> bytes | None:
        """Return a file's bytes, cut at a bound; None where it is missing."""
        try:
            with (self._path / name).open("rb") as file:
                return file.read(max_bytes + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise AuditError(
                f"{name} cannot be read: {error.strerror or type(error).__name__}",
                mend="Check the disk and the permissions of the log's folder.",
                reason="log_unreadable",
            ) from error


def _borne_out(
    before: Frontier, told: list[list[bytes]], width: int, signed: dict[int, bytes]
) -> list[bytes]:
    """Return, of several tellings of one bundle's leaf hashes, the one that signed roots bear out.

    Each is weighed by the signed checkpoints inside it; the first, the entries', wins a draw.
    """

    def weight(hashes: list[bytes]) -> int:
        tree, borne_out = before.copy(), 0
        for leaf in hashes:
            tree.add(leaf)
            borne_out += tree.size in signed and tree.root() == signed[tree.size]
        return borne_out

    return max([each for each in told if len(each) == width] or [told[0]], key=weight)


def _roots(leaves: Sequence[bytes], sizes: set[int]) -> dict[int, bytes]:
    """Return the root of the first so many leaves, for each size that there are leaves for."""
    tree = Frontier()
    roots = {0: tree.root()}
    for leaf in leaves:
        tree.add(leaf)
        if tree.size in sizes:
            roots[tree.size] = tree.root()
    return roots


def _named_size(name: str) -> int:
    """Return the size that a stored checkpoint is called by; -1 where its name is none."""
    place = name.removeprefix(f"{CHECKPOINTS}/")
    return int(place) if place.isascii() and place.isdecimal() and str(int(place)) == place else -1


def _damaged_byte(data: bytes, place: int, expected: bytes) -> int:
    """Return the byte of a bundle at which an entry differs from the one with an expected hash.

    Args:
        data: the bundle.
        place: where the entry's length stands.
        expected: the entry's leaf hash.

    Returns:
        The one byte whose change explains it, where there is one; else where the entry begins.
    """
    start = place + LENGTH_BYTES
    length = int.from_bytes(data[place:start], "big")
    true_length = _length_with(data[start : start + MAX_ENTRY_BYTES], expected)
    if true_length is not None:
        wrong = _first_difference(data[place:start], true_length.to_bytes(LENGTH_BYTES, "big"))
        return place + (wrong or 0)
    changed = _changed_byte(data[start : start + length], expected)
    return start if changed is None else start + changed


def _length_with(rest: bytes, expected: bytes) -> int | None:
    """Return how many bytes have an expected leaf hash, or None where no number of them has."""
    state = hashlib.sha256(b"\x00")
    for length in range(len(rest) + 1):
        if state.copy().digest() == expected:
            return length
        state.update(rest[length : length + 1])
    return None


def _changed_byte(entry: bytes, expected: bytes) -> int | None:
    """Return the byte that, set to another value, gives an entry its hash; None where none does."""
    if len(entry) > MAX_REPAIRED_BYTES:
        return None
    state = hashlib.sha256(b"\x00")
    for place in range(len(entry)):
        rest = entry[place + 1 :]
        for value in range(256):
            tried = state.copy()
            tried.update(bytes([value]) + rest)
            if tried.digest() == expected:
                return place
        state.update(entry[place : place + 1])
    return None


def _entries(data: bytes, width: int) -> list[bytes]:
    """Split a bundle as far as it goes."""
    entries: list[bytes] = []
    place = 0
    while place < len(data) and len(entries) < width:
        end = place + LENGTH_BYTES + int.from_bytes(data[place : place + LENGTH_BYTES], "big")
        if end > len(data):
            break
        entries.append(data[place + LENGTH_BYTES : end])
        place = end
    # A bundle that does not end with its last entry is none.
    return entries if join_bundle(entries) == data else []


def _split(data: bytes) -> list[bytes]:
    return [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]


def _first_difference(found: bytes, expected: bytes) -> int | None:
    """Return the first byte at which two texts differ; where one ends first, its end."""
    for place, (a, b) in enumerate(zip(found, expected, strict=False)):
        if a != b:
            return place
    return None if len(found) == len(expected) else min(len(found), len(expected))
