"""A second operator's decision on an offer that the platform holds."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psishare.client.opened_home import require_role
from psishare.client.platform_rooms import platform_rooms
from psishare.exchange.approvals import Approvals, hold_of
from psishare.exchange.offer import Offer
from psishare.mandates.archive import MandateArchive
from psishare.mandates.budget import Budget
from psishare.mandates.envelope import read_envelope

if TYPE_CHECKING:
    from psishare.client.party import Party
    from psishare.exchange.approval import Verdict
    from psishare.exchange.register import Row
    from psishare.mandates.mandate import Mandate
    from psishare.parties.home import Home


@dataclass(frozen=True, slots=True)
class HeldOffer:
    """An offer that waits for a second operator.

    Attributes:
        ticket: the exchange's id, hexadecimal.
        authority: who asks.
        dataset: of what.
        kind: about which identifiers.
        rows: about how many.
        protocol: how.
        output: to learn what.
        reason: the rule that holds it.
        expires: when the ticket ends, ``YYYY-MM-DDThh:mm:ssZ``.
        mandate: under what; None where it is not kept any more.
    """

    ticket: str
    authority: str
    dataset: str
    kind: str
    rows: int
    protocol: str
    output: str
    reason: str
    expires: str
    mandate: Mandate | None


def held_offer(party: Party, ticket: str) -> HeldOffer:
    """Return what a second operator is asked to approve.

    Args:
        party: the platform.
        ticket: the exchange's id, or the beginning of one that no other shares.

    Returns:
        Its terms and its mandate.

    Raises:
        InputError: ``exchange_not_found``; ``not_held``.
        ConfigError: the home is no platform's.
    """
    require_role(party.home, "platform")
    return _shown(party, party.exchange(ticket))


def decide_on_offer(party: Party, ticket: str, operator: Home, *, verdict: Verdict) -> HeldOffer:
    """Approve a held offer with an operator's own key, or reject it; the platform's log says so.

    Args:
        party: the platform.
        ticket: as of ``held_offer``.
        operator: the operator's own home, whose card the platform has pinned as an approver's.
        verdict: ``approved`` or ``rejected``.

    Returns:
        What was decided on.

    Raises:
        InputError: ``exchange_not_found``; ``not_held``; ``approval_repeated``.
        AuthorisationError: ``approver_untrusted``; ``ticket_expired``.
        AuditError: the log cannot take the decision.
    """
    require_role(party.home, "platform")
    row = party.exchange(ticket)
    shown, home = _shown(party, row), party.home
    with closing(Budget(home.state_path)) as budget:
        rooms = platform_rooms(party, budget)
        Approvals(rooms, party.journal).decide(
            row, operator=operator.id, signer=operator.log_signer(), verdict=verdict
        )
    return shown


def _shown(party: Party, row: Row) -> HeldOffer:
    hold, offer = hold_of(row), Offer.parse(row.offer)
    envelope = MandateArchive(party.home.mandates_path).get(offer.mandate_sha256)
    return HeldOffer(
        ticket=hold.exchange_id,
        authority=offer.authority,
        dataset=offer.dataset,
        kind=offer.kind,
        rows=offer.rows,
        protocol=offer.protocol,
        output=offer.output,
        reason=hold.reason,
        expires=hold.expires,
        mandate=None if envelope is None else read_envelope(envelope).mandate,
    )
