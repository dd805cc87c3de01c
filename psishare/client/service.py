"""A server as a service: it answers signals and the service manager until it is told to stop.

SIGTERM and SIGINT drain it and stop it, a second one stops it at once; SIGHUP reloads it, and where that
fails everything stays as it was. The manager hears of each, and while all is well that it is.
"""

from __future__ import annotations

import queue
import signal
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Protocol

from psishare.client.cancellation import Cancellation
from psishare.client.systemd import Systemd
from psishare.errors import PsishareError

if TYPE_CHECKING:
    from types import FrameType

    from psishare.client.server import Server

GRACE_S = 2.0
"""How long exchanges that are open may go on once the service is told to stop."""

ROUND_S = 1.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class ServiceEvents(Protocol):
    """Hears what happens to a service."""

    def started(self, server: Server) -> None:
        """It answers."""

    def reloaded(self, server: Server) -> None:
        """It has read card, policy, peers, datasets and lists again."""

    def reload_failed(self, error: PsishareError) -> None:
        """It has not, and goes on as before."""

    def stopping(self, grace_s: float) -> None:
        """It opens no exchange any more, and waits for those that are open."""

    def stopped(self, n_left: int) -> None:
        """It has stopped, and left so many exchanges open to the next start."""


class Service:
    """Runs a server in the main thread's care.

    Args:
        events: hears what happens.
        grace_s: how long exchanges that are open may go on once it is told to stop.
        systemd: the service manager; the environment's where None.
    """

    def __init__(
        self, events: ServiceEvents, *, grace_s: float = GRACE_S, systemd: Systemd | None = None
    ) -> None:
        self._events = events
        self._grace_s = grace_s
        self._systemd = systemd or Systemd.of_environment()
        # Safe to fill from a signal's handler, which no lock or event is.
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._told_to_stop = False

    def run(self, server: Server) -> None:
        """Care for a server until it is told to stop, and stop it."""
        for number in (*STOP_SIGNALS, signal.SIGHUP):
            signal.signal(number, self._received)
        with server:
            self._systemd.ready(f"listening on {server.address}")
            self._events.started(server)
            while self._next_signal(server) not in STOP_SIGNALS:
                self._reload(server)
            self._drain(server)

    def _received(self, number: int, _frame: FrameType | None) -> None:
        self._told_to_stop |= number in STOP_SIGNALS
        self._signals.put(number)

    def _next_signal(self, server: Server) -> int:
        """Wait for a signal, and tell the manager meanwhile that all is well, as long as it is."""
        while True:
            self._tell_alive(server)
            try:
                return self._signals.get(timeout=self._pause_s)
            except queue.Empty:
                continue

    @property
    def _pause_s(self) -> float:
        return min(ROUND_S, (self._systemd.watchdog_s or ROUND_S) / 2)

    def _tell_alive(self, server: Server) -> None:
        if server.is_healthy:
            self._systemd.alive()

    def _reload(self, server: Server) -> None:
        self._systemd.reloading()
        try:
            self._read_again(server)
        except PsishareError as error:
            self._events.reload_failed(error)
            self._systemd.ready(f"the reload failed [{error.reason}]; all is as it was before")
        else:
            self._events.reloaded(server)
            self._systemd.ready(f"listening on {server.address}")

    def _read_again(self, server: Server) -> None:
        """Reload beside the watch over the server: a long list takes its time; who stops it need not."""
        stop = Cancellation()
        with ThreadPoolExecutor(1, thread_name_prefix="psishare-reload") as thread:
            work = thread.submit(server.reload, cancellation=stop)
            while not wait((work,), timeout=self._pause_s).done:
                self._tell_alive(server)
                if self._told_to_stop:
                    stop.cancel()
        work.result()

    def _drain(self, server: Server) -> None:
        self._systemd.stopping("waiting for open exchanges")
        self._events.stopping(self._grace_s)
        n_left = server.drain(self._grace_s, is_hurried=self._is_hurried)
        server.stop()
        self._events.stopped(n_left)

    def _is_hurried(self) -> bool:
        """Tell whether another signal to stop has come."""
        while not self._signals.empty():
            if self._signals.get() in STOP_SIGNALS:
                return True
        return False
