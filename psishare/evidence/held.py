"""Held offers, as a log tells of them: held by the platform, decided on by a second operator.

Source: protocols/specs/exchange.md, "Held offers".
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psishare.audit.entry import ExchangeApproved, ExchangeHeld, ExchangeRejected
from psishare.evidence.told import contradiction
from psishare.evidence.trust import trusted_card
from psishare.exchange.approval import Approval, SignedApproval
from psishare.exchange.hold import HOLD, Hold
from psishare.keys.statement import verify_statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psishare.parties.card import Card

Decision = ExchangeApproved | ExchangeRejected

_Key = tuple[str, str]


@dataclass(slots=True)
class HeldOffer:
    """An offer that is held.

    Attributes:
        index: of the entry that says so.
        entry: that entry.
        hold: what the platform signed.
        decision: what an operator said, or None.
    """

    index: int
    entry: ExchangeHeld
    hold: Hold
    decision: Decision | None = None

    @property
    def last(self) -> str:
        """The time of the last entry about it."""
        return (self.decision or self.entry).time


@dataclass
class HeldOffers:
    """The offers that are held where the story has come to.

    Attributes:
        owner: whose log it is.
        trust: the cards that the verifier trusts, by party id.
    """

    owner: Card
    trust: Mapping[str, Card]
    _offers: dict[_Key, HeldOffer] = field(default_factory=dict)

    def hold(self, index: int, entry: ExchangeHeld) -> None:
        """Verify that the platform holds an offer, and what it signed of it."""
        hold = Hold.parse(base64.b64decode(entry.hold))
        if {hold.authority, hold.platform} != {self.owner.id, entry.peer}:
            raise contradiction("holds an offer between other parties")
        told = entry.exchange_id, entry.reason, entry.expires, entry.mandate_sha256
        signed = hold.exchange_id, hold.reason, hold.expires, hold.mandate_sha256
        if told != signed or self._is_held(entry.exchange_id, entry.peer):
            raise contradiction("holds an offer otherwise than was signed, or twice")
        verify_statement(
            trusted_card(self.trust, hold.platform).log_key,
            HOLD,
            hold.document(),
            base64.b64decode(entry.platform_signature),
            party=hold.platform,
        )
        self._offers[entry.exchange_id, entry.peer] = HeldOffer(index, entry, hold)

    def decide(self, entry: Decision) -> None:
        """Verify that an operator with a key of its own has decided on a held offer, once."""
        held = self._offers.get((entry.exchange_id, entry.peer))
        if held is None or held.decision is not None or self.owner.role != "platform":
            raise contradiction("decides on an offer that does not wait for a decision")
        approval = Approval.parse(base64.b64decode(entry.approval))
        verdict = "approved" if isinstance(entry, ExchangeApproved) else "rejected"
        if (approval.operator, approval.verdict) != (entry.operator, verdict):
            raise contradiction("tells of a decision otherwise than was signed")
        signed = SignedApproval(approval, base64.b64decode(entry.operator_signature))
        signed.verify(held.hold, trusted_card(self.trust, entry.operator).log_key)
        held.decision = entry

    def open(self, exchange_id: str, peer: str) -> None:
        """Require an offer that was held to have been approved before it is opened."""
        held = self._offers.pop((exchange_id, peer), None)
        at_platform = self.owner.role == "platform"
        if held and at_platform and not isinstance(held.decision, ExchangeApproved):
            raise contradiction("opens an exchange that was held and not approved")

    def end(self, exchange_id: str, peer: str) -> None:
        """Forget an offer that was refused, or whose exchange ended."""
        self._offers.pop((exchange_id, peer), None)

    def left(self) -> Iterator[HeldOffer]:
        """Yield the offers that are held where the log ends, and forget them."""
        yield from self._offers.values()
        self._offers.clear()

    def _is_held(self, exchange_id: str, peer: str) -> bool:
        return (exchange_id, peer) in self._offers
