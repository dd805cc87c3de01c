"""A platform that serves."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Self

from psishare.audit.entry import Entry, parse_entry
from psishare.errors import ConfigError, PsishareError
from psishare.exchange.admission import PlatformRooms
from psishare.exchange.platform import Platform
from psishare.mandates.budget import Budget
from psishare.mandates.policy import Policy
from psishare.transport.address import Address
from psishare.transport.grpc_server import GrpcServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import pyarrow as pa

    from psishare.audit.log import Log
    from psishare.client.party import Party
    from psishare.exchange.offering import Offering
    from psishare.parties.peers import Peers


from psishare.client.opened_home import tls_identity

HOUSEKEEPING_S = 1.0

_logger = logging.getLogger(__name__)


class Server:
    """A platform that serves. It runs from its making to ``stop``.

    Attributes:
        port: where it listens.
        address: the same, as ``host:port``.
        datasets: the names of what it serves, sorted.
        recovered: exchanges of a process that is gone, which it has recorded as aborted.
    """

    def __init__(
        self,
        party: Party,
        address: str,
        *,
        offerings: list[Offering],
        matched: Callable[[bytes, str, pa.Array], None] | None,
        idle_timeout_s: float,
        logged: Callable[[Entry], None] | None,
    ) -> None:
        self.datasets = sorted({offering.name for offering in offerings})
        self._budget = Budget(party.home.state_path)
        rooms = PlatformRooms(
            home=party.home,
            peers=party.peers,
            log=party.log,
            budget=self._budget,
            register=party.register,
            policy=Policy.load(party.home.policy_path),
        )
        self._platform = Platform(rooms, offerings, matched=matched, idle_timeout_s=idle_timeout_s)
        self.recovered = self._platform.recover()
        self._server = GrpcServer(
            self._platform,
            address=address,
            identity=tls_identity(party.home),
            pinned_clients=lambda: _pinned_authorities(party.peers),
            on_stranger=_turned_away,
        )
        self.port = self._server.start()
        self.address = str(Address(Address.parse(address).host, self.port))
        self._news = None if logged is None else _News(party.log, logged)
        self._stopped = threading.Event()
        self._keeper = threading.Thread(
            target=self._keep_house, name="psishare-keeper", daemon=True
        )
        self._keeper.start()

    def stop(self) -> None:
        """Take no more calls, abort what is still open, and return within seconds."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        quiet = self._server.stop()
        self._keeper.join()
        self._platform.stop()
        if self._news is not None:
            self._news.tell()
        # A call that is still being worked out holds the budget; its thread ends with the process.
        if quiet:
            self._budget.close()

    def __enter__(self) -> Self:
        """Return the server."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def _keep_house(self) -> None:
        while not self._stopped.wait(HOUSEKEEPING_S):
            try:
                self._platform.expire()
                if self._news is not None:
                    self._news.tell()
            except PsishareError as error:
                # The disk may be full; it is tried again, and calls are refused meanwhile.
                _logger.warning("%s [%s]", error.message, error.reason)


class _News:
    """Tells of each entry that has come into a log since this was made."""

    def __init__(self, log: Log, told: Callable[[Entry], None]) -> None:
        self._log = log
        self._told = told
        self._size = log.size

    def tell(self) -> None:
        """Tell of what has come since the last time."""
        start, self._size = self._size, self._log.size
        for data in self._log.entries(start, self._size):
            self._told(parse_entry(data))


def _pinned_authorities(peers: Peers) -> tuple[bytes, ...]:
    with contextlib.suppress(ConfigError):
        peers.reload()
    return tuple(
        certificate
        for peer in peers
        if peer.card.role == "authority"
        for certificate in peer.card.certificates()
    )


def _turned_away(certificate_sha256: bytes) -> None:
    _logger.warning("turned away a certificate that is not pinned: %s", certificate_sha256.hex())
