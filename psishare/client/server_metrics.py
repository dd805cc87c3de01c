"""What a server counts and measures, for Prometheus.

Promises: labels are parties' ids, datasets' names, calls, kinds of entries and reason codes, all from
closed sets; never an identifier, an exchange's id or an address.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from psishare.audit.entry import (
    DatasetRefused,
    Entry,
    ExchangeAborted,
    ExchangeClosed,
    ExchangeHeld,
    ExchangeOpened,
    ExchangeRefused,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from prometheus_client.metrics_core import Metric

    from psishare.transport.channel import Call
    from psishare.transport.turnstile import Load

CALL_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)


class Measured(Protocol):
    """What is measured anew at each look: a running server."""

    @property
    def load(self) -> Load:
        """What is taken on now."""

    @property
    def connections(self) -> int:
        """Connections that have come so far."""

    @property
    def strangers(self) -> int:
        """Of these, those that never made a call as a pinned party."""

    @property
    def open_by_authority(self) -> dict[str, int]:
        """Exchanges that are open, by authority."""

    @property
    def is_draining(self) -> bool:
        """Whether no exchange is opened any more."""

    @property
    def is_healthy(self) -> bool:
        """Whether the server keeps house and its log takes entries."""

    @property
    def log_size(self) -> int:
        """Entries of the log."""

    @property
    def certificate_expires_s(self) -> float:
        """When the certificate ends, in seconds since 1970."""


class ServerMetrics:
    """Counters of one server, and the text that Prometheus reads.

    Args:
        home: the home folder, whose disk is watched.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._calls = Counter(
            "psishare_calls",
            "Calls answered, by call and by outcome: ok or a reason code.",
            ("call", "outcome"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "psishare_call_seconds",
            "Seconds from the first byte of a call to its answer, waiting included.",
            ("call",),
            buckets=CALL_SECONDS,
            registry=self._registry,
        )
        self._exchanges = Counter(
            "psishare_exchanges",
            "Exchanges by authority and event: opened, closed, aborted, refused; with the reason code.",
            ("authority", "event", "reason"),
            registry=self._registry,
        )
        self._rows = Counter(
            "psishare_rows_asked",
            "Distinct rows that opened exchanges offered, by authority and dataset.",
            ("authority", "dataset"),
            registry=self._registry,
        )
        self._entries = Counter(
            "psishare_log_entries",
            "Entries that came into the audit log, by type.",
            ("type",),
            registry=self._registry,
        )
        self._reloads = Counter(
            "psishare_reloads",
            "Reloads of certificate, policy, peers, datasets and lists, by outcome: ok or a reason code.",
            ("outcome",),
            registry=self._registry,
        )

    def watch(self, server: Measured) -> None:
        """Measure a server at each look from now on."""
        self._registry.register(_Gauges(server, self._home))

    def count_call(self, call: Call, seconds: float, outcome: str) -> None:
        """Count a call that was answered or refused."""
        self._calls.labels(call.rpc, outcome).inc()
        self._seconds.labels(call.rpc).observe(seconds)

    def count_reload(self, outcome: str) -> None:
        """Count a reload."""
        self._reloads.labels(outcome).inc()

    def count_entry(self, entry: Entry) -> None:
        """Count what an entry of the log tells of."""
        self._entries.labels(entry.type).inc()
        match entry:
            case ExchangeOpened():
                self._exchanges.labels(entry.peer, "opened", "").inc()
                self._rows.labels(entry.peer, entry.dataset or "").inc(entry.rows)
            case ExchangeClosed():
                self._exchanges.labels(entry.peer, "closed", "").inc()
            case ExchangeAborted():
                self._exchanges.labels(entry.peer, "aborted", entry.reason).inc()
            case ExchangeRefused():
                self._exchanges.labels(entry.peer, "refused", entry.reason).inc()
            case ExchangeHeld():
                self._exchanges.labels(entry.peer, "held", entry.reason).inc()
            case DatasetRefused():
                self._exchanges.labels(entry.peer, "delivery_refused", entry.reason).inc()
            case _:
                pass

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    """What is read from the server at each look."""

    def __init__(self, server: Measured, home: Path) -> None:
        self._server = server
        self._home = home

    def describe(self) -> list[Metric]:
        """Name nothing before the first look."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the server."""
        server, load = self._server, self._server.load
        for name, text, value in (
            ("calls_in_flight", "Calls taken now.", load.calls),
            ("calls_working", "Calls worked on now.", load.working),
            ("calls_waiting", "Calls that wait for a worker now.", load.waiting),
            ("bytes_in_flight", "Bytes of messages held now.", load.held_bytes),
            ("draining", "1 while no exchange is opened any more.", server.is_draining),
            (
                "healthy",
                "1 while the server keeps house and its log takes entries.",
                server.is_healthy,
            ),
            ("log_size", "Entries of the audit log.", server.log_size),
            (
                "certificate_expiry_timestamp_seconds",
                "When the TLS certificate ends, in seconds since 1970.",
                server.certificate_expires_s,
            ),
            (
                "disk_free_bytes",
                "Bytes free on the disk of the home folder.",
                shutil.disk_usage(self._home).free,
            ),
        ):
            yield GaugeMetricFamily(f"psishare_{name}", text, value=float(value))
        for name, text, count in (
            ("connections", "Connections that came, strangers' included.", server.connections),
            (
                "strangers",
                "Connections that never made a call as a pinned party.",
                server.strangers,
            ),
            ("calls_turned_away", "Calls refused because a limit was reached.", load.refused),
        ):
            yield CounterMetricFamily(f"psishare_{name}", text, value=count)
        exchanges = GaugeMetricFamily(
            "psishare_exchanges_open", "Exchanges open now, by authority.", labels=["authority"]
        )
        for authority, n_open in server.open_by_authority.items():
            exchanges.add_metric([authority], n_open)
        yield exchanges
