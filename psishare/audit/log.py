"""The log of one party: append, sign, prove, keep cosignatures.

On the disk (protocols/specs/audit-log.md, section 6): ``tile/`` in the tlog-tiles layout,
``checkpoint``, every earlier one under ``checkpoints/<size>``, and ``lock``.

An append goes through these steps, each durable before the next:

1. take the lock, read the head again, finish what a process that is gone had decided;
2. write bundles and tiles;
3. write ``intent``, the text of the new checkpoint: from here on no other tree of that size can be;
4. sign it, with every pair of keys that the tree puts in force; write ``checkpoints/<size>``, then
   ``checkpoint``.

A crash before step 3 leaves files that no checkpoint covers, and they are overwritten; after it the
next start signs the same tree. So two trees of one size are never signed, whatever happens.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from psishare.audit.checkpoint import Checkpoint, parse_checkpoint
from psishare.audit.entry import Entry, LogCreated, parse_entry
from psishare.audit.growth import grow
from psishare.audit.host import claim_for_host
from psishare.audit.keyring import Keyring, changes_keys
from psishare.audit.layout import CHECKPOINT, CHECKPOINTS, INTENT, LOCK, MAX_APPENDED
from psishare.audit.merkle import EMPTY_ROOT
from psishare.audit.note import MAX_NOTE_BYTES, SignedNote, parse_signatures
from psishare.audit.signed_checkpoint import require_own_keys, sign_checkpoint
from psishare.audit.tile import ENTRIES_LEVEL, FULL_WIDTH, WIDTH_BITS, Tile, levels
from psishare.audit.tree import StoredTree
from psishare.errors import AuditError, InternalError, VerificationError
from psishare.keys.durable_file import TEMPORARY_SUFFIX, make_folder, sync_folder, write_durably

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from psishare.audit.keyring import LaterPairs, SignerPair
    from psishare.keys.note_key import NoteSigner

LOCK_TIMEOUT_S = 30.0
SWEPT_AT_ONCE = 2
"""How many spent files an append removes of one tile: enough to keep up, and never a long wait.

