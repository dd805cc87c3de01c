"""A peer that holds a pinned key and does what it likes with it."""

from __future__ import annotations

import gzip
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from transport_parties import (
    Answers,
    Greeter,
    Waiting,
    connect,
    greet,
    hostile_authority,
    hostile_platform,
    make_party,
    serving,
)

from psishare.errors import AuthorisationError, PeerError, ProtocolError, TransportError
from psishare.transport import fault
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call
from psishare.transport.grpc_settings import HANDSHAKE_S
from psishare.transport.limits import Limits
from psishare.transport.message import MESSAGE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

    from psishare.transport.channel import Caller

PLATFORM = make_party("platform")
AUTHORITY = make_party("authority")

SERVER = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography import x509
from transport_parties import Greeter, Party, Waiting, serving

def read(party_id, key=None):
    certificate = x509.load_pem_x509_certificate(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))
    return Party(party_id, key, certificate)

key = load_pem_private_key(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())), None)
platform, authority = read("platform", key), read("authority")
responder = {"greeter": Greeter, "waiting": Waiting}[sys.argv[2]]()
with serving(responder, platform, authority) as (_, port):
    print(port, flush=True)
    threading.Event().wait()
"""


@contextmanager
def server_process(responder: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a server in a process of its own, for a test to kill or to pause."""
    folder = __file__.rsplit("/", 2)[0]
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, folder, responder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for pem in (PLATFORM.key_pem, PLATFORM.pem, AUTHORITY.pem):
            process.stdin.write(b"%d\n%b" % (len(pem), pem))
        process.stdin.flush()
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def refused(send: Any, rpc: str, data: bytes) -> tuple[grpc.StatusCode, wire.Fault | None]:
    """Send what must be refused, and return the status and the fault."""
    with pytest.raises(grpc.RpcError) as caught:
        send(rpc, data)
    metadata = dict(caught.value.trailing_metadata() or ())
    raw = metadata.get(fault.METADATA_KEY)
    return caught.value.code(), None if raw is None else wire.Fault.FromString(raw)


def unasked(call: Call, request: Message, caller: Caller) -> Message:
    raise AssertionError("this should not have reached the responder")


def test_platform_refuses_a_request_over_4_mib_before_anybody_reads_it() -> None:
    with (
        serving(Answers(unasked), PLATFORM, AUTHORITY) as (_, port),
        hostile_authority(port, AUTHORITY, PLATFORM) as send,
    ):
        request = wire.EvaluateRequest(batch=bytes(MESSAGE_BYTES_MAX)).SerializeToString()
        assert refused(send, "Evaluate", request) == (grpc.StatusCode.RESOURCE_EXHAUSTED, None)


def test_platform_refuses_a_request_that_would_unpack_to_gigabytes() -> None:
    with (
        serving(Answers(unasked), PLATFORM, AUTHORITY) as (_, port),
        hostile_authority(port, AUTHORITY, PLATFORM, compression=grpc.Compression.Gzip) as send,
    ):
        request = wire.EvaluateRequest(batch=bytes(64 * 1024 * 1024)).SerializeToString()
        assert len(gzip.compress(request)) < MESSAGE_BYTES_MAX
        code, _ = refused(send, "Evaluate", request)
        assert code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "data",
    [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x7a\x01x", b"\x10\x01\x10\x01", b"\x00" * 1000],
)
def test_platform_refuses_a_malformed_request_without_a_trace(
    data: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        serving(Answers(unasked), PLATFORM, AUTHORITY) as (_, port),
        hostile_authority(port, AUTHORITY, PLATFORM) as send,
    ):
        code, told = refused(send, "Evaluate", data)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert told is not None
    assert (told.error, told.reason) == ("ProtocolError", "message_malformed")
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize(
    "path", ["/psishare.v1.Psishare/Delete", "/psishare.v2.Psishare/Hello", "/x", "/grpc.health/y"]
)
def test_platform_does_not_know_other_calls(path: str) -> None:
    with (
        serving(Answers(unasked), PLATFORM, AUTHORITY) as (_, port),
        hostile_authority(port, AUTHORITY, PLATFORM) as send,
    ):
        assert refused(send, path, b"") == (grpc.StatusCode.UNIMPLEMENTED, None)


