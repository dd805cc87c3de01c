"""One gRPC call from its first byte to its last: let in, received, answered in its turn, taken.

gRPC would let a caller hold a thread by announcing a request that never comes, and memory by not taking
its answers. Here a request is read only once there is room for it; what does not arrive, or is not
taken, in its time is cancelled; and what a call holds is given back when it is over on the wire.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from psishare.errors import (
    AuthorisationError,
    InternalError,
    PeerError,
    ProtocolError,
    PsishareError,
    TransportError,
)
from psishare.transport import fault
from psishare.transport.endpoint import answer
from psishare.transport.limits import BUSY, STOPPING
from psishare.transport.message import MEND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psishare.transport.channel import Call, Caller, Responder
    from psishare.transport.limits import Limits
    from psishare.transport.overdue import Overdue
    from psishare.transport.turnstile import Turnstile, Visit

    Told = Callable[[Call, float, str], object]

ANSWERED = "ok"


class Reception:
    """Receives and answers calls, as a gRPC server hands them over, each in a thread.

    Args:
        responder: who answers.
        caller_of: says whose call it is, or refuses it.
        limits: the times allowed.
        turnstile: lets calls in.
        overdue: ends what takes too long.
        told: called with each call, its seconds and ``ok`` or the reason code of its error.
    """

    def __init__(
        self,
        responder: Responder,
        caller_of: Callable[[Any], Caller],
        *,
        limits: Limits,
        turnstile: Turnstile,
        overdue: Overdue,
        told: Told | None,
    ) -> None:
        self._responder = responder
        self._caller_of = caller_of
        self._limits = limits
        self._turnstile = turnstile
        self._overdue = overdue
        self._told = told

    def receive(self, call: Call, requests: Iterator[bytes], context: Any) -> bytes:
        """Answer one call; a refusal aborts it with its fault."""
        started_s = time.monotonic()
        outcome = InternalError.default_reason
        try:
            response = self._answer(call, requests, context)
            outcome = ANSWERED
        except PsishareError as error:
            outcome = error.reason
            _refuse(context, error)
        finally:
            if self._told is not None:
                self._told(call, time.monotonic() - started_s, outcome)
        return response

    def _answer(self, call: Call, requests: Iterator[bytes], context: Any) -> bytes:
        caller = self._caller_of(context)
        visit = self._turnstile.enter(caller.certificate_sha256)
        if not context.add_callback(visit.leave):
            visit.leave()
        request = self._request(call, requests, context, visit)
        with self._turnstile.turn(visit, context.is_active):
            response = answer(self._responder, call, request, lambda: caller)
        self._turnstile.hold(visit, len(request) + len(response))
        taken = self._overdue.expect(self._limits.send_s, context.cancel)
        if not context.add_callback(taken):
            taken()
        return response

    def _request(self, call: Call, requests: Iterator[bytes], context: Any, visit: Visit) -> bytes:
        """Receive the one message of a call; what may follow it is never read."""
        self._turnstile.make_room(visit, context.is_active)
        with self._overdue.expecting(self._limits.receive_s, context.cancel):
            request = next(requests, None)
        if request is None:
            raise ProtocolError(
                f"the message of {call.step} did not come whole",
                mend=MEND,
                reason="message_malformed",
            )
        self._turnstile.hold(visit, len(request))
        return request


def _refuse(context: Any, error: PsishareError) -> NoReturn:
    told = error.reason if fault.tells(error) else InternalError.default_reason
    context.set_trailing_metadata(((fault.METADATA_KEY, fault.encode(error)),))
    context.abort(_status(error), told)
    raise AssertionError("abort always raises")


def _status(error: PsishareError) -> grpc.StatusCode:
    match error:
        case AuthorisationError():
            return grpc.StatusCode.PERMISSION_DENIED
        case ProtocolError():
            return grpc.StatusCode.INVALID_ARGUMENT
        case TransportError(reason=reason) if reason in {BUSY, STOPPING}:
            return grpc.StatusCode.RESOURCE_EXHAUSTED
        case TransportError():
            return grpc.StatusCode.INTERNAL
        case PeerError():
            return grpc.StatusCode.UNAUTHENTICATED
        case _:
            return grpc.StatusCode.INTERNAL
