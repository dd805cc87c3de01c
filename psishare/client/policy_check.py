"""What a platform would make of an offer, told beforehand and rule by rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psishare.client.opened_home import require_role
from psishare.datasets.store import DatasetStore
from psishare.errors import AuthorisationError, ConfigError, InputError
from psishare.exchange.document import now
from psishare.exchange.offer import Offer
from psishare.mandates.archive import MandateArchive
from psishare.mandates.asked import Asked
from psishare.mandates.budget import Budget, Claim
from psishare.mandates.check import Request
from psishare.mandates.decision import Decision, Verdict, decide
from psishare.mandates.envelope import (
    TrustedKeys,
    VerifiedMandate,
    read_envelope,
    verify_envelope,
)
from psishare.mandates.notices import Notices
from psishare.mandates.policy import Policy
from psishare.mandates.rule import Rule
from psishare.parties.peers import Peers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from psishare.client.party import Party
    from psishare.datasets.dataset import Dataset
    from psishare.mandates.mandate import Mandate
    from psishare.mandates.spent import Spent
    from psishare.parties.home import Home

NO_EXCHANGE = bytes(32)
"""Stands for the id of an exchange that nobody has offered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferTerms:
    """What an authority would offer.

    Attributes:
        dataset: the platform's name for the set.
        rows: distinct identifiers.
        kind: their kind; the mandate's, where it has only one and this is None.
        namespace: their namespace.
        protocol: ``oprf``, ``ecdh`` or ``openmined``.
        output: ``matches``, ``count`` or ``both``.
        dataset_rows: distinct identifiers of the dataset; those of the encoded one, where this is None.
        approved: whether a second operator has approved it.
    """

    dataset: str
    rows: int
    kind: str | None = None
    namespace: str = ""
    protocol: str = "oprf"
    output: str = "matches"
    dataset_rows: int | None = None
    approved: bool = False


@dataclass(frozen=True, slots=True)
class PolicyCheck:
    """What would become of an offer.

    Attributes:
        verdict: ``allow``, ``hold`` or ``refuse``.
        reason: of the rule that decides; None where it is allowed.
        sentence: what that rule found.
        rules: every rule that was looked at, in order.
        mandate: the mandate.
        spent: what is reserved and charged already.
        at: the time for which this was worked out.
    """

    verdict: str
    reason: str | None
    sentence: str | None
    rules: tuple[Rule, ...]
    mandate: Mandate
    spent: Spent
    at: datetime


def check_policy(
    home: Home, envelope: bytes, terms: OfferTerms, *, at: datetime | None = None
) -> PolicyCheck:
    """Tell what this platform would make of an offer, and why; nothing is reserved or logged.

    What only an offer itself shows is left out: who is connected, whether dataset and canonical form
    are the ones served, and the limits of the process that serves.

    Args:
        home: of a platform.
        envelope: the mandate's file.
        terms: what would be offered.
        at: the time at which; now where None.

    Returns:
        The decision, and each rule with whether it passes.

    Raises:
        AuthorisationError: the mandate cannot be read at all.
        InputError: ``kind_unknown``: the mandate has several kinds and none is named.
        ConfigError: the home is no platform's, or its policy is not valid.
    """
    require_role(home, "platform")
    policy, time = Policy.load(home.policy_path), at or now()
    mandate = read_envelope(envelope).mandate
    signed, verified = _signed(envelope, home)
    encoded = _encoded(home, terms)
    asked = Asked(
        mandate=mandate,
        validated=verified is None or verified.validated,
        request=_request(mandate, terms),
        dataset_rows=_dataset_rows(terms, encoded),
        epoch_began=None if encoded is None else encoded.began,
        approved=terms.approved,
        known=() if verified is None else tuple(_known(verified, home, policy, time)),
    )
    spent = _spent(home, policy, asked, time)
    decided = decide(policy, asked, spent, time)
    decision = Decision((signed, *decided.refusing), decided.holding)
    rule = decision.rule
    return PolicyCheck(
        verdict=decision.verdict.value,
        reason=None if rule is None else rule.reason,
        sentence=None if rule is None else rule.message,
        rules=(
            decision.refusing
            if decision.verdict is Verdict.REFUSE
            else (*decision.refusing, *decision.holding)
        ),
        mandate=mandate,
        spent=spent,
        at=time,
    )


