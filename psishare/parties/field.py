"""The types of a card's fields: each has one spelling, which parsing and serialising keep.

Source: protocols/specs/card.md, sections 2 and 3.
"""

from __future__ import annotations

import base64
import unicodedata
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
MAX_INTEGER = 2**53 - 1
UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
JOINERS = frozenset({"\u200c", "\u200d"})


def write_time(time: datetime) -> str:
    """Return a time as documents write it: a whole second of UTC."""
    return time.astimezone(UTC).strftime(TIME_FORMAT)


def _one_spelling_of_time(value: str) -> str:
    if write_time(datetime.strptime(value, TIME_FORMAT).replace(tzinfo=UTC)) != value:
        raise ValueError("not a time as documents write it")
    return value


def _one_spelling_of_base64(value: str) -> str:
    if base64.b64encode(base64.b64decode(value, validate=True)).decode("ascii") != value:
        raise ValueError("stray bits")
    return value


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


PartyId = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([a-z0-9./-]{0,62}[a-z0-9])?$"),
    AfterValidator(_not_ours),
]
DisplayName = Annotated[
    str, StringConstraints(min_length=1, max_length=128), AfterValidator(_plain)
]
Time = Annotated[str, AfterValidator(_one_spelling_of_time)]
Base64 = Annotated[str, AfterValidator(_one_spelling_of_base64)]
Serial = Annotated[int, Field(ge=1, le=MAX_INTEGER)]
