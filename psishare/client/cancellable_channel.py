"""A channel whose calls are given up when the work that makes them is to stop."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from psishare.transport.channel import Call, ClosedOnExit

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from psishare.client.cancellation import Cancellation
    from psishare.transport.channel import Channel

FINISHING: Final = frozenset({Call.CLOSE, Call.COSIGN, Call.ABORT})
"""What ends an exchange is not stopped: the other side is to know how it ended."""
CALLS_AT_ONCE: Final = 16


class CancellableChannel(ClosedOnExit):
    """A ``Channel`` over another one. It does not close the other.

    Args:
        channel: what carries the calls.
        cancellation: stops them; a call that is under way then ends by itself, at the latest at its
            deadline, and nobody waits for it.
    """

    def __init__(self, channel: Channel, cancellation: Cancellation) -> None:
        self.peer = channel.peer
        self._channel = channel
        self._cancellation = cancellation
        self._calls = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="psishare-call")

    def call(self, call: Call, request: Message, *, timeout_s: float | None = None) -> Message:
        """Carry one call, as ``Channel.call`` says.

        Raises:
            CancellationError: it is to stop, and the call is not one that ends an exchange.
            PsishareError: as ``Channel.call``.
        """

        def carry() -> Message:
            return self._channel.call(call, request, timeout_s=timeout_s)

        if call in FINISHING:
            return carry()
        self._cancellation.check()
        return self._cancellation.wait_for(self._calls.submit(carry))

    def close(self) -> None:
        """Make no more calls."""
        self._calls.shutdown(wait=False, cancel_futures=True)
