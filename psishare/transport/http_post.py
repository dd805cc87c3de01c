"""One bounded HTTP call, for what speaks C2SP's tlog-witness: TLS, one deadline, no redirection, no proxy."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from psishare.errors import ConfigError, PeerError, TransportError

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 20.0
MAX_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer whose body is within its bound."""

    status: int
    content_type: str
    body: bytes


def post(url: str, body: bytes, *, timeout_s: float = TIMEOUT_S) -> HttpAnswer:
    """Send a body to a URL and return the answer, within a bound of time and length.

    Args:
        url: ``https``, or ``http`` with an address of the loopback interface.
        body: what is sent.
        timeout_s: to connect, and then for everything else, however slowly the answer comes.

    Raises:
        ConfigError: ``address_invalid``, another URL.
        TransportError: ``witness_unreachable``, no whole answer within the deadline.
        PeerError: ``witness_failed``, the answer is no HTTP, or is longer than 64 KiB.
    """
    parts = _parts(url)
    try:
        with _connected(parts, timeout_s) as connection:
            headers = {"Content-Type": "text/plain; charset=utf-8"}
            connection.request("POST", parts.path, body, headers)
            with contextlib.closing(connection.getresponse()) as answer:
                data = answer.read(MAX_ANSWER_BYTES + 1)
                missing = answer.length
    except http.client.RemoteDisconnected as error:
        raise _unreachable(url, "it hung up") from error
    except http.client.HTTPException as error:
        raise _failed(url, "answers what is not HTTP") from error
    except OSError as error:
        raise _unreachable(url, _fault(error)) from error
    if len(data) > MAX_ANSWER_BYTES:
        raise _failed(url, "answers with more than it may")
    if missing:
        raise _unreachable(url, "its answer was cut off")
    return HttpAnswer(answer.status, answer.headers.get("Content-Type", ""), data)


@contextlib.contextmanager
def _connected(parts: SplitResult, timeout_s: float) -> Iterator[http.client.HTTPConnection]:
    """Connect, and shut the connection down when its time is over, whatever it is waiting for."""
    host, is_secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (http.client.HTTPS_PORT if is_secure else http.client.HTTP_PORT)
    with contextlib.ExitStack() as open_:
        sock = socket.create_connection((host, port), timeout_s)
        open_.callback(sock.close)
        # Another name for the same connection, which TLS does not take over.
        held = open_.enter_context(sock.dup())
        late = threading.Event()
        timer = threading.Timer(timeout_s, _shut, [held, late])
        timer.daemon = True
        timer.start()
        open_.callback(timer.cancel)
        connection: http.client.HTTPConnection
        if is_secure:
            context = ssl.create_default_context()
            sock = open_.enter_context(context.wrap_socket(sock, server_hostname=host))
            connection = http.client.HTTPSConnection(host, port)
        else:
            connection = http.client.HTTPConnection(host, port)
        connection.sock = sock
        with contextlib.closing(connection), _in_time(late):
            yield connection


@contextlib.contextmanager
def _in_time(late: threading.Event) -> Iterator[None]:
    """Let what was read until the deadline count for nothing, whatever it looks like."""
    try:
        yield
    except (http.client.HTTPException, OSError) as error:
        if late.is_set():
            raise TimeoutError from error
        raise
    if late.is_set():
        raise TimeoutError


def _shut(sock: socket.socket, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise _invalid(url) from None
    is_plain = url.isascii() and url.isprintable() and " " not in url
    if not is_plain or not host or "@" in parts.netloc or parts.query or parts.fragment:
        raise _invalid(url)
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)):
        return parts
    raise _invalid(url)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _fault(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate does not verify"
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS as it should, or the line was cut then"
    return error.strerror or "it does not answer in time"


def _shown(url: str) -> str:
    """Return a URL without the user and password that it may hold."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


def _invalid(url: str) -> ConfigError:
    return ConfigError(
        f"{_shown(url)!r} is not a URL that is called",
        mend="Use https, or http with an address of this machine itself; no user, query or fragment.",
        reason="address_invalid",
    )


def _unreachable(url: str, fault: str) -> TransportError:
    return TransportError(
        f"{url} cannot be reached: {fault}",
        mend="See that it runs and that the URL is right, and try again.",
        reason="witness_unreachable",
    )


def _failed(url: str, fault: str) -> PeerError:
    return PeerError(
        f"{url} {fault}",
        mend="Ask whoever runs it; see that the URL is right.",
        reason="witness_failed",
    )
