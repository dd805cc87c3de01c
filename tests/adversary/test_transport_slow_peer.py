"""A pinned peer that is slow on purpose: it must not hold up the others, nor for ever anything."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from raw_http2 import raw_caller
from transport_parties import (
    Answers,
    Greeter,
    connect,
    greet,
    make_party,
    serving,
)

from psishare.errors import TransportError
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call
from psishare.transport.limits import STOPPING, Limits
from psishare.transport.message import MESSAGE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from google.protobuf.message import Message

    from psishare.transport.channel import Caller
    from psishare.transport.grpc_server import GrpcServer

PLATFORM = make_party("platform")
AUTHORITY = make_party("authority")
HOSTILE = make_party("hostile")
GREETING = wire.HelloRequest(authority="x").SerializeToString()


def until_load(server: GrpcServer, *, calls: int, held_bytes: int | None = None) -> None:
    """Wait for the load that the test brought about: a server gets to it in its own time."""

    def is_so() -> bool:
        load = server.load
        return load.calls == calls and held_bytes in (None, load.held_bytes)

    until(is_so)


def until(is_so: Callable[[], bool]) -> None:
    """Poll a condition, with a bound."""
    for _ in range(4000):
        if is_so():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not come about")


def test_calls_whose_message_never_comes_hold_up_nobody_and_are_ended(tmp_path: Path) -> None:
    limits = Limits(calls=8, calls_per_caller=4, receive_s=3)
    with (
        serving(Greeter(), PLATFORM, AUTHORITY, HOSTILE, limits=limits) as (server, port),
        connect(port, AUTHORITY, PLATFORM) as honest,
        raw_caller(tmp_path, port, HOSTILE, PLATFORM) as slow,
    ):
        streams = {slow.begin("Hello") for _ in range(7)}
        assert greet(honest) == "authority"
        assert slow.ended_streams(7) == streams
        until_load(server, calls=0)


def test_message_that_comes_in_part_is_ended(tmp_path: Path) -> None:
    # Long enough for what is asserted before it ends, on a machine with much else to do.
    limits = Limits(receive_s=3)
    with (
        serving(Greeter(), PLATFORM, AUTHORITY, HOSTILE, limits=limits) as (server, port),
        connect(port, AUTHORITY, PLATFORM) as honest,
        raw_caller(tmp_path, port, HOSTILE, PLATFORM) as slow,
    ):
        stream = slow.begin("Evaluate")
        slow.dribble(stream, MESSAGE_BYTES_MAX, b"\x0a")
        until_load(server, calls=1, held_bytes=MESSAGE_BYTES_MAX)
        assert greet(honest) == "authority"
        assert slow.ended_streams(1) == {stream}
        until_load(server, calls=0, held_bytes=0)


def test_answers_that_nobody_takes_are_dropped(tmp_path: Path) -> None:
    limits = Limits(send_s=3)
    with (
        serving(Greeter(), PLATFORM, AUTHORITY, HOSTILE, limits=limits) as (server, port),
        connect(port, AUTHORITY, PLATFORM) as honest,
        raw_caller(tmp_path, port, HOSTILE, PLATFORM, window=0) as slow,
    ):
        for _ in range(10):
            slow.send(slow.begin("Hello"), GREETING)
        until_load(server, calls=10)
        assert greet(honest) == "authority"
        until_load(server, calls=0)


def test_what_follows_the_message_of_a_call_is_never_read(tmp_path: Path) -> None:
    with (
        serving(Greeter(), PLATFORM, HOSTILE) as (server, port),
        raw_caller(tmp_path, port, HOSTILE, PLATFORM) as slow,
    ):
        stream = slow.begin("Hello")
        slow.send(stream, GREETING, end=False)
        slow.send(stream, b"\xff" * 1000, end=False)
        assert slow.ended_streams(1) == {stream}
        until_load(server, calls=0)


def test_flood_of_one_peer_leaves_the_other_its_turn() -> None:
    released = threading.Event()

    def answer(call: Call, request: Message, caller: Caller) -> Message:
        if call is Call.HELLO:
            return wire.HelloResponse(platform="here")
        assert released.wait(60)
        return wire.AbortResponse()

    limits = Limits(workers=4, calls=64, calls_per_caller=32)
    with (
        serving(Answers(answer), PLATFORM, AUTHORITY, HOSTILE, limits=limits) as (server, port),
        connect(port, HOSTILE, PLATFORM) as flood,
        connect(port, AUTHORITY, PLATFORM) as honest,
        ThreadPoolExecutor(48) as pool,
    ):
        calls = [
            pool.submit(flood.call, Call.ABORT, wire.AbortRequest(), timeout_s=60)
            for _ in range(48)
        ]
        until_load(server, calls=32)
        for _ in range(20):
            assert greet(honest) == "here"
        until(lambda: server.load.refused > 0)
        released.set()
        for call in calls:
            assert call.result(60) == wire.AbortResponse()


@pytest.mark.parametrize("reason", ["peer_busy", STOPPING])
def test_peer_that_asks_to_come_again_is_asked_again(reason: str) -> None:
    tries = 0

    def answer(call: Call, request: Message, caller: Caller) -> Message:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise TransportError("it has enough", mend="Later.", reason=reason)
        return wire.HelloResponse(platform="here")

    with (
        serving(Answers(answer), PLATFORM, AUTHORITY) as (_, port),
        connect(port, AUTHORITY, PLATFORM) as channel,
    ):
        assert greet(channel) == "here"
    assert tries == 3


def test_peer_that_stays_busy_is_named_with_its_limit_when_time_is_up() -> None:
    def answer(call: Call, request: Message, caller: Caller) -> Message:
        raise TransportError("it has 3 exchanges open", mend="Later.", reason="peer_busy")

    with (
        serving(Answers(answer), PLATFORM, AUTHORITY) as (_, port),
        connect(port, AUTHORITY, PLATFORM, retry_for_s=0.01) as channel,
        pytest.raises(TransportError, match="it has 3 exchanges open") as caught,
    ):
        greet(channel, timeout_s=2)
    assert (caught.value.reason, caught.value.party) == ("peer_busy", "platform")


def test_other_failures_of_a_server_are_not_told_as_its_connection() -> None:
    def answer(call: Call, request: Message, caller: Caller) -> Message:
        raise TransportError("a witness is down", mend="x", reason="peer_unreachable")

    with (
        serving(Answers(answer), PLATFORM, AUTHORITY) as (_, port),
        connect(port, AUTHORITY, PLATFORM) as channel,
        pytest.raises(Exception) as caught,
    ):
        greet(channel)
    assert getattr(caught.value, "reason", None) == "peer_failed"


def test_connections_of_strangers_are_counted_apart() -> None:
    with serving(Greeter(), PLATFORM, AUTHORITY) as (server, port):
        with connect(port, AUTHORITY, PLATFORM) as channel:
            greet(channel)
            greet(channel)
            assert (server.connections, server.strangers) == (1, 0)
        with pytest.raises(Exception, match="certificate"):
            connect(port, make_party("stranger"), PLATFORM, retry_for_s=0.01)
        # A connection that the stranger has given up may still be about to be counted.
        until(lambda: server.strangers == server.connections - 1 >= 1)
