"""A sealed stream reads back, any part of it, and not after any change."""

from __future__ import annotations

import io
import os
import secrets
from typing import TYPE_CHECKING

import pytest

from psishare.errors import InternalError, VerificationError
from psishare.keys.sealed_stream import CHUNK_BYTES, TAG_BYTES, StreamOpener, StreamSealer

if TYPE_CHECKING:
    from pathlib import Path

KEY = bytes(range(32))
SIZES = [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 77]


def sealed(text: bytes, *, piece: int = 50_000) -> bytes:
    out = io.BytesIO()
    sealer = StreamSealer(KEY, out)
    for start in range(0, len(text), piece):
        sealer.write(text[start : start + piece])
    sealer.finish()
    return out.getvalue()


def opened(path: Path, data: bytes, *, key: bytes = KEY, start: int = 0) -> StreamOpener:
    path.write_bytes(data)
    return StreamOpener(key, os.open(path, os.O_RDONLY), start)


def refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(VerificationError) as raised:
            _read_all(descriptor)
    finally:
        os.close(descriptor)
    assert raised.value.reason == "stream_damaged"


def _read_all(descriptor: int) -> bytes:
    stream = StreamOpener(KEY, descriptor, 0)
    return stream.read(0, stream.size)


@pytest.mark.parametrize("size", SIZES)
def test_text_of_any_length_reads_back(size: int, tmp_path: Path) -> None:
    text = secrets.token_bytes(size)
    with opened(tmp_path / "file", b"head" + sealed(text), start=4) as stream:
        assert stream.size == size
        assert stream.read(0, size) == text


def test_any_part_is_read_without_the_rest(tmp_path: Path) -> None:
    text = secrets.token_bytes(3 * CHUNK_BYTES)
    with opened(tmp_path / "file", sealed(text)) as stream:
        for offset, n_bytes in [(2 * CHUNK_BYTES, 9), (CHUNK_BYTES - 4, 8), (0, 1), (17, 0)]:
            assert stream.read(offset, n_bytes) == text[offset : offset + n_bytes]


def test_pieces_in_which_it_is_written_leave_no_trace() -> None:
    text = secrets.token_bytes(CHUNK_BYTES + 5)
    assert sealed(text, piece=1_000) == sealed(text, piece=len(text))


@pytest.mark.parametrize("size", SIZES)
def test_a_changed_byte_is_found(size: int, tmp_path: Path) -> None:
    data = sealed(secrets.token_bytes(size))
    for place in {0, len(data) // 2, len(data) - 1}:
        refused(tmp_path / "file", data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])


@pytest.mark.parametrize("size", SIZES)
def test_a_stream_that_is_cut_off_is_found(size: int, tmp_path: Path) -> None:
    data = sealed(secrets.token_bytes(size))
    chunk = CHUNK_BYTES + TAG_BYTES
    for length in {0, TAG_BYTES, len(data) - 1, (len(data) - 1) // chunk * chunk}:
        refused(tmp_path / "file", data[:length])


def test_chunks_that_are_swapped_repeated_or_appended_are_found(tmp_path: Path) -> None:
    data = sealed(secrets.token_bytes(3 * CHUNK_BYTES))
    chunk = CHUNK_BYTES + TAG_BYTES
    first, second, third = data[:chunk], data[chunk : 2 * chunk], data[2 * chunk :]
    for wrong in (second + first + third, first + first + third, first + second + third + third):
        refused(tmp_path / "file", wrong)


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "file", sealed(b"text"), key=bytes(32)) as stream,
        pytest.raises(VerificationError),
    ):
        stream.read(0, 4)


def test_nothing_is_read_beyond_the_end(tmp_path: Path) -> None:
    with opened(tmp_path / "file", sealed(b"text")) as stream, pytest.raises(VerificationError):
        stream.read(2, 3)


def test_an_empty_text_is_not_sealed() -> None:
    with pytest.raises(InternalError):
        StreamSealer(KEY, io.BytesIO()).finish()
