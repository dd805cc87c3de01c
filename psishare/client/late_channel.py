"""A channel that connects when it is first needed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from psishare.transport.channel import ClosedOnExit

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from psishare.transport.channel import Call, Channel


class LateChannel(ClosedOnExit):
    """A ``Channel`` whose connection is made at the first call; a failure there is that call's.

    Args:
        peer: the peer's party id.
        dial: connects to it.
    """

    def __init__(self, peer: str, dial: Callable[[], Channel]) -> None:
        self.peer = peer
        self._dial = dial
        self._lock = threading.Lock()
        self._channel: Channel | None = None

    def call(self, call: Call, request: Message, *, timeout_s: float | None = None) -> Message:
        """Carry one call, as ``Channel.call`` says.

        Raises:
            PsishareError: as ``Channel.call``, and what connecting raises.
        """
        return self._connected().call(call, request, timeout_s=timeout_s)

    def connect(self) -> Self:
        """Connect now, if that has not been done, and return this channel.

        Raises:
            PsishareError: the peer cannot be reached or proved to be itself.
        """
        self._connected()
        return self

    def _connected(self) -> Channel:
        with self._lock:
            if self._channel is None:
                self._channel = self._dial()
            return self._channel

    def close(self) -> None:
        """Close the connection, if there is one; the next call makes another."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
                self._channel = None
