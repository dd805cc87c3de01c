"""Deadlines, lost peers, stopping and settings over gRPC."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from transport_parties import (
    Answers,
    Greeter,
    Waiting,
    connect,
    greet,
    make_party,
    serving,
    without_grpc_settings,
)

from psishare.errors import ConfigError, PeerError, TransportError
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call, Caller
from psishare.transport.grpc_client import GrpcChannel
from psishare.transport.grpc_server import GrpcServer
from psishare.transport.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

PLATFORM = make_party("platform")
AUTHORITY = make_party("authority")


PROMPT_S = 8.0
"""What ends at once does so within this, on a machine with much else to do; without, 10 s would pass."""


def free_port() -> int:
    """Return a port where nobody listens, of those that no system gives to whoever asks for any."""
    for port in random.SystemRandom().sample(range(10_000, 32_000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


def test_silent_peer_ends_at_the_deadline_and_is_named_with_the_step() -> None:
    responder = Waiting()
    with (
        serving(responder, PLATFORM, AUTHORITY) as (_, port),
        connect(port, AUTHORITY, PLATFORM) as channel,
    ):
        try:
            with within(PROMPT_S), pytest.raises(TransportError) as caught:
                channel.call(Call.EVALUATE, wire.EvaluateRequest(), timeout_s=0.3)
        finally:
            responder.released.set()
    assert caught.value.reason == "peer_silent"
    assert caught.value.party == "platform"
    assert caught.value.message == "platform did not answer a frame to evaluate within 0.3 s"


def test_channels_own_timeout_holds_where_a_call_sets_none() -> None:
    responder = Waiting()
    with (
        serving(responder, PLATFORM, AUTHORITY) as (_, port),
        connect(port, AUTHORITY, PLATFORM, timeout_s=2.5) as channel,
    ):
        try:
            with within(PROMPT_S), pytest.raises(TransportError, match=r"within 2\.5 s"):
                greet(channel)
        finally:
            responder.released.set()


def test_port_that_accepts_and_says_nothing_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with within(PROMPT_S), pytest.raises(TransportError) as caught:
            connect(port, AUTHORITY, PLATFORM, timeout_s=0.5)
    assert caught.value.reason == "peer_silent"
    assert caught.value.message == "platform did not answer the connection within 0.5 s"


def test_port_where_nobody_listens_is_unreachable() -> None:
    with within(PROMPT_S), pytest.raises(TransportError) as caught:
        connect(free_port(), AUTHORITY, PLATFORM)
    assert caught.value.reason == "peer_unreachable"
    assert "the connection" in caught.value.message
    assert "refused" in caught.value.message


def test_name_that_does_not_resolve_is_unreachable() -> None:
    address = "platform.invalid:1"
    with within(30), pytest.raises(TransportError) as caught:
        connect(0, AUTHORITY, PLATFORM, address=address, timeout_s=3)
    assert caught.value.reason in {"peer_unreachable", "peer_silent"}


def test_server_that_comes_late_is_waited_for() -> None:
    port = free_port()
    server = GrpcServer(
        Greeter(),
        address=f"127.0.0.1:{port}",
        identity=PLATFORM.identity,
        pinned_clients=(AUTHORITY.der,),
    )
    starter = threading.Timer(0.3, server.start)
    starter.start()
    try:
        with connect(port, AUTHORITY, PLATFORM, retry_for_s=10) as channel:
            assert greet(channel, "police") == "police"
    finally:
        starter.join()
        server.stop()


def test_call_survives_a_server_that_is_replaced() -> None:
    address = f"127.0.0.1:{free_port()}"
    with serving(Greeter(), PLATFORM, AUTHORITY, address=address) as (_, port):
        channel = connect(port, AUTHORITY, PLATFORM, retry_for_s=10)
        assert greet(channel) == "authority"
    with (
        channel,
        serving(Greeter(), PLATFORM, AUTHORITY, address=address),
    ):
        assert greet(channel) == "authority"


def test_overloaded_server_is_asked_again_until_it_has_room() -> None:
    responder = Waiting()
    with (
        serving(responder, PLATFORM, AUTHORITY, limits=Limits(calls=1)) as (_, port),
        connect(port, AUTHORITY, PLATFORM, retry_for_s=10) as channel,
        ThreadPoolExecutor(2) as pool,
    ):
        first = pool.submit(channel.call, Call.ABORT, wire.AbortRequest())
        assert responder.asked.wait(10)
        with pytest.raises(TransportError) as caught:
            channel.call(Call.ABORT, wire.AbortRequest(), timeout_s=2)
        assert caught.value.reason == "peer_busy"
        second = pool.submit(channel.call, Call.ABORT, wire.AbortRequest())
        responder.released.set()
        assert first.result(10) == second.result(10) == wire.AbortResponse()


def test_request_that_shows_a_head_is_not_sent_again_as_it_was() -> None:
    responder = Waiting()
    with (
        serving(responder, PLATFORM, AUTHORITY, limits=Limits(calls=1)) as (_, port),
        connect(port, AUTHORITY, PLATFORM, retry_for_s=10) as channel,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(channel.call, Call.ABORT, wire.AbortRequest())
        assert responder.asked.wait(10)
        with within(PROMPT_S), pytest.raises(TransportError) as caught:
            channel.call(Call.OFFER, wire.OfferRequest())
        assert caught.value.reason == "peer_busy"
        responder.released.set()
        first.result(10)


def test_calls_beyond_the_workers_wait_their_turn() -> None:
    with (
        serving(Greeter(), PLATFORM, AUTHORITY, limits=Limits(workers=1)) as (_, port),
        connect(port, AUTHORITY, PLATFORM) as channel,
        ThreadPoolExecutor(16) as pool,
    ):
        assert list(pool.map(lambda i: greet(channel, f"{i}"), range(100))) == [
            f"{i}" for i in range(100)
        ]


def test_closing_a_channel_ends_the_calls_under_way() -> None:
    responder = Waiting()
    with (
        serving(responder, PLATFORM, AUTHORITY) as (_, port),
        connect(port, AUTHORITY, PLATFORM) as channel,
        ThreadPoolExecutor(1) as pool,
    ):
        under_way = pool.submit(greet, channel)
        assert responder.asked.wait(10)
        channel.close()
        with within(PROMPT_S), pytest.raises(TransportError) as caught:
            under_way.result(10)
        responder.released.set()
    assert caught.value.reason == "channel_closed"


@pytest.mark.parametrize("key_identifiers", [False, True])
def test_next_certificate_is_accepted_beside_the_current_one(key_identifiers: bool) -> None:
    platforms = [make_party("platform", key_identifiers=key_identifiers) for _ in range(3)]
    authorities = [make_party("authority", key_identifiers=key_identifiers) for _ in range(3)]
    for platform in platforms:
        with serving(Greeter(), platform, *authorities) as (_, port):
            for authority in authorities:
                with connect(port, authority, *platforms) as channel:
                    assert greet(channel) == "authority"


def test_two_certificates_of_one_key_can_be_pinned() -> None:
    renewed = make_party("authority", key=AUTHORITY.key, key_identifiers=True)
    for order in ((AUTHORITY, renewed), (renewed, AUTHORITY)):
        with serving(Greeter(), PLATFORM, *order) as (_, port):
            for authority in order:
                with connect(port, authority, PLATFORM) as channel:
                    assert greet(channel) == "authority"


def test_peer_added_or_removed_counts_at_once() -> None:
    pinned: list[bytes] = []
    strangers: list[bytes] = []
    with serving(
        Greeter(), PLATFORM, pinned_clients=lambda: tuple(pinned), on_stranger=strangers.append
    ) as (server, port):
        with pytest.raises(PeerError):
            connect(port, AUTHORITY, PLATFORM)
        pinned.append(AUTHORITY.der)
        before = server.connections
        with connect(port, AUTHORITY, PLATFORM) as channel:
            assert greet(channel) == "authority"
            assert server.connections > before
            assert strangers == []
            pinned.clear()
            with pytest.raises(PeerError) as caught:
                greet(channel)
    assert caught.value.reason == "peer_certificate"
    assert caught.value.party == "platform"
    assert strangers == [AUTHORITY.identity.certificate_sha256]


def test_pinned_set_that_cannot_be_read_lets_nobody_in(caplog: pytest.LogCaptureFixture) -> None:
    pinned: list[tuple[bytes, ...]] = [(AUTHORITY.der,)]
    with (
        serving(Greeter(), PLATFORM, pinned_clients=lambda: pinned[0]) as (_, port),
        connect(port, AUTHORITY, PLATFORM) as channel,
    ):
        pinned.clear()
        with pytest.raises(PeerError) as caught:
            greet(channel)
        assert caught.value.reason == "peer_failed"
        with connect(port, AUTHORITY, PLATFORM) as again, pytest.raises(PeerError):
            greet(again)
    assert not any(record.exc_info for record in caplog.records)


def test_two_servers_never_share_a_port() -> None:
    with (
        serving(Greeter(), PLATFORM, AUTHORITY) as (_, port),
        pytest.raises(ConfigError) as caught,
        serving(Greeter(), PLATFORM, AUTHORITY, address=f"127.0.0.1:{port}"),
    ):
        pass
    assert caught.value.reason == "address_unusable"


def test_server_listens_on_ipv6_too() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with (
        serving(Greeter(), PLATFORM, AUTHORITY, address="[::1]:0") as (_, port),
        connect(port, AUTHORITY, PLATFORM, address=f"[::1]:{port}") as channel,
    ):
        assert greet(channel) == "authority"


def test_channel_without_a_pinned_certificate_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        GrpcChannel.connect(
            "127.0.0.1:1", identity=AUTHORITY.identity, pinned=(), server_name="x", peer="platform"
        )
    assert caught.value.reason == "certificate_missing"


def test_identity_that_has_expired_is_refused_before_anything_is_sent() -> None:
    expired = make_party("authority", days=(-10, -5))
    with pytest.raises(ConfigError) as caught:
        connect(free_port(), expired, PLATFORM)
    assert caught.value.reason == "tls_identity_expired"
    with pytest.raises(ConfigError), serving(Greeter(), expired, AUTHORITY):
        pass


def test_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = f"http://127.0.0.1:{free_port()}"
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    with (
        serving(Greeter(), PLATFORM, AUTHORITY) as (_, port),
        connect(port, AUTHORITY, PLATFORM) as channel,
    ):
        assert greet(channel) == "authority"


def test_stop_lets_calls_under_way_finish_within_the_grace() -> None:
    responder = Waiting()
    with (
        ThreadPoolExecutor(2) as pool,
        serving(responder, PLATFORM, AUTHORITY) as (server, port),
        connect(port, AUTHORITY, PLATFORM) as channel,
    ):
        under_way = pool.submit(channel.call, Call.COSIGN, wire.CosignRequest())
        assert responder.asked.wait(10)
        stopping = pool.submit(server.stop, 10.0)
        responder.released.set()
        assert under_way.result(10) == wire.CosignResponse()
        assert stopping.result(10)


def test_stop_ends_within_seconds_whatever_the_clients_do() -> None:
    responder = Waiting()
    with ThreadPoolExecutor(8) as pool, serving(responder, PLATFORM, AUTHORITY) as (server, port):
        half_open = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        half_open[0].sendall(b"\x16\x03\x01\x02\x00\x01")
        idle = [connect(port, AUTHORITY, PLATFORM) for _ in range(3)]
        under_way = [
            pool.submit(idle[0].call, Call.EVALUATE, wire.EvaluateRequest()) for _ in range(4)
        ]
        assert responder.asked.wait(10)
        with within(PROMPT_S):
            assert not server.stop(0.5)
        responder.released.set()
        for call in under_way:
            with pytest.raises(TransportError):
                call.result(10)
        for connection in half_open:
            connection.close()
        for channel in idle:
            channel.close()


def test_no_answer_is_being_worked_out_once_stop_says_so() -> None:
    responder = Waiting()
    with (
        ThreadPoolExecutor(2) as pool,
        serving(responder, PLATFORM, AUTHORITY) as (server, port),
        connect(port, AUTHORITY, PLATFORM, retry_for_s=0) as channel,
    ):
        under_way = pool.submit(channel.call, Call.COSIGN, wire.CosignRequest())
        assert responder.asked.wait(10)
        stopping = pool.submit(server.stop, 0.0)
        with pytest.raises(TransportError):
            under_way.result(10)
        assert not stopping.done()
        responder.released.set()
        assert stopping.result(10)


def test_stopped_server_takes_no_more_calls() -> None:
    with (
        serving(Greeter(), PLATFORM, AUTHORITY) as (server, port),
        connect(port, AUTHORITY, PLATFORM) as channel,
    ):
        server.stop()
        server.stop()
        with within(PROMPT_S), pytest.raises(TransportError) as caught:
            greet(channel)
    assert caught.value.reason == "peer_unreachable"


def test_server_that_never_started_stops() -> None:
    with (
        within(PROMPT_S),
        GrpcServer(Greeter(), address="127.0.0.1:0", identity=PLATFORM.identity, pinned_clients=()),
    ):
        pass


def test_answer_is_worked_out_on_the_callers_own_request() -> None:
    def answer(call: Call, request: Message, caller: Caller) -> Message:
        assert isinstance(request, wire.HelloRequest)
        assert caller.certificate_sha256 in {
            party.identity.certificate_sha256 for party in (AUTHORITY, other)
        }
        return wire.HelloResponse(certificate_sha256=caller.certificate_sha256)

    other = make_party("other")
    with (
        serving(Answers(answer), PLATFORM, AUTHORITY, other) as (_, port),
        connect(port, AUTHORITY, PLATFORM) as one,
        connect(port, other, PLATFORM) as two,
        ThreadPoolExecutor(8) as pool,
    ):
        calls = [
            (party, pool.submit(channel.call, Call.HELLO, wire.HelloRequest()))
            for _ in range(20)
            for party, channel in ((AUTHORITY, one), (other, two))
        ]
        for party, call in calls:
            response = call.result(10)
            assert isinstance(response, wire.HelloResponse)
            assert response.certificate_sha256 == party.identity.certificate_sha256


@pytest.mark.parametrize("name", ["GRPC_VERBOSITY", "GRPC_SSL_CIPHER_SUITES"])
def test_what_the_operator_has_told_grpc_stays(name: str) -> None:
    code = f"import os, psishare.transport; print(os.environ[{name!r}])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**without_grpc_settings(), name: "the operator's"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "the operator's\n"
