"""The calls of the wire, and the two ends that carry them.

The table of calls is the service in ``protocols/specs/wire.proto``; a test compares the two.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from psishare.errors import TransportError
from psishare.transport import wire_pb2 as wire

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from google.protobuf.message import Message

SERVICE = "psishare.v1.Psishare"


class Call(Enum):
    """A call of the wire: all are unary and idempotent.

    Attributes:
        rpc: its name in the service.
        request: the type of its request.
        response: the type of its response.
        step: a noun phrase for it in the sentences of errors.
    """

    HELLO = ("Hello", wire.HelloRequest, wire.HelloResponse, "the greeting")
    MANIFEST = ("Manifest", wire.ManifestRequest, wire.ManifestResponse, "a request for a manifest")
    SHARD = ("Shard", wire.ShardRequest, wire.ShardResponse, "a request for a part of a shard")
    OFFER = ("Offer", wire.OfferRequest, wire.OfferResponse, "the offer")
    EVALUATE = ("Evaluate", wire.EvaluateRequest, wire.FrameResponse, "a frame to evaluate")
    FETCH = ("Fetch", wire.FetchRequest, wire.FrameResponse, "a request for a frame")
    RETURN = ("Return", wire.ReturnRequest, wire.ReturnResponse, "a returned frame")
    CLOSE = ("Close", wire.CloseRequest, wire.CloseResponse, "the receipt")
    COSIGN = ("Cosign", wire.CosignRequest, wire.CosignResponse, "the cosignature")
    ABORT = ("Abort", wire.AbortRequest, wire.AbortResponse, "the notice of an abort")
    RESUME = ("Resume", wire.ResumeRequest, wire.ResumeResponse, "the question how far it has come")

    def __init__(
        self, rpc: str, request: type[Message], response: type[Message], step: str
    ) -> None:
        self.rpc = rpc
        self.request = request
        self.response = response
        self.step = step

    @property
    def shows_heads(self) -> bool:
        """Whether its request shows a log's head, or asks for one from a size that it states.

        Such a request grows stale while it waits: whoever made it makes a new one.
        """
        return self in {Call.MANIFEST, Call.OFFER, Call.CLOSE, Call.COSIGN}

    @property
    def path(self) -> str:
        """Its HTTP/2 path."""
        return f"/{SERVICE}/{self.rpc}"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: TLS says so of a certificate's holder, a signature of a parcel's maker.

    Attributes:
        certificate_sha256: 32 bytes, SHA-256 of the certificate in DER; across an air gap the end of
            the caller's card, which stands for it (offline.md, section 4).
        party: whose signature a parcel bears; None where the certificate says whose call it is.
    """

    certificate_sha256: bytes
    party: str | None = None


class Channel(Protocol):
    """A way to one peer. Calls may be made from several threads at once."""

    @property
    def peer(self) -> str:
        """The peer's party id; every error that its fault or silence causes names it."""

    def call(self, call: Call, request: Message, *, timeout_s: float | None = None) -> Message:
        """Carry one call.

        Args:
            call: which.
            request: of type ``call.request``.
            timeout_s: seconds until the call is given up; the channel's own where None.

        Returns:
            The peer's answer, of type ``call.response``.

        Raises:
            TransportError: the peer cannot be reached (``peer_unreachable``), is silent
                (``peer_silent``) or overloaded (``peer_busy``), or this channel has been closed
                (``channel_closed``).
            PeerError: the peer cannot be proved to be itself (``peer_certificate``), or failed
                (``peer_failed``).
            ProtocolError: the answer is too large, malformed, or the peer knows no such call.
            PsishareError: what the peer answered instead (``fault.py`` says which classes).
        """

    def close(self) -> None:
        """Give up what is under way and free the connection. Closing again does nothing."""

    def __enter__(self) -> Self:
        """Return the channel."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the channel."""


class ClosedOnExit(ABC):
    """What is closed at the end of its ``with``, however that ends."""

    @abstractmethod
    def close(self) -> None:
        """Free what is held. Closing again does nothing."""

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()


class Responder(Protocol):
    """The end that answers. It is called from several threads at once.

    Nothing cancels an answer from outside: a responder bounds its own waits, or a server that is
    told to stop cannot end.
    """

    def answer(self, call: Call, request: Message, caller: Caller) -> Message:
        """Answer one call.

        Args:
            call: which.
            request: of type ``call.request``, parsed but not checked any further.
            caller: whose call it is.

        Returns:
            The answer, of type ``call.response``.

        Raises:
            PsishareError: the refusal; ``fault.py`` says what the caller learns of it.
        """


def closed(peer: str, step: str) -> TransportError:
    """Return the error for a call on a channel that has been closed."""
    return TransportError(
        f"the connection to {peer} was closed before {step} was answered",
        mend="Connect again.",
        reason="channel_closed",
        party=None,
    )
