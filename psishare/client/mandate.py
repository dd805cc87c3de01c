"""Mandates as those who draft and hold them see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from psishare.errors import ConfigError
from psishare.exchange.document import now
from psishare.exchange.journal import Journal
from psishare.keys.durable_file import write_durably
from psishare.mandates.archive import MandateArchive
from psishare.mandates.case_reference import CaseReference
from psishare.mandates.check import CLOCK_TOLERANCE_S, Request, check_mandate
from psishare.mandates.draft import draft
from psishare.mandates.envelope import (
    TrustedKeys,
    VerifiedMandate,
    new_envelope,
    read_envelope,
    verify_envelope,
)
from psishare.mandates.notices import Notices
from psishare.mandates.policy import Emergency, Policy
from psishare.mandates.revocation import (
    RevocationList,
    read_revocations,
    revoke,
    sign_revocations,
)
from psishare.mandates.revocation_folder import RevocationFolder
from psishare.parties.peers import Peers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psishare.mandates.mandate import Mandate
    from psishare.parties.home import Home


from psishare.client.opened_home import LOGGING_ROLES, open_log
from psishare.client.request import fields_of_request


@dataclass(frozen=True, slots=True)
class DraftedMandate:
    """A mandate that nobody has signed yet.

    Attributes:
        mandate: its content.
        envelope: its file's bytes.
    """

    mandate: Mandate
    envelope: bytes


def draft_mandate(
    home: Home, case: str, *, request: bytes | None = None, **fields: Any
) -> DraftedMandate:
    """Draft a mandate, and keep its case's reference, sealed to this home, in its ``mandates``.

    Args:
        home: whoever drafts it.
        case: the reference under which the case is kept; only a commitment to it leaves this home.
        request: a prepared list's file, which the mandate is to approve; parties, kind, dataset and
            rows are its own then, and need not be given.
        fields: the keywords of ``psishare.mandates.draft.draft``, but for ``case``.

    Returns:
        The mandate, and its envelope without a signature.

    Raises:
        InputError: a field is not what protocols/specs/mandate.md allows, or not what the request says.
        ConfigError: the reference cannot be kept.
    """
    if request is not None:
        fields = fields_of_request(request, fields)
    if fields.get("max_rows_total") is None:
        most = fields.get("max_rows_per_exchange", 0)
        fields["max_rows_total"] = most * fields.get("max_exchanges", 1)
    reference = CaseReference.new(case)
    mandate = draft(case=reference, **fields)
    sealed = reference.seal(home.card.sealing_key_bytes)
    write_durably(
        home.mandates_path / f"{mandate.id}.case",
        sealed,
        error=ConfigError,
        reason="home_unwritable",
    )
    return DraftedMandate(mandate, new_envelope(mandate))


def verify_mandate(envelope: bytes, home: Home) -> VerifiedMandate:
    """Verify that a mandate is signed by parties that are trusted here, and in force now.

    Args:
        envelope: the mandate's file.
        home: whose peers, policy, revocation lists and known successions count.

    Returns:
        The mandate, with who signed it and the envelope's digest.

    Raises:
        AuthorisationError: it is malformed, not signed as it must be, not valid yet, expired, revoked
            or superseded, or this home's policy wants another validator.
    """
    trusted = _trusted(home)
    verified = verify_envelope(envelope, trusted, allow_unvalidated=True)
    mandate, sealed = verified.mandate, verified.mandate.sealed_request
    # Whether an emergency may be used is for the platform to say that is asked.
    own = home.card.role == "platform"
    policy = Policy.load(home.policy_path) if own else Policy(emergency=Emergency(allowed=True))
    smallest = Request(
        authority=mandate.authority,
        platform=mandate.platform,
        protocol=mandate.protocols[0],
        dataset=next(iter(mandate.datasets), None),
        kind=mandate.kinds[0],
        output=mandate.outputs[0],
        rows=0 if sealed is None else sealed.rows,
        namespace="" if sealed is None else sealed.namespace,
        ruleset_sha256=None if sealed is None else sealed.ruleset.digest,
        frame_rows=None if sealed is None else sealed.frame_rows,
    )
    # What it covers by its own words it covers, unless this is not its time.
    check_mandate(mandate, smallest, now=now(), clock_tolerance_s=policy.clock_tolerance_s)
    notices = Notices(home.mandates_path, home.id)
    notices.require_in_force(verified, trusted, policy, now=now())
    return verified


def import_mandate(home: Home, envelope: bytes) -> VerifiedMandate:
    """Take a mandate outside an exchange: one that supersedes another, or is validated by now.

    It is kept, the log says so, and from here on what it supersedes is refused.

    Args:
        home: of a platform or an authority.
        envelope: the mandate's file.

    Returns:
        The mandate, with who signed it and the envelope's digest.

    Raises:
        AuthorisationError: it is malformed, or not signed by parties that are trusted here.
        AuditError: it cannot be kept or logged; import it again.
    """
    trusted = _trusted(home)
    verified = verify_envelope(envelope, trusted, allow_unvalidated=True)
    MandateArchive(home.mandates_path).keep(envelope)
    if home.card.role in LOGGING_ROLES:
        Journal(open_log(home)).mandate_imported(verified)
    Notices(home.mandates_path, home.id).learn(verified, trusted)
    return verified


def import_revocations(home: Home, data: bytes) -> RevocationList:
    """Take a revocation list; running servers heed it from their next call on.

    Args:
        home: of any role that has pinned the list's party as issuer or validator.
        data: the list's file.

    Returns:
        The list, verified.

    Raises:
        VerificationError: it is malformed, not signed by its party, or older than the one held here.
        AuditError: it cannot be kept, or is kept and cannot be logged.
    """
    tolerance = timedelta(seconds=CLOCK_TOLERANCE_S)
    folder = RevocationFolder(home.mandates_path)
    new = folder.take(data, _trusted(home), now=now() + tolerance)
    revocations = read_revocations(data)
    if new and home.card.role in LOGGING_ROLES:
        Journal(open_log(home)).revocations_imported(revocations)
    return revocations


def revoke_mandates(home: Home, envelopes: Iterable[bytes]) -> bytes:
    """Return this party's next revocation list, signed, with these mandates and those before.

    Args:
        home: of the mandates' issuer or validator; it keeps its newest list.
        envelopes: the mandates' files; none renews the list alone.

    Raises:
        AuthorisationError: an envelope is malformed.
        InputError: ``mandate_not_ours``, ``revocations_full``.
        AuditError: the list cannot be kept.
    """
    folder = RevocationFolder(home.mandates_path)
    mandates = [read_envelope(envelope).mandate for envelope in envelopes]
    revocations = revoke(folder.own(home.id), home.id, mandates, now=now())
    data = sign_revocations(revocations, home.log_signer())
    folder.keep_own(home.id, data)
    return data


def _trusted(home: Home) -> TrustedKeys:
    peers = Peers(home.peers_path)
    return TrustedKeys(peers.trusted("issuer"), peers.trusted("validator"))
