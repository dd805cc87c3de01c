"""Calls that show log heads, made by an authority in turn, and again where heads have moved on.

Every call of a process, and of its neighbours of one home, that shows heads is made after a greeting
that tells how far the platform knows this log (exchange.md, section 10).
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, TypeVar

from psishare.errors import PeerError, TransportError
from psishare.exchange.patient_channel import COME_AGAIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from psishare.exchange.head_turn import HeadTurn

STALE_HEAD_TRIES = 16
STALE_HEAD_PAUSE_S = 0.02
BUSY_FOR_S = 600.0
"""How long a platform that has as much to do as it takes on, or is about to stop, is asked again."""

BUSY_PAUSE_S = 0.1
BUSY_PAUSE_MAX_S = 2.0

T = TypeVar("T")
_RANDOM = random.SystemRandom()


class CurrentHeads:
    """Makes calls that show log heads.

    Args:
        turn: the turn among this home's processes.
        platform: the platform's party id.
        known_size: greets; returns the size of this party's log as the platform knows it.
    """

    def __init__(self, turn: HeadTurn, platform: str, known_size: Callable[[], int]) -> None:
        self._turn = turn
        self._platform = platform
        self._known_size = known_size

    def call(self, call: Callable[[int], T]) -> T:
        """Make a call that shows log heads; make it again where another exchange moved them on.

        Args:
            call: given the size of this party's log as the platform knows it.

        Raises:
            PeerError: ``log_head_stale``: they moved on at every try.
            PsishareError: as the call raises.
        """
        for tries in range(STALE_HEAD_TRIES):
            try:
                return self._once_there_is_room(call)
            except PeerError as error:
                if error.reason != "log_head_stale":
                    raise
            # Those that went ahead without a turn get out of each other's way.
            time.sleep(_RANDOM.uniform(0, STALE_HEAD_PAUSE_S * (tries + 1)))
        raise PeerError(
            "the logs' heads moved on at every try",
            mend="Run fewer exchanges between these two parties at the same time.",
            reason="log_head_stale",
            party=self._platform,
        )

    def _once_there_is_room(self, call: Callable[[int], T]) -> T:
        """Make a call that shows log heads in this home's turn; again while the platform is busy."""
        until_s, pause_s = None, BUSY_PAUSE_S
        while True:
            try:
                with self._turn.taken():
                    return call(self._known_size())
            except TransportError as error:
                until_s = until_s or time.monotonic() + BUSY_FOR_S
                if error.reason not in COME_AGAIN or time.monotonic() > until_s:
                    raise
            # Out of turn, so that exchanges that can end do so, and make room.
            time.sleep(_RANDOM.uniform(pause_s / 2, pause_s))
            pause_s = min(2 * pause_s, BUSY_PAUSE_MAX_S)
