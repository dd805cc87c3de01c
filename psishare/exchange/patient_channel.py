"""A channel that makes a call again when it got no answer, for as long as it is told to be patient.

Calls are idempotent (protocols/specs/exchange.md, section 13), so that a lost connection or a server
that starts again costs time and nothing else. What the peer answers, be it a refusal, is an answer.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Final

from psishare.errors import TransportError
from psishare.transport.channel import ClosedOnExit

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from psishare.transport.channel import Call, Channel

PAUSE_FIRST_S: Final = 0.25
PAUSE_MAX_S: Final = 5.0
_FINAL: Final = frozenset({"channel_closed"})
_RANDOM: Final = random.SystemRandom()

COME_AGAIN: Final = frozenset({"peer_busy", "peer_stopping"})
"""For which a platform asks to come again, with new heads."""


class PatientChannel(ClosedOnExit):
    """A ``Channel`` over another one.

    Args:
        channel: what carries the calls.
        retry_for_s: for how many seconds after its first failure a call is made again; 0: never.
        waiting: called with the peer's id before each further try.
        stop: when set, no call is made again. Without, a peer that is busy or about to stop is not
            asked again either: whoever shows log heads waits for room in a way of its own.

    Attributes:
        peer: the peer's party id.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        retry_for_s: float,
        waiting: Callable[[str], None],
        stop: threading.Event | None = None,
    ) -> None:
        self.peer = channel.peer
        self._channel = channel
        self._retry_for_s = retry_for_s
        self._waiting = waiting
        self._stop = stop or threading.Event()
        self._final = _FINAL if stop is not None else _FINAL | COME_AGAIN

    def until(self, stop: threading.Event) -> PatientChannel:
        """Return this channel for calls that are not made again once an event is set."""
        return PatientChannel(
            self._channel, retry_for_s=self._retry_for_s, waiting=self._waiting, stop=stop
        )

    def call(self, call: Call, request: Message, *, timeout_s: float | None = None) -> Message:
        """Carry one call, as ``Channel.call`` says, with patience.

        Raises:
            TransportError: as ``Channel.call``; for the last time after ``retry_for_s``.
        """
        until_s = None
        pause_s = PAUSE_FIRST_S
        while True:
            try:
                return self._channel.call(call, request, timeout_s=timeout_s)
            except TransportError as error:
                # Counted from the failure: a process that was paused has lost no patience.
                until_s = until_s or time.monotonic() + self._retry_for_s
                if error.reason in self._final or time.monotonic() + pause_s > until_s:
                    raise
                self._waiting(self.peer)
                if self._stop.wait(pause_s * _RANDOM.uniform(0.5, 1.0)):
                    raise
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    def close(self) -> None:
        """Close the channel beneath."""
        self._channel.close()
