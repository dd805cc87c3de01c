"""Cards: reading, signing, replacing, fingerprints and certificates."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta
from importlib import resources
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from party_examples import (
    AUTHORITY,
    NOW,
    PLATFORM,
    base64_of,
    card_file,
    card_of,
    certificate_of,
    changed,
    pq_signer_of,
    signer_of,
)

from psishare.errors import ConfigError, ExitCode
from psishare.keys import canonical
from psishare.keys.handover import Handover
from psishare.keys.log_keys import MAX_PAIRS
from psishare.keys.note_key import NoteKey, NoteSigner, SignatureType
from psishare.keys.signer import Ed25519Signer, MlDsa44Signer
from psishare.keys.statement import sign_statement
from psishare.parties.card import MAX_BYTES, parse_card, replaces, sign_card
from psishare.parties.fingerprint import fingerprint, require_fingerprint
from psishare.parties.tls import make_certificate, make_identity, require_certificate, tls_name


def signed(document: dict[str, Any], party_id: str = PLATFORM) -> bytes:
    """Return a card file of any document, rightly signed by the party's key."""
    signature = sign_statement(signer_of(party_id), "card", canonical.dumps(document))
    return canonical.dumps({"card": document, "signature": base64_of(signature)})


def fields(party_id: str = PLATFORM) -> dict[str, Any]:
    return card_of(party_id).fields()


def refused(data: bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_card(data)
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    return caught.value.reason


def test_card_survives_its_round_trip() -> None:
    card = card_of()
    assert parse_card(card_file(card)) == card


def test_card_of_a_party_in_a_unit_is_read() -> None:
    assert parse_card(card_file(card_of(AUTHORITY))).id == AUTHORITY


def test_card_gives_its_keys_raw() -> None:
    card = card_of()
    assert card.log_key == signer_of(PLATFORM).public_key
    assert len(card.sealing_key_bytes) == 1_216
    assert [key.type for key in card.verifiers()] == [
        SignatureType.ED25519,
        SignatureType.ML_DSA_44,
    ]
    assert card.certificates() == (certificate_of(PLATFORM),)
    assert card.certificate_digests() == (hashlib.sha256(certificate_of(PLATFORM)).digest(),)
    assert card.sha256 == hashlib.sha256(card.document()).digest()


def test_party_cosigns_with_the_keys_of_its_log() -> None:
    card = card_of()
    cosigner, log = card.cosigner_keys(), card.verifiers()
    assert [key.type for key in cosigner] == [
        SignatureType.ED25519_COSIGNATURE,
        SignatureType.ML_DSA_44,
    ]
    assert [key.public_key for key in cosigner] == [key.public_key for key in log]
    assert {key.name for key in cosigner} == {card.id}


def test_card_holds_the_next_certificate_beside_the_current() -> None:
    following = certificate_of(PLATFORM, number=2)
    tls = {"current": base64_of(certificate_of(PLATFORM)), "next": base64_of(following)}
    card = parse_card(card_file(changed(card_of(), tls=tls)))
    assert card.certificates() == (certificate_of(PLATFORM), following)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "Telecom"),
        ("id", "telecom.example."),
        ("id", "psishare/telecom"),
        ("display_name", ""),
        ("display_name", "x" * 129),
        ("display_name", "over\u202eride"),
        ("display_name", "tab\there"),
        ("role", "judge"),
        ("serial", 0),
        ("serial", "1"),
        ("serial", True),
        ("created", "2026-08-01 12:00:00"),
        ("created", "2026-08-1T12:00:00Z"),
        ("created", 5),
        ("sealing_key", "AAAA"),
        ("sealing_key", "!"),
        ("sealing_key", base64_of(bytes([255]) * 1_216)),
        ("log_keys", {}),
        ("log_keys", {"ed25519": "x", "ml_dsa_44": "y"}),
        ("tls", {"current": "AAAA"}),
        ("tls", {"current": None, "next": None}),
    ],
)
def test_card_refuses_a_wrong_field_though_signed(name: str, value: object) -> None:
    assert refused(signed(fields() | {name: value})) in {"card_malformed", "certificate_invalid"}


