"""Heartbeats of a platform that serves: entries that say that nothing else was to be said.

Without them nobody could tell a log that was silent from one that nobody was keeping.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from psishare.audit.entry import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable

    from psishare.audit.log import Log

HEARTBEAT_S = 3600.0


class Heart:
    """Enters a heartbeat at every interval, with the strangers that were turned away since the last.

    Args:
        log: the platform's.
        strangers: returns how many connections of strangers there have been so far.
        every_s: seconds from one heartbeat to the next.
        clock: gives seconds that never go back.
    """

    def __init__(
        self,
        log: Log,
        strangers: Callable[[], int],
        *,
        every_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._strangers = strangers
        self._every_s = every_s
        self._clock = clock
        self._due = clock() + every_s
        self._told = 0

    def beat(self) -> None:
        """Enter a heartbeat if it is time for one.

        Raises:
            AuditError: the log cannot take it; it is entered, and nothing of the count lost, the next
                time.
        """
        if self._clock() >= self._due:
            self._enter()
            self._due = self._clock() + self._every_s

    def last_beat(self) -> None:
        """Enter a last heartbeat, if strangers have come since the one before.

        Raises:
            AuditError: the log cannot take it.
        """
        if self._strangers() > self._told:
            self._enter()

    def _enter(self) -> None:
        # A connection counts as a stranger's until its first call, so that the number can shrink.
        strangers = max(self._told, self._strangers())
        self._log.append(Heartbeat(failed_handshakes=strangers - self._told))
        self._told = strangers