An append makes one partial file a level at most, so that they are gone before the next tile is spent."""
_LOCK_POLL_S = 0.002
_WRITE_FAILED = "log_write_failed"


@dataclass(frozen=True, slots=True)
class Appended:
    """An entry that is in the log for good.

    Attributes:
        index: where it stands.
        entry: its bytes.
        checkpoint: the signed note of the first tree that holds it.
    """

    index: int
    entry: bytes
    checkpoint: bytes


class Log:
    """A party's own log, open for appending. Several threads and processes may share its folder.

    Made by ``Log.create`` or ``Log.open``.
    """

    def __init__(self, folder: Path, keyring: Keyring, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._keyring = keyring
        self._clock = clock
        self.origin = keyring.origin
        self._seen: tuple[bytes, Checkpoint] | None = None

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        origin: str,
        signer: NoteSigner,
        pq_signer: NoteSigner,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Make an empty log and sign its empty tree. Its first entry must be ``log.created``.

        Args:
            path: the folder, which is made where it is missing.
            origin: the log's name: the party's id.
            signer: type 0x01, under that name.
            pq_signer: type 0x06, under that name.
            clock: gives POSIX seconds.

        Raises:
            AuditError: a log is there already (``log_exists``), or the disk refuses.
        """
        require_own_keys(origin, [signer.key, pq_signer.key])
        log = cls(path, Keyring((signer, pq_signer)), clock)
        with _translated(path):
            make_folder(path)
        with log._writing():
            if log._has_begun():
                raise AuditError(
                    f"there is a log in {path} already",
                    mend="Open it, or choose another folder; a log is never overwritten.",
                    reason="log_exists",
                )
            make_folder(path / CHECKPOINTS)
            log._publish(Checkpoint(origin, 0, EMPTY_ROOT), [(signer, pq_signer)])
        return log

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        origin: str,
        signer: NoteSigner,
        pq_signer: NoteSigner,
        later: LaterPairs = tuple,
        known_size: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Open a log, finishing an append that was cut off after it was decided.

        Args:
            path: the folder.
            origin: the log's name.
            signer: type 0x01, under that name, with which the log began.
            pq_signer: type 0x06, likewise.
            later: returns the pairs that followed; asked when the log names one that is not known.
            known_size: how large it is known to have been; a smaller one was restored from an old copy,
                and nothing is signed.
            clock: gives POSIX seconds.

        Raises:
            AuditError: there is no log (``log_missing``), its head is older than a checkpoint beside it
                (``log_rolled_back``), another host writes it (``log_elsewhere``), or the disk refuses.
            VerificationError: its head is not signed by these keys, or differs from its tiles.
            AuditError: ``log_keys_unknown``, it is signed by keys that are not here.
        """
        require_own_keys(origin, [signer.key, pq_signer.key])
        log = cls(path, Keyring((signer, pq_signer), later), clock)
        if not (path / CHECKPOINT).is_file():
            raise AuditError(
                f"there is no log in {path}",
                mend="Restore it from a backup, the newest there is; a lost log is not made anew.",
                reason="log_missing",
            )
        with log._writing():
            log._require_newest(known_size)
            head = log._settle()
            log._require_root(head)
            log._tree(head.tree_size).open_bundle()
            log._sweep_temporaries(head.tree_size)
        return log

    @property
    def size(self) -> int:
        """The number of entries that the newest checkpoint covers."""
        return self.head().tree_size

    def head(self) -> Checkpoint:
        """Return the newest checkpoint.

        Raises:
            VerificationError: it is not signed by the log's keys.
        """
        note, seen = self._read_note(CHECKPOINT), self._seen
        if seen is None or seen[0] != note:
            # The same bytes verify the same: what was verified last is not verified again.
            seen = self._seen = note, self._keyring.verify(note)
        return seen[1]

    def settle(self) -> Checkpoint:
        """Finish an append that failed after it was decided, and return the head.

        Whoever asks whether an entry is in the log after an append that failed settles first.

        Raises:
            AuditError: ``log_write_failed``, the disk still refuses; ``log_busy``.
            VerificationError: what lies on the disk is not what was decided.
        """
        with self._writing():
            return self._settle()

    def checkpoint(self, size: int | None = None) -> bytes:
        """Return a checkpoint as a signed note, with the cosignatures received for it.

        Args:
            size: the tree's size; the newest where None.

        Raises:
            AuditError: no checkpoint of that size was signed (``checkpoint_unknown``).
        """
        if size is None:
            return self._read_note(CHECKPOINT)
        name = f"{CHECKPOINTS}/{size}"
        if not (self._folder / name).is_file():
            raise AuditError(
                f"the log has no checkpoint of size {size}",
                mend="Ask for the size of a checkpoint that it has signed.",
                reason="checkpoint_unknown",
            )
        return self._read_note(name)

    def entry(self, index: int) -> bytes:
        """Return one entry's bytes.

        Raises:
            AuditError: the log has no such entry.
        """
        return self._tree(self.size).entry(index)

    def entries(self, start: int, end: int) -> Iterator[bytes]:
        """Return the bytes of the entries ``[start, end)``, in order.

        Raises:
            AuditError: the log has no such entries.
        """
        return self._tree(self.size).entries(start, end)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Return the inclusion proof of an entry in the tree of a size: hashes of 32 bytes.

        Raises:
            AuditError: the log has no such entry, or no tree of that size.
        """
        return self._covered(size).inclusion_proof(index)

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        """Return the proof that the tree of one size extends that of another: hashes of 32 bytes.

        Raises:
            AuditError: the log has no tree of these sizes.
        """
        return self._covered(new_size).consistency_proof(old_size)

    def append(self, entry: Entry) -> Appended:
        """Append an entry; when this returns, it is durable and covered by a signed checkpoint.

        Raises:
            AuditError: ``log_write_failed`` where the disk refuses, ``log_busy`` where another process
                holds the log, ``entry_too_long``. Nothing is visible in the log then; where the disk
                failed at the very last step, the entry is there after the next start or append.
            VerificationError: what lies on the disk is not what was signed.
            InternalError: the first entry of a log is not its ``log.created``, or a later one is.
        """
        return self.append_all([entry])[0]

    def append_all(self, entries: Sequence[Entry]) -> list[Appended]:
        """Append up to 256 entries under one checkpoint: all of them or none.

        Raises:
            As ``append``.
        """
        if not 0 < len(entries) <= MAX_APPENDED:
            raise _our_fault(f"an append takes 1 to {MAX_APPENDED} entries")
        encoded = [entry.encode() for entry in entries]
        if len(entries) > 1 and any(map(changes_keys, entries)):
            raise _our_fault("an entry that changes a log's keys is appended by itself")
        with self._writing():
            head = self._settle()
            pairs = self._pairs_after(entries)
            self._require_beginning(head.tree_size, entries)
            self._require_unsigned(head.tree_size, head.tree_size + len(entries))
            checkpoint = self._write_tiles(head, encoded)
            self._decide(checkpoint)
            note = self._publish(checkpoint, pairs)
        return [
            Appended(head.tree_size + place, entry, note) for place, entry in enumerate(encoded)
        ]

    def add_cosignature(self, size: int, signature_lines: bytes) -> None:
        """Keep cosignatures of a checkpoint beside it. The caller has verified them.

        Args:
            size: the tree size of the checkpoint that was cosigned.
            signature_lines: note signature lines; those of keys that have signed it are left out.

        Raises:
            AuditError: no checkpoint of that size was signed, or the disk refuses.
            VerificationError: the lines are malformed, or too many.
        """
        signatures = parse_signatures(signature_lines)
        with self._writing():
            note = SignedNote.parse(self.checkpoint(size)).with_signatures(signatures)
            self._write(f"{CHECKPOINTS}/{size}", note.serialise())
            if size == self.size:
                self._write(CHECKPOINT, note.serialise())

    def _has_begun(self) -> bool:
        """Tell whether there is more than what a ``create`` that was cut off leaves."""
        stored = self._folder / CHECKPOINTS
        names = {path.name for path in stored.iterdir()} if stored.is_dir() else set()
        more = {name for name in names if not name.endswith(TEMPORARY_SUFFIX)} - {"0"}
        return bool(more) or any(
            (self._folder / name).exists() for name in (CHECKPOINT, INTENT, "tile")
        )

    # Steps of an append, under the lock.

    def _settle(self) -> Checkpoint:
        """Return the head, having finished or cleared away what a process that is gone left."""
        head = self.head()
        intent = self._read_intent()
        if intent is not None and intent.tree_size > head.tree_size:
            self._require_root(intent)
            added = self._tree(intent.tree_size).entries(head.tree_size, intent.tree_size)
            self._publish(intent, self._pairs_after([parse_entry(data) for data in added]))
            head = intent
        self._sweep(head.tree_size)
        return head

    def _require_newest(self, known_size: int) -> None:
        """Refuse a head that is older than what was signed: its folder was restored from an old copy."""
        intent = self._read_intent()
        covered = max(self.head().tree_size, intent.tree_size if intent else 0)
        stored = self._folder / CHECKPOINTS
        names = (path.name for path in stored.iterdir()) if stored.is_dir() else iter(())
        newest = max([known_size, *(int(name) for name in names if name.isdecimal())])
        if newest > covered:
            raise self._rolled_back(newest, covered)

    def _write_tiles(self, head: Checkpoint, encoded: Sequence[bytes]) -> Checkpoint:
        self._require_root(head)
        tree = self._tree(head.tree_size)
        growth = grow(head.tree_size, tree.edge(), tree.open_bundle(), encoded)
        for tile, data in growth.files:
            path = self._folder / tile.path
            make_folder(path.parent)
            self._write(str(tile.path), data)
        return Checkpoint(self.origin, growth.size, growth.root)

    def _decide(self, checkpoint: Checkpoint) -> None:
        """Make the next tree irrevocable. Only what is decided is ever signed."""
        try:
            self._write(INTENT, checkpoint.text().encode())
        except AuditError:
            # Nothing was signed yet, so the decision can still be taken back.
            with contextlib.suppress(OSError):
                (self._folder / INTENT).unlink(missing_ok=True)
                sync_folder(self._folder)
            raise

    def _pairs_after(self, entries: Sequence[Entry]) -> list[SignerPair]:
        """Return the pairs in force after entries have been added to the tree that was signed last."""
        head = self._read_note(CHECKPOINT)
        size = parse_checkpoint(head).tree_size
        last = None
        if size and self._keyring.overlaps(head):
            last = parse_entry(self._tree(size).entry(size - 1))
        return self._keyring.after(head, entries, last)

    def _publish(self, checkpoint: Checkpoint, pairs: Sequence[SignerPair]) -> bytes:
        time_s = int(self._clock())
        signed = [sign_checkpoint(checkpoint, *pair, time=time_s) for pair in pairs]
        note = (
            signed[0].with_signatures(s for more in signed[1:] for s in more.signatures).serialise()
        )
        self._write(f"{CHECKPOINTS}/{checkpoint.tree_size}", note)
        self._write(CHECKPOINT, note)
        # An intent that the head has reached is spent; whether it goes now or later is all one.
        with contextlib.suppress(OSError):
            (self._folder / INTENT).unlink(missing_ok=True)
        return note

    def _require_root(self, checkpoint: Checkpoint) -> None:
        if self._tree(checkpoint.tree_size).root() != checkpoint.root_hash:
            raise VerificationError(
                "the log's tiles do not give the root that was signed",
                mend="Restore the log's folder from a copy that verifies, the newest there is.",
                reason="log_damaged",
                party=self.origin,
            )

    def _require_unsigned(self, size: int, new_size: int) -> None:
        if (self._folder / CHECKPOINTS / str(new_size)).exists():
            raise self._rolled_back(new_size, size)

    def _rolled_back(self, signed: int, size: int) -> AuditError:
        return AuditError(
            f"the log of {self.origin} has signed {signed} entries, but its head covers {size}",
            mend="The folder was restored from an old copy: restore the newest one, whole.",
            reason="log_rolled_back",
            party=self.origin,
        )

    def _require_beginning(self, size: int, entries: Sequence[Entry]) -> None:
        for index, entry in enumerate(entries, start=size):
            if isinstance(entry, LogCreated) != (index == 0):
                raise _our_fault("the first entry of a log, and no other, is log.created")
            if isinstance(entry, LogCreated) and entry.party != self.origin:
                raise _our_fault("log.created names the log's own party")

    # The folder.

    def _tree(self, size: int) -> StoredTree:
        return StoredTree(self._folder, size)

    def _covered(self, size: int) -> StoredTree:
        """Return a tree of some size, refusing what no checkpoint covers: that may still change."""
        head_size = self.size
        if not 0 <= size <= head_size:
            raise AuditError(
                f"the log has no tree of {size} entries",
                mend="Ask for the size of a checkpoint that it has signed.",
                reason="checkpoint_unknown",
            )
        return StoredTree(self._folder, size, head_size)

    def _sweep(self, size: int) -> None:
        """Remove tiles that no checkpoint came to cover, and some of the partial ones that are spent."""
        for level in (ENTRIES_LEVEL, *levels(size + MAX_APPENDED)):
            hashes = size >> (WIDTH_BITS * max(level, 0))
            index, width = hashes >> WIDTH_BITS, hashes % FULL_WIDTH
            for spent in range(max(0, index - 2), index):
                if (self._folder / Tile(level, spent).path).is_file():
                    self._remove_partials(Tile(level, spent), above=0, at_most=SWEPT_AT_ONCE)
            self._remove_partials(Tile(level, index), above=width)
            self._remove_partials(Tile(level, index + 1), above=0)
            for beyond in (Tile(level, index), Tile(level, index + 1)):
                (self._folder / beyond.path).unlink(missing_ok=True)

    def _remove_partials(self, tile: Tile, *, above: int, at_most: int | None = None) -> None:
        """Remove a tile's partial files wider than ``above``, and their folder when it is empty."""
        folder = self._folder / tile.partial_folder
        if not folder.is_dir():
            return
        with os.scandir(folder) as files:
            names = [file.name for file in files if not _is_kept(file.name, above)]
        for name in names[:at_most]:
            (folder / name).unlink()
        if above == 0 and (at_most is None or len(names) <= at_most):
            folder.rmdir()

    def _sweep_temporaries(self, size: int) -> None:
        """Remove the temporary files of processes that were killed while they wrote."""
        folders = {self._folder, self._folder / CHECKPOINTS}
        for level in (ENTRIES_LEVEL, *levels(size)):
            index = size >> (WIDTH_BITS * (max(level, 0) + 1))
            folders.add((self._folder / Tile(level, index).path).parent)
            folders.add((self._folder / Tile(level, max(index - 1, 0)).path).parent)
        for folder in filter(os.path.isdir, folders):
            for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
                path.unlink(missing_ok=True)

    def _read_note(self, name: str) -> bytes:
        try:
            with (self._folder / name).open("rb") as file:
                return file.read(MAX_NOTE_BYTES + 1)
        except OSError as error:
            raise AuditError(
                f"{self._folder / name} cannot be read: {error.strerror or type(error).__name__}",
                mend="Check the disk and the permissions of the log's folder.",
                reason="log_unreadable",
            ) from error

    def _read_intent(self) -> Checkpoint | None:
        if not (self._folder / INTENT).exists():
            return None
        try:
            text = self._read_note(INTENT).decode("utf-8")
        except UnicodeDecodeError:
            text = ""
        intent = Checkpoint.parse_text(text)
        if intent.origin != self.origin:
            raise _our_fault("an intent of another log lies in this one's folder")
        return intent

    def _write(self, name: str, data: bytes) -> None:
        write_durably(self._folder / name, data, error=AuditError, reason=_WRITE_FAILED)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the log's lock, among threads too: each time it is another open file."""
        with _translated(self._folder):
            descriptor = os.open(
                self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            try:
                self._take(descriptor)
                claim_for_host(descriptor, self._folder)
                yield
            finally:
                os.close(descriptor)

    def _take(self, descriptor: int) -> None:
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise AuditError(
                        f"another process has held the log in {self._folder} for too long",
                        mend="Find the psishare process that hangs, and end it.",
                        reason="log_busy",
                    ) from None
                time.sleep(_LOCK_POLL_S)
            else:
                return


def _is_kept(name: str, above: int) -> bool:
    return name.isascii() and name.isdigit() and int(name) <= above


@contextlib.contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AuditError(
            f"the log in {folder} cannot be written: {error.strerror or type(error).__name__}",
            mend="Check free space, quota and permissions there, then try again.",
            reason=_WRITE_FAILED,
        ) from error


def _our_fault(message: str) -> InternalError:
    return InternalError(message, mend="Report this to the authors of psishare.")