@pytest.mark.parametrize("name", sorted(set(card_of().fields()) - {"version"}))
def test_card_refuses_a_missing_field(name: str) -> None:
    document = fields()
    del document[name]
    assert refused(signed(document)) == "card_malformed"


def test_card_refuses_an_unknown_field() -> None:
    assert refused(signed(fields() | {"sentinel": 1})) == "card_malformed"


@pytest.mark.parametrize(
    ("version", "reason"), [(3, "card_version"), (2, "card_malformed"), (True, "card_malformed")]
)
def test_card_refuses_another_version(version: object, reason: str) -> None:
    assert refused(signed(fields() | {"version": version})) == reason


def test_card_refuses_log_keys_of_another_name() -> None:
    key = NoteKey("other.example", SignatureType.ED25519, signer_of(PLATFORM).public_key)
    log_keys = fields()["log_keys"] | {"ed25519": key.encode()}
    assert refused(signed(fields() | {"log_keys": log_keys})) == "card_malformed"


def test_card_refuses_log_keys_of_another_type() -> None:
    key = NoteKey(PLATFORM, SignatureType.ED25519_COSIGNATURE, signer_of(PLATFORM).public_key)
    log_keys = fields()["log_keys"] | {"ed25519": key.encode()}
    assert refused(signed(fields() | {"log_keys": log_keys})) == "card_malformed"


def test_card_refuses_one_certificate_twice() -> None:
    tls = {"current": fields()["tls"]["current"], "next": fields()["tls"]["current"]}
    assert refused(signed(fields() | {"tls": tls})) == "card_malformed"


def test_card_refuses_another_party_s_certificate() -> None:
    tls = {"current": base64_of(certificate_of(AUTHORITY)), "next": None}
    assert refused(signed(fields() | {"tls": tls})) == "certificate_invalid"


def test_card_signed_by_another_key_is_refused() -> None:
    document = fields()
    signature = sign_statement(Ed25519Signer.generate(), "card", canonical.dumps(document))
    data = canonical.dumps({"card": document, "signature": base64_of(signature)})
    assert refused(data) == "card_signature_invalid"


def test_statement_under_another_label_is_no_card() -> None:
    document = fields()
    signature = sign_statement(signer_of(PLATFORM), "receipt", canonical.dumps(document))
    data = canonical.dumps({"card": document, "signature": base64_of(signature)})
    assert refused(data) == "card_signature_invalid"


@pytest.mark.parametrize(
    "signature", [None, 1, "", "AAAA", "!", "AAB=", base64.urlsafe_b64encode(b"\xff" * 64).decode()]
)
def test_card_with_no_proper_signature_is_refused(signature: object) -> None:
    data = canonical.dumps({"card": fields(), "signature": signature})
    assert refused(data) in {"card_malformed", "card_signature_invalid"}


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff", b" ", b'{"card":1,"signature":"AA=="}']
)
def test_what_is_no_card_file_is_refused(data: bytes) -> None:
    assert refused(data) == "card_malformed"


def test_card_file_that_is_too_long_is_refused() -> None:
    assert refused(signed(fields() | {"display_name": "x" * 70_000})) == "card_malformed"


def test_card_is_signed_by_its_own_key_only() -> None:
    with pytest.raises(ConfigError):
        sign_card(card_of(), Ed25519Signer.generate())


def test_higher_serial_under_the_pinned_key_replaces() -> None:
    assert replaces(card_of(), changed(card_of(), serial=2, display_name="New name"))


def test_same_card_replaces_nothing() -> None:
    assert not replaces(card_of(), card_of())


@pytest.mark.parametrize("serial", [1, 2])
def test_changed_card_without_a_higher_serial_is_refused(serial: int) -> None:
    known = changed(card_of(), serial=2)
    with pytest.raises(ConfigError) as caught:
        replaces(known, changed(known, serial=serial, display_name="New name"))
    assert caught.value.reason == "card_changed"


def test_another_key_is_refused_however_high_its_serial() -> None:
    key = NoteKey(PLATFORM, SignatureType.ED25519, Ed25519Signer.generate().public_key)
    log_keys = fields()["log_keys"] | {"ed25519": key.encode()}
    with pytest.raises(ConfigError) as caught:
        replaces(card_of(), changed(card_of(), serial=9, log_keys=log_keys))
    assert caught.value.reason == "card_changed"


