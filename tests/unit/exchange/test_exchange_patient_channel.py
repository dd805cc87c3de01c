"""A patient channel makes a call again that got no answer, and no other."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from psishare.errors import PeerError, ProtocolError, PsishareError, TransportError
from psishare.exchange import patient_channel
from psishare.exchange.patient_channel import PatientChannel
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient_channel, "PAUSE_FIRST_S", 0.001)
    monkeypatch.setattr(patient_channel, "PAUSE_MAX_S", 0.002)


def transport(reason: str) -> TransportError:
    return TransportError("no answer to the greeting", mend="Again.", reason=reason, party="p")


class Failing:
    """A channel whose first calls fail."""

    peer = "p"

    def __init__(self, *errors: PsishareError) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.closed = False

    def call(self, call: Call, request: Message, *, timeout_s: float | None = None) -> Message:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return wire.HelloResponse()

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def patient(
    channel: Failing, *, retry_for_s: float = 60.0, waiting: Callable[[str], None] | None = None
) -> PatientChannel:
    return PatientChannel(channel, retry_for_s=retry_for_s, waiting=waiting or (lambda _peer: None))


def hello(channel: PatientChannel) -> Message:
    return channel.call(Call.HELLO, wire.HelloRequest())


@pytest.mark.parametrize("reason", ["peer_silent", "peer_unreachable"])
def test_a_call_without_an_answer_is_made_again(reason: str) -> None:
    told: list[str] = []
    line = Failing(*[transport(reason)] * 3)
    assert hello(patient(line, waiting=told.append)) == wire.HelloResponse()
    assert (line.calls, told) == (4, ["p"] * 3)


@pytest.mark.parametrize(
    "error",
    [
        transport("channel_closed"),
        PeerError("it failed", mend="Ask.", reason="peer_failed", party="p"),
        ProtocolError("it broke", mend="Ask.", reason="exchange_ended", party="p"),
    ],
    ids=["closed here", "failed", "refused"],
)
def test_an_answer_is_not_asked_for_again(error: PsishareError) -> None:
    line = Failing(error)
    with pytest.raises(type(error)) as raised:
        hello(patient(line))
    assert raised.value is error
    assert line.calls == 1


class Clock:
    """A clock that goes on by 5 ms each time it is looked at."""

    def __init__(self) -> None:
        self._looks = 0

    def monotonic(self) -> float:
        self._looks += 1
        return 0.005 * self._looks


def test_patience_ends_and_the_last_error_tells_peer_and_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patient_channel, "time", Clock())
    line = Failing(*[transport("peer_silent")] * 1000)
    with pytest.raises(TransportError, match="no answer to the greeting") as raised:
        hello(patient(line, retry_for_s=0.02))
    assert raised.value.party == "p"
    assert line.calls == 4


def test_no_patience_is_one_try() -> None:
    line = Failing(transport("peer_silent"))
    with pytest.raises(TransportError):
        hello(patient(line, retry_for_s=0.0))
    assert line.calls == 1


def test_calls_that_are_no_longer_wanted_are_not_made_again() -> None:
    stop = threading.Event()
    line = Failing(*[transport("peer_silent")] * 5)
    channel = patient(line, waiting=lambda _peer: stop.set()).until(stop)
    with pytest.raises(TransportError):
        hello(channel)
    assert line.calls == 1


@pytest.mark.parametrize("reason", ["peer_busy", "peer_stopping"])
def test_a_peer_without_room_is_asked_again_for_frames_alone(reason: str) -> None:
    line = Failing(transport(reason))
    with pytest.raises(TransportError):
        hello(patient(line))
    line = Failing(transport(reason))
    assert hello(patient(line).until(threading.Event())) == wire.HelloResponse()


def test_closing_closes_the_channel_beneath() -> None:
    line = Failing()
    with patient(line):
        pass
    assert line.closed
