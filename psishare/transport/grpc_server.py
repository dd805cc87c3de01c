"""The answering end over gRPC: mutual TLS with the pinned peers, limits, and a stop that ends.

A stranger fails inside gRPC's handshake, and gRPC tells its program nothing of it but that a
connection came: ``connections`` counts those. The hook ``on_stranger`` hears of the rest, a
certificate that was pinned when its connection began and is no longer.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc

from psishare.errors import ConfigError, PeerError, PsishareError
from psishare.transport.address import Address
from psishare.transport.certificate import der_of, roots_of
from psishare.transport.channel import SERVICE, Call, Caller
from psishare.transport.grpc_reception import Reception
from psishare.transport.grpc_settings import server_options
from psishare.transport.limits import Limits
from psishare.transport.overdue import Overdue
from psishare.transport.turnstile import Turnstile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Final, Self

    from psishare.transport.certificate import TlsIdentity
    from psishare.transport.channel import Responder
    from psishare.transport.grpc_reception import Told
    from psishare.transport.turnstile import Load

    PinnedClients = Callable[[], tuple[bytes, ...]] | tuple[bytes, ...]

GRACE_S: Final = 0.5
CANCEL_S: Final = 1.0
"""Cancelled calls end at once; this is for what is scheduled late, and then for its answers."""

REMEMBERED_CONNECTIONS: Final = 8192
"""More than can be open at once; an address that comes again after so many others is a new one."""

_logger = logging.getLogger(__name__)


class GrpcServer:
    """A server of the wire's calls.

    Args:
        responder: who answers.
        address: ``host:port`` to listen on; port 0 takes a free one.
        identity: our certificate and key.
        pinned_clients: the pinned peers' certificates in DER, current and next; a callable is asked
            at every connection and every call, so that a peer added or removed counts at once, and
            therefore must be quick.
        limits: how much is taken on at once.
        on_stranger: called with the SHA-256 of a certificate that is no longer pinned, from the thread
            of its call.
        on_call: called with each call that has been answered or refused, its seconds and ``ok`` or the
            reason code, from its thread.

    Raises:
        ConfigError: the address, the identity or a pinned certificate is unfit.
    """

    def __init__(
        self,
        responder: Responder,
        *,
        address: str,
        identity: TlsIdentity,
        pinned_clients: PinnedClients,
        limits: Limits | None = None,
        on_stranger: Callable[[bytes], None] | None = None,
        on_call: Told | None = None,
    ) -> None:
        identity.check()
        limits = limits or Limits()
        self._address = Address.parse(address)
        self._identity = identity
        self._pinned_clients = pinned_clients
        self._on_stranger = on_stranger
        self._lock = threading.Lock()
        self._connections = 0
        self._known = _KnownConnections()
        self._idle = threading.Condition()
        self._answering = 0
        self._configured = self._identity, self._pinned()
        self._turnstile = Turnstile(limits)
        self._overdue = Overdue()
        self._reception = Reception(
            responder,
            self._caller,
            limits=limits,
            turnstile=self._turnstile,
            overdue=self._overdue,
            told=on_call,
        )
        # A thread a call: most of them wait, and who is worked for is the turnstile's to say.
        self._threads = ThreadPoolExecutor(limits.calls, thread_name_prefix="psishare-call")
        self._server = grpc.server(
            self._threads,
            handlers=[self._handlers()],
            options=server_options(max_connections=limits.connections),
            maximum_concurrent_rpcs=limits.calls,
        )
        self._credentials = grpc.dynamic_ssl_server_credentials(
            _configuration(*self._configured),
            self._at_connection,
            require_client_authentication=True,
        )

    @property
    def connections(self) -> int:
        """How many connections have come so far, strangers' included."""
        with self._lock:
            return self._connections

    @property
    def strangers(self) -> int:
        """How many connections have come so far that never made a call as a pinned party.

        Those that are about to make their first are among them.
        """
        with self._lock:
            return max(0, self._connections - self._known.count)

    @property
    def load(self) -> Load:
        """What is taken on now."""
        return self._turnstile.load

    def start(self) -> int:
        """Listen, and answer from now on.

        Returns:
            The port.

        Raises:
            ConfigError: ``address_unusable``.
        """
        try:
            port: int = self._server.add_secure_port(str(self._address), self._credentials)
        except RuntimeError:
            raise ConfigError(
                f"cannot listen on {self._address}",
                mend="Choose an address of this machine and a port that is free and allowed.",
                reason="address_unusable",
            ) from None
        self._overdue.start()
        self._server.start()
        return port

    def renew(self, identity: TlsIdentity) -> None:
        """Show another certificate from the next connection on; those that are open go on.

        Args:
            identity: our new certificate and key.

        Raises:
            ConfigError: it is unfit; then the one before stays.
        """
        with self._lock:
            if identity != self._identity:
                identity.check()
                self._identity = identity

    def stop(self, grace_s: float = GRACE_S) -> bool:
        """Take no more calls, and end those under way.

        Whatever the clients do, this returns at the latest a few seconds after the grace. No answer
        is begun from then on; one that is still being worked out cannot be ended from outside.

        Args:
            grace_s: seconds for which calls under way may go on.

        Returns:
            Whether the responder has been left by every thread, so that what it leans on can be
            closed.
        """
        self._server.stop(grace_s).wait(grace_s + CANCEL_S)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._overdue.stop()
        with self._idle:
            return self._idle.wait_for(lambda: self._answering == 0, CANCEL_S)

    def __enter__(self) -> Self:
        """Return the server; starting it is the caller's, for the port's sake."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def _handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            SERVICE,
            # On the wire a stream of one message is a unary call; but it is handed over before its
            # message has come, so that nobody can make it wait for that.
            {call.rpc: grpc.stream_unary_rpc_method_handler(self._handler(call)) for call in Call},
        )

    def _handler(self, call: Call) -> Callable[[Iterator[bytes], Any], bytes]:
        def handle(requests: Iterator[bytes], context: Any) -> bytes:
            with self._one_more():
                return self._reception.receive(call, requests, context)

        return handle

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        """Count an answer that is being worked out."""
        with self._idle:
            self._answering += 1
        try:
            yield
        finally:
            with self._idle:
                self._answering -= 1
                self._idle.notify_all()

    def _caller(self, context: Any) -> Caller:
        (pem,) = context.auth_context()["x509_pem_cert"]
        certificate = der_of(pem)
        sha256 = hashlib.sha256(certificate).digest()
        if certificate in self._pinned():
            with self._lock:
                self._known.add(context.peer())
            return Caller(sha256)
        if self._on_stranger is not None:
            self._on_stranger(sha256)
        raise PeerError(
            "the certificate is not pinned",
            mend="Send your current card to the party that you call.",
            reason="peer_certificate",
        )

    def _pinned(self) -> tuple[bytes, ...]:
        if not callable(self._pinned_clients):
            return self._pinned_clients
        try:
            return self._pinned_clients()
        except PsishareError:
            raise
        except Exception as error:
            # gRPC would print it, and go on with the old set.
            raise ConfigError(
                f"the pinned certificates cannot be read ({type(error).__name__})",
                mend="Mend the folder of peers; until then no call is taken.",
                reason="pinned_unreadable",
            ) from error

    def _at_connection(self) -> grpc.ServerCertificateConfiguration | None:
        """Count a connection; return gRPC's new configuration if it is to be another one."""
        with self._lock:
            self._connections += 1
            try:
                wanted = self._identity, self._pinned()
                if wanted == self._configured:
                    return None
                configuration = _configuration(*wanted)
            except PsishareError as error:
                # The old roots stay, and each call is compared with the set that is pinned then.
                _logger.warning("%s [%s]", error.message, error.reason)
                return None
            self._configured = wanted
            return configuration


def _configuration(
    identity: TlsIdentity, pinned: tuple[bytes, ...]
) -> grpc.ServerCertificateConfiguration:
    pair = (identity.key_pem, identity.cert_pem)
    return grpc.ssl_server_certificate_configuration([pair], roots_of(pinned) or None)


class _KnownConnections:
    """Counts connections by the address that each comes from, as it makes its first call."""

    def __init__(self) -> None:
        self.count = 0
        self._recent: dict[str, None] = {}

    def add(self, peer: str) -> None:
        """Count the connection of a call, once."""
        if peer in self._recent:
            return
        self.count += 1
        self._recent[peer] = None
        if len(self._recent) > REMEMBERED_CONNECTIONS:
            del self._recent[next(iter(self._recent))]