def test_card_of_another_party_replaces_nothing() -> None:
    with pytest.raises(ConfigError):
        replaces(card_of(), card_of(AUTHORITY))


# Fingerprints.


def test_fingerprint_is_the_first_132_bits_in_words_of_the_list() -> None:
    # The words were computed from the specification with the published list, by hand.
    digest = hashlib.sha256(b"psishare/pin/v1\x00" + bytes(32)).digest()
    bits = "".join(f"{byte:08b}" for byte in digest)
    numbers = [int(bits[start : start + 11], 2) for start in range(0, 132, 11)]
    words = fingerprint(bytes(32)).split("-")
    assert len(words) == len(numbers) == 12
    listed = _word_list()
    assert words == [listed[number] for number in numbers]


def _word_list() -> list[str]:
    return resources.files("psishare.parties").joinpath("words.txt").read_text("ascii").split("\n")


def test_word_list_is_the_one_of_bip_39() -> None:
    words = _word_list()
    assert words[0] == "abandon"
    assert words[2_047] == "zoo"
    assert len({word[:4] for word in words[:2_048]}) == 2_048


def test_fingerprint_as_people_write_it_is_accepted() -> None:
    key = signer_of(PLATFORM).public_key
    words = fingerprint(key).split("-")
    for stated in (
        "-".join(words),
        " ".join(words).upper(),
        "  " + "  ".join(words) + "\n",
        "\n".join(words),
        " - ".join(words),
    ):
        require_fingerprint(key, stated, party=PLATFORM)


@pytest.mark.parametrize("position", range(12))
def test_fingerprint_that_differs_in_one_word_is_refused(position: int) -> None:
    key = signer_of(PLATFORM).public_key
    words = fingerprint(key).split("-")
    words[position] = "zoo" if words[position] != "zoo" else "abandon"
    with pytest.raises(ConfigError) as caught:
        require_fingerprint(key, " ".join(words), party=PLATFORM)
    assert caught.value.reason == "fingerprint_mismatch"


@pytest.mark.parametrize(
    "stated", ["", "zoo", " ".join(["zoo"] * 11), " ".join(["zoo"] * 13), " ".join(["zooo"] * 12)]
)
def test_fingerprint_that_is_none_is_refused(stated: str) -> None:
    with pytest.raises(ConfigError) as caught:
        require_fingerprint(bytes(32), stated, party=PLATFORM)
    assert caught.value.reason == "fingerprint_malformed"


def test_refused_fingerprint_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        require_fingerprint(bytes(32), " ".join(["sentinel"] * 12), party=PLATFORM)
    assert "sentinel" not in caught.value.diagnostics()


# Certificates.


def test_certificate_is_what_the_specification_says() -> None:
    certificate = x509.load_der_x509_certificate(certificate_of(PLATFORM))
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(
        days=365, hours=1
    )
    require_certificate(certificate_of(PLATFORM), PLATFORM)


def test_certificate_s_name_does_not_show_the_id() -> None:
    name = tls_name(PLATFORM)
    assert name.endswith(".psishare.invalid")
    assert "telecom" not in name
    assert len(name.split(".")[0]) == 32
    assert tls_name(AUTHORITY) != name


def test_certificate_is_paired_with_its_own_key_only() -> None:
    certificate, private = make_certificate(PLATFORM, now=NOW)
    identity = make_identity(certificate, private)
    assert identity.certificate_sha256 == hashlib.sha256(certificate).digest()
    assert "PRIVATE" not in repr(identity)
    for wrong in (make_certificate(PLATFORM, now=NOW)[1], b"", b"garbage"):
        with pytest.raises(ConfigError) as caught:
            make_identity(certificate, wrong)
        assert caught.value.reason == "tls_key_invalid"


