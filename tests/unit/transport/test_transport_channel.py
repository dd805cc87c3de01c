"""What holds of every channel: the same tests in memory and over TLS."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from transport_parties import Answers, Greeter, connect, greet, make_party, raising, serving

from psishare.errors import (
    AuditError,
    AuthorisationError,
    ConfigError,
    InternalError,
    PeerError,
    ProtocolError,
    PsishareError,
    TransportError,
    VerificationError,
)
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call, Caller, Channel, Responder
from psishare.transport.memory import MemoryChannel
from psishare.transport.message import MESSAGE_BYTES_MAX

if TYPE_CHECKING:
    from google.protobuf.message import Message

PLATFORM = make_party("platform")
AUTHORITY = make_party("authority")

To = Callable[[Responder], Channel]


@pytest.fixture(params=["memory", "grpc"])
def channel_to(request: pytest.FixtureRequest) -> Iterator[To]:
    with ExitStack() as stack:

        def in_memory(responder: Responder) -> Channel:
            caller = Caller(AUTHORITY.identity.certificate_sha256)
            return stack.enter_context(MemoryChannel(responder, caller, PLATFORM.id))

        def over_tls(responder: Responder) -> Channel:
            _, port = stack.enter_context(serving(responder, PLATFORM, AUTHORITY))
            return stack.enter_context(connect(port, AUTHORITY, PLATFORM))

        yield in_memory if request.param == "memory" else over_tls


def test_call_comes_back_with_its_answer_and_the_caller_is_known(channel_to: To) -> None:
    channel = channel_to(Greeter())
    assert channel.peer == "platform"
    response = channel.call(Call.HELLO, wire.HelloRequest(authority="police"))
    assert response == wire.HelloResponse(
        platform="police", certificate_sha256=hashlib.sha256(AUTHORITY.der).digest()
    )


def test_every_call_of_the_wire_is_carried(channel_to: To) -> None:
    seen: list[Call] = []

    def answer(call: Call, request: Message, caller: Caller) -> Message:
        assert type(request) is call.request
        seen.append(call)
        return call.response()

    channel = channel_to(Answers(answer))
    for call in Call:
        assert channel.call(call, call.request()) == call.response()
    assert seen == list(Call)


def test_eight_calls_are_in_flight_at_once(channel_to: To) -> None:
    together = threading.Barrier(8, timeout=10)

    def answer(call: Call, request: Message, caller: Caller) -> Message:
        together.wait()
        assert isinstance(request, wire.EvaluateRequest)
        return wire.FrameResponse(batch=request.batch)

    channel = channel_to(Answers(answer))

    def evaluate(index: int) -> Message:
        batch = index.to_bytes(4, "big") * 1000
        return channel.call(Call.EVALUATE, wire.EvaluateRequest(index=index, batch=batch))

    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(evaluate, range(64)))
    assert responses == [
        wire.FrameResponse(batch=index.to_bytes(4, "big") * 1000) for index in range(64)
    ]


def test_messages_of_exactly_4_mib_pass_both_ways(channel_to: To) -> None:
    def answer(call: Call, request: Message, caller: Caller) -> Message:
        assert request.ByteSize() == MESSAGE_BYTES_MAX
        return wire.FrameResponse(batch=bytes(MESSAGE_BYTES_MAX - 5))

    channel = channel_to(Answers(answer))
    request = wire.EvaluateRequest(batch=bytes(MESSAGE_BYTES_MAX - 5))
    assert channel.call(Call.EVALUATE, request).ByteSize() == MESSAGE_BYTES_MAX


def test_own_request_over_4_mib_is_never_sent(channel_to: To) -> None:
    channel = channel_to(Greeter())
    request = wire.EvaluateRequest(batch=bytes(MESSAGE_BYTES_MAX))
    with pytest.raises(InternalError) as caught:
        channel.call(Call.EVALUATE, request)
    assert caught.value.reason == "message_too_large"


def test_own_response_over_4_mib_is_a_failed_peer_to_the_caller(channel_to: To) -> None:
    oversized = wire.FrameResponse(batch=bytes(MESSAGE_BYTES_MAX))
    channel = channel_to(Answers(lambda call, request, caller: oversized))
    with pytest.raises(PeerError) as caught:
        channel.call(Call.EVALUATE, wire.EvaluateRequest())
    assert caught.value.reason == "peer_failed"


def test_answer_of_another_type_is_a_failed_peer_to_the_caller(channel_to: To) -> None:
    channel = channel_to(Answers(lambda call, request, caller: wire.AbortResponse()))
    with pytest.raises(PeerError) as caught:
        greet(channel)
    assert caught.value.reason == "peer_failed"


@pytest.mark.parametrize(
    "kind", [AuthorisationError, ProtocolError, PeerError, VerificationError, AuditError]
)
def test_refusal_reaches_the_caller_with_class_and_reason(
    channel_to: To, kind: type[PsishareError]
) -> None:
    channel = channel_to(raising(kind("no", mend="Ask.", reason="some_reason")))
    with pytest.raises(kind) as caught:
        greet(channel)
    assert type(caught.value) is kind
    assert caught.value.reason == "some_reason"
    assert caught.value.party == "platform"
    assert "the greeting" in caught.value.message


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("/home/platform/keys", mend="sesame", reason="sesame"),
        TransportError("sesame", mend="sesame", reason="peer_unreachable"),
        ValueError("sesame"),
        OSError(28, "sesame", "/srv/sesame"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_inner_fault_of_the_peer_stays_with_the_peer(
    channel_to: To, error: Exception, capfd: pytest.CaptureFixture[str]
) -> None:
    channel = channel_to(raising(error))
    with pytest.raises(PeerError) as caught:
        greet(channel)
    assert type(caught.value) is PeerError
    assert caught.value.reason == "peer_failed"
    assert "sesame" not in caught.value.diagnostics()
    assert caught.value.__cause__ is None
    assert "Traceback" not in "".join(capfd.readouterr())


def test_foreign_exception_is_recorded_by_place_and_not_by_text(
    channel_to: To, caplog: pytest.LogCaptureFixture
) -> None:
    channel = channel_to(raising(ValueError("+8613800138000")))
    with caplog.at_level(logging.ERROR), pytest.raises(PeerError):
        greet(channel)
    (record,) = caplog.records
    assert "the greeting failed: ValueError at " in record.getMessage()
    assert "transport_parties.py:" in record.getMessage()
    assert "138000" not in record.getMessage()
    assert record.exc_info is None


def test_refusal_is_not_repeated(channel_to: To) -> None:
    asked: list[Call] = []

    def answer(call: Call, request: Message, caller: Caller) -> Message:
        asked.append(call)
        raise AuthorisationError("no", mend="Ask.", reason="mandate_expired")

    with pytest.raises(AuthorisationError):
        greet(channel_to(Answers(answer)))
    assert len(asked) == 1


def test_closed_channel_refuses_calls(channel_to: To) -> None:
    channel = channel_to(Greeter())
    channel.close()
    channel.close()
    with pytest.raises(TransportError) as caught:
        greet(channel)
    assert caught.value.reason == "channel_closed"
