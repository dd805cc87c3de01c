"""Frames on the wire: what is written is read, and nothing else is."""

from __future__ import annotations

import os
import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psishare.errors import ProtocolError
from psishare.exchange.frame import (
    MAX_MESSAGE_BYTES,
    decode_frame,
    element_bytes_of,
    encode_frame,
    frame_schema,
)


def elements(n_rows: int, width: int = 32) -> pa.FixedSizeBinaryArray:
    return pa.array([os.urandom(width) for _ in range(n_rows)], pa.binary(width))


def serialised(batch: pa.RecordBatch, compression: str | None = None) -> bytes:
    """Return the batch's message as another implementation might write it."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    reader = pa.ipc.MessageReader.open_stream(sink.getvalue())
    reader.read_next_message()
    return bytes(reader.read_next_message().serialize())


@pytest.mark.parametrize("width", [32, 33])
@pytest.mark.parametrize("n_rows", [1, 2, 31, 32_768])
def test_frame_survives_the_wire(n_rows: int, width: int) -> None:
    sent = elements(n_rows, width)
    assert decode_frame(encode_frame(sent), n_rows=n_rows, element_bytes=width).equals(sent)


@pytest.mark.parametrize("width", [32, 33])
def test_slices_are_sent_as_what_they_show(width: int) -> None:
    whole = elements(10, width)
    part = whole.slice(3, 3)
    sent = encode_frame(part)
    assert decode_frame(sent, n_rows=3, element_bytes=width).equals(part)
    assert bytes(element_bytes_of(part)) == b"".join(whole.to_pylist()[3:6])
    assert whole[6].as_py() not in sent


def test_empty_elements_have_no_bytes() -> None:
    assert bytes(element_bytes_of(elements(5).slice(5))) == b""


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_frame_is_refused(compression: str) -> None:
    batch = pa.record_batch([pa.array([bytes(32)] * 500, pa.binary(32))], schema=frame_schema(32))
    with pytest.raises(ProtocolError, match="uncompressed"):
        decode_frame(serialised(batch, compression), n_rows=500, element_bytes=32)


def test_frame_with_nulls_is_refused() -> None:
    column = pa.array([bytes(32), None, bytes(32)], pa.binary(32))
    batch = pa.record_batch([column], names=["element"])
    with pytest.raises(ProtocolError, match="nulls"):
        decode_frame(serialised(batch), n_rows=3, element_bytes=32)


def test_frame_with_another_schema_is_refused() -> None:
    batches = [
        pa.record_batch([elements(3), elements(3)], names=["element", "tag"]),
        pa.record_batch([pa.array(["a", "b", "c"])], names=["element"]),
        pa.record_batch([pa.array([1, 2, 3])], names=["element"]),
        pa.record_batch([elements(3, 33)], names=["element"]),
        pa.record_batch([elements(3).dictionary_encode()], names=["element"]),
    ]
    for batch in batches:
        with pytest.raises(ProtocolError):
            decode_frame(serialised(batch), n_rows=3, element_bytes=32)


@pytest.mark.parametrize("n_rows", [0, 19, 21, 2**31, 2**60])
def test_frame_with_other_rows_than_due_is_refused(n_rows: int) -> None:
    with pytest.raises(ProtocolError, match="rows"):
        decode_frame(encode_frame(elements(20)), n_rows=n_rows, element_bytes=32)


def test_frame_with_bytes_after_it_is_refused() -> None:
    with pytest.raises(ProtocolError, match="length"):
        decode_frame(encode_frame(elements(3)) + b"\x00", n_rows=3, element_bytes=32)


def test_oversized_frame_is_refused_before_it_is_read() -> None:
    with pytest.raises(ProtocolError, match="4 MiB"):
        decode_frame(bytes(MAX_MESSAGE_BYTES + 1), n_rows=3, element_bytes=32)


def test_a_schema_message_is_refused() -> None:
    with pytest.raises(ProtocolError):
        decode_frame(frame_schema(32).serialize().to_pybytes(), n_rows=3, element_bytes=32)


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_with_our_own_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_frame(data, n_rows=3, element_bytes=32)


@given(st.integers(0, 2**32), st.integers(1, 6), st.booleans())
def test_damaged_frame_is_read_as_rows_of_the_right_shape_or_refused(
    seed: int, n_changes: int, truncated: bool
) -> None:
    source = random.Random(seed)
    data = bytearray(encode_frame(pa.array([bytes([i]) * 32 for i in range(20)], pa.binary(32))))
    for _ in range(n_changes):
        data[source.randrange(len(data))] = source.randrange(256)
    if truncated:
        del data[source.randrange(len(data)) :]
    try:
        received = decode_frame(bytes(data), n_rows=20, element_bytes=32)
    except ProtocolError as error:
        assert error.reason == "frame_malformed"  # noqa: PT017  either outcome is right
    else:
        assert len(received) == 20
        assert received.type == pa.binary(32)
        assert received.null_count == 0
