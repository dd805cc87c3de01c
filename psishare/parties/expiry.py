"""Certificates that are about to expire, told early enough to renew them without a gap.

Source: protocols/specs/card.md, section 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from psishare.parties.tls import validity

if TYPE_CHECKING:
    from psishare.parties.card import Card

WARNING_DAYS = 60
"""Two parties and a telephone call fit into it, holidays included."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """When a party can no longer connect with what its card names.

    Attributes:
        party: whose card.
        current: until when the current certificate is valid.
        last: until when the later of current and next one is.
    """

    party: str
    current: datetime
    last: datetime

    @classmethod
    def of(cls, card: Card) -> Self:
        """Look at a card's certificates."""
        ends = [validity(certificate)[1] for certificate in card.certificates()]
        return cls(card.id, ends[0], max(ends))

    def own_warning(self, now: datetime) -> str | None:
        """Return what the card's owner should do about it soon, or None."""
        if not _is_near(self.current, now):
            return None
        when = _when(self.current, now)
        if self.last > self.current:
            return (
                f"the certificate of {self.party} {when}; the next one is in its card: once your peers"
                " have that card, `psishare party renew --switch`"
            )
        return (
            f"the certificate of {self.party} {when}: make the next one with `psishare party renew`,"
            " and give the new card to your peers"
        )

    def peer_warning(self, now: datetime) -> str | None:
        """Return what whoever has pinned the card should do about it soon, or None."""
        if not _is_near(self.last, now):
            return None
        when = _when(self.last, now)
        return f"the pinned certificate of {self.party} {when}: ask for its newer card"


def _is_near(end: datetime, now: datetime) -> bool:
    return end - now < timedelta(days=WARNING_DAYS)


def _when(end: datetime, now: datetime) -> str:
    if end < now:
        return f"expired on {end:%Y-%m-%d}"
    days = (end - now).days
    return f"expires on {end:%Y-%m-%d}, in {days} {'day' if days == 1 else 'days'}"