def test_garbage_on_the_port_harms_nobody() -> None:
    noise = random.Random(7)
    with (
        serving(Greeter(), PLATFORM, AUTHORITY) as (_, port),
        connect(port, AUTHORITY, PLATFORM) as channel,
    ):
        for garbage in (
            b"GET / HTTP/1.1\r\nHost: platform\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100),
            b"\x16\x03\x01\xff\xff" + noise.randbytes(70_000),
            noise.randbytes(1000),
            b"",
        ):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as stranger:
                try:
                    stranger.sendall(garbage)
                    stranger.shutdown(socket.SHUT_WR)
                    while stranger.recv(65_536):
                        pass
                except OSError:
                    pass  # the server hung up first, as it may
            assert greet(channel) == "authority"


def test_connections_beyond_the_limit_are_turned_away() -> None:
    with (
        serving(Greeter(), PLATFORM, AUTHORITY, limits=Limits(connections=3)) as (_, port),
        connect(port, AUTHORITY, PLATFORM) as channel,
    ):
        others = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(20)]
        until_hung_up(others, at_least=17)
        assert greet(channel) == "authority"
        for connection in others:
            connection.close()


def until_hung_up(connections: list[socket.socket], *, at_least: int) -> None:
    """Wait until the other side has hung up on so many connections, before any time-out of its own."""
    left, deadline_s = list(connections), time.monotonic() + HANDSHAKE_S - 1
    while len(connections) - len(left) < at_least:
        assert time.monotonic() < deadline_s, f"{len(left)} of {len(connections)} are open still"
        left = [connection for connection in left if not has_been_closed(connection)]


def has_been_closed(connection: socket.socket) -> bool:
    """Return whether the other side has hung up, without waiting for it longer than a moment."""
    connection.settimeout(0.05)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_authority_refuses_a_response_over_4_mib() -> None:
    oversized = wire.FrameResponse(batch=bytes(MESSAGE_BYTES_MAX)).SerializeToString()
    with (
        hostile_platform(lambda data, context: oversized, PLATFORM, AUTHORITY) as port,
        connect(port, AUTHORITY, PLATFORM) as channel,
        pytest.raises(ProtocolError) as caught,
    ):
        channel.call(Call.EVALUATE, wire.EvaluateRequest())
    assert caught.value.reason == "message_too_large"
    assert caught.value.party == "platform"
    assert "a frame to evaluate" in caught.value.message


def test_authority_refuses_a_response_that_would_unpack_to_gigabytes() -> None:
    def bomb(data: bytes, context: Any) -> bytes:
        context.set_compression(grpc.Compression.Gzip)
        return wire.FrameResponse(batch=bytes(64 * 1024 * 1024)).SerializeToString()

    with (
        hostile_platform(bomb, PLATFORM, AUTHORITY) as port,
        connect(port, AUTHORITY, PLATFORM) as channel,
        pytest.raises(PeerError) as caught,
    ):
        channel.call(Call.EVALUATE, wire.EvaluateRequest())
    assert caught.value.reason == "peer_failed"  # the algorithm is refused, not the size
    assert caught.value.party == "platform"


@pytest.mark.parametrize("data", [b"\xff", b"\x7a\x01x", b"\x0a\x01x\x0a\x01x"])
def test_authority_refuses_a_malformed_response(data: bytes) -> None:
    with (
        hostile_platform(lambda request, context: data, PLATFORM, AUTHORITY) as port,
        connect(port, AUTHORITY, PLATFORM) as channel,
        pytest.raises(ProtocolError) as caught,
    ):
        greet(channel)
    assert caught.value.reason == "message_malformed"
    assert caught.value.party == "platform"


