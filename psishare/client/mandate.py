"""Mandates as those who draft and hold them see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psishare.errors import ConfigError
from psishare.exchange.document import now
from psishare.keys.durable_file import write_durably
from psishare.mandates.case_reference import CaseReference
from psishare.mandates.check import Request, check_mandate
from psishare.mandates.draft import draft
from psishare.mandates.envelope import (
    TrustedKeys,
    VerifiedMandate,
    new_envelope,
    verify_envelope,
)

if TYPE_CHECKING:
    from psishare.mandates.mandate import Mandate
    from psishare.parties.home import Home
    from psishare.parties.peers import Peers


@dataclass(frozen=True, slots=True)
class DraftedMandate:
    """A mandate that nobody has signed yet.

    Attributes:
        mandate: its content.
        envelope: its file's bytes.
    """

    mandate: Mandate
    envelope: bytes


def draft_mandate(home: Home, case: str, **fields: Any) -> DraftedMandate:
    """Draft a mandate, and keep its case's reference, sealed to this home, in its ``mandates``.

    Args:
        home: whoever drafts it.
        case: the reference under which the case is kept; only a commitment to it leaves this home.
        fields: the keywords of ``psishare.mandates.draft.draft``, but for ``case``.

    Raises:
        InputError: a field is not what protocols/specs/mandate.md allows.
        ConfigError: the reference cannot be kept.
    """
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


def verify_mandate(envelope: bytes, peers: Peers) -> VerifiedMandate:
    """Verify that issuer and validator, as this home trusts them, have signed, and that it is valid.

    Raises:
        AuthorisationError: it is malformed, not signed by both, not valid yet, or expired.
    """
    keys = TrustedKeys(peers.trusted("issuer"), peers.trusted("validator"))
    verified = verify_envelope(envelope, keys)
    mandate = verified.mandate
    smallest = Request(
        authority=mandate.authority,
        platform=mandate.platform,
        protocol=mandate.protocols[0],
        dataset=next(iter(mandate.datasets), None),
        kind=mandate.kinds[0],
        output=mandate.outputs[0],
        rows=0,
    )
    # What it covers by its own words it covers, unless this is not its time.
    check_mandate(mandate, smallest, now=now())
    return verified
