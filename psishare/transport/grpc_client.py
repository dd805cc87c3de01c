"""The calling end over gRPC: mutual TLS with one pinned peer, deadlines, and patience.

There is no plaintext mode. Every call ends within its deadline: with the answer, or with an error that
names the peer and the step.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING

import grpc

from psishare.errors import ConfigError, ProtocolError
from psishare.transport.address import Address
from psishare.transport.certificate import roots_of
from psishare.transport.channel import SERVICE, Call, ClosedOnExit, closed
from psishare.transport.fault import PASSING
from psishare.transport.grpc_failure import FailureReader
from psishare.transport.grpc_settings import client_options
from psishare.transport.message import parse, serialise

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, Self

    from google.protobuf.message import Message

    from psishare.transport.certificate import TlsIdentity

PAUSE_FIRST_S: Final = 0.05
PAUSE_MAX_S: Final = 1.0
RETRY_FOR_S: Final = 5.0

PROBE_PATH: Final = f"/{SERVICE}/Probe"
"""No server knows this call; that one says so over TLS proves that it holds the peer's key."""

CONNECTION: Final = "the connection"


class GrpcChannel(ClosedOnExit):
    """A ``Channel`` to one peer over TLS. Made by ``connect``; safe to use from several threads.

    Attributes:
        peer: the peer's party id.
    """

    def __init__(
        self, channel: grpc.Channel, *, peer: str, timeout_s: float, retry_for_s: float
    ) -> None:
        self.peer = peer
        self._channel = channel
        self._timeout_s = timeout_s
        self._retry_for_s = retry_for_s
        self._closed = threading.Event()
        self._senders = {call: _sender(channel, call.path) for call in Call}

    @classmethod
    def connect(
        cls,
        address: str,
        *,
        identity: TlsIdentity,
        pinned: tuple[bytes, ...],
        server_name: str,
        peer: str,
        timeout_s: float = 30.0,
        retry_for_s: float = RETRY_FOR_S,
    ) -> Self:
        """Connect to a peer and prove that it holds the key of a pinned certificate.

        Args:
            address: ``host:port`` or ``[address]:port``.
            identity: our certificate and key, which the peer has pinned.
            pinned: the peer's certificates in DER, current and next, and no other party's.
            server_name: the DNS name in them.
            peer: the peer's party id.
            timeout_s: seconds for connecting, and for each call that sets no time of its own.
            retry_for_s: seconds, within a call's deadline, for which a lost connection is tried again.

        Raises:
            ConfigError: the address, the identity or a pinned certificate is unfit.
            PeerError: ``peer_certificate``: the peer presents another certificate, or refuses ours.
            TransportError: it cannot be reached, or is silent.
        """
        target = Address.parse(address).target
        identity.check()
        if not pinned:
            raise ConfigError(
                f"no certificate of {peer} is pinned",
                mend=f"Add the current card of {peer}.",
                reason="certificate_missing",
                party=peer,
            )
        credentials = grpc.ssl_channel_credentials(
            roots_of(pinned, party=peer), identity.key_pem, identity.cert_pem
        )
        channel = grpc.secure_channel(target, credentials, options=client_options(server_name))
        connected = cls(channel, peer=peer, timeout_s=timeout_s, retry_for_s=retry_for_s)
        try:
            connected._probe()
        except BaseException:
            connected.close()
            raise
        return connected

    def call(self, call: Call, request: Message, *, timeout_s: float | None = None) -> Message:
        """Carry one call, as ``Channel.call`` says."""
        data = serialise(request, step=call.step)
        sender = self._senders[call]
        received = self._send(sender, data, call.step, timeout_s, patient=not call.shows_heads)
        return parse(call.response, received, step=call.step, party=self.peer)

    def close(self) -> None:
        """Give up what is under way and free the connection. Closing again does nothing."""
        self._closed.set()
        self._channel.close()

    def _probe(self) -> None:
        try:
            self._send(_sender(self._channel, PROBE_PATH), b"", CONNECTION, None)
        except ProtocolError as error:
            if error.reason != "call_unknown":
                raise

    def _send(
        self,
        sender: Callable[..., bytes],
        data: bytes,
        step: str,
        timeout_s: float | None,
        *,
        patient: bool = True,
    ) -> bytes:
        """Send until there is an answer, an error that will not pass, or no time.

        A connection that is lost is tried again for ``retry_for_s``, a peer that is busy until the
        deadline, where the caller is patient: it is there, and says that it will get round to it.
        """
        allowed_s = self._timeout_s if timeout_s is None else timeout_s
        deadline_s = time.monotonic() + allowed_s
        lost_s = None
        pause_s = PAUSE_FIRST_S
        while not self._closed.is_set():
            try:
                return sender(data, timeout=max(deadline_s - time.monotonic(), 0.0))
            except grpc.RpcError as error:
                failure = FailureReader(self.peer, step, allowed_s).read(error)
            except ValueError:
                break  # gRPC's word for a channel that was closed meanwhile
            if self._closed.is_set():
                break
            now_s = time.monotonic()
            lost_s = (lost_s or now_s) if not failure.busy else None
            until_s = min(deadline_s, lost_s + self._retry_for_s) if lost_s else deadline_s
            in_vain = not patient and failure.error.reason in PASSING
            if in_vain or not failure.passing or now_s + pause_s >= until_s:
                raise failure.error from None
            self._closed.wait(pause_s * secrets.SystemRandom().uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, PAUSE_MAX_S)
        raise closed(self.peer, step)


def _sender(channel: grpc.Channel, path: str) -> Callable[..., bytes]:
    sender: Callable[..., bytes] = channel.unary_unary(path)
    return sender
