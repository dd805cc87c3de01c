"""A platform that serves."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Self

from cryptography.x509 import load_der_x509_certificate

from psishare.audit.entry import Entry, parse_entry
from psishare.client.cancellation import Cancellation
from psishare.client.health_port import HealthPort
from psishare.client.heartbeat import HEARTBEAT_S, Heart
from psishare.client.opened_home import tls_identity
from psishare.client.platform_rooms import platform_rooms
from psishare.client.reminder import Reminder
from psishare.client.served_list import ServedList
from psishare.client.server_metrics import ServerMetrics
from psishare.errors import ConfigError, PsishareError
from psishare.exchange.platform import EXCHANGES_PER_AUTHORITY, IDLE_TIMEOUT_S, Platform
from psishare.exchange.progress import quiet
from psishare.mandates.budget import Budget
from psishare.mandates.policy import Policy
from psishare.transport.address import Address
from psishare.transport.grpc_reception import ANSWERED
from psishare.transport.grpc_server import GrpcServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import pyarrow as pa

    from psishare.audit.log import Log
    from psishare.client.party import Party
    from psishare.exchange.offering import Offering
    from psishare.exchange.progress import Progress
    from psishare.exchange.row_counts import RowCounts
    from psishare.parties.home import Home
    from psishare.parties.peers import Peers
    from psishare.transport.limits import Limits
    from psishare.transport.turnstile import Load

HOUSEKEEPING_S = 1.0
UNHEALTHY_AFTER_S = 10.0
"""How long after the last good round a server counts as healthy."""

QUIET_S = 0.3
"""How long no call may come before nothing more is expected of exchanges that have ended."""

LOOK_EVERY_S = 0.05

_logger = logging.getLogger(__name__)


class Server:
    """A platform that serves. It runs from its making to ``stop``.

    Args:
        party: the platform.
        address: ``host:port`` to listen on.
        offered: opens what a home serves; called again at each reload.
        matched: takes the platform's own matches (output ``both``).
        idle_timeout_s: how long an exchange may stand still.
        limits: how much is taken on at once.
        exchanges_per_authority: how many exchanges one authority may have open at once.
        health: ``host:port`` of this machine for health and metrics, or None.
        progress: called as lists are read, before it begins.
        logged: called with every new entry of the log.

    Attributes:
        port: where it listens.
        address: the same, as ``host:port``.
        health_address: where health and metrics are answered, or None.
        recovered: exchanges of a process that is gone, which it has recorded as aborted.
        restored: those that are open again and can go on.
        left: once it is stopped: those that were still open, and can go on after the next start.
    """

    def __init__(
        self,
        party: Party,
        address: str,
        *,
        offered: Callable[[Home, Progress], list[Offering]],
        matched: Callable[[bytes, Offering, pa.Array], None] | None = None,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        limits: Limits | None = None,
        exchanges_per_authority: int = EXCHANGES_PER_AUTHORITY,
        health: str | None = None,
        progress: Progress | None = None,
        logged: Callable[[Entry], None] | None = None,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._party = party
        self._offered = offered
        self._budget = Budget(party.home.state_path)
        self._reloading = threading.Lock()
        offerings = offered(party.home, progress or quiet)
        self._names, self._lists = _names(offerings), _row_counts(offerings)
        self._platform = Platform(
            platform_rooms(party, self._budget),
            offerings,
            matched=matched,
            idle_timeout_s=idle_timeout_s,
            exchanges_per_authority=exchanges_per_authority,
        )
        self._metrics = ServerMetrics(party.home.path)
        listeners = [self._metrics.count_entry, *([logged] if logged else [])]
        self._heart = Heart(party.log, lambda: self._server.strangers, every_s=heartbeat_s)
        reminder = Reminder(party)
        self._house = _House(self._platform, _News(party.log, listeners), self._heart, reminder)
        self._draining = False
        self._server = GrpcServer(
            self._platform,
            address=address,
            identity=tls_identity(party.home),
            pinned_clients=lambda: _pinned_authorities(party.peers),
            limits=limits,
            on_stranger=_turned_away,
            on_call=self._metrics.count_call,
        )
        self._health = None if health is None else HealthPort(health, self, self._metrics.text)
        try:
            recovered = self._platform.recover()
            self.recovered, self.restored, self.left = recovered.aborted, recovered.restored, 0
            self.port = self._server.start()
        except BaseException:
            self._close_health()
            raise
        self.address = str(Address(Address.parse(address).host, self.port))
        self._metrics.watch(self)
        self._house.start()

    @property
    def datasets(self) -> list[str]:
        """The names of what is served, sorted."""
        return self._names

    @property
    def lists(self) -> dict[str, RowCounts]:
        """The rows of each list that is served, in figures, by the list's name."""
        return self._lists

    @property
    def health_address(self) -> str | None:
        """Where health and metrics are answered, as ``host:port``, or None."""
        return None if self._health is None else self._health.address

    @property
    def load(self) -> Load:
        """What is taken on now."""
        return self._server.load

    @property
    def connections(self) -> int:
        """How many connections have come so far, strangers' included."""
        return self._server.connections

    @property
    def strangers(self) -> int:
        """How many of these never made a call as a pinned party."""
        return self._server.strangers

    @property
    def open_by_authority(self) -> dict[str, int]:
        """How many exchanges each authority has open, of those that have any."""
        return self._platform.open_by_authority

    @property
    def log_size(self) -> int:
        """How many entries the log has."""
        return self._party.log.size

    @property
    def certificate_expires_s(self) -> float:
        """When the TLS certificate ends, in seconds since 1970."""
        certificate = load_der_x509_certificate(self._party.home.card.certificates()[0])
        return certificate.not_valid_after_utc.timestamp()

    @property
    def is_draining(self) -> bool:
        """Whether no exchange is opened any more."""
        return self._draining

    @property
    def is_healthy(self) -> bool:
        """Whether it keeps house, and what ended could be recorded in the log."""
        return self._house.is_healthy

    def reload(
        self, *, progress: Progress | None = None, cancellation: Cancellation | None = None
    ) -> None:
        """Read card, certificate, policy, peers, datasets and lists again.

        They count from the next connection, and the next offer, on. Exchanges that are open go on as
        they began, with the list that they were opened on. A list from a file is read again where the
        file is another one; a list from memory stays as it is.

        Args:
            progress: called as lists are read.
            cancellation: stops it; then everything stays as it was.

        Raises:
            ConfigError, InputError, VerificationError: something of it is not as it must be; then
                everything stays as it was.
            CancellationError: it was stopped.
        """
        stop = cancellation or Cancellation()
        with self._reloading:
            try:
                self._reload(stop.watching(progress or quiet))
            except PsishareError as error:
                self._metrics.count_reload(error.reason)
                raise
        self._metrics.count_reload(ANSWERED)

    def _reload(self, progress: Progress) -> None:
        party = self._party
        home = _reopened(party.home)
        identity = tls_identity(home)
        if identity != tls_identity(party.home):
            identity.check()
        policy = Policy.load(home.policy_path)
        offerings = self._offered(home, progress)
        # The last that can fail; whatever fails has changed nothing.
        party.peers.reload()
        self._server.renew(identity)
        party.home = home
        self._platform.reload(home, policy, offerings)
        self._names, self._lists = _names(offerings), _row_counts(offerings)

    def drain(self, grace_s: float, *, is_hurried: Callable[[], bool] = lambda: False) -> int:
        """Open no exchange any more, and wait for those that are open to end.

        Args:
            grace_s: seconds to wait at most.
            is_hurried: asked now and then whether to wait no longer.

        Returns:
            How many are open still; ``stop`` leaves them to the next start.
        """
        self._draining = True
        self._platform.drain()
        deadline_s = time.monotonic() + grace_s
        quiet_since_s = time.monotonic()
        while (now_s := time.monotonic()) < deadline_s:
            if self.open_by_authority or self.load.calls:
                quiet_since_s = now_s
            elif now_s - quiet_since_s >= QUIET_S:
                break
            if is_hurried():
                break
            time.sleep(LOOK_EVERY_S)
        return sum(self.open_by_authority.values())

    def stop(self) -> None:
        """Take no more calls, leave what is still open to the next start, return within seconds."""
        if self._house.is_stopped:
            return
        self._draining = True
        self._house.stop()
        quiet = self._server.stop()
        self._house.join()
        self.left = self._platform.stop()
        try:
            self._heart.last_beat()
        except PsishareError as error:
            _logger.warning("%s [%s]", error.message, error.reason)
        self._house.news.tell()
        self._close_health()
        # A call that is still being worked out holds the budget; its thread ends with the process.
        if quiet:
            self._budget.close()

    def _close_health(self) -> None:
        if self._health is not None:
            self._health.close()

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


