"""The types of a mandate's fields: each has one spelling, which parsing and serialising keep.

Source: protocols/specs/mandate.md, section 2.
"""

from __future__ import annotations

import base64
import unicodedata
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, StringConstraints

from psishare.errors import VerificationError
from psishare.keys.sealing import require_sealing_key

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
MAX_INTEGER = 2**53 - 1
UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
JOINERS = frozenset({"\u200c", "\u200d"})


def _read_time(value: object) -> object:
    if not isinstance(value, str):
        return value
    return datetime.strptime(value, TIME_FORMAT).replace(tzinfo=UTC)


def _whole_utc_second(value: datetime) -> datetime:
    if value.tzinfo is None or value.microsecond:
        raise ValueError("not a whole second with a time zone")
    return value.astimezone(UTC)


def _write_time(value: datetime) -> str:
    return value.strftime(TIME_FORMAT)


def _plain(value: str) -> str:
    """Refuse what could mislead a terminal or a reader: controls, direction overrides."""
    if value != value.strip(" ") or any(
        unicodedata.category(character) in UNPRINTABLE and character not in JOINERS
        for character in value
    ):
        raise ValueError("not plain text")
    return value


def _not_ours(value: str) -> str:
    """Refuse the prefix of our own statements, which a note's first line must not begin with."""
    if value.startswith("psishare/"):
        raise ValueError("reserved")
    return value


def _sorted_set(values: tuple[str, ...]) -> tuple[str, ...]:
    if list(values) != sorted(set(values)):
        raise ValueError("not sorted, or not distinct")
    return values


def _from_base64(value: object) -> object:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


def _sealing_key(value: bytes) -> bytes:
    """Refuse a key to which nothing could be sealed when an exchange needs it."""
    try:
        require_sealing_key(value)
    except VerificationError:
        raise ValueError("not a sealing key") from None
    return value


def _to_base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


Time = Annotated[
    datetime,
    BeforeValidator(_read_time),
    AfterValidator(_whole_utc_second),
    PlainSerializer(_write_time, return_type=str),
]
"""A whole second of UTC; in a document ``YYYY-MM-DDThh:mm:ssZ``."""

PartyId = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([a-z0-9./-]{0,62}[a-z0-9])?$"),
    AfterValidator(_not_ours),
]
MandateId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{16,64}$")]
Kind = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")]
DatasetName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_plain)]
Sentence = Annotated[str, StringConstraints(min_length=1, max_length=512), AfterValidator(_plain)]
LongText = Annotated[str, StringConstraints(min_length=1, max_length=2048), AfterValidator(_plain)]
Cap = Annotated[int, Field(ge=1, le=MAX_INTEGER)]
SortedSet = AfterValidator(_sorted_set)
SealingPublicKey = Annotated[
    bytes,
    BeforeValidator(_from_base64),
    AfterValidator(_sealing_key),
    PlainSerializer(_to_base64, return_type=str),
]
"""An HPKE MLKEM768-X25519 public key, raw; in a document base64."""
