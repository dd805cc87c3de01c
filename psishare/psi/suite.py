"""The parameters that a suite fixes: frames, element widths, fingerprint lengths.

Source: protocols/specs/exchange.md, section 2; oprf.md, "Fingerprints".
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from psishare.errors import ProtocolError

RISTRETTO255_SHA512: Final = "ristretto255-SHA512"
OPENMINED_P256: Final = "openmined-psi-P256-SHA256"

MAX_FRAME_ROWS = 32_768
ELEMENT_BYTES = 32
FALSE_MATCH_BITS = 40
DEFAULT_MAX_QUERY = 2**20


class Protocol(StrEnum):
    """The protocols that an exchange can run."""

    OPRF = "oprf"
    ECDH = "ecdh"
    OPENMINED = "openmined"

    @property
    def suite(self) -> str:
        """The suite's name, as offers state it."""
        return OPENMINED_P256 if self is Protocol.OPENMINED else RISTRETTO255_SHA512

    @property
    def element_bytes(self) -> int:
        """The width of one element on the wire."""
        return 33 if self is Protocol.OPENMINED else ELEMENT_BYTES

    @property
    def outputs(self) -> frozenset[Output]:
        """The outputs that the protocol can give."""
        return frozenset(Output) if self is Protocol.ECDH else frozenset({Output.MATCHES})


class Output(StrEnum):
    """Who learns what: the authority its matches, only their count, or both sides the matches."""

    MATCHES = "matches"
    COUNT = "count"
    BOTH = "both"


class Sequence(StrEnum):
    """The four sequences of frames, each with a transcript of its own."""

    REQUESTS = "requests"
    ELEMENTS = "elements"
    ANSWERS = "answers"
    RETURNS = "returns"


def n_frames(n_rows: int, frame_rows: int = MAX_FRAME_ROWS) -> int:
    """Return how many frames carry ``n_rows`` elements; none for none."""
    return -(-n_rows // frame_rows)


def frame_span(index: int, n_rows: int, frame_rows: int = MAX_FRAME_ROWS) -> tuple[int, int]:
    """Return the first row and the number of rows of frame ``index``.

    Raises:
        ProtocolError: there is no such frame among ``n_rows`` rows.
    """
    if not 0 <= index < n_frames(n_rows, frame_rows):
        raise ProtocolError(
            f"frame {index} does not exist: {n_rows} rows were offered",
            mend="Use the same version of psishare on both sides.",
            reason="frame_over_offer",
        )
    start = index * frame_rows
    return start, min(frame_rows, n_rows - start)


def fingerprint_bits(n_max: int, max_query: int) -> int:
    """Return the PRF output bits to keep, so that an exchange has a false match with 2^-40.

    Args:
        n_max: the most items that the dataset may ever hold in this epoch.
        max_query: the most distinct rows that one exchange may ask.
    """
    return (
        FALSE_MATCH_BITS + (max(1, n_max) - 1).bit_length() + (max(1, max_query) - 1).bit_length()
    )
