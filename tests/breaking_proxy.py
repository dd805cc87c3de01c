"""A TCP proxy on loopback that breaks connections when it is told to, or at a byte that was drawn."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK_BYTES = 4096


class BreakingProxy:
    """Forwards connections to a port of this machine, and lets a fault happen on the way.

    Args:
        upstream: the port to forward to.

    Attributes:
        port: where it listens.
    """

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._flowing = threading.Event()
        self._flowing.set()
        self._forwarded = 0
        self._faults: list[tuple[int, Callable[[], None]]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def schedule(self, faults: list[tuple[int, Callable[[], None]]]) -> None:
        """Let faults happen once so many bytes have been forwarded from now on."""
        with self._lock:
            self._forwarded = 0
            self._faults = sorted(faults, key=lambda fault: fault[0])

    def cut(self) -> None:
        """Break every connection, as a line that is cut does."""
        with self._lock:
            connections, self._connections = self._connections, set()
        for connection in connections:
            _reset(connection)

    def hold(self) -> None:
        """Forward nothing any more, without a word to either end."""
        self._flowing.clear()

    def release(self) -> None:
        """Forward again."""
        self._flowing.set()

    def close(self) -> None:
        """Stop listening and break what is open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._flowing.set()
        self.cut()

    def _listen(self) -> None:
        while True:
            try:
                downstream, _address = self._listener.accept()
            except OSError:
                return
            try:
                upstream = socket.create_connection(("127.0.0.1", self._upstream), timeout=5)
            except OSError:
                _reset(downstream)
                downstream.close()
                continue
            upstream.settimeout(None)
            with self._lock:
                self._connections |= {downstream, upstream}
            threading.Thread(target=self._join, args=(downstream, upstream), daemon=True).start()

    def _join(self, downstream: socket.socket, upstream: socket.socket) -> None:
        """Forward both ways until both have ended."""
        back = threading.Thread(target=self._forward, args=(upstream, downstream), daemon=True)
        back.start()
        self._forward(downstream, upstream)
        back.join()
        with self._lock:
            self._connections -= {downstream, upstream}
        for end in (downstream, upstream):
            end.close()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                self._flowing.wait()
                sink.sendall(data)
                self._count(len(data))
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _count(self, n_bytes: int) -> None:
        due: list[Callable[[], None]] = []
        with self._lock:
            self._forwarded += n_bytes
            while self._faults and self._faults[0][0] <= self._forwarded:
                due.append(self._faults.pop(0)[1])
        for fault in due:
            fault()


def _reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Closed without a farewell; whoever forwards it wakes up by the shutdown.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
