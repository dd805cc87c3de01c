from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psishare.errors import InternalError, ProtocolError
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call
from psishare.transport.message import MESSAGE_BYTES_MAX, parse, serialise


def parsed(data: bytes) -> wire.EvaluateRequest:
    return parse(wire.EvaluateRequest, data, step="a frame", party="acme")


def sized(total: int) -> wire.ShardResponse:
    """Return a message whose bytes are that many: 1 of tag, 4 of length, the rest data."""
    return wire.ShardResponse(data=bytes(total - 5))


def test_message_comes_back_as_it_went() -> None:
    request = wire.EvaluateRequest(exchange_id=b"\x01" * 32, index=2**64 - 1, batch=b"frame")
    assert parsed(serialise(request, step="a frame")) == request


def test_message_of_exactly_4_mib_passes() -> None:
    data = serialise(sized(MESSAGE_BYTES_MAX), step="a shard")
    assert len(data) == 4 * 1024 * 1024
    assert parse(wire.ShardResponse, data, step="a shard", party=None) == sized(MESSAGE_BYTES_MAX)


def test_received_message_over_4_mib_is_refused() -> None:
    data = sized(MESSAGE_BYTES_MAX + 1).SerializeToString()
    with pytest.raises(ProtocolError) as caught:
        parse(wire.ShardResponse, data, step="a shard", party="acme")
    assert caught.value.reason == "message_too_large"
    assert caught.value.party == "acme"


def test_own_message_over_4_mib_is_our_fault() -> None:
    with pytest.raises(InternalError) as caught:
        serialise(sized(MESSAGE_BYTES_MAX + 1), step="a shard")
    assert caught.value.reason == "message_too_large"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x0a\xff", id="truncated"),
        pytest.param(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", id="length beyond the end"),
        pytest.param(b"\x10\x01\x10\x01", id="singular field twice"),
        pytest.param(b"\x10\x81\x00", id="padded integer"),
        pytest.param(b"\x10\x00", id="explicit default"),
        pytest.param(b"\x7a\x01x", id="unknown field"),
        pytest.param(b"\x12\x01x", id="field of another type"),
        pytest.param(b"\x0b\x0c", id="group"),
        pytest.param(b"\x07", id="no such wire type"),
    ],
)
def test_malformed_message_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        parsed(data)
    assert caught.value.reason == "message_malformed"
    assert caught.value.party == "acme"


def test_unknown_field_deep_inside_is_refused() -> None:
    inner = wire.Signed(document=b"{}").SerializeToString() + b"\x7a\x01x"
    data = b"\x0a" + bytes([len(inner)]) + inner
    with pytest.raises(ProtocolError):
        parse(wire.OfferRequest, data, step="the offer", party=None)


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ProtocolError):
        parse(wire.HelloRequest, b"\x0a\x01\xff", step="the greeting", party=None)


@given(call=st.sampled_from(Call), data=st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_protocol_error(call: Call, data: bytes) -> None:
    for kind in (call.request, call.response):
        try:
            message = parse(kind, data, step=call.step, party=None)
        except ProtocolError:
            continue
        assert len(message.SerializeToString()) == len(data)


@given(
    exchange_id=st.binary(max_size=40),
    index=st.integers(0, 2**64 - 1),
    batch=st.binary(max_size=100),
)
def test_every_message_survives_the_round_trip(
    exchange_id: bytes, index: int, batch: bytes
) -> None:
    request = wire.EvaluateRequest(exchange_id=exchange_id, index=index, batch=batch)
    assert parsed(serialise(request, step="a frame")) == request
