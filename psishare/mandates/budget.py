"""The budget: rows and exchanges per mandate, authority, kind and day, kept in ``state.db``.

What is reserved counts as used for everyone else; what is charged is never given back. Every change
is durable before it returns, and atomic among the threads and processes of one host. A file that was
lost or restored from an old copy gives nothing back: ``recount`` takes the log's word where it is more.
Source: protocols/specs/mandate.md, section 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

from psishare.errors import AuthorisationError, ConfigError, ProtocolError
from psishare.mandates.decision import Decision, Verdict
from psishare.mandates.spent import Spent, Usage
from psishare.mandates.state_file import StateFile

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

SCHEMA_VERSION: Final = 2
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"

_VERSION_TABLE = """
CREATE TABLE IF NOT EXISTS budget_schema (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    version INTEGER NOT NULL
)
"""
_TABLES = (
    """
    CREATE TABLE budget_exchanges (
        exchange_id BLOB PRIMARY KEY CHECK (length(exchange_id) = 32),
        mandate_id TEXT NOT NULL,
        authority TEXT NOT NULL,
        kind TEXT NOT NULL,
        rows_offered INTEGER NOT NULL CHECK (rows_offered >= 0),
        rows_charged INTEGER NOT NULL DEFAULT 0
            CHECK (rows_charged BETWEEN 0 AND rows_offered),
        frames INTEGER NOT NULL DEFAULT 0,
        opened_at TEXT NOT NULL,
        released INTEGER NOT NULL DEFAULT 0 CHECK (released IN (0, 1))
    ) WITHOUT ROWID
    """,
    "CREATE INDEX budget_by_mandate ON budget_exchanges (mandate_id)",
    "CREATE INDEX budget_open ON budget_exchanges (opened_at) WHERE released = 0",
    """
    CREATE TABLE budget_frames (
        exchange_id BLOB NOT NULL REFERENCES budget_exchanges,
        frame INTEGER NOT NULL,
        n_rows INTEGER NOT NULL CHECK (n_rows > 0),
        digest BLOB NOT NULL CHECK (length(digest) = 32),
        transcript BLOB NOT NULL CHECK (length(transcript) = 32),
        signature BLOB NOT NULL,
        PRIMARY KEY (exchange_id, frame)
    ) WITHOUT ROWID
    """,
)
_DAILY = (
    "CREATE INDEX budget_by_day ON budget_exchanges (opened_at)",
    """
    CREATE TABLE budget_log (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        counted INTEGER NOT NULL CHECK (counted >= 0)
    )
    """,
    "INSERT INTO budget_log VALUES (1, 0)",
)
"""What version 2 has besides: the days, and how much of the log has been counted."""
_ROWS = "COALESCE(SUM(CASE released WHEN 1 THEN rows_charged ELSE rows_offered END), 0), COUNT(*)"
_OF_MANDATE = f"SELECT {_ROWS} FROM budget_exchanges WHERE mandate_id = ?"  # noqa: S608  ours
_OF_DAY = (
    f"SELECT authority, kind, {_ROWS} FROM budget_exchanges"  # noqa: S608  ours
    " WHERE opened_at >= ? AND opened_at < ? GROUP BY authority, kind"
)


def _add_days(database: sqlite3.Connection) -> None:
    for statement in _DAILY:
        database.execute(statement)


_MIGRATIONS: Mapping[int, Callable[[sqlite3.Connection], None]] = {1: _add_days}
"""From each older schema version, the step to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What an exchange is to reserve.

    Attributes:
        exchange_id: 32 bytes.
        mandate_id: under which mandate.
        authority: who asks.
        kind: about what.
        rows: how many distinct identifiers, 0 or more.
        opened_at: when, with a time zone.
        day: when the platform's day begins that this is on, and when the next one does.
    """

    exchange_id: bytes
    mandate_id: str
    authority: str
    kind: str
    rows: int
    opened_at: datetime
    day: tuple[datetime, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What the log tells of an exchange that it has opened.

    Attributes:
        exchange_id: 32 bytes.
        mandate_id: under which mandate.
        authority: who asked.
        kind: about what.
        rows: what was offered.
        opened_at: when, with a time zone.
        charged: what it was charged, or None where the log does not tell of its end.
    """

    exchange_id: bytes
    mandate_id: str
    authority: str
    kind: str
    rows: int
    opened_at: datetime
    charged: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What the log tells of the end of an exchange that it opened before it was last counted."""

    exchange_id: bytes
    charged: int


@dataclass(frozen=True, slots=True)
class Charge:
    """What charging a frame came to.

    Attributes:
        repeated: the same frame had been charged before; nothing was charged now.
    """

    repeated: bool


@dataclass(frozen=True, slots=True)
class LastFrame:
    """How far an exchange has been charged.

    Attributes:
        frames, rows: how many have been charged.
        transcript: the requests' transcript after the last frame, 32 bytes; None before the first.
        signature: the authority's signature over that frame; None before the first.
    """

    frames: int
    rows: int
    transcript: bytes | None
    signature: bytes | None


@dataclass(frozen=True, slots=True)
class CommittedFrame:
    """A frame as it was committed and charged.

    Attributes:
        n_rows: its rows.
        digest: its digest, 32 bytes.
        transcript: the requests' transcript after it, 32 bytes.
    """

    n_rows: int
    digest: bytes
    transcript: bytes


class Budget:
    """The ledger of what was spent; safe to share among threads, one for each process.

    Args:
        path: ``state.db``; made, for its owner alone, where it is not there. Other rooms may keep
            tables of their own in it.

    Raises:
        ConfigError: ``state_invalid``, not a state file; ``state_version``, of a newer psishare.
        AuditError: ``state_write_failed``, the disk took no more.
    """

    def __init__(self, path: Path) -> None:
        self._state = StateFile(path)
        try:
            self._prepare()
        except BaseException:
            self._state.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what is reserved stays reserved."""
        self._state.close()

    def reserve(self, claim: Claim, judge: Callable[[Spent], Decision]) -> Decision:
        """Reserve an exchange's rows if a decision on what is spent allows it, all in one step.

        Args:
            claim: what is to be reserved.
            judge: decides, given what is reserved and charged without this.

        Returns:
            The decision; only where it allows something is reserved.

        Raises:
            AuthorisationError: ``exchange_repeated``; nothing is reserved.
            AuditError: ``state_write_failed``; nothing is reserved.
        """
        with self._state.writing() as database:
            if _exists(database, claim.exchange_id):
                raise _repeated()
            decision = judge(_spent(database, claim))
            if decision.verdict is Verdict.ALLOW:
                database.execute(
                    "INSERT INTO budget_exchanges"
                    " (exchange_id, mandate_id, authority, kind, rows_offered, opened_at)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        claim.exchange_id,
                        claim.mandate_id,
                        claim.authority,
                        claim.kind,
                        claim.rows,
                        _write_time(claim.opened_at),
                    ),
                )
        return decision

    def spent(self, claim: Claim) -> Spent:
        """Return what is reserved and charged now, as a decision on a claim would see it."""
        with self._state.reading() as database:
            return _spent(database, claim)

    def counted(self) -> int:
        """Return how many of the log's entries have been counted in."""
        with self._state.reading() as database:
            found: int = database.execute("SELECT counted FROM budget_log").fetchone()[0]
            return found

    def recount(self, told: Iterable[Opened | Ended], *, counted: int) -> int:
        """Take the log's word for every exchange that cost more by it than by this file.

        Args:
            told: what the log tells, in any order, each exchange once.
            counted: how many of the log's entries have been counted in by now.

        Returns:
            How many exchanges had been missing or too cheap here.

        Raises:
            AuditError: ``state_write_failed``; nothing is changed.
        """
        with self._state.writing() as database:
            mended = sum(_take(database, each) for each in told)
            database.execute("UPDATE budget_log SET counted = ?", (counted,))
        return mended

    def charge(  # noqa: PLR0917  one frame, in the order in which it is described
        self,
        exchange_id: bytes,
        index: int,
        rows: int,
        digest: bytes,
        transcript: bytes,
        signature: bytes,
    ) -> Charge:
        """Commit a frame and charge its rows, durably, before it is evaluated.

        Args:
            exchange_id: 32 bytes, reserved before.
            index: the frame's number; the next, or one that was charged.
            rows: the frame's rows, 1 or more.
            digest: the frame's digest, 32 bytes.
            transcript: the transcript after this frame, 32 bytes.
            signature: the authority's, over the frame.

        Returns:
            Whether the frame had been charged before.

        Raises:
            ProtocolError: ``exchange_unknown``, ``exchange_ended``, ``frame_changed``,
                ``frame_out_of_order``, ``frame_empty`` or ``frame_over_offer``; nothing is charged.
            AuditError: ``state_write_failed``; nothing is charged.
        """
        with self._state.writing() as database:
            frames, left = _open_exchange(database, exchange_id)
            known = database.execute(
                "SELECT digest FROM budget_frames WHERE exchange_id = ? AND frame = ?",
                (exchange_id, index),
            ).fetchone()
            if known is not None:
                _require_same(known[0], digest, index)
                return Charge(repeated=True)
            _require_next(index, frames, rows, left)
            database.execute(
                "INSERT INTO budget_frames VALUES (?, ?, ?, ?, ?, ?)",
                (exchange_id, index, rows, digest, transcript, signature),
            )
            database.execute(
                "UPDATE budget_exchanges SET rows_charged = rows_charged + ?, frames = frames + 1"
                " WHERE exchange_id = ?",
                (rows, exchange_id),
            )
        return Charge(repeated=False)

    def release(self, exchange_id: bytes) -> None:
        """End an exchange: what it reserved and did not charge is free again.

        Doing it twice, or for an exchange that was never reserved, changes nothing.

        Raises:
            AuditError: ``state_write_failed``; it stays reserved.
        """
        with self._state.writing() as database:
            database.execute(
                "UPDATE budget_exchanges SET released = 1 WHERE exchange_id = ?", (exchange_id,)
            )

    def open_exchanges(self, *, opened_before: datetime | None = None) -> tuple[bytes, ...]:
        """Return the ids of the exchanges that have not ended, the oldest first.

        Args:
            opened_before: only those that were opened before this time, with a time zone.
        """
        limit = "9999" if opened_before is None else _write_time(opened_before)
        with self._state.reading() as database:
            found = database.execute(
                "SELECT exchange_id FROM budget_exchanges WHERE released = 0 AND opened_at < ?"
                " ORDER BY opened_at, exchange_id",
                (limit,),
            ).fetchall()
        return tuple(exchange_id for (exchange_id,) in found)

    def cancel(self, exchange_id: bytes) -> None:
        """Forget a reservation whose exchange was never opened and answered.

        An exchange with a charged frame is released instead.

        Raises:
            AuditError: ``state_write_failed``; it stays reserved.
        """
        with self._state.writing() as database:
            database.execute(
                "DELETE FROM budget_exchanges WHERE exchange_id = ? AND frames = 0", (exchange_id,)
            )
            database.execute(
                "UPDATE budget_exchanges SET released = 1 WHERE exchange_id = ?", (exchange_id,)
            )

    def usage(self, mandate_id: str) -> Usage:
        """Return what is reserved or charged under a mandate now."""
        with self._state.reading() as database:
            return Usage(*database.execute(_OF_MANDATE, (mandate_id,)).fetchone())

    def last_frame(self, exchange_id: bytes) -> LastFrame:
        """Return how far an exchange has been charged; one never reserved, not at all."""
        with self._state.reading() as database:
            found = database.execute(
                "SELECT e.frames, e.rows_charged, f.transcript, f.signature"
                " FROM budget_exchanges e LEFT JOIN budget_frames f"
                " ON f.exchange_id = e.exchange_id AND f.frame = e.frames - 1"
                " WHERE e.exchange_id = ?",
                (exchange_id,),
            ).fetchone()
        return LastFrame(*found) if found else LastFrame(0, 0, None, None)

    def committed_frames(self, exchange_id: bytes) -> tuple[CommittedFrame, ...]:
        """Return every frame of an exchange that was charged, in order."""
        with self._state.reading() as database:
            found = database.execute(
                "SELECT n_rows, digest, transcript FROM budget_frames"
                " WHERE exchange_id = ? ORDER BY frame",
                (exchange_id,),
            ).fetchall()
        return tuple(CommittedFrame(*frame) for frame in found)

    def _prepare(self) -> None:
        with self._state.writing() as database:
            database.execute(_VERSION_TABLE)
            found = database.execute("SELECT version FROM budget_schema").fetchone()
            if found is None:
                for statement in (*_TABLES, *_DAILY):
                    database.execute(statement)
                database.execute("INSERT INTO budget_schema VALUES (1, ?)", (SCHEMA_VERSION,))
            else:
                self._migrate(database, found[0])

    def _migrate(self, database: sqlite3.Connection, version: int) -> None:
        for step in range(version, SCHEMA_VERSION):
            if step not in _MIGRATIONS:
                raise self._other_version(version)
            _MIGRATIONS[step](database)
        if version > SCHEMA_VERSION:
            raise self._other_version(version)
        database.execute("UPDATE budget_schema SET version = ?", (SCHEMA_VERSION,))

    def _other_version(self, version: int) -> ConfigError:
        return ConfigError(
            f"{self._state.path} has budget version {version}; this psishare reads {SCHEMA_VERSION}",
            mend="Use the version of psishare that wrote it, or a newer one.",
            reason="state_version",
        )


