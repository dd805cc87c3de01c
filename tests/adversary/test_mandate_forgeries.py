"""What a verifier of mandates refuses, and under which reason."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from mandate_examples import AUTHORITY, ISSUER, PLATFORM, VALIDATOR, Signers, make_mandate

from psishare.errors import AuthorisationError, ExitCode
from psishare.keys import canonical
from psishare.keys.signer import Ed25519Signer
from psishare.mandates.envelope import (
    PAYLOAD_TYPES,
    TrustedKeys,
    key_id,
    new_envelope,
    sign_envelope,
    verify_envelope,
)
from psishare.mandates.mandate import Mandate

if TYPE_CHECKING:
    from psishare.keys.signer import Signer


def refused(data: bytes, trusted: TrustedKeys) -> str:
    with pytest.raises(AuthorisationError) as caught:
        verify_envelope(data, trusted)
    assert caught.value.exit_code is ExitCode.REFUSED
    return caught.value.reason


def forge(
    payload: bytes, signatures: dict[str, bytes], payload_type: str = PAYLOAD_TYPES[2]
) -> bytes:
    """Return an envelope with any signatures under any key ids."""
    return canonical.dumps(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": payload_type,
            "signatures": [
                {"keyid": identity, "sig": base64.b64encode(signature).decode()}
                for identity, signature in sorted(signatures.items())
            ],
        }
    )


def dsse(payload: bytes, payload_type: str = PAYLOAD_TYPES[2]) -> bytes:
    return b"DSSEv1 %d %b %d %b" % (
        len(payload_type),
        payload_type.encode(),
        len(payload),
        payload,
    )


def identity(signer: Signer) -> str:
    return key_id(signer.public_key)


def test_two_roles_signed_by_one_key_are_refused() -> None:
    signers, payload = Signers(), make_mandate().document()
    signature = signers.issuer.sign(dsse(payload))
    forged = forge(
        payload, {identity(signers.issuer): signature, identity(signers.validator): signature}
    )
    assert refused(forged, signers.trusted) == "mandate_roles_not_distinct"


def test_one_key_trusted_in_both_roles_is_refused() -> None:
    signer = Ed25519Signer.generate()
    trusted = TrustedKeys({ISSUER: signer.public_key}, {VALIDATOR: signer.public_key})
    data = sign_envelope(new_envelope(make_mandate()), signer, party=ISSUER)
    assert refused(data, trusted) == "mandate_roles_not_distinct"


def test_one_party_in_both_roles_is_refused() -> None:
    signers = Signers()
    fields = make_mandate().model_dump(mode="json") | {"validator": ISSUER}
    mandate = Mandate.model_validate_json(canonical.dumps(fields))
    keys = {ISSUER: signers.issuer.public_key}
    data = sign_envelope(new_envelope(mandate), signers.issuer, party=ISSUER)
    assert refused(data, TrustedKeys(keys, keys)) == "mandate_roles_not_distinct"


def test_one_signature_is_not_enough_whoever_made_it() -> None:
    signers, unsigned = Signers(), new_envelope(make_mandate())
    assert refused(unsigned, signers.trusted) == "mandate_unsigned"
    for signer, party in ((signers.issuer, ISSUER), (signers.validator, VALIDATOR)):
        once = sign_envelope(unsigned, signer, party=party)
        assert refused(once, signers.trusted) == "mandate_unsigned"


def test_two_ids_of_one_key_do_not_make_a_threshold() -> None:
    signers, payload = Signers(), make_mandate().document()
    signature = signers.issuer.sign(dsse(payload))
    forged = forge(payload, {identity(signers.issuer): signature, "another": signature})
    assert refused(forged, signers.trusted) == "mandate_unsigned"


def test_swapped_signatures_are_refused() -> None:
    signers, payload = Signers(), make_mandate().document()
    forged = forge(
        payload,
        {
            identity(signers.issuer): signers.validator.sign(dsse(payload)),
            identity(signers.validator): signers.issuer.sign(dsse(payload)),
        },
    )
    assert refused(forged, signers.trusted) == "mandate_roles_not_distinct"


def test_unknown_key_in_a_known_party_s_name_is_refused() -> None:
    signers, impostor = Signers(), Signers()
    assert refused(impostor.sign(make_mandate()), signers.trusted) == "mandate_unsigned"


def test_signature_under_a_borrowed_key_id_is_refused() -> None:
    signers, impostor, payload = Signers(), Signers(), make_mandate().document()
    forged = forge(
        payload,
        {
            identity(signers.issuer): signers.issuer.sign(dsse(payload)),
            identity(signers.validator): impostor.validator.sign(dsse(payload)),
        },
    )
    assert refused(forged, signers.trusted) == "mandate_signature_invalid"


@pytest.mark.parametrize("trusted_issuers", [{}, {AUTHORITY: b"k" * 32}])
def test_untrusted_issuer_is_refused(trusted_issuers: dict[str, bytes]) -> None:
    signers = Signers()
    trusted = TrustedKeys(trusted_issuers, signers.trusted.validators)
    assert refused(signers.sign(make_mandate()), trusted) == "mandate_issuer_untrusted"


def test_untrusted_validator_is_refused() -> None:
    signers = Signers()
    trusted = TrustedKeys(signers.trusted.issuers, {})
    assert refused(signers.sign(make_mandate()), trusted) == "mandate_validator_untrusted"


def test_trust_as_issuer_is_no_trust_as_validator() -> None:
    signers = Signers()
    both = {ISSUER: signers.issuer.public_key, VALIDATOR: signers.validator.public_key}
    assert refused(signers.sign(make_mandate()), TrustedKeys(both, {})) == (
        "mandate_validator_untrusted"
    )


def test_changed_payload_under_old_signatures_is_refused() -> None:
    signers = Signers()
    envelope = json.loads(signers.sign(make_mandate()))
    fields = json.loads(base64.b64decode(envelope["payload"]))
    fields["max_rows_total"] += 1
    envelope["payload"] = base64.b64encode(canonical.dumps(fields)).decode()
    assert refused(canonical.dumps(envelope), signers.trusted) == "mandate_signature_invalid"


def test_signatures_of_another_mandate_are_refused() -> None:
    signers, payload = Signers(), make_mandate().document()
    envelope = json.loads(signers.sign(make_mandate(platform="bank.example")))
    envelope["payload"] = base64.b64encode(payload).decode()
    assert refused(canonical.dumps(envelope), signers.trusted) == "mandate_signature_invalid"


def test_signature_over_the_bare_payload_is_refused() -> None:
    signers, payload = Signers(), make_mandate().document()
    forged = forge(
        payload,
        {identity(s): s.sign(payload) for s in (signers.issuer, signers.validator)},
    )
    assert refused(forged, signers.trusted) == "mandate_signature_invalid"


def test_third_signature_is_refused() -> None:
    signers, third, payload = Signers(), Ed25519Signer.generate(), make_mandate().document()
    forged = forge(
        payload,
        {identity(s): s.sign(dsse(payload)) for s in (signers.issuer, signers.validator, third)},
    )
    assert refused(forged, signers.trusted) == "mandate_malformed"


def test_other_payload_type_is_refused_though_signed() -> None:
    signers, payload = Signers(), make_mandate().document()
    other = "application/vnd.in-toto+json"
    forged = forge(
        payload,
        {identity(s): s.sign(dsse(payload, other)) for s in (signers.issuer, signers.validator)},
        other,
    )
    assert refused(forged, signers.trusted) == "mandate_malformed"


@pytest.mark.parametrize("version", [1, 2])
def test_the_payload_type_of_another_version_is_refused_though_signed(version: int) -> None:
    signers = Signers()
    fields = make_mandate().model_dump(mode="json") | {"version": version}
    if version == 1:
        del fields["erase_by"]
    payload, other = canonical.dumps(fields), PAYLOAD_TYPES[3 - version]
    forged = forge(
        payload,
        {identity(s): s.sign(dsse(payload, other)) for s in (signers.issuer, signers.validator)},
        other,
    )
    assert refused(forged, signers.trusted) == "mandate_malformed"


def test_the_version_cannot_be_changed_under_the_signatures() -> None:
    signers = Signers()
    envelope = json.loads(signers.sign(make_mandate()))
    fields = json.loads(base64.b64decode(envelope["payload"])) | {"version": 1}
    del fields["erase_by"]
    envelope["payload"] = base64.b64encode(canonical.dumps(fields)).decode()
    envelope["payloadType"] = PAYLOAD_TYPES[1]
    assert refused(canonical.dumps(envelope), signers.trusted) == "mandate_signature_invalid"


def test_mandate_reformatted_before_signing_is_refused() -> None:
    signers = Signers()
    payload = json.dumps(make_mandate().model_dump(mode="json"), indent=1).encode()
    forged = forge(
        payload, {identity(s): s.sign(dsse(payload)) for s in (signers.issuer, signers.validator)}
    )
    assert refused(forged, signers.trusted) == "mandate_malformed"


def _edits() -> list[tuple[str, Any]]:
    return [
        ("payload", None),
        ("payload", "!"),
        ("payload", 1),
        ("payloadType", 1),
        ("signatures", None),
        ("signatures", {}),
        ("signatures", [1]),
        ("signatures", [[]]),
        ("signatures", [{"keyid": "a"}]),
        ("signatures", [{"keyid": "a", "sig": 1}]),
        ("signatures", [{"keyid": "a", "sig": "AA=="}, {"keyid": "a", "sig": "AA=="}]),
        ("signatures", [{"keyid": "b", "sig": "AA=="}, {"keyid": "a", "sig": "AA=="}]),
        ("signatures", [{"keyid": "a", "sig": "AB=="}]),
        ("signatures", [{"keyid": "a", "sig": "-_8="}]),
        ("signatures", [{"keyid": "a", "sig": "AA==", "cert": "x"}]),
        ("extra", 1),
    ]


@pytest.mark.parametrize(("name", "value"), _edits())
def test_malformed_envelope_is_refused(name: str, value: object) -> None:
    signers = Signers()
    envelope = json.loads(signers.sign(make_mandate())) | {name: value}
    assert refused(canonical.dumps(envelope), signers.trusted) == "mandate_malformed"


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b"\xff", b"{" * 100_000, b'{"payload":"' + b"A" * 70_000 + b'"}'],
)
def test_what_is_no_envelope_is_refused(data: bytes) -> None:
    assert refused(data, Signers().trusted) == "mandate_malformed"


def test_envelope_with_white_space_is_refused() -> None:
    signers = Signers()
    data = signers.sign(make_mandate())
    for altered in (data + b"\n", b" " + data, data.replace(b",", b", ")):
        assert refused(altered, signers.trusted) == "mandate_malformed"


def test_refusal_holds_nothing_of_the_mandate_s_text() -> None:
    signers = Signers()
    mandate = make_mandate(purpose="sentinel purpose", legal_basis="sentinel basis")
    envelope = json.loads(signers.sign(mandate))
    envelope["signatures"][0]["sig"] = base64.b64encode(bytes(64)).decode()
    with pytest.raises(AuthorisationError) as caught:
        verify_envelope(canonical.dumps(envelope), signers.trusted)
    assert "sentinel" not in caught.value.diagnostics()
    assert PLATFORM not in caught.value.message
