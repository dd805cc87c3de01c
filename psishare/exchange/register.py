"""The register: this party's exchanges and how far each has come, in ``state.db``.

The log is what counts; the register is how a process that starts finds what a process that died left
behind. Every row names its owner, a lock file that the owning process holds as long as it lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from psishare.errors import AuditError, ConfigError, InputError
from psishare.exchange.document import now, write_time
from psishare.exchange.receipt import Receipt, SignedReceipt
from psishare.mandates.state_file import StateFile

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

SCHEMA_VERSION = 3
_READABLE = frozenset({1, 2, SCHEMA_VERSION})
"""Version 2 has the table of answers besides, made where it is missing; version 3 may have one of approvals,
which is read no more: the log tells of them."""
NOBODY = "nobody.lock"
"""Stands for an owner that is gone; no process has a lock file of this name."""
_VERSION_TABLE = "CREATE TABLE IF NOT EXISTS register_schema (version INTEGER NOT NULL)"
_EXCHANGES_TABLE = """
CREATE TABLE IF NOT EXISTS exchanges (
    exchange_id BLOB PRIMARY KEY,
    peer TEXT NOT NULL,
    state TEXT NOT NULL,
    owner TEXT NOT NULL,
    offer BLOB NOT NULL,
    log_size INTEGER NOT NULL,
    mandate_id TEXT,
    answer BLOB,
    receipt BLOB,
    authority_signature BLOB,
    platform_signature BLOB,
    closed_index INTEGER,
    reason TEXT,
    started TEXT NOT NULL,
    updated TEXT NOT NULL
) WITHOUT ROWID
"""
_DELIVERIES_TABLE = """
CREATE TABLE IF NOT EXISTS deliveries (
    peer TEXT NOT NULL,
    mandate_sha256 BLOB NOT NULL,
    dataset TEXT NOT NULL,
    manifest_sha256 BLOB NOT NULL,
    PRIMARY KEY (peer, mandate_sha256, dataset, manifest_sha256)
) WITHOUT ROWID
"""
_ANSWERS_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    exchange_id BLOB NOT NULL,
    frame INTEGER NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (exchange_id, frame)
) WITHOUT ROWID
"""
_OFFLINE_TABLE = """
CREATE TABLE IF NOT EXISTS offline (
    exchange_id BLOB PRIMARY KEY,
    expires TEXT NOT NULL
) WITHOUT ROWID
"""
_HEADS_TABLE = """
CREATE TABLE IF NOT EXISTS heads_shown (
    peer TEXT NOT NULL,
    tree_size INTEGER NOT NULL,
    PRIMARY KEY (peer, tree_size)
) WITHOUT ROWID
"""
_PROOFS_TABLE = """
CREATE TABLE IF NOT EXISTS head_proofs (
    peer TEXT NOT NULL,
    tree_size INTEGER NOT NULL,
    head BLOB NOT NULL,
    PRIMARY KEY (peer, tree_size)
) WITHOUT ROWID
"""
PROOFS_KEPT = 256
_ONLINE = "exchange_id NOT IN (SELECT exchange_id FROM offline)"
"""No process owns an exchange across an air gap: it waits for a file."""
_COLUMNS = (
    "exchange_id, peer, state, offer, log_size, mandate_id, answer, receipt, authority_signature,"
    " platform_signature, closed_index, reason, started, updated"
)


class State(StrEnum):
    """How far an exchange has come on this side.

    ``PENDING``: this side has signed the receipt, and its log does not hold it with both signatures
    yet. ``HELD``: a second operator of the platform has to approve the offer; ``answer`` is the hold.
    Where the receipt is pending, the authority waits for the platform's, the platform for its own log.
    """

    OFFERED = "offered"
    OPENED = "opened"
    PENDING = "pending"
    HELD = "held"
    CLOSED = "closed"
    ABORTED = "aborted"
    REFUSED = "refused"


