"""The exchanges that an authority has left open, and what becomes of them (exchange.md, section 13).

A lost connection and a killed process leave an exchange open: it goes on until its time is over, or it
is abandoned. Promises: each ends once, in log and register alike; and what was learnt in one that has
ended without a result, or whose result was handed over, is removed from the disk.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from psishare.errors import AuditError, InputError, ProtocolError, TransportError
from psishare.exchange import retained, task, unfinished
from psishare.exchange.document import now, read_time, write_time
from psishare.exchange.hold import Hold
from psishare.exchange.journal import Ending, Journal, LastFrame
from psishare.exchange.offer import Offer
from psishare.exchange.reasons import CLOSE_REFUSALS
from psishare.exchange.register import LIVE, Register, Row, State, require_unfinished
from psishare.exchange.retained import requested
from psishare.mandates.check import CLOCK_TOLERANCE_S

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.audit.log import Log
    from psishare.parties.home import Home

RESUMABLE_FOR = timedelta(hours=24)
_WORKED_ON = (retained.FILE_NAME, unfinished.FILE_NAME, task.FILE_NAME)


@dataclass(frozen=True, slots=True)
class Resumable:
    """An exchange that can go on.

    Attributes:
        row: the exchange.
        until: when it is given up; UTC.
    """

    row: Row
    until: datetime


class LeftOpen:
    """The exchanges that this authority has left open.

    Args:
        home: the authority's home.
        log: its log.
        register: its exchanges.
    """

    def __init__(self, home: Home, log: Log, register: Register) -> None:
        self._home = home
        self._register = register
        self._journal = Journal(log)

    def folder(self, exchange_id: bytes) -> Path:
        """Return the folder of an exchange."""
        return self._home.exchange_path(exchange_id)

    def recover(self) -> int:
        """Record what the log tells of exchanges left open, and end those whose time is over.

        A receipt that this side has signed stays pending until the platform is reached.

        Returns:
            How many were aborted.
        """
        aborted = sum(self._record(row.exchange_id) for row in self._register.unattended())
        aborted += sum(self._expire(row) for row in self._register.expired_offline(_now()))
        for row in self._kept():
            if row.state is not State.CLOSED or self.until(row) < now():
                self.clear(row.exchange_id)
        return aborted

    def _expire(self, row: Row) -> bool:
        """End an exchange that went by parcels and has expired; a signed receipt stays pending."""
        if row.state is State.PENDING:
            return False
        self.abort(row, "peer_silent", row.peer, self.requested(row))
        return True

    def resumable(self) -> list[Resumable]:
        """Return the exchanges that can go on, or whose result was not handed over, newest first."""
        unclaimed = [row for row in self._kept() if row.state is State.CLOSED]
        rows = {row.exchange_id: row for row in [*self._register.unattended(), *unclaimed]}
        found = [Resumable(row, self.until(row)) for row in rows.values()]
        newest = sorted(found, key=lambda one: one.row.started, reverse=True)
        return [one for one in newest if one.until >= now() or one.row.state is State.PENDING]

    def until(self, row: Row) -> datetime:
        """Return until when an exchange can go on, from when it was last worked on."""
        if row.state is State.HELD and row.answer is not None:
            return read_time(Hold.parse(row.answer).expires)
        if row.state is State.OFFERED:
            return read_time(row.started) + timedelta(seconds=CLOCK_TOLERANCE_S)
        worked_on = [read_time(row.updated)]
        for name in _WORKED_ON:
            with contextlib.suppress(OSError):
                seconds = (self.folder(row.exchange_id) / name).stat().st_mtime
                worked_on.append(datetime.fromtimestamp(int(seconds), UTC))
        return max(worked_on) + RESUMABLE_FOR

    def abandon(self, row: Row) -> None:
        """Abort an exchange that no process works on.

        Raises:
            InputError: ``exchange_running``; or ``exchange_finished``, it has ended, or a doubly
                signed receipt may exist.
            AuditError: the log cannot take the entry.
        """
        with self._register.attending(row.exchange_id):
            row = self._register.get(row.exchange_id) or row
            require_unfinished(row)
            self.abort(row, "abandoned", self._home.id, self.requested(row))

    def abort(self, row: Row, reason: str, at_fault: str, last: LastFrame | None) -> None:
        """Enter that an exchange ended before its receipt, unless the log tells of an end already.

        Raises:
            AuditError: the log cannot take the entry; the next start tries again.
        """
        if not self._is_told(row):
            self._journal.aborted(
                Ending(row.exchange_id, row.peer, row.mandate_id, reason, at_fault, last)
            )
            self._register.update(row.exchange_id, State.ABORTED, reason=reason)
        self.clear(row.exchange_id)

    def requested(self, row: Row) -> LastFrame:
        """Work out how far the requests of an exchange had come, from what was retained of it."""
        folder = self.folder(row.exchange_id)
        return requested(folder, Offer.parse(row.offer), self._home.log_signer())

    def clear(self, exchange_id: bytes) -> None:
        """Remove what an exchange would go on from: it has ended, or its result was handed over.

        Raises:
            AuditError: ``state_write_failed``: the disk refuses.
        """
        for name in (unfinished.FILE_NAME, task.FILE_NAME):
            try:
                (self.folder(exchange_id) / name).unlink(missing_ok=True)
            except OSError as error:
                raise AuditError(
                    f"{name} cannot be removed from {self.folder(exchange_id)}",
                    mend="Remove it: it holds, sealed, what was learnt in an exchange that is over.",
                    reason="state_write_failed",
                ) from error

    def _kept(self) -> list[Row]:
        """Return the exchanges that have ended and of which something to go on from is still there."""
        names = (unfinished.FILE_NAME, task.FILE_NAME)
        paths = [path for name in names for path in self._home.exchanges_path.glob(f"*/{name}")]
        rows = [self._register.get(bytes.fromhex(name)) for name in {p.parent.name for p in paths}]
        return [row for row in rows if row is not None and row.state not in LIVE]

    def _record(self, exchange_id: bytes) -> bool:
        """Enter what the log tells of an exchange's end; where it tells none, whether it is over."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._register.attending(exchange_id))
            except InputError:
                return False  # another process has begun to work on it
            row = self._register.get(exchange_id)
            if row is None or row.state not in LIVE or self._is_told(row):
                return False
            if row.state is State.PENDING or self.until(row) >= now():
                return False
            self.abort(row, "interrupted", self._home.id, self.requested(row))
            return True

    def _is_told(self, row: Row) -> bool:
        """Bring the register up to the log, where that tells of the exchange's end."""
        told = self._journal.told(row.exchange_id, row.log_size)
        update = self._register.update
        if told.closed is not None:
            update(row.exchange_id, State.CLOSED, closed_index=told.closed)
        elif told.aborted is not None:
            update(row.exchange_id, State.ABORTED, reason=told.aborted)
        elif told.ended:
            update(row.exchange_id, State.REFUSED, reason=told.refused)
        return told.ended


