"""A mandate that covers one request, with the keys that sign it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from psishare.keys.signer import Ed25519Signer
from psishare.mandates.case_reference import CaseReference
from psishare.mandates.check import Request
from psishare.mandates.draft import draft
from psishare.mandates.envelope import TrustedKeys, new_envelope, sign_envelope

if TYPE_CHECKING:
    from psishare.mandates.mandate import Mandate

NOW = datetime(2026, 8, 1, 12, 0, 0, tzinfo=UTC)
ISSUER = "prosecution.example"
VALIDATOR = "court.example"
AUTHORITY = "police.example/unit-3"
PLATFORM = "telecom.example"


def make_mandate(**changes: Any) -> Mandate:
    """Return a mandate over phone numbers, in force at ``NOW``, with some fields changed."""
    fields: dict[str, Any] = {
        "issuer": ISSUER,
        "validator": VALIDATOR,
        "validator_role": "judge",
        "authority": AUTHORITY,
        "platform": PLATFORM,
        "kinds": ["phone", "email"],
        "outputs": ["matches"],
        "datasets": ["customers"],
        "protocols": ["oprf", "ecdh"],
        "max_rows_per_exchange": 1_000,
        "max_rows_total": 5_000,
        "max_exchanges": 10,
        "jurisdiction": "XX",
        "legal_basis": "Act on criminal procedure, section 94",
        "purpose": "To find accounts of the suspects of one case",
        "case": CaseReference.new("case 7"),
        "not_before": NOW - timedelta(days=1),
        "not_after": NOW + timedelta(days=30),
        "now": NOW - timedelta(days=2),
    }
    return draft(**(fields | changes))


def make_request(**changes: Any) -> Request:
    """Return a request that ``make_mandate()`` covers, with some fields changed."""
    fields: dict[str, Any] = {
        "authority": AUTHORITY,
        "platform": PLATFORM,
        "protocol": "oprf",
        "dataset": "customers",
        "kind": "phone",
        "output": "matches",
        "rows": 100,
    }
    return Request(**(fields | changes))


@dataclass(frozen=True)
class Signers:
    """An issuer's and a validator's keys, and a platform's trust in them."""

    issuer: Ed25519Signer = field(default_factory=Ed25519Signer.generate)
    validator: Ed25519Signer = field(default_factory=Ed25519Signer.generate)

    @property
    def trusted(self) -> TrustedKeys:
        return TrustedKeys(
            issuers={ISSUER: self.issuer.public_key},
            validators={VALIDATOR: self.validator.public_key},
        )

    def sign(self, mandate: Mandate) -> bytes:
        """Return the mandate's envelope with both signatures."""
        once = sign_envelope(new_envelope(mandate), self.issuer, party=mandate.issuer)
        return sign_envelope(once, self.validator, party=mandate.validator)