class _House:
    """Aborts what stands still, records what the log would not take before, and tells the news.

    Args:
        platform: whose house is kept.
        news: of its log.
        heart: what enters heartbeats into it.
        reminder: of certificates that expire.
    """

    def __init__(self, platform: Platform, news: _News, heart: Heart, reminder: Reminder) -> None:
        self.news = news
        self._heart = heart
        self._reminder = reminder
        self._platform = platform
        self._stopped = threading.Event()
        self._kept_s = time.monotonic()
        self._thread = threading.Thread(target=self._keep, name="psishare-keeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._reminder.remind()
        self._thread.start()

    def stop(self) -> None:
        """Begin no other round."""
        self._stopped.set()

    def join(self) -> None:
        """Wait for the last round to end."""
        self._thread.join()

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped.is_set()

    @property
    def is_healthy(self) -> bool:
        """Whether a round has gone well lately."""
        return time.monotonic() - self._kept_s < UNHEALTHY_AFTER_S

    def _keep(self) -> None:
        while not self._stopped.wait(HOUSEKEEPING_S):
            try:
                self._platform.expire()
                self._heart.beat()
                self.news.tell()
                self._reminder.remind()
            except PsishareError as error:
                # The disk may be full; it is tried again, and calls are refused meanwhile.
                _logger.warning("%s [%s]", error.message, error.reason)
            else:
                if not self._platform.has_unrecorded:
                    self._kept_s = time.monotonic()


class _News:
    """Tells of each entry that has come into a log since this was made."""

    def __init__(self, log: Log, listeners: list[Callable[[Entry], None]]) -> None:
        self._log = log
        self._listeners = listeners
        self._size = log.size

    def tell(self) -> None:
        """Tell of what has come since the last time."""
        start, self._size = self._size, self._log.size
        for data in self._log.entries(start, self._size):
            entry = parse_entry(data)
            for told in self._listeners:
                told(entry)


def _reopened(home: Home) -> Home:
    """Return a home with the card that lies in it now.

    Raises:
        ConfigError: ``key_mismatch``: it is another party's, or of another pinned key.
    """
    fresh = home.reopened()
    if (fresh.id, fresh.card.log_key) != (home.id, home.card.log_key):
        raise ConfigError(
            f"the card in {home.path} is not of the party that serves",
            mend="Stop the server, then start it with the home that it is to serve.",
            reason="key_mismatch",
        )
    return fresh


def _names(offerings: list[Offering]) -> list[str]:
    return sorted({offering.name for offering in offerings})


def _row_counts(offerings: list[Offering]) -> dict[str, RowCounts]:
    lists = (each for each in offerings if isinstance(each, ServedList))
    return {each.name: each.prepared.counts for each in lists}


def _pinned_authorities(peers: Peers) -> tuple[bytes, ...]:
    with contextlib.suppress(ConfigError):
        peers.refresh()
    return tuple(
        certificate
        for peer in peers
        if peer.card.role == "authority"
        for certificate in peer.card.certificates()
    )


def _turned_away(certificate_sha256: bytes) -> None:
    _logger.warning("turned away a certificate that is not pinned: %s", certificate_sha256.hex())
