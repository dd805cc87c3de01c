"""Admission: whether an offer may be opened (protocols/specs/exchange.md, section 6).

Nothing here touches the group. The first rule that fails is the reason code; the platform logs it.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from psishare.errors import AuthorisationError, ProtocolError
from psishare.exchange.document import now, read_time
from psishare.exchange.offer import OFFER, WIRE_VERSION, Offer
from psishare.keys.statement import verify_statement
from psishare.mandates.asked import Asked
from psishare.mandates.budget import Claim
from psishare.mandates.check import check_mandate
from psishare.mandates.decision import Decision, Verdict, decide
from psishare.mandates.envelope import TrustedKeys, VerifiedMandate, verify_envelope
from psishare.mandates.notices import Notices
from psishare.psi import suite
from psishare.psi.openmined import MAX_ROWS
from psishare.psi.suite import Output

if TYPE_CHECKING:
    from psishare.exchange.catalogue import Catalogue
    from psishare.exchange.offering import Offering
    from psishare.exchange.rooms import PlatformRooms
    from psishare.parties.peers import Peer
    from psishare.transport.channel import Caller
    from psishare.transport.wire_pb2 import OfferRequest


class Admission:
    """Decides whether an offer may be opened.

    Args:
        rooms: home, peers, policy and budget are used.
        catalogue: what is served.
    """

    def __init__(self, rooms: PlatformRooms, catalogue: Catalogue) -> None:
        self._rooms = rooms
        self._id = rooms.home.card.id
        self._catalogue = catalogue
        self._notices = Notices(rooms.home.mandates_path, self._id)

    def require_own(self, offer: Offer, request: OfferRequest, peer: Peer, caller: Caller) -> None:
        """Check who offers, to whom, on which connection (section 6, steps 1 and 2)."""
        if offer.authority != peer.id:
            raise another_party(peer)
        same_connection = (
            offer.authority_certificate == caller.certificate_sha256.hex()
            and bytes.fromhex(offer.platform_certificate) in self._own_ends(caller)
            and offer.platform == self._id
        )
        if not same_connection:
            raise ProtocolError(
                "the offer was made for another connection or another platform",
                mend="Make a new offer on this connection.",
                reason="offer_misdirected",
                party=peer.id,
            )
        verify_statement(
            peer.card.log_key, OFFER, request.offer.document, request.offer.signature, party=peer.id
        )

    def _own_ends(self, caller: Caller) -> frozenset[bytes]:
        """Return what may stand for this side's end of the channel that a call came on.

        gRPC does not tell which of this party's certificates a connection was made under.
        """
        home = self._rooms.home
        if caller.party is not None:
            return frozenset({home.card.offline_end})
        return self._rooms.former_certificates | {home.tls_identity().certificate_sha256}

    def require_timely(self, offer: Offer, caller: Caller) -> None:
        """Check that the offer was made now, by this clock and its tolerance (section 6, step 4).

        One that a courier brought may be older: its parcel says when it expires (offline.md, 8).
        """
        skew = read_time(offer.time) - now()
        if caller.party is None:
            skew = abs(skew)
        if skew > self.clock_tolerance:
            raise AuthorisationError(
                f"the offer's time is {int(skew.total_seconds())} seconds from this clock",
                mend="Set both clocks, or raise the platform's clock tolerance.",
                reason="clock_skew",
                party=offer.authority,
            )

    @property
    def clock_tolerance(self) -> timedelta:
        """By how much an authority's clock may differ from this one."""
        return timedelta(seconds=self._rooms.policy.clock_tolerance_s)

    def require_served(self, offer: Offer) -> Offering:
        """Check that versions, dataset, kind, ruleset and output agree (section 6, step 5)."""
        protocol = suite.Protocol(offer.protocol)
        if (offer.wire_version, offer.suite) != (WIRE_VERSION, protocol.suite):
            raise _mismatch(
                "version_mismatch",
                f"offered is wire version {offer.wire_version} with the suite"
                f" {offer.suite}, here is version {WIRE_VERSION} with {protocol.suite}",
            )
        offering = self._catalogue.find(offer.dataset, protocol)
        if offering is None:
            raise _unserved(offer.dataset, protocol)
        require_not_revoked(offering)
        if (offer.kind, offer.namespace) != (offering.kind, offering.namespace):
            raise _mismatch("kind_mismatch", f"{offer.dataset} holds another kind or namespace")
        if offer.ruleset != offering.ruleset:
            raise _mismatch(
                "ruleset_mismatch",
                f"the canonical form of {offer.kind} differs: offered version"
                f" {offer.ruleset.version} ({offer.ruleset.digest[:12]}), here version"
                f" {offering.ruleset.version} ({offering.ruleset.digest[:12]})",
            )
        if offer.manifest_sha256 != offering.manifest_sha256:
            raise _mismatch("manifest_mismatch", f"{offer.dataset} has another epoch by now")
        if Output(offer.output) not in protocol.outputs:
            raise _mismatch("output_unsupported", f"{protocol} cannot give {offer.output}")
        most = offering.max_query
        if protocol is suite.Protocol.OPENMINED:
            most = min(most, MAX_ROWS)
        if offer.rows > most:
            raise AuthorisationError(
                f"{offer.rows:,} rows are more than may be asked in one exchange, {most:,}",
                mend="Split the list over several exchanges.",
                reason="over_max_query",
            )
        return offering

    def authorise(
        self, offer: Offer, envelope: bytes, offering: Offering, *, approved: bool
    ) -> tuple[VerifiedMandate, Decision]:
        """Decide by mandate, policy and budget, which is reserved (section 6, steps 7 to 9).

        Args:
            offer: from its authority, on its connection, and served.
            envelope: the mandate's.
            offering: what is asked.
            approved: whether a second operator has approved exactly this offer.

        Returns:
            The mandate, and the decision: to allow, and then the budget is reserved, or to hold.

        Raises:
            AuthorisationError: the first rule that refuses.
        """
        if hashlib.sha256(envelope).hexdigest() != offer.mandate_sha256:
            raise AuthorisationError(
                "the mandate is not the one that the offer names",
                mend="Send the mandate with its own offer.",
                reason="mandate_mismatch",
            )
        verified = self.verify_mandate(envelope)
        request, tolerance_s = offer.request, self._rooms.policy.clock_tolerance_s
        # Before what may have become known since: what the mandate says of itself.
        check_mandate(verified.mandate, request, now=now(), clock_tolerance_s=tolerance_s)
        self.require_in_force(verified)
        asked = Asked(
            mandate=verified.mandate,
            validated=verified.validated,
            request=request,
            dataset_rows=offering.n_items,
            epoch_began=offering.epoch_began,
            approved=approved,
        )
        decision = self._reserve(offer, asked)
        if decision.verdict is Verdict.REFUSE:
            raise decision.refusal()
        return verified, decision

    def _reserve(self, offer: Offer, asked: Asked) -> Decision:
        """Decide on an offer; what is allowed is reserved in the same step."""
        policy, time = self._rooms.policy, now()
        claim = Claim(
            exchange_id=offer.exchange_id,
            mandate_id=asked.mandate.id,
            authority=offer.authority,
            kind=offer.kind,
            rows=offer.rows,
            opened_at=time,
            day=policy.day(time),
        )
        return self._rooms.budget.reserve(claim, lambda spent: decide(policy, asked, spent, time))

    def verify_mandate(self, envelope: bytes) -> VerifiedMandate:
        """Verify a mandate's signatures with the keys of the parties trusted here.

        One that supersedes another puts an end to it from here on. Whether it is itself in force is
        for ``require_in_force`` to say.
        """
        trusted = self._trusted()
        verified = verify_envelope(envelope, trusted, allow_unvalidated=True)
        self._notices.learn(verified, trusted)
        return verified

    def require_in_force(self, verified: VerifiedMandate) -> None:
        """Refuse a mandate that lacks its validator, is revoked or superseded (mandate.md, section 6).

        Called when an exchange opens or a dataset is delivered, and at every call of an open exchange.

        Raises:
            AuthorisationError: the first rule that fails, as its reason.
        """
        policy = self._rooms.policy
        self._notices.require_in_force(verified, self._trusted(), policy, now=now())

    def _trusted(self) -> TrustedKeys:
        peers = self._rooms.peers
        return TrustedKeys(issuers=peers.trusted("issuer"), validators=peers.trusted("validator"))


def require_not_revoked(offering: Offering) -> None:
    """Refuse a dataset that the platform has revoked, while it is being served too.

    Raises:
        AuthorisationError: it is revoked.
    """
    if offering.is_revoked:
        raise _mismatch("dataset_revoked", f"{offering.name} has been revoked")


def another_party(peer: Peer) -> AuthorisationError:
    """Return the error of a pinned party that speaks in another's name."""
    return AuthorisationError(
        f"the caller's certificate is {peer.id}'s, but it speaks in another party's name",
        mend="Use the home folder of the party whose mandate this is.",
        reason="peer_impersonation",
        party=peer.id,
    )


def _unserved(dataset: str, protocol: suite.Protocol) -> AuthorisationError:
    how = "encode it, and serve it with --dataset"
    if protocol is not suite.Protocol.OPRF:
        how = "serve the list with --data, --key and --name"
    return AuthorisationError(
        f"no dataset {dataset} is served with {protocol}",
        mend=f"Ask the platform to {how}.",
        reason="dataset_unknown",
    )


def _mismatch(reason: str, fault: str) -> AuthorisationError:
    return AuthorisationError(
        fault,
        mend="Agree with the platform on versions, dataset and protocol, then offer again.",
        reason=reason,
    )