def check_offer(
    party: Party, exchange_id: str, *, approved: bool = False, at: datetime | None = None
) -> PolicyCheck:
    """Tell what this platform would make, now, of an offer that it holds or has opened before.

    Args:
        party: the platform.
        exchange_id: hexadecimal, or the beginning of one that no other shares.
        approved: as if a second operator had approved it.
        at: the time at which; now where None.

    Returns:
        As ``check_policy``; what the exchange itself has reserved counts as spent.

    Raises:
        InputError: ``exchange_not_found``; ``mandate_missing``: its mandate is not kept here.
        ConfigError: the home is no platform's, or its policy is not valid.
    """
    require_role(party.home, "platform")
    offer = Offer.parse(party.exchange(exchange_id).offer)
    envelope = MandateArchive(party.home.mandates_path).get(offer.mandate_sha256)
    if envelope is None:
        raise InputError(
            "the mandate of this offer is not kept here: it was refused before it was of use",
            mend="Give the mandate's file and the terms of the offer instead.",
            reason="mandate_missing",
        )
    terms = OfferTerms(
        dataset=offer.dataset,
        rows=offer.rows,
        kind=offer.kind,
        namespace=offer.namespace,
        protocol=offer.protocol,
        output=offer.output,
        approved=approved,
    )
    return check_policy(party.home, envelope, terms, at=at)


def _trusted(home: Home) -> TrustedKeys:
    peers = Peers(home.peers_path)
    return TrustedKeys(peers.trusted("issuer"), peers.trusted("validator"))


def _signed(envelope: bytes, home: Home) -> tuple[Rule, VerifiedMandate | None]:
    """Tell whether the mandate is signed by whom this platform trusts, as one more rule."""
    try:
        verified = verify_envelope(envelope, _trusted(home), allow_unvalidated=True)
    except AuthorisationError as error:
        return Rule(False, error.reason, error.message), None  # noqa: FBT003  a tuple's field
    return Rule(True, "mandate_unsigned", ""), verified  # noqa: FBT003  a tuple's field


def _known(verified: VerifiedMandate, home: Home, policy: Policy, time: datetime) -> Iterator[Rule]:
    """Yield what has become known of the mandate, as one more rule."""
    try:
        notices = Notices(home.mandates_path, home.id)
        notices.require_in_force(verified, _trusted(home), policy, now=time)
    except AuthorisationError as error:
        yield Rule(False, error.reason, error.message)  # noqa: FBT003  a tuple's field
    else:
        yield Rule(True, "mandate_revoked", "")  # noqa: FBT003  a tuple's field


def _request(mandate: Mandate, terms: OfferTerms) -> Request:
    kind = terms.kind or (mandate.kinds[0] if len(mandate.kinds) == 1 else None)
    if kind is None:
        raise InputError(
            f"the mandate allows several kinds: {', '.join(mandate.kinds)}",
            mend="Say with --kind which one would be asked about.",
            reason="kind_unknown",
        )
    sealed = mandate.sealed_request
    return Request(
        authority=mandate.authority,
        platform=mandate.platform,
        protocol=terms.protocol,
        dataset=terms.dataset,
        kind=kind,
        output=terms.output,
        rows=terms.rows,
        namespace=terms.namespace,
        ruleset_sha256=None if sealed is None else sealed.ruleset.digest,
        frame_rows=None if sealed is None else sealed.frame_rows,
    )


def _encoded(home: Home, terms: OfferTerms) -> Dataset | None:
    """Return the dataset; None for a list that is served without being encoded."""
    store = DatasetStore(home.datasets_path, public_key=home.card.log_key, vault=home.vault)
    try:
        return store.open(terms.dataset)
    except ConfigError:
        return None


def _dataset_rows(terms: OfferTerms, encoded: Dataset | None) -> int | None:
    # The size of a list that is not encoded is not known beforehand.
    rows = encoded.manifest.items if encoded is not None else None
    return rows if terms.dataset_rows is None else terms.dataset_rows


def _spent(home: Home, policy: Policy, asked: Asked, time: datetime) -> Spent:
    claim = Claim(
        exchange_id=NO_EXCHANGE,
        mandate_id=asked.mandate.id,
        authority=asked.request.authority,
        kind=asked.request.kind,
        rows=asked.request.rows,
        opened_at=time,
        day=policy.day(time),
    )
    with Budget(home.state_path) as budget:
        return budget.spent(claim)