LIVE = (State.OFFERED, State.OPENED, State.PENDING, State.HELD)
ENDED = frozenset({State.CLOSED, State.ABORTED, State.REFUSED})


@dataclass(frozen=True, slots=True)
class Row:
    """One exchange as the register holds it.

    ``log_size`` is the size of this party's log when the exchange was entered: what the log tells of
    it stands from there on.
    """

    exchange_id: bytes
    peer: str
    state: State
    offer: bytes
    log_size: int
    mandate_id: str | None
    answer: bytes | None
    receipt: bytes | None
    authority_signature: bytes | None
    platform_signature: bytes | None
    closed_index: int | None
    reason: str | None
    started: str
    updated: str

    @property
    def signed_receipt(self) -> SignedReceipt | None:
        """The receipt with both signatures; None where this side does not have them all."""
        document, ours, theirs = self.receipt, self.authority_signature, self.platform_signature
        if document is None or ours is None or theirs is None:
            return None
        return SignedReceipt(Receipt.parse(document), document, ours, theirs)


class Register:
    """The exchanges of one home folder, shared by the processes of one host.

    Args:
        path: ``state.db``.
        locks: a folder for this process's lock file.

    Attributes:
        locks: the same.

    Raises:
        ConfigError: the file is not a register of this version.
        AuditError: it cannot be read or written.
    """

    def __init__(self, path: Path, locks: Path) -> None:
        self.locks = locks
        self._attended: set[bytes] = set()
        self._attending = threading.Lock()
        self._owner = f"{os.getpid()}-{secrets.token_hex(8)}.lock"
        self._state = StateFile(path)
        try:
            with self._state.writing() as database:
                database.execute(_VERSION_TABLE)
                database.execute(_EXCHANGES_TABLE)
                database.execute(_DELIVERIES_TABLE)
                database.execute(_ANSWERS_TABLE)
                database.execute(_OFFLINE_TABLE)
                database.execute(_HEADS_TABLE)
                database.execute(_PROOFS_TABLE)
                _check_version(database, path)
            self._lock: int | None = _take_lock(locks, self._owner)
        except BaseException:
            self._state.close()
            raise

    def close(self) -> None:
        """Give up this process's lock; what it left unfinished may be taken by another."""
        (self.locks / self._owner).unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        self._state.close()

    def begin(
        self, exchange_id: bytes, *, peer: str, state: State, offer: bytes, log_size: int
    ) -> bool:
        """Enter a new exchange; False where it is there already.

        Args:
            exchange_id: 32 bytes.
            peer: the other party.
            state: how far it has come.
            offer: the offer's bytes.
            log_size: the size of this party's log, before it tells anything of this exchange.
        """
        time = write_time(now())
        with self._state.writing() as database:
            cursor = database.execute(
                "INSERT OR IGNORE INTO exchanges"
                " (exchange_id, peer, state, owner, offer, log_size, started, updated)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (exchange_id, peer, state, self._owner, offer, log_size, time, time),
            )
        return cursor.rowcount == 1

    def update(self, exchange_id: bytes, state: State, **values: bytes | int | str | None) -> None:
        """Move an exchange to a state and set columns of its row."""
        assignments = "".join(f", {name} = ?" for name in values)
        with self._state.writing() as database:
            database.execute(
                f"UPDATE exchanges SET state = ?, updated = ?{assignments} WHERE exchange_id = ?",  # noqa: S608  column names are this module's callers' keywords
                (state, write_time(now()), *values.values(), exchange_id),
            )
            if state in ENDED:
                database.execute("DELETE FROM answers WHERE exchange_id = ?", (exchange_id,))

    def get(self, exchange_id: bytes) -> Row | None:
        """Return one exchange, or None."""
        return next(self._rows("WHERE exchange_id = ?", exchange_id), None)

    def rows(self) -> list[Row]:
        """Return every exchange, the newest first."""
        return list(self._rows("ORDER BY started DESC, exchange_id"))

    def pending(self, peer: str) -> list[Row]:
        """Return the exchanges whose receipt this side has signed and that peer has not returned."""
        return list(self._rows("WHERE state = ? AND peer = ?", State.PENDING, peer))

    def deliveries(self, peer: str, mandate_sha256: bytes, dataset: str) -> set[bytes]:
        """Return the digests of the dataset's manifests delivered to a peer under a mandate."""
        with self._state.reading() as database:
            found = database.execute(
                "SELECT manifest_sha256 FROM deliveries"
                " WHERE peer = ? AND mandate_sha256 = ? AND dataset = ?",
                (peer, mandate_sha256, dataset),
            )
            return {digest for (digest,) in found.fetchall()}

    def delivered(
        self, peer: str, mandate_sha256: bytes, dataset: str, manifest_sha256: bytes
    ) -> None:
        """Enter a delivery, once it is in the log."""
        with self._state.writing() as database:
            database.execute(
                "INSERT OR IGNORE INTO deliveries VALUES (?, ?, ?, ?)",
                (peer, mandate_sha256, dataset, manifest_sha256),
            )

    def answered(self, exchange_id: bytes, index: int, digest: bytes) -> None:
        """Keep the digest of the answer to a frame; it outlives this process when this returns.

        The disk is not waited for: what a failing machine loses is worked out again.
        """
        with self._state.writing(durable=False) as database:
            database.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", (exchange_id, index, digest)
            )

    def answers(self, exchange_id: bytes) -> dict[int, bytes]:
        """Return the digests of the answers that are kept, by frame."""
        with self._state.reading() as database:
            found = database.execute(
                "SELECT frame, digest FROM answers WHERE exchange_id = ?", (exchange_id,)
            )
            return dict(found.fetchall())

    @contextlib.contextmanager
    def holding(self, exchange_id: bytes) -> Iterator[bool]:
        """Tell whether an offer is held, and let nobody change that, or decide on one, in the block.

        Raises:
            AuditError: the register cannot be read.
        """
        with self._state.writing() as database:
            found = database.execute(
                "SELECT 1 FROM exchanges WHERE exchange_id = ? AND state = ?",
                (exchange_id, State.HELD),
            ).fetchone()
            yield found is not None

    @contextlib.contextmanager
    def attending(self, exchange_id: bytes) -> Iterator[None]:
        """Work on an exchange, alone among all threads and processes of this host.

        One that is about to be entered is attended to first.

        Raises:
            InputError: ``exchange_running``: another one works on it.
        """
        with self._attending:
            if exchange_id in self._attended or not self._take_over(exchange_id):
                raise InputError(
                    f"another process is working on the exchange {exchange_id.hex()[:16]}",
                    mend="Let it finish, or end it first.",
                    reason="exchange_running",
                )
            self._attended.add(exchange_id)
        try:
            yield
        finally:
            with self._attending:
                self._attended.discard(exchange_id)

    def _take_over(self, exchange_id: bytes) -> bool:
        """Make an exchange ours; False where a living process owns it."""
        with self._state.writing() as database:
            found = database.execute(
                "SELECT owner FROM exchanges WHERE exchange_id = ?", (exchange_id,)
            ).fetchone()
            if found is not None and found[0] != self._owner:
                if not self._is_gone(found[0]):
                    return False
                database.execute(
                    "UPDATE exchanges SET owner = ? WHERE exchange_id = ?",
                    (self._owner, exchange_id),
                )
        return True

    def leave(self, exchange_ids: Iterable[bytes]) -> None:
        """Leave unfinished exchanges to whichever process looks for them next."""
        with self._state.writing() as database:
            database.executemany(
                "UPDATE exchanges SET owner = ? WHERE exchange_id = ?",
                [(NOBODY, exchange_id) for exchange_id in exchange_ids],
            )

    def unattended(self) -> list[Row]:
        """Return the unfinished exchanges that nobody works on, the newest first.

        They are those of processes that are gone, and this one's own that it does not attend to. None
        is taken over by being looked at.
        """
        with self._state.reading() as database:
            found = database.execute(
                f"SELECT exchange_id, owner FROM exchanges WHERE state IN ({_marks(LIVE)})"  # noqa: S608  only marks
                f" AND {_ONLINE} ORDER BY started DESC, exchange_id",
                LIVE,
            ).fetchall()
        with self._attending:
            attended = set(self._attended)
        free = {
            owner: owner == self._owner or self._is_gone(owner)
            for owner in {owner for _exchange_id, owner in found}
        }
        rows = [
            self.get(exchange_id)
            for exchange_id, owner in found
            if free[owner] and exchange_id not in attended
        ]
        return [row for row in rows if row is not None]

    def orphans(self) -> list[Row]:
        """Return the unfinished exchanges of processes that are gone, and make them ours.

        Those that this process has under way are not among them.
        """
        found: list[bytes] = []
        with self._state.writing() as database:
            owners = database.execute(
                f"SELECT DISTINCT owner FROM exchanges WHERE state IN ({_marks(LIVE)})",  # noqa: S608  only marks
                LIVE,
            ).fetchall()
            for (owner,) in owners:
                if owner == self._owner or not self._is_gone(owner):
                    continue
                left = database.execute(
                    f"SELECT exchange_id FROM exchanges WHERE owner = ? AND state IN ({_marks(LIVE)})"  # noqa: S608  only marks
                    f" AND {_ONLINE}",
                    (owner, *LIVE),
                ).fetchall()
                found += [exchange_id for (exchange_id,) in left]
                database.execute(
                    "UPDATE exchanges SET owner = ? WHERE owner = ?", (self._owner, owner)
                )
                (self.locks / owner).unlink(missing_ok=True)
        rows = [self.get(exchange_id) for exchange_id in found]
        return [row for row in rows if row is not None]

    def put_offline(self, exchange_id: bytes, expires: str) -> None:
        """Note, before an exchange is entered, that it goes by parcels, and when it expires."""
        with self._state.writing() as database:
            database.execute("INSERT OR IGNORE INTO offline VALUES (?, ?)", (exchange_id, expires))

    def offline_until(self, exchange_id: bytes) -> str | None:
        """Return when an exchange that goes by parcels expires; None for any other."""
        with self._state.reading() as database:
            found = database.execute(
                "SELECT expires FROM offline WHERE exchange_id = ?", (exchange_id,)
            ).fetchone()
        return found[0] if found else None

    def expired_offline(self, time: str) -> list[Row]:
        """Return the unfinished exchanges that go by parcels and have expired at a time."""
        return list(
            self._rows(
                f"WHERE state IN ({_marks(LIVE)}) AND exchange_id IN"  # noqa: S608  only marks
                " (SELECT exchange_id FROM offline WHERE expires < ?)",
                *LIVE,
                time,
            )
        )

    def show_head(self, peer: str, tree_size: int) -> None:
        """Note that a peer is shown this log's head of a size, in a parcel."""
        with self._state.writing() as database:
            database.execute("INSERT OR IGNORE INTO heads_shown VALUES (?, ?)", (peer, tree_size))

    def head_known(self, peer: str, tree_size: int) -> None:
        """Note that a peer has verified this log's head of a size: it remembers none before it."""
        with self._state.writing() as database:
            database.execute(
                "DELETE FROM heads_shown WHERE peer = ? AND tree_size < ?", (peer, tree_size)
            )
            database.execute("INSERT OR IGNORE INTO heads_shown VALUES (?, ?)", (peer, tree_size))

    def heads_shown(self, peer: str) -> list[int]:
        """Return the sizes of this log that a peer may remember from parcels, ascending."""
        with self._state.reading() as database:
            found = database.execute(
                "SELECT tree_size FROM heads_shown WHERE peer = ? ORDER BY tree_size", (peer,)
            )
            return [size for (size,) in found.fetchall()]

    def keep_proofs(self, peer: str, proofs: Mapping[int, bytes]) -> None:
        """Keep the proofs that a peer's verified head extends its log of other sizes.

        Args:
            peer: whose log.
            proofs: a serialised ``LogHead`` for each size; of a peer the largest 256 are kept.
        """
        with self._state.writing() as database:
            database.executemany(
                "INSERT OR REPLACE INTO head_proofs VALUES (?, ?, ?)",
                [(peer, size, head) for size, head in proofs.items()],
            )
            database.execute(
                "DELETE FROM head_proofs WHERE peer = ? AND tree_size NOT IN (SELECT tree_size"
                " FROM head_proofs WHERE peer = ? ORDER BY tree_size DESC LIMIT ?)",
                (peer, peer, PROOFS_KEPT),
            )

    def proof_of(self, peer: str, tree_size: int) -> bytes | None:
        """Return the proof that a verified head of a peer's log extends one of a size, or None."""
        with self._state.reading() as database:
            found = database.execute(
                "SELECT head FROM head_proofs WHERE peer = ? AND tree_size = ?", (peer, tree_size)
            ).fetchone()
        return found[0] if found else None

    def _is_gone(self, owner: str) -> bool:
        """Tell whether the process that owned a lock file has ended."""
        try:
            descriptor = os.open(self.locks / owner, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _rows(self, clause: str, *values: bytes | str) -> Iterator[Row]:
        with self._state.reading() as database:
            found = database.execute(
                f"SELECT {_COLUMNS} FROM exchanges {clause}",  # noqa: S608  clauses are this module's
                values,
            )
            rows = found.fetchall()
        for row in rows:
            exchange_id, peer, state, *rest = row
            yield Row(exchange_id, peer, State(state), *rest)


def require_unfinished(row: Row) -> None:
    """Refuse to end an exchange that has ended, or of which a doubly signed receipt may exist.

    Raises:
        InputError: ``exchange_finished``.
    """
    if row.state not in {State.OFFERED, State.HELD, State.OPENED}:
        raise InputError(
            f"the exchange {row.exchange_id.hex()[:16]} is {row.state.value}",
            mend="Only an exchange that is offered, held or opened can be abandoned.",
            reason="exchange_finished",
        )


def known_log_size(path: Path) -> int:
    """Return how large this party's log has been at least, by what its exchanges tell; 0 if nothing does.

    Args:
        path: ``state.db``, which need not be there.

    Raises:
        AuditError, ConfigError: it cannot be read.
    """
    if not path.is_file():
        return 0
    state = StateFile(path)
    try:
        with state.reading() as database:
            tables = database.execute(
                "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'exchanges'"
            )
            if tables.fetchone() is None:
                return 0
            largest, closed = database.execute(
                "SELECT max(log_size), max(closed_index) FROM exchanges"
            ).fetchone()
    finally:
        state.close()
    return max(largest or 0, 0 if closed is None else closed + 1)


def _check_version(database: sqlite3.Connection, path: Path) -> None:
    found = database.execute("SELECT version FROM register_schema").fetchone()
    if found is None:
        database.execute("INSERT INTO register_schema VALUES (?)", (SCHEMA_VERSION,))
    elif found[0] not in _READABLE:
        raise ConfigError(
            f"{path} holds exchanges in format {found[0]}, and this psishare reads {SCHEMA_VERSION}",
            mend="Use the version of psishare that wrote it, or a newer one.",
            reason="home_version",
        )
    else:
        database.execute("UPDATE register_schema SET version = ?", (SCHEMA_VERSION,))


def _take_lock(locks: Path, owner: str) -> int:
    try:
        locks.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(locks / owner, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        raise AuditError(
            f"no lock can be taken in {locks}: {error.strerror}",
            mend="Check free space and permissions, then start again.",
            reason="state_write_failed",
        ) from error
    return descriptor


def _marks(values: tuple[State, ...]) -> str:
    return ", ".join("?" * len(values))
