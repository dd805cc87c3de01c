"""Transcripts, against a computation written from the specification alone."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from psishare.exchange.transcript import SEQUENCES, Transcript, frame_digest, frame_statement

ID = bytes(range(32))


def specified(sequence: int, frames: list[bytes]) -> bytes:
    """Return the transcript as exchange.md, section 8, steps 3 and 4, describe it."""
    value = hashlib.sha256(b"psishare/transcript/v1" + bytes([sequence]) + ID).digest()
    for index, elements in enumerate(frames):
        rows = len(elements) // 32
        header = b"psishare/frame/v1" + bytes([sequence])
        header += index.to_bytes(8, "big") + rows.to_bytes(4, "big")
        value = hashlib.sha256(value + hashlib.sha256(header + elements).digest()).digest()
    return value


FRAMES = st.lists(st.integers(1, 5).flatmap(lambda n: st.binary(min_size=32 * n, max_size=32 * n)))


@given(st.sampled_from(sorted(SEQUENCES)), FRAMES)
def test_transcript_is_the_specified_chain(sequence: str, frames: list[bytes]) -> None:
    transcript = Transcript(sequence, ID)
    for index, elements in enumerate(frames):
        rows = len(elements) // 32
        digest = frame_digest(sequence, index, rows, elements)
        assert transcript.after(digest) == transcript.add(digest, rows)
    assert transcript.value == specified(SEQUENCES[sequence], frames)
    assert transcript.frames == len(frames)
    assert transcript.rows == sum(len(f) for f in frames) // 32


def test_a_frame_has_another_digest_at_another_place() -> None:
    elements = bytes(64)
    digests = {
        frame_digest(sequence, index, rows, elements)
        for sequence in SEQUENCES
        for index in (0, 1, 2**40)
        for rows in (1, 2)
    }
    assert len(digests) == len(SEQUENCES) * 3 * 2


def test_statement_is_of_fixed_width() -> None:
    statement = frame_statement(ID, 3, bytes(32), 9)
    assert statement == ID + (3).to_bytes(8, "big") + bytes(32) + (9).to_bytes(4, "big")
