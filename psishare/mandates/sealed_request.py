"""The sealed request: a list that was blinded in advance, as the mandate that approves it names it.

The mandate holds the digest of every frame. A platform that checks them evaluates exactly the elements
that the validator has recomputed, and an auditor finds them again in the transcript that both parties
signed. Source: protocols/specs/mandate.md, section 14.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from psishare.mandates.field import MAX_INTEGER, Sha256

LABEL = b"psishare/sealed-request/v1"
MAX_FRAMES = 512
MAX_FRAME_ROWS = 32_768

Namespace = Annotated[str, StringConstraints(pattern=r"^[a-z0-9./-]{0,64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


class CanonicalForm(_Part):
    """The version and digest of the canonical form that the list is in."""

    version: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    digest: Sha256


class SealedRequest(_Part):
    """Which frames may be asked, and no others.

    Attributes:
        namespace: of the identifiers.
        ruleset: the canonical form that they are in.
        rows: how many there are.
        frame_rows: rows of every frame but the last.
        frames: the digest D_i of each request frame, in order (exchange.md, section 8).
    """

    namespace: Namespace
    ruleset: CanonicalForm
    rows: Annotated[int, Field(ge=1, le=MAX_FRAMES * MAX_FRAME_ROWS)]
    frame_rows: Annotated[int, Field(ge=1, le=MAX_FRAME_ROWS)]
    frames: Annotated[tuple[Sha256, ...], Field(min_length=1, max_length=MAX_FRAMES, strict=False)]

    @model_validator(mode="after")
    def _as_many_frames_as_rows_need(self) -> Self:
        if len(self.frames) != -(-self.rows // self.frame_rows):
            raise ValueError("not as many frames as the rows need")
        return self

    @property
    def digest(self) -> bytes:
        """What names the request among people: 32 bytes over every frame's digest."""
        frames = b"".join(bytes.fromhex(frame) for frame in self.frames)
        return hashlib.sha256(LABEL + b"\x00" + frames).digest()

    def approves(self, index: int, digest: bytes) -> bool:
        """Tell whether a request frame of this number and digest is one of the approved."""
        return 0 <= index < len(self.frames) and self.frames[index] == digest.hex()
