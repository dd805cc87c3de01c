"""Frame digests and the hash chain over them (protocols/specs/exchange.md, section 8).

A transcript is the same whatever Arrow version wrote the frames, however long they took, and
whether or not the exchange was resumed. Plain Python: auditors recompute it.
"""

from __future__ import annotations

import hashlib

FRAME_LABEL = b"psishare/frame/v1"
TRANSCRIPT_LABEL = b"psishare/transcript/v1"
SEQUENCES = {"requests": 1, "elements": 2, "answers": 3, "returns": 4}
REQUEST = "request"
RETURN = "return"


def frame_digest(sequence: str, index: int, n_rows: int, elements: bytes | memoryview) -> bytes:
    """Return D_i of one frame.

    Args:
        sequence: a name of ``SEQUENCES``.
        index: the frame's number, from 0.
        n_rows: its rows.
        elements: its elements, one after the other, without padding.
    """
    digest = hashlib.sha256(FRAME_LABEL)
    digest.update(SEQUENCES[sequence].to_bytes(1, "big"))
    digest.update(index.to_bytes(8, "big"))
    digest.update(n_rows.to_bytes(4, "big"))
    digest.update(elements)
    return digest.digest()


def empty_transcript(sequence: str, exchange_id: bytes) -> bytes:
    """Return T_0 of a sequence, 32 bytes."""
    code = SEQUENCES[sequence].to_bytes(1, "big")
    return hashlib.sha256(TRANSCRIPT_LABEL + code + exchange_id).digest()


class Transcript:
    """One sequence's hash chain, from T_0 on.

    Args:
        sequence: a name of ``SEQUENCES``.
        exchange_id: 32 bytes.

    Attributes:
        sequence: as given.
        exchange_id: as given.
    """

    def __init__(self, sequence: str, exchange_id: bytes) -> None:
        self.sequence = sequence
        self.exchange_id = exchange_id
        self._value = empty_transcript(sequence, exchange_id)
        self._frames = 0
        self._rows = 0

    @property
    def value(self) -> bytes:
        """The transcript after the last frame added."""
        return self._value

    @property
    def frames(self) -> int:
        """Frames added."""
        return self._frames

    @property
    def rows(self) -> int:
        """Rows of the frames added."""
        return self._rows

    def after(self, digest: bytes) -> bytes:
        """Return what the transcript would be after one more frame of this digest."""
        return hashlib.sha256(self._value + digest).digest()

    def add(self, digest: bytes, n_rows: int) -> bytes:
        """Add the next frame's digest and return the transcript after it."""
        self._value = self.after(digest)
        self._frames += 1
        self._rows += n_rows
        return self._value


def frame_statement(exchange_id: bytes, index: int, transcript: bytes, n_rows: int) -> bytes:
    """Return the payload that the authority signs with each frame (section 3, step 3)."""
    return exchange_id + index.to_bytes(8, "big") + transcript + n_rows.to_bytes(4, "big")
