"""The mandate: a document that authorises exchanges.

It has one form: parsed and serialised again it is the same bytes. Whether its signatures are good is
``envelope``'s to say, whether it covers an exchange is ``check``'s.
Source: protocols/specs/mandate.md, section 2.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from psishare.errors import AuthorisationError, VerificationError
from psishare.keys import canonical
from psishare.mandates.field import (
    Cap,
    DatasetName,
    Kind,
    LongText,
    MandateId,
    PartyId,
    SealingPublicKey,
    Sentence,
    Sha256,
    ShortText,
    SortedSet,
    Time,
)

MANDATE_VERSION = 1
MAX_BYTES = 64 * 1024

Output = Literal["both", "count", "matches"]
Protocol = Literal["ecdh", "oprf", "openmined"]
ValidatorRole = Literal["judge", "court", "prosecutor", "officer"]

RESERVED = frozenset(
    {"delayed_notification", "emergency", "input_commitment", "sealed_request", "supersedes"}
)
"""Fields whose rules this version does not enforce: null, or the mandate is refused."""


class Mandate(BaseModel):
    """A signed authorisation's content, version 1; every field as the specification has it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    version: Literal[1]
    id: MandateId
    issuer: PartyId
    validator: PartyId
    validator_role: ValidatorRole
    authority: PartyId
    platform: PartyId
    datasets: Annotated[tuple[DatasetName, ...], Field(max_length=64), SortedSet]
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1, max_length=64), SortedSet]
    outputs: Annotated[tuple[Output, ...], Field(min_length=1), SortedSet]
    protocols: Annotated[tuple[Protocol, ...], Field(min_length=1), SortedSet]
    max_rows_per_exchange: Cap
    max_rows_total: Cap
    max_exchanges: Cap
    standing: bool
    jurisdiction: ShortText
    legal_basis: Sentence
    purpose: LongText
    necessity: LongText | None
    case_commitment: Sha256
    attachment_sha256: Sha256 | None
    created: Time
    not_before: Time
    not_after: Time
    retention_until: Time | None
    court_sealing_key: SealingPublicKey | None
    input_commitment: None
    sealed_request: None
    emergency: None
    delayed_notification: None
    supersedes: None

    @model_validator(mode="after")
    def _times_in_order(self) -> Self:
        if self.not_after <= self.not_before:
            raise ValueError("not_after is not after not_before")
        if self.retention_until is not None and self.retention_until < self.not_after:
            raise ValueError("retention_until is before not_after")
        return self

    def document(self) -> bytes:
        """Return the canonical bytes, which are what is signed and digested."""
        return canonical.dumps(self.model_dump(mode="json"))

    @property
    def sha256(self) -> bytes:
        """The SHA-256 of the canonical bytes, 32 bytes: the mandate before anyone signs it."""
        return hashlib.sha256(self.document()).digest()


def parse_mandate(data: bytes) -> Mandate:
    """Parse a mandate's canonical bytes strictly.

    Raises:
        AuthorisationError: ``mandate_version``, ``mandate_field_unsupported`` or
            ``mandate_malformed``. Names fields, never their values.
    """
    try:
        canonical.loads(data, max_bytes=MAX_BYTES, what="the mandate")
        mandate = Mandate.model_validate_json(data)
    except VerificationError as error:
        raise malformed(error.message) from None
    except ValidationError as error:
        raise _refusal(error) from None
    if mandate.document() != data:
        raise malformed("a field of the mandate is not in its canonical form")
    return mandate


def malformed(message: str) -> AuthorisationError:
    """Return the refusal of a mandate that is not what the specification describes."""
    return AuthorisationError(
        message,
        mend="Draft and sign the mandate with psishare, and pass the file on unchanged.",
        reason="mandate_malformed",
    )


def wrong_fields(error: ValidationError) -> list[str]:
    """Return the names of the fields that a validation found wrong; never a value."""
    known = Mandate.model_fields
    names = (str(found["loc"][0]) if found["loc"] else "validity" for found in error.errors())
    return sorted({name if name in known or name == "validity" else "(unknown)" for name in names})


def _refusal(error: ValidationError) -> AuthorisationError:
    fields = wrong_fields(error)
    if "version" in fields:
        return AuthorisationError(
            "the mandate's version is not one that this psishare reads",
            mend="Use the same version of psishare on both sides.",
            reason="mandate_version",
        )
    missing = {str(found["loc"][0]) for found in error.errors() if found["type"] == "missing"}
    unsupported = RESERVED.intersection(fields) - missing
    if unsupported:
        return AuthorisationError(
            f"the mandate asks for rules that are not enforced: {', '.join(sorted(unsupported))}",
            mend="Ask the issuer for a mandate without them.",
            reason="mandate_field_unsupported",
        )
    return malformed(f"fields of the mandate are missing, unknown or wrong: {', '.join(fields)}")