def make_odd_certificate(
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    name: str | None = None,
    ca: bool = False,
    cert_sign: bool = False,
    server_only: bool = False,
    san: str | None = None,
    without: type[x509.ExtensionType] | None = None,
    signed_by: ec.EllipticCurvePrivateKey | None = None,
) -> bytes:
    """Return a certificate that differs from the specification in one thing."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name or tls_name(PLATFORM))])
    uses = [ExtendedKeyUsageOID.SERVER_AUTH]
    if not server_only:
        uses.append(ExtendedKeyUsageOID.CLIENT_AUTH)
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=ca, path_length=None), True),
        (
            x509.KeyUsage(True, False, False, False, False, cert_sign, False, False, False),
            True,
        ),
        (x509.ExtendedKeyUsage(uses), False),
        (x509.SubjectAlternativeName([x509.DNSName(san or tls_name(PLATFORM))]), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    for extension, critical in extensions:
        if without is None or not isinstance(extension, without):
            builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(signed_by or key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.DER)


def test_certificate_made_elsewhere_to_the_specification_is_accepted() -> None:
    require_certificate(make_odd_certificate(), PLATFORM)


@pytest.mark.parametrize(
    "changes",
    [
        {"key": ec.generate_private_key(ec.SECP384R1())},
        {"name": "other.psishare.invalid"},
        {"ca": True},
        {"cert_sign": True},
        {"server_only": True},
        {"san": "other.psishare.invalid"},
        {"without": x509.BasicConstraints},
        {"without": x509.KeyUsage},
        {"without": x509.ExtendedKeyUsage},
        {"without": x509.SubjectAlternativeName},
        {"without": x509.SubjectKeyIdentifier},
        {"signed_by": ec.generate_private_key(ec.SECP256R1())},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_certificate_against_the_specification_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        require_certificate(make_odd_certificate(**changes), PLATFORM)
    assert caught.value.reason == "certificate_invalid"


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_cut_certificate_is_refused(cut: int) -> None:
    with pytest.raises(ConfigError):
        require_certificate(certificate_of(PLATFORM)[:cut], PLATFORM)


# version 2: keys of the log that followed others


Signers = tuple[NoteSigner, NoteSigner]


def signers(seed: int) -> Signers:
    """Return what signs with a pair of keys; with the party's first where the seed is 0."""
    ed25519 = Ed25519Signer.from_secret_bytes(bytes([seed]) * 32) if seed else signer_of(PLATFORM)
    ml_dsa_44 = (
        MlDsa44Signer.from_secret_bytes(bytes([seed]) * 32) if seed else pq_signer_of(PLATFORM)
    )
    return (
        NoteSigner(PLATFORM, SignatureType.ED25519, ed25519),
        NoteSigner(PLATFORM, SignatureType.ML_DSA_44, ml_dsa_44),
    )


def pair(seed: int) -> dict[str, str]:
    ed25519, ml_dsa_44 = (signer.key.encode() for signer in signers(seed))
    return {"ed25519": ed25519, "ml_dsa_44": ml_dsa_44}


def handover(old: Signers, seed: int) -> dict[str, str]:
    """Return the word of a pair's holders that the pair of a seed follows."""
    word = Handover.sign(old, [signer.key for signer in signers(seed)])
    return {"ed25519": base64_of(word.ed25519), "ml_dsa_44": base64_of(word.ml_dsa_44)}


def rotated(**changes: Any) -> dict[str, Any]:
    """Return the fields of a card whose log's keys were rotated once."""
    keys = [
        fields()["log_keys"] | {"first": 0, "last": 9, "handover": None},
        pair(77) | {"first": 5, "last": None, "handover": handover(signers(0), 77)},
    ]
    return fields() | {"version": 2, "checkpoint_keys": keys} | changes


