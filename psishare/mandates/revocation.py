"""The revocation list: which of its mandates a party has withdrawn, signed by that party.

A party lists mandates of which it is the issuer or the validator. Each list is whole and replaces the
one before: its sequence is higher, and what was revoked stays in it until the mandate has run out.
Source: protocols/specs/mandate.md, section 10.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from psishare.errors import InputError, VerificationError
from psishare.keys import canonical
from psishare.keys.statement import sign_statement, verify_statement
from psishare.mandates.field import MAX_INTEGER, MandateId, PartyId, Time

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from psishare.keys.signer import Signer
    from psishare.mandates.mandate import Mandate

LABEL = "revocations"
MAX_BYTES = 16 * 1024 * 1024
MAX_REVOKED = 65_536
KEPT_FOR = timedelta(days=2)
"""How long after a mandate's end a list still names it.

Twice the largest clock tolerance: a platform takes a mandate for that long after its end, and a list that
was issued that far ahead of its clock.
"""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


class Revocation(_Part):
    """One mandate that is withdrawn, since when, and until when it would have been valid."""

    id: MandateId
    not_after: Time
    revoked: Time


class RevocationList(_Part):
    """Every mandate that a party has withdrawn and that nobody takes any more, version 1."""

    version: Literal[1]
    party: PartyId
    sequence: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    issued: Time
    revoked: Annotated[tuple[Revocation, ...], Field(max_length=MAX_REVOKED)]

    @model_validator(mode="after")
    def _sorted_and_distinct(self) -> Self:
        ids = [one.id for one in self.revoked]
        if ids != sorted(set(ids)):
            raise ValueError("not sorted by id, or not distinct")
        return self

    def document(self) -> bytes:
        """Return the canonical bytes, which are what is signed and digested."""
        return canonical.dumps(self.model_dump(mode="json"))

    @property
    def sha256(self) -> bytes:
        """The SHA-256 of the canonical bytes, 32 bytes."""
        return hashlib.sha256(self.document()).digest()

    def revokes(self, mandate_id: str) -> bool:
        """Tell whether a mandate is withdrawn."""
        return any(one.id == mandate_id for one in self.revoked)

    def keeps(self, older: RevocationList) -> bool:
        """Tell whether everything that an older list withdrew is here, or had run out for long by now."""
        here = {one.id for one in self.revoked}
        return all(one.id in here or _is_over(one, self.issued) for one in older.revoked)


def revoke(
    older: RevocationList | None, party: str, mandates: Iterable[Mandate], *, now: datetime
) -> RevocationList:
    """Return a party's next list: what the older one holds and still has to be named, and the mandates.

    Args:
        older: the list before, or None for the first.
        party: who withdraws; each mandate's issuer or validator.
        mandates: none, to renew the list alone.
        now: with a time zone.

    Raises:
        InputError: ``mandate_not_ours``, a mandate names the party neither as issuer nor as
            validator; ``revocations_full``, more than 65,536 mandates.
    """
    issued = now.replace(microsecond=0)
    if older is not None:
        # Two lists within a second, or a clock that was set back: never before the one before.
        issued = max(issued, older.issued)
    before = older.revoked if older is not None else ()
    held = {one.id: one for one in before if not _is_over(one, issued)}
    for mandate in mandates:
        if party not in {mandate.issuer, mandate.validator}:
            raise InputError(
                f"{party} is neither issuer nor validator of mandate {mandate.id}",
                mend="Have the party that signed it revoke it.",
                reason="mandate_not_ours",
            )
        one = Revocation(id=mandate.id, not_after=mandate.not_after, revoked=issued)
        held.setdefault(mandate.id, one)
    if len(held) > MAX_REVOKED:
        raise InputError(
            f"a list holds at most {MAX_REVOKED} mandates",
            mend="Wait until revoked mandates have run out; issue mandates for shorter times.",
            reason="revocations_full",
        )
    return RevocationList(
        version=1,
        party=party,
        sequence=older.sequence + 1 if older else 1,
        issued=issued,
        revoked=tuple(held[key] for key in sorted(held)),
    )


def _is_over(one: Revocation, issued: datetime) -> bool:
    """Tell whether a list of this time need not name a mandate: no clock's tolerance revives it."""
    # A difference of two times, because either may lie at an end of the calendar.
    return issued - one.not_after > KEPT_FOR


def sign_revocations(revocations: RevocationList, signer: Signer) -> bytes:
    """Sign a list with its party's Ed25519 log key and return the file's bytes."""
    signature = sign_statement(signer, LABEL, revocations.document())
    return canonical.dumps(
        {
            "revocations": revocations.model_dump(mode="json"),
            "signature": base64.b64encode(signature).decode("ascii"),
        }
    )


def read_revocations(data: bytes) -> RevocationList:
    """Parse a list's file strictly, without verifying its signature.

    Raises:
        VerificationError: ``revocations_malformed``.
    """
    return _parse(data)[0]


def verify_revocations(data: bytes, public_key: bytes) -> RevocationList:
    """Parse a list's file strictly and verify that its party has signed it.

    Args:
        data: the file's bytes.
        public_key: the party's pinned Ed25519 key, 32 bytes.

    Raises:
        VerificationError: ``revocations_malformed``; ``signature_invalid``, signed by another key.
    """
    revocations, signature = _parse(data)
    document = revocations.document()
    verify_statement(public_key, LABEL, document, signature, party=revocations.party)
    return revocations


def is_revocations(data: bytes) -> bool:
    """Tell whether a file is meant to be a revocation list, rather than a mandate."""
    return data.startswith(b'{"revocations":')


def _parse(data: bytes) -> tuple[RevocationList, bytes]:
    try:
        fields = canonical.loads(data, max_bytes=MAX_BYTES, what="the revocation list")
    except VerificationError as error:
        raise _malformed(error.message) from None
    if fields.keys() != {"revocations", "signature"}:
        raise _malformed("the revocation list does not have the fields of one")
    try:
        signature = base64.b64decode(str(fields["signature"]), validate=True)
        document = canonical.dumps(fields["revocations"])
        revocations = RevocationList.model_validate_json(document)
    except (ValidationError, ValueError):
        raise _malformed("fields of the revocation list are missing, unknown or wrong") from None
    rebuilt = {
        "revocations": revocations.model_dump(mode="json"),
        "signature": base64.b64encode(signature).decode("ascii"),
    }
    if canonical.dumps(rebuilt) != data:
        raise _malformed("the revocation list is not in its canonical form")
    return revocations, signature


def _malformed(message: str) -> VerificationError:
    return VerificationError(
        message,
        mend="Ask the party that issued it for the file as `psishare mandate revoke` wrote it.",
        reason="revocations_malformed",
    )
