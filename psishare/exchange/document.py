"""What offers, answers and receipts have in common: strict canonical documents.

Source: protocols/specs/exchange.md, section 1.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from psishare.errors import VerificationError
from psishare.keys import canonical

MAX_BYTES = 64 * 1024
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Rows = Annotated[int, Field(ge=0, le=2**53 - 1)]
PartyId = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9./-]{0,62}[a-z0-9])?$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]


class Document(BaseModel):
    """A canonical JSON document: strict types, every field, no other."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    def document(self) -> bytes:
        """Return the canonical bytes, which are what is signed and digested."""
        return canonical.dumps(self.model_dump(mode="json"))

    @property
    def sha256(self) -> bytes:
        """The SHA-256 of the canonical bytes."""
        return hashlib.sha256(self.document()).digest()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parse a document's bytes strictly.

        Raises:
            VerificationError: not canonical; or a field is missing, unknown or wrong. Names the
                fields, never their values.
        """
        what = f"the {cls.__name__.lower()}"
        try:
            parsed = cls.model_validate(canonical.loads(data, max_bytes=MAX_BYTES, what=what))
        except ValidationError as error:
            raise _malformed(f"{what} is malformed: {', '.join(_fields(error))}") from None
        # Pydantic takes true for 1, so only the way back shows that each field was spelt rightly.
        if parsed.document() != data:
            raise _malformed(f"{what} is not in its canonical form")
        return parsed


def _fields(error: ValidationError) -> list[str]:
    return sorted({".".join(str(part) for part in e["loc"]) or "fields" for e in error.errors()})


def now() -> datetime:
    """Return the time, UTC, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def write_time(time: datetime) -> str:
    """Return a time as documents write it."""
    return time.astimezone(UTC).strftime(TIME_FORMAT)


def read_time(text: str) -> datetime:
    """Parse a document's time.

    Raises:
        VerificationError: not a time.
    """
    try:
        return datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        raise _malformed("a document holds a time that does not exist") from None


def _malformed(message: str) -> VerificationError:
    return VerificationError(
        message,
        mend="Use the same version of psishare on both sides.",
        reason="document_malformed",
    )
