"""What a failed gRPC call means, and whether to try it again.

A status comes from our own core (a lost connection, a failed handshake, a deadline) or from the peer;
both look the same. So a peer can choose what is said of it, but only in words that accuse itself, and
can win no more than a repeated call until the deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from psishare.errors import PeerError, ProtocolError, PsishareError, TransportError
from psishare.transport import fault
from psishare.transport.limits import BUSY
from psishare.transport.message import MEND, too_large

if TYPE_CHECKING:
    from typing import Final

NOT_THE_PEER: Final = ("CERTIFICATE_VERIFY_FAILED", "Verification Check failed")
"""How gRPC's core says that the certificate presented is not a pinned one, or not of that name."""

HUNG_UP: Final = ("failed to connect", "Socket closed")
"""How it says that TLS came about and the server then hung up: a server that refuses ours does so."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What a try came to.

    Attributes:
        error: for the caller, if it is the last try.
        passing: the next try may fare better.
        busy: the peer is there and has too much to do: it is worth asking until the deadline.
    """

    error: PsishareError
    passing: bool = False
    busy: bool = False


@dataclass(frozen=True, slots=True)
class FailureReader:
    """Reads the failures of one call to one peer.

    Attributes:
        peer: its party id.
        step: a noun phrase for the call.
        allowed_s: the call's whole time in seconds.
    """

    peer: str
    step: str
    allowed_s: float

    def read(self, error: grpc.RpcError) -> Failure:
        """Return what the failure means: the peer's fault where it sent one, else the status."""
        for key, value in error.trailing_metadata() or ():
            if key == fault.METADATA_KEY:
                told = fault.decode(value, peer=self.peer, step=self.step)
                passing = isinstance(told, TransportError)
                return Failure(told, passing=passing, busy=passing and told.reason == BUSY)
        details = fault.printable(error.details() or "")
        match error.code():
            case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
                return self._unavailable(details)
            case grpc.StatusCode.RESOURCE_EXHAUSTED if "larger than max" not in details:
                return Failure(self._busy(), passing=True, busy=True)
            case code:
                return Failure(self._final(code))

    def _final(self, code: grpc.StatusCode) -> PsishareError:
        match code:
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return self._silent()
            case grpc.StatusCode.RESOURCE_EXHAUSTED:
                return too_large(self.step, party=self.peer)
            case grpc.StatusCode.UNIMPLEMENTED:
                return self._unknown()
            case _:
                return fault.failed(self.peer, self.step)

    def _unavailable(self, details: str) -> Failure:
        if any(sign in details for sign in NOT_THE_PEER):
            return Failure(self._not_the_peer(expired="has expired" in details))
        if all(sign in details for sign in HUNG_UP):
            return Failure(self._hung_up(), passing=True)
        return Failure(self._unreachable(details), passing=True)

    def _not_the_peer(self, *, expired: bool) -> PeerError:
        which = "a certificate that has expired" if expired else "a certificate that is not pinned"
        return PeerError(
            f"the server at the address of {self.peer} presents {which}",
            mend=f"Check the address; if it is right, ask {self.peer} for its current card.",
            reason="peer_certificate",
            party=self.peer,
        )

    def _hung_up(self) -> TransportError:
        # A line that was cut at this moment, or a server that was killed, looks the same.
        return TransportError(
            f"{self.peer} hung up when it had seen our certificate",
            mend=f"{self.peer} must have our current card among its peers: give it to them.",
            reason="peer_certificate",
            party=self.peer,
        )

    def _unreachable(self, details: str) -> TransportError:
        return TransportError(
            f"{self.peer} could not be reached for {self.step}: {details or 'no reason given'}",
            mend=f"Check the address, and that {self.peer} is serving; then try again.",
            reason="peer_unreachable",
            party=self.peer,
        )

    def _busy(self) -> TransportError:
        return TransportError(
            f"{self.peer} is overloaded and did not take {self.step}",
            mend="Try again later.",
            reason="peer_busy",
            party=self.peer,
        )

    def _silent(self) -> TransportError:
        return TransportError(
            f"{self.peer} did not answer {self.step} within {self.allowed_s:g} s",
            mend="Try again; if the peer works but slowly, allow more time.",
            reason="peer_silent",
            party=self.peer,
        )

    def _unknown(self) -> ProtocolError:
        return ProtocolError(
            f"{self.peer} does not know the call for {self.step}",
            mend=MEND,
            reason="call_unknown",
            party=self.peer,
        )
