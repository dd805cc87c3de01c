"""The cards that a verifier trusts: the one source of keys, never the evidence itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psishare.parties.card import Card


def trusted_card(trust: Mapping[str, Card], party: str) -> Card:
    """Return a party's card from those that the verifier trusts, by party id.

    Raises:
        ConfigError: it is not among them.
    """
    card = trust.get(party)
    if card is None:
        raise ConfigError(
            f"the card of {party} is not among those that are trusted",
            mend="Give its card, as its owner exported it, with --trust.",
            reason="card_missing",
            party=party,
        )
    return card
