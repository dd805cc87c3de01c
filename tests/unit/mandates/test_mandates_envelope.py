"""The envelope: signing, and what a verifier accepts."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from mandate_examples import AUTHORITY, ISSUER, VALIDATOR, Signers, make_mandate

from psishare.errors import AuthorisationError
from psishare.mandates.envelope import (
    key_id,
    new_envelope,
    read_envelope,
    sign_envelope,
    verify_envelope,
)


def test_envelope_of_issuer_and_validator_verifies() -> None:
    signers, mandate = Signers(), make_mandate()
    data = signers.sign(mandate)
    verified = verify_envelope(data, signers.trusted)
    assert verified.mandate == mandate
    assert verified.payload_sha256 == mandate.sha256
    assert verified.envelope_sha256 == hashlib.sha256(data).digest()


def test_order_of_signing_does_not_matter() -> None:
    signers, mandate = Signers(), make_mandate()
    once = sign_envelope(new_envelope(mandate), signers.validator, party=VALIDATOR)
    assert sign_envelope(once, signers.issuer, party=ISSUER) == signers.sign(mandate)


def test_signing_twice_changes_nothing() -> None:
    signers = Signers()
    data = signers.sign(make_mandate())
    assert sign_envelope(data, signers.issuer, party=ISSUER) == data


def test_signature_is_over_the_pre_authentication_encoding_of_dsse() -> None:
    signers, mandate = Signers(), make_mandate()
    fields = json.loads(signers.sign(mandate))
    payload = mandate.document()
    message = b"DSSEv1 40 application/vnd.psishare.mandate.v2+json %d %b" % (len(payload), payload)
    by_key = {signature["keyid"]: signature["sig"] for signature in fields["signatures"]}
    signature = base64.b64decode(by_key[key_id(signers.issuer.public_key)])
    Ed25519PublicKey.from_public_bytes(signers.issuer.public_key).verify(signature, message)


def test_key_id_is_the_digest_of_the_raw_key() -> None:
    assert key_id(bytes(32)) == hashlib.sha256(bytes(32)).hexdigest()


def test_reading_tells_who_has_signed() -> None:
    signers, mandate = Signers(), make_mandate()
    assert read_envelope(new_envelope(mandate)).key_ids == ()
    read = read_envelope(signers.sign(mandate))
    assert read.mandate == mandate
    assert set(read.key_ids) == {
        key_id(signers.issuer.public_key),
        key_id(signers.validator.public_key),
    }


def test_party_that_the_mandate_does_not_name_cannot_sign() -> None:
    with pytest.raises(AuthorisationError) as caught:
        sign_envelope(new_envelope(make_mandate()), Signers().issuer, party=AUTHORITY)
    assert caught.value.reason == "mandate_signer_not_named"


def test_third_signature_is_not_taken() -> None:
    signers, third = Signers(), Signers()
    with pytest.raises(AuthorisationError) as caught:
        sign_envelope(signers.sign(make_mandate()), third.issuer, party=ISSUER)
    assert caught.value.reason == "mandate_signature_unknown"
