"""A peer that has been revoked: what is kept of it, so that it does not come back by accident.

Source: protocols/specs/card.md, section 8.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from psishare.errors import ConfigError
from psishare.parties.card import Card, parse_card
from psishare.parties.field import Base64, Time

if TYPE_CHECKING:
    from collections.abc import Iterable

SUFFIX = ".revoked.json"


class RevokedFile(BaseModel):
    """The file that stands in the place of a pinned peer's."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    version: Literal[1]
    revoked: Time
    card_file: Base64


@dataclass(frozen=True, slots=True)
class RevokedPeer:
    """A party that was pinned, and is refused from then on.

    Attributes:
        card: the card that was pinned.
        revoked: when, ``YYYY-MM-DDThh:mm:ssZ``.
    """

    card: Card
    revoked: str

    @property
    def id(self) -> str:
        """The party's id."""
        return self.card.id

    @classmethod
    def parse(cls, document: RevokedFile) -> RevokedPeer:
        """Return what a file tells of.

        Raises:
            ConfigError: its card is not one.
        """
        return cls(parse_card(base64.b64decode(document.card_file)), document.revoked)

    def is_kin_of(self, card: Card) -> bool:
        """Tell whether a card is of this party, or has its pinned key or one of its certificates."""
        return (
            card.id == self.id
            or card.log_key == self.card.log_key
            or bool(set(card.certificate_digests()) & set(self.card.certificate_digests()))
        )


def require_unrevoked(revoked: Iterable[RevokedPeer], card: Card) -> None:
    """Refuse a card that would bring a revoked peer back.

    Raises:
        ConfigError: ``peer_revoked``.
    """
    for peer in revoked:
        if peer.is_kin_of(card):
            raise was_revoked(peer)


def was_revoked(peer: RevokedPeer) -> ConfigError:
    """Return the refusal of a revoked peer."""
    return ConfigError(
        f"{peer.id} was revoked here on {peer.revoked}",
        mend="If you mean to trust it again, compare the fingerprint of its new card with its owner, and"
        " use `psishare peer add --reinstate`.",
        reason="peer_revoked",
        party=peer.id,
    )