def _now() -> str:
    return write_time(now())


def not_resumable(row: Row) -> InputError:
    """Return the error of whoever wants an exchange to go on that has ended."""
    why = f"{row.state.value}: {row.reason}" if row.reason else row.state.value
    return InputError(
        f"the exchange {row.exchange_id.hex()[:16]} cannot go on: it is {why}",
        mend="Start a new one; `psishare exchange list` shows which ones can go on.",
        reason="exchange_finished",
    )


def left_open(exchange_id: bytes, error: TransportError) -> TransportError:
    """Return an error of the line with what it means for the exchange."""
    return TransportError(
        f"{error.message}; the exchange {exchange_id.hex()[:16]} is left open",
        mend=f"Go on with `psishare match --resume {exchange_id.hex()[:16]}` within 24 hours, sooner"
        " if the platform waits for less; or end it with `psishare exchange abandon`.",
        reason=error.reason,
        party=error.party,
    )


def is_unclosed(row: Row, error: BaseException) -> bool:
    """Tell whether an error shows that no doubly signed receipt of an exchange exists.

    Only what the platform answers to ``Close`` shows that, and only as long as it has not signed.
    """
    signed = row.platform_signature is not None
    return not signed and isinstance(error, ProtocolError) and error.reason in CLOSE_REFUSALS
