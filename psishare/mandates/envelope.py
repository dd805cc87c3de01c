"""The envelope: a mandate with its signatures (DSSE), and their verification.

DSSE does not authenticate key ids and its threshold counts them, so the verifier computes key ids
from the keys that it trusts, and wants one signature of the issuer's key and one of the validator's,
two distinct keys. Only an emergency may go without the second, and only where the caller says so.
Source: protocols/specs/mandate.md, sections 4 and 5.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error as SecuresystemslibError
from securesystemslib.signer import Signature  # type: ignore[attr-defined]  # public, but not in __all__

from psishare.errors import AuthorisationError, VerificationError
from psishare.keys import canonical
from psishare.keys.signer import verify_ed25519
from psishare.mandates.mandate import (
    MANDATE_VERSION,
    MAX_BYTES,
    Mandate,
    malformed,
    parse_mandate,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psishare.keys.signer import Signer

PAYLOAD_TYPES = {
    version: f"application/vnd.psishare.mandate.v{version}+json" for version in (1, MANDATE_VERSION)
}
MAX_SIGNATURES = 2


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """The raw Ed25519 keys, 32 bytes each, of the parties that a platform trusts, role by role."""

    issuers: Mapping[str, bytes]
    validators: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class VerifiedMandate:
    """A mandate whose signatures are good, with its two digests of 32 bytes.

    Attributes:
        mandate: its content.
        payload_sha256: of the mandate, whoever has signed it.
        envelope_sha256: of the envelope, with its signatures.
        keys: issuer's and validator's, under which they were trusted when it was verified.
        validated: whether the validator has signed too; False only for an emergency.
    """

    mandate: Mandate
    payload_sha256: bytes
    envelope_sha256: bytes
    keys: tuple[bytes, bytes] = field(repr=False)
    validated: bool


@dataclass(frozen=True, slots=True)
class SignedBy:
    """Whose signature slots of an envelope are taken, before anything is verified."""

    mandate: Mandate
    key_ids: tuple[str, ...]


def key_id(public_key: bytes) -> str:
    """Return the id of a raw Ed25519 public key: its SHA-256 in lower-case hexadecimal."""
    return hashlib.sha256(public_key).hexdigest()


def new_envelope(mandate: Mandate) -> bytes:
    """Return an envelope that nobody has signed yet."""
    return _serialise(Envelope(mandate.document(), PAYLOAD_TYPES[mandate.version], {}))


def read_envelope(data: bytes) -> SignedBy:
    """Parse an envelope without verifying a signature: for showing, never for deciding.

    Raises:
        AuthorisationError: the envelope or the mandate in it is malformed.
    """
    envelope, mandate = _parse(data)
    return SignedBy(mandate, tuple(envelope.signatures))


def sign_envelope(data: bytes, signer: Signer, *, party: str) -> bytes:
    """Add a party's signature to an envelope; a party that has signed changes nothing.

    Args:
        data: an envelope.
        signer: the party's Ed25519 log key.
        party: the id of the party that signs; the mandate names it as issuer or validator.

    Raises:
        AuthorisationError: malformed; ``mandate_signer_not_named``, the mandate does not name the
            party; ``mandate_signature_unknown``, others have signed already.
    """
    envelope, mandate = _parse(data)
    if party not in {mandate.issuer, mandate.validator}:
        raise AuthorisationError(
            f"the mandate names {party} neither as issuer nor as validator",
            mend="Sign it with the home folder of a party that it names.",
            reason="mandate_signer_not_named",
        )
    identity = key_id(signer.public_key)
    if identity not in envelope.signatures and len(envelope.signatures) == MAX_SIGNATURES:
        raise _unknown_signature()
    signature = signer.sign(envelope.pae())
    envelope.signatures[identity] = Signature(identity, signature.hex())
    return _serialise(envelope)


def verify_envelope(
    data: bytes, trusted: TrustedKeys, *, allow_unvalidated: bool = False
) -> VerifiedMandate:
    """Verify an envelope: one signature of its issuer and one of its validator, distinct keys.

    Args:
        data: the envelope's bytes as received.
        trusted: the keys of the issuers and validators that the verifier trusts.
        allow_unvalidated: whether an emergency's may lack the validator's signature. Whoever says so
            must look at ``validated`` of what is returned, and at the deadline.

    Raises:
        AuthorisationError: the first step of protocols/specs/mandate.md, section 5, that fails.
    """
    envelope, mandate = _parse(data)
    issuer_key, validator_key = _trusted_pair(mandate, trusted)
    wanted = {key_id(issuer_key): mandate.issuer, key_id(validator_key): mandate.validator}
    validated = key_id(validator_key) in envelope.signatures
    if allow_unvalidated and mandate.emergency is not None and not validated:
        del wanted[key_id(validator_key)]
    _require_signers(envelope, wanted)
    _verify_role(envelope, own=issuer_key, other=validator_key, party=mandate.issuer)
    if validated:
        _verify_role(envelope, own=validator_key, other=issuer_key, party=mandate.validator)
    return VerifiedMandate(
        mandate,
        hashlib.sha256(envelope.payload).digest(),
        hashlib.sha256(data).digest(),
        keys=(issuer_key, validator_key),
        validated=validated,
    )


def require_still_trusted(verified: VerifiedMandate, trusted: TrustedKeys) -> None:
    """Refuse a mandate that was verified before its issuer or validator ceased to be trusted.

    Raises:
        AuthorisationError: ``mandate_issuer_untrusted`` or ``mandate_validator_untrusted``.
    """
    mandate, (issuer_key, validator_key) = verified.mandate, verified.keys
    if trusted.issuers.get(mandate.issuer) != issuer_key:
        raise _untrusted(mandate.issuer, "issuer")
    if trusted.validators.get(mandate.validator) != validator_key:
        raise _untrusted(mandate.validator, "validator")


def _parse(data: bytes) -> tuple[Envelope, Mandate]:
    try:
        fields = canonical.loads(data, max_bytes=MAX_BYTES, what="the mandate's envelope")
    except VerificationError as error:
        raise malformed(error.message) from None
    _require_shape(fields)
    try:
        # A copy, for the parser rewrites the signatures that it is given.
        envelope = Envelope.from_dict(copy.deepcopy(fields))
    except (KeyError, TypeError, ValueError, SecuresystemslibError):
        raise malformed("the mandate's envelope is not a DSSE envelope") from None
    # The library also takes the URL-safe base64 alphabet, stray padding bits and any order.
    if _serialise(envelope) != data:
        raise malformed("the mandate's envelope is not in its canonical form")
    mandate = parse_mandate(envelope.payload)
    if fields["payloadType"] != PAYLOAD_TYPES[mandate.version]:
        raise malformed("the mandate's envelope is of another version than the mandate in it")
    return envelope, mandate


def _require_shape(fields: dict[str, Any]) -> None:
    signatures = fields.get("signatures")
    if (
        fields.keys() != {"payload", "payloadType", "signatures"}
        or fields["payloadType"] not in PAYLOAD_TYPES.values()
        or not isinstance(fields["payload"], str)
        or not isinstance(signatures, list)
        or len(signatures) > MAX_SIGNATURES
        or not all(_is_signature(signature) for signature in signatures)
    ):
        raise malformed("the mandate's envelope does not have the fields of a mandate's envelope")


def _is_signature(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"keyid", "sig"}
        and all(isinstance(text, str) for text in value.values())
    )


def _serialise(envelope: Envelope) -> bytes:
    fields = envelope.to_dict()
    fields["signatures"].sort(key=lambda signature: str(signature["keyid"]))
    return canonical.dumps(fields)


def _trusted_pair(mandate: Mandate, trusted: TrustedKeys) -> tuple[bytes, bytes]:
    if mandate.issuer == mandate.validator:
        raise _not_distinct("the mandate names one party as issuer and as validator")
    issuer_key = trusted.issuers.get(mandate.issuer)
    if issuer_key is None:
        raise _untrusted(mandate.issuer, "issuer")
    validator_key = trusted.validators.get(mandate.validator)
    if validator_key is None:
        raise _untrusted(mandate.validator, "validator")
    if issuer_key == validator_key:
        raise _not_distinct("the mandate's issuer and validator have one key")
    return issuer_key, validator_key


def _require_signers(envelope: Envelope, wanted: dict[str, str]) -> None:
    for identity, party in wanted.items():
        if identity not in envelope.signatures:
            raise AuthorisationError(
                f"the mandate lacks the signature of {party}",
                mend=f"Have {party} sign it with `psishare mandate sign`.",
                reason="mandate_unsigned",
                party=party,
            )
    if envelope.signatures.keys() != wanted.keys():
        raise _unknown_signature()


def _verify_role(envelope: Envelope, *, own: bytes, other: bytes, party: str) -> None:
    signature = bytes.fromhex(envelope.signatures[key_id(own)].signature)
    message = envelope.pae()
    if _verifies(own, message, signature):
        return
    if _verifies(other, message, signature):
        raise _not_distinct(f"the signature that should be {party}'s is by the other role's key")
    raise AuthorisationError(
        f"the mandate's signature of {party} is wrong",
        mend="Ask for the file as it was signed; it has been altered, or signed by another key.",
        reason="mandate_signature_invalid",
        party=party,
    )


def _verifies(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        verify_ed25519(public_key, message, signature)
    except VerificationError:
        return False
    return True


def _untrusted(party: str, role: str) -> AuthorisationError:
    return AuthorisationError(
        f"{party} is not trusted here as {role} of mandates",
        mend=f"If it should be, add its card with `psishare peer add --trust {role}`.",
        reason=f"mandate_{role}_untrusted",
        party=party,
    )


def _not_distinct(message: str) -> AuthorisationError:
    return AuthorisationError(
        message,
        mend="A mandate needs two parties, each with a key of its own, that agree.",
        reason="mandate_roles_not_distinct",
    )


def _unknown_signature() -> AuthorisationError:
    return AuthorisationError(
        "the mandate holds a signature of a key that is neither its issuer's nor its validator's",
        mend="Pass on the file with the two signatures of issuer and validator alone.",
        reason="mandate_signature_unknown",
    )
