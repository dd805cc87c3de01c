"""What offers, answers and receipts have in common: strict canonical documents.

Source: protocols/specs/exchange.md, section 1.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, Field, ValidationError

from psishare.errors import InputError, VerificationError
from psishare.keys import canonical
from psishare.keys.canonical_model import CanonicalModel

if TYPE_CHECKING:
    from pydantic import BaseModel

MAX_BYTES = 64 * 1024
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Rows = Annotated[int, Field(ge=0, le=canonical.MAX_INTEGER)]
Positive = Annotated[int, Field(ge=1, le=canonical.MAX_INTEGER)]
PartyId = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9./-]{0,62}[a-z0-9])?$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]


def _require_time(text: str) -> str:
    """Refuse what has the form of a time and is none, such as a thirteenth month."""
    read_time(text)
    return text


Time = Annotated[
    str,
    Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"),
    AfterValidator(_require_time),
]


class Document(CanonicalModel):
    """A canonical JSON document: strict types, every field, no other."""

    def document(self) -> bytes:
        """Return the canonical bytes, which are what is signed and digested."""
        return self.canonical_bytes()

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
        parsed = cls.read_plain(data) if len(data) <= MAX_BYTES else None
        return parsed or cls._parse_any(data)

    @classmethod
    def _parse_any(cls, data: bytes) -> Self:
        """Parse a document's bytes whatever they hold, and name what is wrong with them."""
        what = f"the {cls.__name__.lower()}"
        try:
            parsed = cls.model_validate(canonical.read_object(data, max_bytes=MAX_BYTES, what=what))
            again = parsed.document()
        except ValidationError as error:
            raise _malformed(what, ", ".join(_fields(error, cls))) from None
        except InputError:
            raise _malformed(what, "it holds a value that is not permitted") from None
        # Another spelling of it is told by the way back, as are a field that is missing and got its
        # default, and true, which pydantic takes for 1.
        if again != data:
            raise _malformed(what, "a field is missing or not in its canonical form")
        return parsed


def _fields(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return the names of the fields that are wrong; a name that the peer made up is not repeated."""
    names = {str(e["loc"][0]) for e in error.errors() if e["loc"]}
    known = names & model.model_fields.keys()
    return sorted(known) or ["an unknown field"]


def _malformed(what: str, fault: str) -> VerificationError:
    return VerificationError(
        f"{what} is malformed: {fault}",
        mend="Use the same version of psishare on both sides.",
        reason="document_malformed",
    )


def now() -> datetime:
    """Return the time, UTC, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def write_time(time: datetime) -> str:
    """Return a time as documents write it."""
    return time.astimezone(UTC).strftime(TIME_FORMAT)


@lru_cache(1024)
def read_time(text: str) -> datetime:
    """Return the time that a parsed document's text stands for, UTC."""
    # The form is fixed; strptime would take a hundred times as long. The documents of one exchange
    # repeat its times.
    date = int(text[0:4]), int(text[5:7]), int(text[8:10])
    return datetime(*date, int(text[11:13]), int(text[14:16]), int(text[17:19]), tzinfo=UTC)
