from __future__ import annotations

import pytest

from psishare.errors import ConfigError, InternalError, VerificationError
from psishare.keys.signer import (
    Ed25519Signer,
    MlDsa44Signer,
    Signer,
    verify_ed25519,
    verify_ml_dsa_44,
)
from psishare.keys.statement import sign_statement, verify_statement

PRIME = 2**255 - 19
D = -121665 * pow(121666, -1, PRIME) % PRIME

# RFC 8032, section 7.1: secret, public key, message, signature.
RFC8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
]


@pytest.mark.parametrize("vector", RFC8032)
def test_ed25519_is_rfc_8032(vector: tuple[str, str, str, str]) -> None:
    secret, public, message, signature = (bytes.fromhex(each) for each in vector)
    signer = Ed25519Signer.from_secret_bytes(secret)
    assert signer.public_key == public
    assert signer.sign(message) == signature
    verify_ed25519(public, message, signature)


@pytest.mark.parametrize("kind", [Ed25519Signer, MlDsa44Signer])
def test_a_key_survives_its_secret_bytes(kind: type[Ed25519Signer | MlDsa44Signer]) -> None:
    signer = kind.generate()
    again = kind.from_secret_bytes(signer.secret_bytes())
    assert again.public_key == signer.public_key
    assert len(signer.secret_bytes()) == 32
    verify = verify_ed25519 if signer.algorithm == "ed25519" else verify_ml_dsa_44
    verify(signer.public_key, b"message", again.sign(b"message"))
    with pytest.raises(VerificationError):
        verify(signer.public_key, b"another", again.sign(b"message"))


@pytest.mark.parametrize("kind", [Ed25519Signer, MlDsa44Signer])
def test_a_signer_prints_no_secret(kind: type[Ed25519Signer | MlDsa44Signer]) -> None:
    signer = kind.generate()
    assert "redacted" in repr(signer)
    assert signer.secret_bytes().hex() not in f"{signer!r} {signer}"


@pytest.mark.parametrize("kind", [Ed25519Signer, MlDsa44Signer])
@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_secret_of_another_length_is_refused(
    kind: type[Ed25519Signer | MlDsa44Signer], length: int
) -> None:
    with pytest.raises(ConfigError):
        kind.from_secret_bytes(bytes(length))


def square_root(square: int) -> int | None:
    root = pow(square, (PRIME + 3) // 8, PRIME)
    for candidate in (root, root * pow(2, (PRIME - 1) // 4, PRIME) % PRIME):
        if candidate * candidate % PRIME == square % PRIME:
            return candidate
    return None


def small_order_keys() -> list[bytes]:
    """Return all encodings of the points of small order, worked out from the curve.

    A point of order 8 doubles into one with y = 0: x^2 = -y^2, so d * y^4 + 2 * y^2 - 1 = 0.
    """
    root = square_root(1 + D)
    assert root is not None
    order_8 = [square_root((sign * root - 1) * pow(D, -1, PRIME)) for sign in (1, -1)]
    y8 = next(y for y in order_8 if y is not None)
    ys = {0, 1, PRIME - 1, y8, PRIME - y8}
    return [(y | sign << 255).to_bytes(32, "little") for y in sorted(ys) for sign in (0, 1)]


@pytest.mark.parametrize("key", small_order_keys(), ids=bytes.hex)
def test_a_key_of_small_order_is_refused(key: bytes) -> None:
    # Under the identity, R = S * B verifies for every message: S = 0, R = identity.
    signature = (1).to_bytes(32, "little") + bytes(32)
    with pytest.raises(VerificationError) as caught:
        verify_ed25519(key, b"any message", signature)
    assert caught.value.reason == "key_malformed"


@pytest.mark.parametrize("y", [PRIME, PRIME + 1, PRIME + 18, 2**255 - 1])
def test_a_key_that_is_not_canonical_is_refused(y: int) -> None:
    with pytest.raises(VerificationError):
        verify_ed25519(y.to_bytes(32, "little"), b"", bytes(64))


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_of_another_length_is_refused(length: int) -> None:
    signer = Ed25519Signer.generate()
    with pytest.raises(VerificationError):
        verify_ed25519(signer.public_key, b"m", signer.sign(b"m").ljust(65, b"\0")[:length])


def test_a_signature_with_s_beyond_the_order_is_refused() -> None:
    signer = Ed25519Signer.generate()
    signature = signer.sign(b"m")
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(signature[32:], "little") + order
    with pytest.raises(VerificationError):
        verify_ed25519(signer.public_key, b"m", signature[:32] + s.to_bytes(32, "little"))


def test_ml_dsa_signatures_have_their_length_and_are_fresh() -> None:
    signer = MlDsa44Signer.generate()
    assert (len(signer.public_key), len(signer.sign(b""))) == (1312, 2420)
    assert signer.sign(b"m") != signer.sign(b"m")
    for key, signature in [
        (b"", signer.sign(b"m")),
        (signer.public_key, b""),
        (signer.public_key, bytes(2420)),
    ]:
        with pytest.raises(VerificationError):
            verify_ml_dsa_44(key, b"m", signature)


def test_a_statement_verifies_under_its_own_label_only() -> None:
    signer: Signer = Ed25519Signer.generate()
    signature = sign_statement(signer, "offer", b"document")
    verify_statement(signer.public_key, "offer", b"document", signature, party="police")
    for label, payload in [
        ("answer", b"document"),
        ("offer", b"documens"),
        ("offer-x", b"document"),
    ]:
        with pytest.raises(VerificationError) as caught:
            verify_statement(signer.public_key, label, payload, signature, party="police")
        assert caught.value.party == "police"


def test_a_statement_is_the_bytes_that_the_specification_gives() -> None:
    signer = Ed25519Signer.generate()
    signature = sign_statement(signer, "offer", b"{}")
    verify_ed25519(signer.public_key, b"psishare/offer/v1\x00{}", signature)


@pytest.mark.parametrize("label", ["", "Offer", "a/b", "a\n", "a\x00", "-a", "a--b"])
def test_a_label_that_could_blur_the_boundary_is_refused(label: str) -> None:
    with pytest.raises(InternalError):
        sign_statement(Ed25519Signer.generate(), label, b"")


def test_statements_are_not_signed_with_the_log_s_other_key() -> None:
    with pytest.raises(InternalError):
        sign_statement(MlDsa44Signer.generate(), "offer", b"")
