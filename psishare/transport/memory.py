"""A channel to a responder in the same process, for drivers and state machines under test.

It serialises, limits and carries errors exactly as the network does. What it cannot do is wait: a
responder that blocks blocks its caller, whatever the timeout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.errors import PsishareError
from psishare.transport import fault
from psishare.transport.channel import ClosedOnExit, closed
from psishare.transport.endpoint import answer
from psishare.transport.message import parse, serialise

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from psishare.transport.channel import Call, Caller, Responder


class MemoryChannel(ClosedOnExit):
    """A ``Channel`` without a network.

    A peer that misbehaves is a subclass that overrides ``exchange``.

    Args:
        responder: the peer's end.
        caller: what the peer is told of who calls.
        peer: the peer's party id.
    """

    def __init__(self, responder: Responder, caller: Caller, peer: str) -> None:
        self.peer = peer
        self._responder = responder
        self._caller = caller
        self._closed = False

    def call(self, call: Call, request: Message, *, timeout_s: float | None = None) -> Message:  # noqa: ARG002
        """Carry one call, as ``Channel.call`` says; there is nothing to time out."""
        if self._closed:
            raise closed(self.peer, call.step)
        data = serialise(request, step=call.step)
        try:
            received = self.exchange(call, data)
        except PsishareError as error:
            raise fault.decode(fault.encode(error), peer=self.peer, step=call.step) from None
        return parse(call.response, received, step=call.step, party=self.peer)

    def exchange(self, call: Call, request: bytes) -> bytes:
        """Return the peer's answer in bytes; its errors are raised as they are on its side."""
        return answer(self._responder, call, request, lambda: self._caller)

    def close(self) -> None:
        """Refuse calls from now on."""
        self._closed = True
