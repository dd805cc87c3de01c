"""Succession: a party's pinned key vouches for another party, with fresh keys, that is to follow it.

Source: protocols/specs/card.md, section 9.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from psishare.errors import ConfigError, PsishareError, VerificationError
from psishare.keys import canonical
from psishare.keys.statement import sign_statement, verify_statement
from psishare.parties.card import Card, parse_card
from psishare.parties.field import Base64, PartyId, Time, write_time

if TYPE_CHECKING:
    from datetime import datetime

    from psishare.keys.signer import Signer

LABEL = "succession"
MAX_BYTES = 128 * 1024


class _Fields(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


class _Statement(_Fields):
    version: Literal[1]
    old: PartyId
    new: PartyId
    card_sha256: str
    time: Time

    def document(self) -> bytes:
        fields = self.model_dump()
        return canonical.dumps({_SPELLED.get(name, name): value for name, value in fields.items()})


_SPELLED = {"old": "from", "new": "to"}
"""``from`` is a word of Python, so the fields have names of their own there."""
_NAMED = {spelled: name for name, spelled in _SPELLED.items()}


class _File(_Fields):
    succession: dict[str, int | str]
    signature: Base64
    card_file: Base64


@dataclass(frozen=True, slots=True)
class Succession:
    """A succession whose form is right, and whose signature nobody has verified yet.

    Attributes:
        old: the id of the party that vouches.
        card: the successor's card, verified by itself.
        card_file: that card's file.
    """

    old: str
    card: Card
    card_file: bytes
    _document: bytes
    _signature: bytes

    def verify(self, old: Card) -> None:
        """Verify that the party which this card pins vouches for its successor.

        Raises:
            ConfigError: ``succession_invalid``.
        """
        if old.id != self.old:
            raise _invalid(f"is of {self.old}, not of {old.id}")
        if self.card.id == old.id or self.card.role != old.role:
            raise _invalid("names a party of the same id or of another role as successor")
        try:
            verify_statement(old.log_key, LABEL, self._document, self._signature, party=old.id)
        except VerificationError:
            raise _invalid(f"is not signed by the key by which {old.id} is known here") from None


def sign_succession(signer: Signer, old: Card, card_file: bytes, *, now: datetime) -> bytes:
    """Let a party vouch for its successor, and return the file for its peers.

    Args:
        signer: the old party's pinned key.
        old: its card.
        card_file: the successor's, as exported.
        now: with a time zone.

    Raises:
        ConfigError: ``succession_invalid``, the same id or another role; or the card is not one.
    """
    new = parse_card(card_file)
    statement = _Statement(
        version=1, old=old.id, new=new.id, card_sha256=new.sha256.hex(), time=write_time(now)
    )
    document = statement.document()
    data = canonical.dumps(
        {
            "succession": canonical.loads(document, max_bytes=MAX_BYTES, what="the succession"),
            "signature": _text(sign_statement(signer, LABEL, document)),
            "card_file": _text(card_file),
        }
    )
    parse_succession(data).verify(old)
    return data


def require_other_id(old: Card, new_id: str) -> None:
    """Refuse a successor of the party's own id: its log would be another of the same name.

    Raises:
        ConfigError: ``succession_invalid``.
    """
    if new_id == old.id:
        raise _invalid("would be of the party itself: a successor has an id of its own")


def parse_succession(data: bytes) -> Succession:
    """Parse a succession file strictly, and the card in it.

    Raises:
        ConfigError: ``succession_invalid``; or the card is not one, as ``parse_card`` says.
    """
    try:
        file = _File.model_validate(
            canonical.loads(data, max_bytes=MAX_BYTES, what="the succession")
        )
        fields = {_NAMED.get(name, name): value for name, value in file.succession.items()}
        statement = _Statement.model_validate(fields)
    except (PsishareError, ValidationError):
        raise _invalid("does not have the fields of a succession") from None
    document = statement.document()
    if document != canonical.dumps(file.succession):
        raise _invalid("does not have the fields of a succession")
    card_file = base64.b64decode(file.card_file)
    card = parse_card(card_file)
    if (card.id, card.sha256.hex()) != (statement.new, statement.card_sha256):
        raise _invalid("comes with another card than the one that it vouches for")
    return Succession(statement.old, card, card_file, document, base64.b64decode(file.signature))


def is_succession(data: bytes) -> bool:
    """Tell whether a file is meant to be a succession rather than a card."""
    try:
        fields = canonical.loads(data, max_bytes=MAX_BYTES, what="the file")
    except VerificationError:
        return False
    return "succession" in fields


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _invalid(fault: str) -> ConfigError:
    return ConfigError(
        f"the succession {fault}",
        mend="Do not use it; reach the party by a way that you trust, and compare the fingerprint of its"
        " new card.",
        reason="succession_invalid",
    )
