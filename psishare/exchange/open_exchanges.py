"""The exchanges that a platform has open, and how each of them ends.

Promises: an exchange ends once, in log and register alike, whatever failed before; nothing is charged
to it after its end is written; and an end that the log would not take is kept until it does.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psishare.errors import AuditError, InternalError, PeerError, ProtocolError, PsishareError
from psishare.exchange.journal import Ending, Journal, Told
from psishare.exchange.reasons import recorded
from psishare.exchange.register import LIVE, Row, State

if TYPE_CHECKING:
    from psishare.exchange.opened import OpenedExchange
    from psishare.exchange.receipt import SignedReceipt
    from psishare.exchange.rooms import PlatformRooms
    from psishare.parties.peers import Peer

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class End:
    """Why an exchange ended, and whose fault it was."""

    reason: str
    at_fault: str


@dataclass(frozen=True, slots=True)
class _Unrecorded:
    """An exchange that has ended here, while its log does not say so yet."""

    end: End
    exchange: OpenedExchange | None


class OpenExchanges:
    """The exchanges that this process has open, and those whose end is not in the log yet.

    Args:
        rooms: home, log, budget and register are used.
        journal: takes the entries.
    """

    def __init__(self, rooms: PlatformRooms, journal: Journal) -> None:
        self._rooms = rooms
        self._id = rooms.home.card.id
        self._journal = journal
        self._open: dict[bytes, OpenedExchange] = {}
        self._unrecorded: dict[bytes, _Unrecorded] = {}
        self._lock = threading.Lock()
        self._ends = threading.Lock()

    def add(self, exchange: OpenedExchange) -> None:
        """Have an exchange open from now on."""
        with self._lock:
            self._open[exchange.terms.exchange_id] = exchange

    def all(self) -> list[OpenedExchange]:
        """Return those that are open."""
        with self._lock:
            return list(self._open.values())

    def find(self, exchange_id: bytes) -> OpenedExchange | None:
        """Return an exchange that is open, or None."""
        with self._lock:
            return self._open.get(exchange_id)

    def require(self, exchange_id: bytes, peer: Peer) -> OpenedExchange:
        """Return an exchange of an authority's that is open.

        Raises:
            ProtocolError: ``exchange_unknown``, ``exchange_ended``.
        """
        exchange = self.find(exchange_id)
        if exchange is None or exchange.terms.offer.authority != peer.id:
            raise not_open(self._rooms.register.get(exchange_id), peer)
        return exchange

    def require_row(self, exchange_id: bytes) -> Row:
        """Return what the register holds of an exchange that was entered."""
        row = self._rooms.register.get(exchange_id)
        if row is None:
            raise InternalError("an open exchange is not registered", mend="Report this fault.")
        return row

    @property
    def by_authority(self) -> dict[str, int]:
        """How many exchanges each authority has open, of those that have any."""
        return dict(Counter(e.terms.offer.authority for e in self.all()))

    @property
    def has_unrecorded(self) -> bool:
        """Whether an exchange has ended whose end the log would not take yet."""
        with self._lock:
            return bool(self._unrecorded)

    def keep_receipt(self, exchange_id: bytes, signed: SignedReceipt, peer: Peer) -> bool:
        """Keep a receipt with both signatures; False where another call has kept it already.

        Raises:
            ProtocolError: ``exchange_ended``: it ended otherwise meanwhile.
        """
        with self._ends:
            row = self.require_row(exchange_id)
            if row.state is State.OPENED:
                self._rooms.register.update(
                    exchange_id,
                    State.PENDING,
                    receipt=signed.document,
                    authority_signature=signed.authority_signature,
                    platform_signature=signed.platform_signature,
                )
                return True
            if row.state not in {State.PENDING, State.CLOSED}:
                raise not_open(row, peer)
            return False

    def give_up(self, exchange_id: bytes, error: Exception) -> None:
        """Record an exchange that was entered and could not be opened: nothing was answered."""
        row = self._rooms.register.get(exchange_id)
        if row is None or row.state not in LIVE:
            return
        end = End(_reason_of(error), self._id)
        with self._lock:
            self._unrecorded[exchange_id] = _Unrecorded(end, None)
        self._record_quietly(exchange_id, end)

    def end(self, exchange: OpenedExchange, end: End) -> None:
        """End an exchange: take no more calls for it, and record why it ended.

        Raises:
            AuditError: the log or the state takes nothing yet.
        """
        exchange_id = exchange.terms.exchange_id
        with self._lock:
            if self._open.pop(exchange_id, None) is None:
                return
            self._unrecorded[exchange_id] = _Unrecorded(end, exchange)
        # A close that failed at its last step may be in the log already: look before writing.
        self.record(exchange_id, end)

    def end_failed(self, exchange: OpenedExchange, error: Exception) -> None:
        """End an exchange for what failed in one of its steps.

        Raises:
            AuditError: as ``end``.
        """
        authority = exchange.terms.offer.authority
        named = isinstance(error, PsishareError) and error.party == authority
        at_fault = authority if named or isinstance(error, PeerError) else self._id
        self.end(exchange, End(_reason_of(error), at_fault))

    def end_quietly(self, exchange: OpenedExchange, end: End) -> None:
        """End an exchange where nobody waits for an answer."""
        try:
            self.end(exchange, end)
        except AuditError as error:
            _note_unrecorded(exchange.terms.exchange_id, error)

    def record_due(self) -> None:
        """Record the ends that the log would not take before, where it takes them now."""
        with self._lock:
            unrecorded = dict(self._unrecorded)
        for exchange_id, left in unrecorded.items():
            self._record_quietly(exchange_id, left.end)

    def record(self, exchange_id: bytes, end: End, *, first: bool = False) -> bool:
        """Write into log and register how an exchange ended, once, whatever failed before.

        Args:
            exchange_id: 32 bytes, registered.
            end: why, where there is no receipt.
            first: nothing of its end can be in the log yet, so there is no need to look.

        Returns:
            Whether it was aborted here and now.

        Raises:
            AuditError: the log or the state takes nothing; the next try finds out what is there.
        """
        with self._ends:
            row = self.require_row(exchange_id)
            aborted = False
            if row.state in LIVE:
                told = Told(opened=True) if first else self._journal.told(exchange_id, row.log_size)
                aborted = self._record_row(row, told, end)
        closed = self.require_row(exchange_id).state is State.CLOSED
        with self._lock:
            left = self._unrecorded.pop(exchange_id, None)
            exchange = self._open.pop(exchange_id, left.exchange if left else None)
        if closed and exchange is not None:
            _hand_over(exchange)
        return aborted

    def _record_quietly(self, exchange_id: bytes, end: End) -> None:
        """Record an end, or note that the log does not take it yet."""
        try:
            self.record(exchange_id, end)
        except AuditError as error:
            _note_unrecorded(exchange_id, error)

    def _record_row(self, row: Row, told: Told, end: End) -> bool:
        budget, register, exchange_id = self._rooms.budget, self._rooms.register, row.exchange_id
        # After this nothing is charged any more, so that what the entry tells stands.
        budget.release(exchange_id) if told.opened else budget.cancel(exchange_id)
        signed = row.signed_receipt
        if told.closed is not None:
            register.update(exchange_id, State.CLOSED, closed_index=told.closed)
        elif told.aborted is not None:
            register.update(exchange_id, State.ABORTED, reason=told.aborted)
        elif told.refused is not None and not told.opened:
            register.update(exchange_id, State.REFUSED, reason=told.refused)
        elif signed is not None:
            index = self._journal.closed(signed, row.peer)
            register.update(exchange_id, State.CLOSED, closed_index=index)
        else:
            last = budget.last_frame(exchange_id)
            self._journal.aborted(
                Ending(exchange_id, row.peer, row.mandate_id, end.reason, end.at_fault, last)
            )
            register.update(exchange_id, State.ABORTED, reason=end.reason)
            return True
        return False


def not_open(row: Row | None, peer: Peer) -> ProtocolError:
    """Return the error for a call on an exchange that is not open, or not the caller's."""
    if row is None or row.peer != peer.id:
        return ProtocolError(
            "there is no such exchange",
            mend="Make a new offer.",
            reason="exchange_unknown",
            party=peer.id,
        )
    return ProtocolError(
        f"the exchange is {row.state.value}: {row.reason or 'no more calls are due'}",
        mend="Make a new offer.",
        reason="exchange_ended",
        party=peer.id,
    )


def _hand_over(exchange: OpenedExchange) -> None:
    """Hand the platform its own matches; the receipt stands whether or not it can take them."""
    try:
        exchange.release_matches()
    except PsishareError as error:
        _logger.error("the platform's matches are lost: %s [%s]", error.message, error.reason)  # noqa: TRY400  its trace would tell no more


def _reason_of(error: Exception) -> str:
    return recorded(error) if isinstance(error, PsishareError) else InternalError.default_reason


def _note_unrecorded(exchange_id: bytes, error: AuditError) -> None:
    _logger.error(
        "the end of exchange %s is not in the log yet: %s [%s]",
        exchange_id.hex()[:16],
        error.message,
        error.reason,
    )
