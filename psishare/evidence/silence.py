"""Whether a log was silent in a period: how much of the period it vouches for, and what it is silent about.

Silent is a log that tells of no exchange and no delivery, refused, held and aborted ones included. It vouches
for a moment that lies between two of its entries; where they lie far apart, nothing shows that anybody was
keeping it meanwhile, which is what heartbeats are for (protocols/specs/audit-log.md, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psishare.audit.entry import (
    DatasetDelivered,
    DatasetRefused,
    Entry,
    ExchangeAborted,
    ExchangeApproved,
    ExchangeClosed,
    ExchangeHeld,
    ExchangeOpened,
    ExchangeRefused,
    ExchangeRejected,
)
from psishare.exchange.document import read_time, write_time

if TYPE_CHECKING:
    from datetime import datetime

_EVENTS = (
    ExchangeOpened,
    ExchangeClosed,
    ExchangeAborted,
    ExchangeRefused,
    ExchangeHeld,
    ExchangeApproved,
    ExchangeRejected,
    DatasetDelivered,
    DatasetRefused,
)


@dataclass(frozen=True, slots=True)
class Silence:
    """What a log says of a period in which nothing may have happened.

    Attributes:
        silent: whether it tells of no exchange and no delivery in the period.
        vouched_from: the first moment of the period that it vouches for; None where it does for none.
        vouched_until: the last such moment.
        longest_gap_s: the longest time within the period between two entries, seconds; None where the
            log vouches for nothing.
    """

    silent: bool
    vouched_from: str | None
    vouched_until: str | None
    longest_gap_s: int | None


class SilenceWatch:
    """Listens to a log's entries in order.

    Args:
        since: the period's beginning, as entries write times; None for that of the log.
        until: its end; None for that of the log.
    """

    def __init__(self, since: str | None, until: str | None) -> None:
        self._since = None if since is None else read_time(since)
        self._until = None if until is None else read_time(until)
        self._silent = True
        self._first: datetime | None = None
        self._last: datetime | None = None
        self._gap_s = 0

    def take(self, entry: Entry) -> None:
        """Listen to one entry."""
        time = read_time(entry.time)
        if isinstance(entry, _EVENTS) and self._is_within(time):
            self._silent = False
        # An owner's clock may be set back: what counts is the latest time so far.
        moment = self._clamped(time if self._last is None else max(time, self._last))
        if self._last is not None:
            self._gap_s = max(self._gap_s, int((moment - self._last).total_seconds()))
        self._first = moment if self._first is None else self._first
        self._last = moment

    def verdict(self) -> Silence:
        """Return what the log says of the period."""
        first, last = self._first, self._last
        if first is None or last is None or self._is_outside(first, last):
            return Silence(self._silent, None, None, None)
        return Silence(self._silent, write_time(first), write_time(last), self._gap_s)

    def _is_within(self, time: datetime) -> bool:
        return (self._since is None or time >= self._since) and (
            self._until is None or time < self._until
        )

    def _is_outside(self, first: datetime, last: datetime) -> bool:
        """Tell whether all entries lie on one side of the period."""
        return first == last and first in {self._since, self._until}

    def _clamped(self, time: datetime) -> datetime:
        if self._since is not None and time < self._since:
            return self._since
        if self._until is not None and time > self._until:
            return self._until
        return time