def test_authority_believes_nothing_in_a_hostile_fault() -> None:
    raw = wire.Fault(
        error="AuthorisationError",
        reason="Ignore; rm -rf",
        message="\x1b[31mat fault: you\nrun \u202ethis " * 5,
        mend="send your key\r\nto me",
    ).SerializeToString()

    def refuse(data: bytes, context: Any) -> bytes:
        context.set_trailing_metadata(((fault.METADATA_KEY, raw),))
        context.abort(grpc.StatusCode.UNKNOWN, "\x1b[31mdetails")
        raise AssertionError

    with (
        hostile_platform(refuse, PLATFORM, AUTHORITY) as port,
        connect(port, AUTHORITY, PLATFORM) as channel,
        pytest.raises(AuthorisationError) as caught,
    ):
        greet(channel)
    assert caught.value.reason == "not_authorised"
    assert caught.value.party == "platform"
    assert caught.value.message.startswith(
        "platform answered the greeting: [31mat fault: you run this"
    )
    assert caught.value.mend == "platform says: send your key to me"
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("code", list(grpc.StatusCode), ids=lambda code: code.name)
def test_any_status_with_any_words_is_a_bounded_error_that_names_the_peer(
    code: grpc.StatusCode,
) -> None:
    def abort(data: bytes, context: Any) -> bytes:
        context.set_code(code)
        context.set_details("\x1b[31m" + "words\n" * 500)
        return b"\xff"

    with (
        hostile_platform(abort, PLATFORM, AUTHORITY) as port,
        connect(port, AUTHORITY, PLATFORM, retry_for_s=0.1) as channel,
        pytest.raises(PeerError) as caught,
    ):
        greet(channel)
    assert caught.value.party == "platform"
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500
    assert "the greeting" in caught.value.message


def test_authority_outlives_a_platform_killed_in_the_middle_of_a_call() -> None:
    with (
        server_process("waiting") as (process, port),
        connect(port, AUTHORITY, PLATFORM, timeout_s=30) as channel,
        ThreadPoolExecutor(1) as pool,
    ):
        under_way = pool.submit(channel.call, Call.EVALUATE, wire.EvaluateRequest())
        with pytest.raises(TransportError, match="within"):
            greet(channel, timeout_s=0.5)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(TransportError) as caught:
            under_way.result(60)
    assert caught.value.reason == "peer_unreachable"
    assert caught.value.party == "platform"
    assert "a frame to evaluate" in caught.value.message


def test_authority_outlives_a_platform_that_stands_still() -> None:
    with (
        server_process("greeter") as (process, port),
        connect(port, AUTHORITY, PLATFORM) as channel,
    ):
        assert greet(channel) == "authority"
        os.kill(process.pid, signal.SIGSTOP)
        # It stands still once all of its threads do, and not as soon as it has been told to.
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        start = time.monotonic()
        with pytest.raises(TransportError) as caught:
            greet(channel, timeout_s=0.5)
        assert time.monotonic() - start < 8
        os.kill(process.pid, signal.SIGCONT)
        assert greet(channel, timeout_s=30) == "authority"
    assert caught.value.reason == "peer_silent"


def test_platform_outlives_an_authority_that_goes_away_in_the_middle_of_a_call() -> None:
    responder = Waiting()
    answered = threading.Event()

    def answer(call: Call, request: Message, caller: Caller) -> Message:
        if call is Call.HELLO:
            return wire.HelloResponse(platform="still here")
        response = responder.answer(call, request, caller)
        answered.set()
        return response

    with serving(Answers(answer), PLATFORM, AUTHORITY) as (_, port):
        with connect(port, AUTHORITY, PLATFORM) as gone, ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(gone.call, Call.COSIGN, wire.CosignRequest())
            assert responder.asked.wait(10)
            gone.close()
            with pytest.raises(TransportError):
                under_way.result(10)
        responder.released.set()
        assert answered.wait(10)
        with connect(port, AUTHORITY, PLATFORM) as channel:
            assert greet(channel) == "still here"


def test_flood_of_calls_over_the_limit_is_turned_away_and_the_rest_served() -> None:
    with (
        serving(Greeter(), PLATFORM, AUTHORITY, limits=Limits(calls=4, workers=2)) as (_, port),
        connect(port, AUTHORITY, PLATFORM, retry_for_s=20, timeout_s=20) as channel,
        ThreadPoolExecutor(32) as pool,
    ):
        names = [f"{i}" for i in range(200)]
        assert list(pool.map(lambda name: greet(channel, name), names)) == names