def test_card_of_rotated_keys_survives_its_round_trip_and_keeps_its_pin() -> None:
    document = rotated()
    card = parse_card(signed(document))
    assert card.fields() == document
    assert (card.fingerprint(), card.cosigner_keys()) == (
        card_of(PLATFORM).fingerprint(),
        card_of(PLATFORM).cosigner_keys(),
    )
    sizes = [(term.first, term.last) for term in card.checkpoint_verifiers.terms]
    assert sizes == [(0, 9), (5, None)]
    assert [term.keys[0].encode() for term in card.checkpoint_verifiers.terms] == [
        fields()["log_keys"]["ed25519"],
        pair(77)["ed25519"],
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda keys: None,
        lambda keys: [],
        lambda keys: keys[:1],
        lambda keys: keys[::-1],
        lambda keys: [*keys, keys[1]],
        lambda keys: [keys[0], keys[1] | {"first": 0}],
        lambda keys: [keys[0], keys[1] | {"first": -1}],
        lambda keys: [keys[0], keys[1] | {"first": 10}],
        lambda keys: [keys[0], keys[1] | {"first": "5"}],
        lambda keys: [keys[0], keys[1] | {"last": 20}],
        lambda keys: [keys[0] | {"first": 1}, keys[1]],
        lambda keys: [pair(78) | {"first": 0, "last": 9, "handover": None}, keys[1]],
        lambda keys: [keys[0], keys[1] | {"handover": None}],
        lambda keys: [keys[0], keys[1] | {"handover": {}}],
        lambda keys: [keys[0] | {"handover": keys[1]["handover"]}, keys[1]],
        lambda keys: [keys[0], pair(78) | {k: keys[1][k] for k in ("first", "last", "handover")}],
        lambda keys: [keys[0], keys[1] | {"handover": handover(signers(77), 77)}],
        lambda keys: [keys[0], keys[1] | {"handover": with_pinned_key_alone(77)}],
        lambda keys: [
            *(keys[0], keys[1] | {"last": 12}),
            pair(78) | {"first": 11, "last": None, "handover": handover(signers(0), 78)},
        ],
        lambda keys: [keys[0], keys[1] | {"ed25519": keys[0]["ed25519"]}],
        lambda keys: [keys[0], keys[1] | {"ed25519": keys[1]["ml_dsa_44"]}],
        lambda keys: [keys[0], keys[1] | {"ed25519": "x"}],
        lambda keys: [keys[0], keys[1] | {"more": 1}],
        lambda keys: {"0": keys[0], "1": keys[1]},
        lambda keys: [keys[0]] + [keys[1] | {"first": n, "last": n + 1} for n in range(5, 25)],
    ],
)
def test_card_refuses_keys_that_no_log_can_have_though_signed(change: Any) -> None:
    keys = change(rotated()["checkpoint_keys"])
    assert refused(signed(rotated(checkpoint_keys=keys))) == "card_malformed"


def with_pinned_key_alone(seed: int) -> dict[str, str]:
    """Return a word that whoever has the pinned key alone can give: they have their own ML-DSA-44."""
    return handover((signers(0)[0], signers(seed)[1]), seed)


def test_card_of_as_many_pairs_as_a_log_has_is_read() -> None:
    keys = [fields()["log_keys"] | {"first": 0, "last": 9, "handover": None}]
    for n in range(1, MAX_PAIRS):
        sizes = {"first": 10 * n, "last": 10 * n + 9 if n < MAX_PAIRS - 1 else None}
        keys[-1]["last"] = 10 * n
        keys.append(pair(n) | sizes | {"handover": handover(signers(n - 1), n)})
    document = rotated(checkpoint_keys=keys, display_name="\U0001f50d" * 128)
    document["tls"] = document["tls"] | {"next": base64_of(certificate_of(PLATFORM, number=2))}
    assert len(parse_card(signed(document)).checkpoint_verifiers.terms) == MAX_PAIRS
    assert len(signed(document)) < 0.95 * MAX_BYTES


def test_card_of_version_1_tells_of_no_rotated_keys() -> None:
    assert refused(signed(rotated(version=1))) == "card_malformed"


def test_newer_card_keeps_what_the_known_one_tells_of_its_logs_keys() -> None:
    first, second = rotated()["checkpoint_keys"]
    known = parse_card(signed(rotated(checkpoint_keys=[first | {"last": None}, second], serial=2)))
    ended = parse_card(signed(rotated(serial=3)))
    assert replaces(card_of(PLATFORM), known)
    assert replaces(known, ended)
    other = parse_card(signed(rotated(checkpoint_keys=[first, second | {"first": 6}], serial=4)))
    back = parse_card(signed(fields() | {"serial": 5}))
    late = parse_card(signed(rotated(checkpoint_keys=[first | {"last": 8}, second], serial=6)))
    for older, newer in ((known, other), (ended, other), (known, back), (ended, late)):
        with pytest.raises(ConfigError) as caught:
            replaces(older, newer)
        assert caught.value.reason == "card_changed"
