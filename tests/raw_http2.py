"""A pinned party that speaks HTTP/2 by hand, frame by frame, as slowly and as wrongly as it likes."""

from __future__ import annotations

import socket
import ssl
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

from psishare.transport.channel import SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from transport_parties import Party

DATA, HEADERS, RST_STREAM, SETTINGS = 0x0, 0x1, 0x3, 0x4
END_STREAM, END_HEADERS = 0x1, 0x4
INITIAL_WINDOW_SIZE = 0x4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class RawCaller:
    """A connection on which frames are written by hand.

    Args:
        connection: after TLS.
        window: how many bytes of answers it is willing to take, a stream.
    """

    def __init__(self, connection: ssl.SSLSocket, window: int) -> None:
        self._connection = connection
        self._next_stream = 1
        settings = struct.pack(">HI", INITIAL_WINDOW_SIZE, window)
        connection.sendall(PREFACE + _frame(SETTINGS, 0, 0, settings))

    def begin(self, rpc: str) -> int:
        """Announce a call, and send nothing of its message; return its stream's number."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        fields = {
            b":method": b"POST",
            b":scheme": b"https",
            b":path": f"/{SERVICE}/{rpc}".encode(),
            b":authority": b"localhost",
            b"content-type": b"application/grpc",
            b"te": b"trailers",
        }
        block = b"".join(b"\x00" + _string(k) + _string(v) for k, v in fields.items())
        self._connection.sendall(_frame(HEADERS, END_HEADERS, stream, block))
        return stream

    def send(self, stream: int, message: bytes, *, end: bool = True) -> None:
        """Send a whole message of up to 16 KiB."""
        data = struct.pack(">BI", 0, len(message)) + message
        self._connection.sendall(_frame(DATA, END_STREAM if end else 0, stream, data))

    def dribble(self, stream: int, announced: int, sent: bytes) -> None:
        """Announce a message of some length and send only its beginning."""
        data = struct.pack(">BI", 0, announced) + sent
        self._connection.sendall(_frame(DATA, 0, stream, data))

    def ended_streams(self, n: int) -> set[int]:
        """Read frames until so many streams have been ended or reset by the server."""
        ended: set[int] = set()
        while len(ended) < n:
            length, kind, flags, stream = struct.unpack(">IBBI", b"\x00" + self._read(9))
            self._read(length)
            if kind == RST_STREAM or (kind in {DATA, HEADERS} and flags & END_STREAM):
                ended.add(stream)
        return ended

    def _read(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            piece = self._connection.recv(n - len(data))
            if not piece:
                raise ConnectionError("the server hung up")
            data += piece
        return data


@contextmanager
def raw_caller(
    folder: Path, port: int, caller: Party, server: Party, *, window: int = 65_535
) -> Iterator[RawCaller]:
    """Connect as a pinned party."""
    (folder / "cert.pem").write_bytes(caller.pem)
    (folder / "key.pem").write_bytes(caller.key_pem)
    context = ssl.create_default_context(cadata=server.pem.decode())
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    context.set_alpn_protocols(["h2"])
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=server.server_name) as connection,
    ):
        yield RawCaller(connection, window)


def _string(text: bytes) -> bytes:
    assert len(text) < 127
    return bytes([len(text)]) + text


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload
