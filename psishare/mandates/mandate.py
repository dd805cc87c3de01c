"""The mandate: a document that authorises exchanges.

It has one form: parsed and serialised again it is the same bytes. Whether its signatures are good is
``envelope``'s to say, whether it covers an exchange is ``check``'s. Version 2 is written; version 1,
which has fewer rules, is still read and means what it meant (protocols/specs/mandate.md, sections 2
and 9).
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal, Self

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
from psishare.mandates.sealed_request import SealedRequest

MANDATE_VERSION = 2
MAX_BYTES = 64 * 1024

Output = Literal["both", "count", "matches"]
Protocol = Literal["ecdh", "oprf", "openmined"]
ValidatorRole = Literal["judge", "court", "prosecutor", "officer"]

RESERVED = frozenset(
    {"delayed_notification", "emergency", "input_commitment", "sealed_request", "supersedes"}
)
"""Fields that version 1 only reserved: null there, or the mandate is refused."""
SINCE_VERSION_2 = frozenset({"erase_by"})
"""Fields that version 1 does not have."""


class _Part(BaseModel):
    """A part of a mandate: strict types, every field, no other."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


class Emergency(_Part):
    """Why the issuer's signature is enough at first, and until when the validator's may be missing."""

    ground: Sentence
    validate_by: Time


class DelayedNotification(_Part):
    """Why, and until when, the persons concerned are not to be told."""

    ground: Sentence
    until: Time


class Mandate(_Part):
    """A signed authorisation's content; every field as the specification has it."""

    version: Literal[1, 2]
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
    erase_by: Time | None = None
    court_sealing_key: SealingPublicKey | None
    input_commitment: Sha256 | None
    sealed_request: SealedRequest | None
    emergency: Emergency | None
    delayed_notification: DelayedNotification | None
    supersedes: MandateId | None

    @model_validator(mode="after")
    def _times_in_order(self) -> Self:
        begins, ends = self.not_before, self.not_after
        kept = self.retention_until or ends
        _require(ends > begins, "not_after is not after not_before")
        _require(kept >= ends, "retention_until is before not_after")
        _require(self.erase_by is None or self.erase_by >= kept, "erase_by is too early")
        if self.emergency is not None:
            _require(self.emergency.validate_by > begins, "validate_by is not after not_before")
        if self.delayed_notification is not None:
            _require(self.delayed_notification.until > begins, "until is not after not_before")
        return self

    @model_validator(mode="after")
    def _one_list_in_one_way(self) -> Self:
        """What is sealed is one list, for one dataset, by the one protocol that can be sealed."""
        sealed = self.sealed_request
        if sealed is None:
            return self
        _require(self.input_commitment is None, "a list is sealed or committed to, not both")
        _require(self.protocols == ("oprf",), "a sealed request is asked by oprf alone")
        _require(self.outputs == ("matches",), "a sealed request learns matches alone")
        one_set = len(self.datasets) == len(self.kinds) == 1
        _require(one_set, "a sealed request is of one dataset and one kind")
        _require(self.max_rows_per_exchange == sealed.rows, "a sealed request is asked as a whole")
        return self

    @model_validator(mode="after")
    def _not_its_own_successor(self) -> Self:
        _require(self.supersedes != self.id, "it supersedes itself")
        return self

    def document(self) -> bytes:
        """Return the canonical bytes, which are what is signed and digested."""
        fields = self.model_dump(mode="json", exclude=_absent(self.version))
        return canonical.dumps(fields)

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
        fields = canonical.loads(data, max_bytes=MAX_BYTES, what="the mandate")
        _require_version(fields.get("version"))
        _require_supported(fields)
        mandate = Mandate.model_validate_json(data)
    except VerificationError as error:
        raise malformed(error.message) from None
    except ValidationError as error:
        wrong = ", ".join(wrong_fields(error))
        raise malformed(f"fields of the mandate are missing, unknown or wrong: {wrong}") from None
    # A field that its version does not have, or lacks, does not survive the way back.
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
    parts = (Mandate, Emergency, DelayedNotification, SealedRequest)
    known = frozenset[str]().union(*(part.model_fields for part in parts))
    names = (str(found["loc"][0]) if found["loc"] else "validity" for found in error.errors())
    return sorted({name if name in known or name == "validity" else "(unknown)" for name in names})


def _require(holds: bool, fault: str) -> None:  # noqa: FBT001  a condition, not an option
    if not holds:
        raise ValueError(fault)


def _absent(version: int) -> set[str]:
    """Return the fields that a version does not have."""
    return set(SINCE_VERSION_2) if version == 1 else set()


def _require_version(version: object) -> None:
    if type(version) is bool or version not in {1, MANDATE_VERSION}:
        raise AuthorisationError(
            "the mandate's version is not one that this psishare reads",
            mend="Use the same version of psishare on both sides.",
            reason="mandate_version",
        )


def _require_supported(fields: dict[str, Any]) -> None:
    """Refuse rules in a mandate of version 1, whose readers would pass them over."""
    named = {name for name in RESERVED if fields.get(name) is not None}
    if fields["version"] == 1 and named:
        raise AuthorisationError(
            f"a mandate of version 1 names rules that it cannot: {', '.join(sorted(named))}",
            mend="Ask the issuer for a mandate of version 2.",
            reason="mandate_field_unsupported",
        )
