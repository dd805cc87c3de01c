"""The hold: what a platform signs of an offer that a second operator has to approve first.

It is the offer's ticket, and its number is the exchange id (protocols/specs/exchange.md, "Held
offers"). It binds the offer's digest, so that what is approved is that offer and no other.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from psishare.exchange.document import Digest, Document, PartyId, Time

HOLD = "hold"


class Hold(Document):
    """That an offer waits, for what reason, and until when."""

    version: Literal[1] = 1
    exchange_id: Digest
    authority: PartyId
    platform: PartyId
    mandate_sha256: Digest
    reason: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    time: Time
    expires: Time
