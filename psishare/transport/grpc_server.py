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
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from psishare.errors import (
    AuthorisationError,
    ConfigError,
    PeerError,
    ProtocolError,
    PsishareError,
    TransportError,
)
from psishare.transport import fault
from psishare.transport.address import Address
from psishare.transport.certificate import der_of, roots_of
from psishare.transport.channel import SERVICE, Call, Caller
from psishare.transport.endpoint import answer
from psishare.transport.grpc_settings import server_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Final, Self

    from psishare.transport.certificate import TlsIdentity
    from psishare.transport.channel import Responder

    PinnedClients = Callable[[], tuple[bytes, ...]] | tuple[bytes, ...]

MAX_WORKERS: Final = 16
MAX_CALLS: Final = 256
MAX_CONNECTIONS: Final = 256
GRACE_S: Final = 2.0
CANCEL_S: Final = 2.0
"""Cancelled calls end at once; this is for what is scheduled late, and then for its answers."""

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
        max_workers: calls that are answered at once.
        max_calls: calls taken at once, waiting ones included; each holds up to 4 MiB.
        max_connections: connections open at once.
        on_stranger: called with the SHA-256 of a certificate that is no longer pinned, from the thread
            of its call.

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
        max_workers: int = MAX_WORKERS,
        max_calls: int = MAX_CALLS,
        max_connections: int = MAX_CONNECTIONS,
        on_stranger: Callable[[bytes], None] | None = None,
    ) -> None:
        identity.check()
        self._address = Address.parse(address)
        self._responder = responder
        self._identity = identity
        self._pinned_clients = pinned_clients
        self._on_stranger = on_stranger
        self._lock = threading.Lock()
        self._connections = 0
        self._idle = threading.Condition()
        self._answering = 0
        self._configured = self._pinned()
        self._workers = ThreadPoolExecutor(max_workers, thread_name_prefix="psishare-call")
        self._server = grpc.server(
            self._workers,
            handlers=[self._handlers()],
            options=server_options(max_connections=max_connections),
            maximum_concurrent_rpcs=max_calls,
        )
        self._credentials = grpc.dynamic_ssl_server_credentials(
            self._configuration(self._configured),
            self._at_connection,
            require_client_authentication=True,
        )

    @property
    def connections(self) -> int:
        """How many connections have come so far, strangers' included."""
        with self._lock:
            return self._connections

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
        self._server.start()
        return port

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
        self._workers.shutdown(wait=False, cancel_futures=True)
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
            {call.rpc: grpc.unary_unary_rpc_method_handler(self._handler(call)) for call in Call},
        )

    def _handler(self, call: Call) -> Callable[[bytes, Any], bytes]:
        def handle(request: bytes, context: Any) -> bytes:
            try:
                with self._one_more():
                    return answer(self._responder, call, request, lambda: self._caller(context))
            except PsishareError as error:
                _refuse(context, error)

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

    def _configuration(self, pinned: tuple[bytes, ...]) -> grpc.ServerCertificateConfiguration:
        pair = (self._identity.key_pem, self._identity.cert_pem)
        return grpc.ssl_server_certificate_configuration([pair], roots_of(pinned) or None)

    def _at_connection(self) -> grpc.ServerCertificateConfiguration | None:
        """Count a connection; return gRPC's new configuration if the pinned set has changed."""
        with self._lock:
            self._connections += 1
            try:
                pinned = self._pinned()
                if pinned == self._configured:
                    return None
                configuration = self._configuration(pinned)
            except PsishareError as error:
                # The old roots stay, and each call is compared with the set that is pinned then.
                _logger.warning("%s [%s]", error.message, error.reason)
                return None
            self._configured = pinned
            return configuration


def _refuse(context: Any, error: PsishareError) -> NoReturn:
    told = error.reason if fault.tells(error) else "internal"
    context.set_trailing_metadata(((fault.METADATA_KEY, fault.encode(error)),))
    context.abort(_status(error), told)
    raise AssertionError("abort always raises")


def _status(error: PsishareError) -> grpc.StatusCode:
    match error:
        case AuthorisationError():
            return grpc.StatusCode.PERMISSION_DENIED
        case ProtocolError():
            return grpc.StatusCode.INVALID_ARGUMENT
        case TransportError():
            return grpc.StatusCode.INTERNAL
        case PeerError():
            return grpc.StatusCode.UNAUTHENTICATED
        case _:
            return grpc.StatusCode.INTERNAL
