"""A running ``serve`` among hostile clients, strangers and pinned ones: it serves the honest one, and stops."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from cli_stage import AUTHORITY, MATCHING, PLATFORM, Office, psi_process
from raw_http2 import RawCaller, raw_caller
from transport_parties import hostile_authority

import psishare
from psishare.parties.tls import tls_name
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call
from psishare.transport.message import MESSAGE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOSTILE = "hostile.example"
STOP_S = 5.0
STRANGERS = 150
FLOODERS = 8


@dataclass(frozen=True)
class Endpoint:
    """A home's TLS identity, as the tests' hand-made connections take one."""

    pem: bytes
    key_pem: bytes
    server_name: str

    @classmethod
    def of(cls, home: Any) -> Endpoint:
        identity = home.tls_identity()
        return cls(identity.cert_pem, identity.key_pem, tls_name(home.id))


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    made = Office(tmp_path_factory.mktemp("office"))
    made.encode()
    made.homes[HOSTILE] = psishare.init_party(
        made.folder / "hostile", party_id=HOSTILE, role="authority", display_name="Hostile"
    )
    made.pin(PLATFORM, HOSTILE)
    return made


@contextlib.contextmanager
def silent_strangers(port: int) -> Iterator[None]:
    """Hold many connections of which some say nothing, some half of a greeting, some nonsense."""
    words = (b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n", bytes(3000))
    with contextlib.ExitStack() as stack:
        for n in range(STRANGERS):
            stranger = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            with contextlib.suppress(OSError):
                stranger.sendall(words[n % len(words)])
        yield


@contextlib.contextmanager
def slow_calls(
    folder: Path, port: int, hostile: Any, platform: Any
) -> Iterator[tuple[RawCaller, RawCaller]]:
    """Hold calls of a pinned party that never send, send only in part, or never take an answer."""
    with (
        raw_caller(folder, port, hostile, platform) as sender,
        raw_caller(folder, port, hostile, platform, window=0) as reader,
    ):
        for call in Call:
            sender.begin(call.rpc)
            sender.dribble(sender.begin(call.rpc), MESSAGE_BYTES_MAX, b"\x0a")
        for _ in range(20):
            greeting = wire.HelloRequest(authority=HOSTILE, wire_versions=[1]).SerializeToString()
            reader.send(reader.begin("Hello"), greeting)
        yield sender, reader


@contextlib.contextmanager
def flood(send: Callable[..., bytes]) -> Iterator[list[int]]:
    """Call without a pause from several threads."""
    over, sent = threading.Event(), [0]

    def run() -> None:
        request = wire.HelloRequest(authority=HOSTILE, wire_versions=[1]).SerializeToString()
        while not over.is_set():
            with contextlib.suppress(grpc.RpcError, ValueError):
                send("Hello", request)
                sent[0] += 1

    threads = [threading.Thread(target=run) for _ in range(FLOODERS)]
    for thread in threads:
        thread.start()
    try:
        yield sent
    finally:
        over.set()
        for thread in threads:
            thread.join(30)


def misbehave_at_every_call(send: Callable[..., bytes]) -> None:
    """Send each call what is malformed, meaningless and oversized; each is refused."""
    for call in Call:
        for data in (b"\xff", b"\x0a\x01x\x0a\x01x", b"", bytes([0x0A, 0x7F]) + bytes(127)):
            with contextlib.suppress(grpc.RpcError):
                send(call.rpc, data)
        with pytest.raises(grpc.RpcError) as caught:
            send(call.rpc, bytes(MESSAGE_BYTES_MAX + 1))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_serve_among_hostile_clients_serves_the_honest_one_and_stops_when_told(
    office: Office, tmp_path: Path
) -> None:
    mandate = office.mandate()
    hostile, platform = (Endpoint.of(office.homes[name]) for name in (HOSTILE, PLATFORM))
    with office.serving() as server:
        port = int(server.address.rpartition(":")[2])
        with (
            silent_strangers(port),
            slow_calls(tmp_path, port, hostile, platform),
            hostile_authority(port, hostile, platform) as send,  # type: ignore[arg-type]
            flood(send) as sent,
        ):
            misbehave_at_every_call(send)
            out = tmp_path / "out.csv"
            ran = psi_process(*office.asking(server.address, mandate, "--out", out, "--json"))
            assert (ran.code, ran.document["matched_rows"]) == (0, len(MATCHING)), ran.out
            assert server.process.poll() is None
            assert sent[0] > 0
            begun = time.monotonic()
            ended = server.end(signal.SIGTERM)
            assert time.monotonic() - begun < STOP_S
    assert ended.code == 0
    assert "Traceback" not in ended.err
    for party in (PLATFORM, AUTHORITY):
        verdict = office.verify(party)
        assert verdict.code == 0
        endings = {each["ending"] for each in verdict.document["exchanges"] if each["rows"]}
        assert endings <= {"closed"}


def test_the_log_does_not_grow_by_what_hostile_clients_send(office: Office, tmp_path: Path) -> None:
    hostile, platform = (Endpoint.of(office.homes[name]) for name in (HOSTILE, PLATFORM))
    with office.serving("--dataset", "customers", "--max-exchanges", "2") as server:
        port = int(server.address.rpartition(":")[2])
        before = psishare.log_size(office.homes[PLATFORM])
        with hostile_authority(port, hostile, platform) as send:  # type: ignore[arg-type]
            for call in set(Call) - {Call.OFFER, Call.MANIFEST, Call.SHARD}:
                with contextlib.suppress(grpc.RpcError):
                    send(call.rpc, b"\xff")
                with contextlib.suppress(grpc.RpcError):
                    send(call.rpc, b"")
        assert psishare.log_size(office.homes[PLATFORM]) == before
        assert server.end(signal.SIGTERM).code == 0