def _write_time(time: datetime) -> str:
    return time.astimezone(UTC).strftime(_TIME_FORMAT)


def _exists(database: sqlite3.Connection, exchange_id: bytes) -> bool:
    found = database.execute(
        "SELECT 1 FROM budget_exchanges WHERE exchange_id = ?", (exchange_id,)
    ).fetchone()
    return found is not None


def _open_exchange(database: sqlite3.Connection, exchange_id: bytes) -> tuple[int, int]:
    """Return the frames charged and the rows left of an exchange that has not ended."""
    found = database.execute(
        "SELECT frames, rows_offered - rows_charged, released FROM budget_exchanges"
        " WHERE exchange_id = ?",
        (exchange_id,),
    ).fetchone()
    if found is None:
        raise _unknown()
    frames, left, released = found
    if released:
        raise _broken("exchange_ended", "a frame came for an exchange that has ended")
    return frames, left


def _spent(database: sqlite3.Connection, claim: Claim) -> Spent:
    """Add up what is reserved and charged: of the mandate, and of the claim's day."""
    mandate = Usage(*database.execute(_OF_MANDATE, (claim.mandate_id,)).fetchone())
    limits = tuple(_write_time(limit) for limit in claim.day)
    groups = database.execute(_OF_DAY, limits).fetchall()
    return Spent(
        mandate=mandate,
        day=_total((rows, n) for _authority, _kind, rows, n in groups),
        authority=_total((rows, n) for who, _kind, rows, n in groups if who == claim.authority),
        kind=_total((rows, n) for _authority, what, rows, n in groups if what == claim.kind),
    )


def _total(parts: Iterable[tuple[int, int]]) -> Usage:
    rows = exchanges = 0
    for part_rows, part_exchanges in parts:
        rows += part_rows
        exchanges += part_exchanges
    return Usage(rows, exchanges)


def _take(database: sqlite3.Connection, told: Opened | Ended) -> bool:
    """Take one exchange's cost from the log where it is more than what stands here."""
    found = database.execute(
        "SELECT rows_charged, released FROM budget_exchanges WHERE exchange_id = ?",
        (told.exchange_id,),
    ).fetchone()
    if found is None:
        return isinstance(told, Opened) and _take_unknown(database, told)
    charged, released = found
    if told.charged is None or (released and charged >= told.charged):
        return False
    database.execute(
        "UPDATE budget_exchanges SET rows_charged = MAX(rows_charged, ?), released = 1"
        " WHERE exchange_id = ?",
        (told.charged, told.exchange_id),
    )
    return bool(charged < told.charged)


def _take_unknown(database: sqlite3.Connection, told: Opened) -> bool:
    """Enter an exchange that is not here: what it may have cost, it has cost."""
    database.execute(
        "INSERT INTO budget_exchanges (exchange_id, mandate_id, authority, kind, rows_offered,"
        " rows_charged, opened_at, released) VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
        (
            told.exchange_id,
            told.mandate_id,
            told.authority,
            told.kind,
            told.rows,
            told.rows if told.charged is None else told.charged,
            _write_time(told.opened_at),
        ),
    )
    return True


def _require_same(known: bytes, digest: bytes, index: int) -> None:
    if known != digest:
        raise _broken("frame_changed", f"frame {index} came again with other contents")


def _require_next(index: int, frames: int, rows: int, left: int) -> None:
    if index != frames:
        raise _broken("frame_out_of_order", f"frame {index} came where frame {frames} is due")
    if rows < 1:
        raise _broken("frame_empty", f"frame {index} holds no rows")
    if rows > left:
        raise _broken(
            "frame_over_offer", f"frame {index} holds {rows} rows; {left} of the offer are left"
        )


def _broken(reason: str, message: str) -> ProtocolError:
    return ProtocolError(
        message, mend="Start a new exchange; the peer's software is at fault.", reason=reason
    )


def _unknown() -> ProtocolError:
    return _broken("exchange_unknown", "no exchange of this id has been opened")


def _repeated() -> AuthorisationError:
    return AuthorisationError(
        "an exchange with this id has been offered before",
        mend="Make a new offer; its nonce makes a new id.",
        reason="exchange_repeated",
    )
