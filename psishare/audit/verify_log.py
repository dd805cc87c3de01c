"""Verification of a whole log folder with public keys alone.

Everything is derived again from the entries: leaf hashes, tiles, roots. What lies on the disk is
compared with that, file by file, so that nothing in the folder is taken on trust and nothing that
should not be there is passed over. Reads only, and holds one bundle at a time.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from psishare.audit.checkpoint import Checkpoint, parse_checkpoint
from psishare.audit.cosignature import verify_cosignature
from psishare.audit.entry import Entry, LogCreated, parse_entry
from psishare.audit.key_history import KeyHistory
from psishare.audit.layout import CHECKPOINT, CHECKPOINTS, INTENT, LOCK, MAX_APPENDED
from psishare.audit.merkle import Frontier, leaf_hash
from psishare.audit.note import MAX_NOTE_BYTES, SignedNote
from psishare.audit.signed_checkpoint import (
    as_log_keys,
    require_up_to_date,
    verify_checkpoint,
)
from psishare.audit.tile import (
    ENTRIES_LEVEL,
    FULL_WIDTH,
    WIDTH_BITS,
    Tile,
    join_bundle,
    parse_tile_path,
    subtree_hash,
)
from psishare.audit.tree import MAX_BUNDLE_BYTES, StoredTree
from psishare.errors import AuditError, VerificationError
from psishare.keys.durable_file import TEMPORARY_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from psishare.keys.log_keys import LogKeys
    from psishare.keys.note_key import NoteKey


@dataclass(frozen=True, slots=True)
class LogVerdict:
    """What a log's folder was shown to be.

    Attributes:
        head: the newest checkpoint, which covers every entry.
        entries_by_type: how many entries of each type.
        first_time: of the first entry; None in an empty log.
        last_time: of the last entry; None in an empty log.
        n_checkpoints: how many signed checkpoints were verified.
        cosigners: for each name among the cosigner keys given, the largest tree size that all of its
            keys have cosigned; 0 where none.
        unfinished: files that an append left when it was cut off; no checkpoint covers them.
        keys: of its checkpoints, as its entries tell of them.
    """

    head: Checkpoint
    entries_by_type: dict[str, int]
    first_time: str | None
    last_time: str | None
    n_checkpoints: int
    cosigners: dict[str, int]
    unfinished: tuple[str, ...]
    keys: LogKeys

    @property
    def after_cosigned(self) -> dict[str, int]:
        """For each party that has cosigned, how many entries came after the tree that it cosigned last."""
        return {party: self.head.tree_size - size for party, size in self.cosigners.items() if size}


def verify_log_folder(
    path: Path,
    verifiers: LogKeys | Sequence[NoteKey],
    *,
    cosigner_keys: Sequence[NoteKey] = (),
) -> LogVerdict:
    """Verify a log's folder, or a copy of it.

    Args:
        path: the folder.
        verifiers: the log's own keys, from where the verifier trusts them: what is known of its pairs, or
            the first, of types 0x01 and 0x06. Those that followed are found in its entries.
        cosigner_keys: keys of types 0x04 and 0x06 whose cosignatures are verified where they stand.

    Raises:
        VerificationError: something differs; the first thing that does is named. ``log_head_outdated``, it
            ends before the newest pair that is known, and no cosigner has cosigned its head.
        AuditError: there is no log, or the disk cannot be read.
    """
    folder = _Folder(path)
    known = as_log_keys(verifiers)
    entries = _Entries(KeyHistory(known.terms[0].keys))
    checkpoints = _Checkpoints(folder, known, entries.history, cosigner_keys)
    head = checkpoints.head()
    tiles = _Tiles(folder, head.tree_size)
    frontier = Frontier()
    checkpoints.compare(frontier)
    for bundle in tiles.bundles():
        for data in bundle:
            entries.take(frontier.size, data)
            frontier.add(leaf_hash(data))
            checkpoints.compare(frontier)
    tiles.finish()
    checkpoints.finish(frontier)
    known.require_kept_by(entries.history.keys, size=head.tree_size)
    cosigners = checkpoints.cosigners()
    vouched = max(cosigners.values(), default=0) == head.tree_size > 0
    require_up_to_date(head, known, vouched=vouched)
    return LogVerdict(
        head=head,
        entries_by_type=dict(sorted(entries.by_type.items())),
        first_time=entries.first_time,
        last_time=entries.last_time,
        n_checkpoints=checkpoints.n_verified,
        cosigners=cosigners,
        unfinished=tuple(sorted(_unfinished(folder, head.tree_size))),
        keys=entries.history.keys,
    )


def followed_keys(path: Path, known: LogKeys, size: int) -> LogKeys:
    """Return the keys to which a folder's first entries lead from the first pair, as far as they can be read.

    For the look at a head that comes before the entries are verified; they are verified afterwards.

    Args:
        path: the folder.
        known: what is known of its keys.
        size: how many entries to follow.
    """
    history = KeyHistory(known.terms[0].keys)
    with contextlib.suppress(AuditError, OSError, VerificationError):
        history.take_all(enumerate(StoredTree(path, size).entries(0, size)))
    return history.keys


class _Folder:
    """The files of a log's folder, read with a bound on their length."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / CHECKPOINT).is_file():
            raise AuditError(
                f"there is no log in {path}",
                mend="Name the folder that holds the file checkpoint.",
                reason="log_missing",
            )

    def read(self, name: PurePosixPath, max_bytes: int) -> bytes:
        """Return a file's bytes, or raise where it is missing or too long."""
        try:
            with (self.path / name).open("rb") as file:
                data = file.read(max_bytes + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise _differs(f"{name} is missing") from None
        except OSError as error:
            raise _unreadable(name, error) from error
        if len(data) > max_bytes:
            raise _differs(f"{name} is too long")
        return data

    def exists(self, name: PurePosixPath) -> bool:
        """Tell whether a file is there."""
        return (self.path / name).is_file()

    def names(self, name: PurePosixPath) -> list[str]:
        """Return the names in a folder below, sorted; none where it is missing."""
        try:
            return sorted(path.name for path in (self.path / name).iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(name, error) from error

    def walk(self) -> Iterator[PurePosixPath]:
        """Yield every file's path below the folder."""
        for place, _folders, names in os.walk(self.path):
            below = PurePosixPath(Path(place).relative_to(self.path).as_posix())
            for name in names:
                yield below / name


class _Checkpoints:
    """The signed checkpoints of a folder, each compared with the tree as it grows."""

    def __init__(
        self,
        folder: _Folder,
        known: LogKeys,
        history: KeyHistory,
        cosigner_keys: Sequence[NoteKey],
    ) -> None:
        self._folder = folder
        self._known = known
        self._history = history
        self._cosigner_keys = cosigner_keys
        self._cosigned = dict.fromkeys({key.name for key in cosigner_keys}, 0)
        self._names = folder.names(PurePosixPath(CHECKPOINTS))
        self._sizes = {int(name) for name in self._names if _is_decimal(name)}
        self.n_verified = 0

    def head(self) -> Checkpoint:
        """Return the newest signed checkpoint."""
        newest = self._verified(PurePosixPath(CHECKPOINT))
        largest = max(self._sizes, default=-1)
        if largest <= newest.tree_size:
            return newest
        # Signed and stored, but not yet put in front: only a cut-off append explains that.
        ahead = self._stored(largest)
        if self._intent() != ahead:
            raise _differs(f"{CHECKPOINT} is older than {CHECKPOINTS}/{largest}")
        return ahead

    def compare(self, frontier: Frontier) -> None:
        """Verify the checkpoint of the tree's present size, where there is one."""
        size = frontier.size
        if size not in self._sizes:
            if 0 < size == self._history.keys.newest.first:
                # Both pairs have signed it: without it nothing but the entry ties them together.
                raise _differs(f"{CHECKPOINTS}/{size} is missing, the first under other keys")
            return
        name = PurePosixPath(CHECKPOINTS, str(size))
        note = self._note(name)
        checkpoint = verify_checkpoint(note, self._history.keys.binding(size))
        if (checkpoint.tree_size, checkpoint.root_hash) != (size, frontier.root()):
            raise _differs(f"{name} is not the checkpoint of the first {size} entries")
        self._verify_cosignatures(SignedNote.parse(note), checkpoint)
        self.n_verified += 1

    def finish(self, frontier: Frontier) -> None:
        """Require the newest checkpoint to be the stored one of its size."""
        newest = SignedNote.parse(self._note(PurePosixPath(CHECKPOINT)))
        size = Checkpoint.parse_text(newest.text).tree_size
        if size == frontier.size:
            verify_checkpoint(newest.serialise(), self._history.keys.binding(size))
        if size not in self._sizes or max(self._sizes) != frontier.size:
            raise _differs(f"{CHECKPOINTS}/{size} is missing")
        stored = SignedNote.parse(self._note(PurePosixPath(CHECKPOINTS, str(size))))
        # A cosignature is stored first and shown afterwards, so the newest may lack one.
        if newest.text != stored.text or not set(newest.signatures) <= set(stored.signatures):
            raise _differs(f"{CHECKPOINT} differs from {CHECKPOINTS}/{size}")

    def cosigners(self) -> dict[str, int]:
        """Return the largest size that each cosigner's keys have all cosigned."""
        return dict(sorted(self._cosigned.items()))

    def _verify_cosignatures(self, note: SignedNote, checkpoint: Checkpoint) -> None:
        signed: dict[str, list[bool]] = {name: [] for name in self._cosigned}
        for key in self._cosigner_keys:
            times = [verify_cosignature(checkpoint, key, each) for each in note.by(key)]
            # One of time zero says nothing of this being the largest tree that the cosigner has seen.
            signed[key.name].append(any(times))
        for name, each in signed.items():
            if all(each):
                self._cosigned[name] = checkpoint.tree_size

    def _stored(self, size: int) -> Checkpoint:
        return self._verified(PurePosixPath(CHECKPOINTS, str(size)))

    def _verified(self, name: PurePosixPath) -> Checkpoint:
        """Verify a checkpoint under the keys that are known, or those that the entries lead to."""
        note = self._note(name)
        try:
            return verify_checkpoint(note, self._known)
        except VerificationError:
            size = parse_checkpoint(note).tree_size
            followed = followed_keys(self._folder.path, self._known, size)
            if len(followed.terms) <= len(self._known.terms):
                raise
        return verify_checkpoint(note, followed.binding(size))

    def _intent(self) -> Checkpoint | None:
        name = PurePosixPath(INTENT)
        if not self._folder.exists(name):
            return None
        try:
            return Checkpoint.parse_text(self._note(name).decode("utf-8"))
        except (UnicodeDecodeError, VerificationError):
            raise _differs(f"{name} is malformed") from None

    def _note(self, name: PurePosixPath) -> bytes:
        return self._folder.read(name, MAX_NOTE_BYTES)


class _Entries:
    """The entries in order: each parses, the first and no other is ``log.created``, keys follow keys."""

    def __init__(self, history: KeyHistory) -> None:
        self._origin = history.keys.origin
        self.history = history
        self.by_type: Counter[str] = Counter()
        self.first_time: str | None = None
        self.last_time: str | None = None

    def take(self, index: int, data: bytes) -> None:
        """Check one entry and count it."""
        try:
            entry = parse_entry(data)
        except VerificationError as error:
            raise _differs(f"entry {index}: {error.message}", reason=error.reason) from None
        if not self._is_in_place(index, entry):
            raise _differs(f"entry {index} is of type {entry.type}, which cannot stand there")
        self.history.take(index, entry)
        self.by_type[entry.type] += 1
        self.first_time = self.first_time or entry.time
        self.last_time = entry.time

    def _is_in_place(self, index: int, entry: Entry) -> bool:
        if isinstance(entry, LogCreated):
            return index == 0 and entry.party == self._origin
        return index > 0


class _Tiles:
    """The bundles and tiles of a folder, compared with what the entries give."""

    def __init__(self, folder: _Folder, size: int) -> None:
        self._folder = folder
        self._size = size
        self._open: list[list[bytes]] = []
        self._closed: list[int] = []

    def bundles(self) -> Iterator[list[bytes]]:
        """Yield the entries of each bundle, then compare its files and its tile."""
        tree = StoredTree(self._folder.path, self._size)
        for index in range(-(-self._size >> WIDTH_BITS)):
            entries = tree.bundle(index)
            # What the entries say and what was signed of them is looked at before their copies.
            yield entries
            self._compare(Tile(ENTRIES_LEVEL, index, len(entries)), entries, join_bundle)
            for entry in entries:
                self._add(0, leaf_hash(entry))

    def finish(self) -> None:
        """Compare the partial tile of each level."""
        for level, hashes in enumerate(self._open):
            if hashes:
                self._compare(Tile(level, self._closed[level], len(hashes)), hashes, b"".join)

    def _add(self, level: int, node: bytes) -> None:
        if level == len(self._open):
            self._open.append([])
            self._closed.append(0)
        hashes = self._open[level]
        hashes.append(node)
        if len(hashes) == FULL_WIDTH:
            self._compare(Tile(level, self._closed[level]), hashes, b"".join)
            self._open[level] = []
            self._closed[level] += 1
            self._add(level + 1, subtree_hash(hashes))

    def _compare(
        self, tile: Tile, parts: list[bytes], join: Callable[[Sequence[bytes]], bytes]
    ) -> None:
        """Compare a tile's file, and every narrower one of it that is still there."""
        self._compare_file(tile, join(parts))
        for name in self._folder.names(tile.partial_folder):
            width = int(name) if _is_decimal(name) else 0
            if 0 < width < tile.width:
                self._compare_file(Tile(tile.level, tile.index, width), join(parts[:width]))

    def _compare_file(self, tile: Tile, expected: bytes) -> None:
        found = self._folder.read(tile.path, MAX_BUNDLE_BYTES)
        if found == expected:
            return
        pairs = zip(found, expected, strict=False)
        place = next(
            (i for i, (a, b) in enumerate(pairs) if a != b), min(len(found), len(expected))
        )
        raise _differs(f"{tile.path} differs from the entries at byte {place}")


def _unfinished(folder: _Folder, size: int) -> Iterator[str]:
    """Yield the files that a cut-off append explains; raise at one that nothing explains."""
    for path in folder.walk():
        if _is_temporary(path):
            yield str(path)
            continue
        if _belongs(path):
            continue
        tile = parse_tile_path(path)
        if tile is None or tile.size > size + MAX_APPENDED:
            raise _differs(f"{path} does not belong to the log")
        if tile.size > size:
            yield str(path)


def _belongs(path: PurePosixPath) -> bool:
    if len(path.parts) == 1:
        return path.name in (CHECKPOINT, INTENT, LOCK)
    return path.parts[:-1] == (CHECKPOINTS,) and _is_decimal(path.name)


def _is_temporary(path: PurePosixPath) -> bool:
    return path.name.startswith(".") and path.name.endswith(TEMPORARY_SUFFIX)


def _is_decimal(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) <= 19 and str(int(name)) == name


def _differs(fault: str, *, reason: str = "log_damaged") -> VerificationError:
    return VerificationError(
        f"the log does not verify: {fault}",
        mend="Keep this copy as evidence, and ask the log's owner and its peers for theirs.",
        reason=reason,
    )


def _unreadable(name: PurePosixPath, error: OSError) -> AuditError:
    return AuditError(
        f"{name} cannot be read: {error.strerror or type(error).__name__}",
        mend="Check the disk and the permissions of the log's folder.",
        reason="log_unreadable",
    )
