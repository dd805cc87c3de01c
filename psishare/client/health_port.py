"""Health and metrics over plain HTTP, for this machine alone.

``/healthz`` answers 200 while the server keeps house and its log takes entries, ``/readyz`` while it also
opens exchanges, ``/metrics`` what Prometheus reads; everything else is 404. Only an address of the
loopback interface is taken: there is no TLS and no password here.
"""

from __future__ import annotations

import json
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import TYPE_CHECKING

from psishare.errors import ConfigError
from psishare.transport.address import Address

if TYPE_CHECKING:
    from collections.abc import Callable

    from psishare.client.server_metrics import Measured

REQUEST_S = 5.0
MAX_THREADS = 8
JSON_TYPE = "application/json"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Answer = tuple[HTTPStatus, str, bytes]


class HealthPort:
    """Answers on a loopback port until it is closed.

    Args:
        address: ``host:port`` of this machine; port 0 takes a free one.
        server: whose health it is.
        metrics: returns the metrics' text.

    Raises:
        ConfigError: ``metrics_not_loopback`` or ``address_unusable``.
    """

    def __init__(self, address: str, server: Measured, metrics: Callable[[], bytes]) -> None:
        parsed = Address.parse(address)
        _require_loopback(parsed)
        self._http = _listen(parsed, _answers(server, metrics))
        self.address = str(Address(parsed.host, self._http.server_address[1]))
        self._thread = threading.Thread(
            target=self._http.serve_forever, name="psishare-health", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def _answers(server: Measured, metrics: Callable[[], bytes]) -> dict[str, Callable[[], Answer]]:
    def state(*, fine: bool) -> Answer:
        document = {"healthy": server.is_healthy, "draining": server.is_draining}
        status = HTTPStatus.OK if fine else HTTPStatus.SERVICE_UNAVAILABLE
        return status, JSON_TYPE, json.dumps(document).encode() + b"\n"

    return {
        "/healthz": lambda: state(fine=server.is_healthy),
        "/readyz": lambda: state(fine=server.is_healthy and not server.is_draining),
        "/metrics": lambda: (HTTPStatus.OK, METRICS_TYPE, metrics()),
    }


def _require_loopback(address: Address) -> None:
    try:
        is_loopback = ip_address(address.host).is_loopback
    except ValueError:
        is_loopback = address.host == "localhost"
    if not is_loopback:
        raise ConfigError(
            f"metrics and health are not for other machines, and {address.host} may be reached by them",
            mend="Use 127.0.0.1, ::1 or localhost, and a proxy with a password where others are to read.",
            reason="metrics_not_loopback",
        )


def _listen(address: Address, answers: dict[str, Callable[[], Answer]]) -> _Http:
    try:
        return _Http(address, answers)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {address} for health and metrics",
            mend="Choose a port that is free and allowed.",
            reason="address_unusable",
        ) from error


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: Address, answers: dict[str, Callable[[], Answer]]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self.answers = answers
        self._free = threading.BoundedSemaphore(MAX_THREADS)
        super().__init__((address.host, address.port), _Request)

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Answer in a thread, or hang up where too many are busy already."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Answer, and make room for another."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Leave a client that hung up to itself."""


class _Request(BaseHTTPRequestHandler):
    timeout = REQUEST_S
    server_version = "psishare"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer one of three paths."""
        assert isinstance(self.server, _Http)
        found = self.server.answers.get(self.path.partition("?")[0])
        status, content_type, body = (
            found() if found else (HTTPStatus.NOT_FOUND, "text/plain", b"not found\n")
        )
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's signature
        """Write nothing: who looks at metrics is no news."""
