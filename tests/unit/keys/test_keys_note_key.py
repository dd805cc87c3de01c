from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psishare.errors import InternalError, VerificationError
from psishare.keys.note_key import NoteKey, NoteSigner, SignatureType
from psishare.keys.signer import Ed25519Signer, MlDsa44Signer

TEXT = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
ED25519 = Ed25519Signer.from_secret_bytes(b"k" * 32)
ML_DSA = MlDsa44Signer.from_secret_bytes(b"k" * 32)


def test_a_published_verifier_key_parses_and_is_written_the_same() -> None:
    key = NoteKey.parse(TEXT)
    assert (key.name, key.type) == ("example.com/log/testdata", SignatureType.ED25519)
    assert key.key_id.hex() == "33d7b496"
    assert key.encode() == TEXT


@pytest.mark.parametrize("kind", list(SignatureType))
def test_every_type_of_key_survives_its_text(kind: SignatureType) -> None:
    signer = ML_DSA if kind is SignatureType.ML_DSA_44 else ED25519
    key = NoteSigner("a.example/x", kind, signer).key
    assert NoteKey.parse(key.encode()) == key


def test_one_public_key_has_another_id_under_each_type_and_name() -> None:
    ids = {
        NoteKey(name, kind, ED25519.public_key).key_id
        for name in ("a", "b")
        for kind in (SignatureType.ED25519, SignatureType.ED25519_COSIGNATURE)
    }
    assert len(ids) == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a+b",
        TEXT + "=",
        TEXT + "\n",
        " " + TEXT,
        TEXT[:-1],
        TEXT.replace("33d7b496", "33D7B496"),
        TEXT.replace("33d7b496", "33d7b497"),
        TEXT.replace("33d7b496", "0x33d7b496"),
        TEXT.replace("log", "log2"),
        TEXT.replace("/log/", " log "),
        TEXT.replace("+AeHT", "+ AeHT"),
        TEXT.replace("+AeHT", "+AeHT\n"),
        TEXT.replace("+Ae", "+Be"),
        TEXT.replace("+Ae", "+Ce"),
        "+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx",
        "a+33d7b496+",
        "a+33d7b496+AQ==",
        "a+33d7b496+" + "A" * 5000,
    ],
)
def test_another_spelling_of_a_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(VerificationError) as caught:
        NoteKey.parse(text)
    assert caught.value.reason == "key_malformed"


def test_base64_with_stray_bits_is_refused() -> None:
    # 33 bytes leave no padding; an ML-DSA key's 1,313 leave four unused bits.
    text = NoteSigner("a", SignatureType.ML_DSA_44, ML_DSA).key.encode()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = text.rstrip("=")[-1]
    stray = text.rstrip("=")[:-1] + alphabet[alphabet.index(last) ^ 1] + "="
    assert base64.b64decode(stray.split("+", 2)[2]) == base64.b64decode(text.split("+", 2)[2])
    with pytest.raises(VerificationError):
        NoteKey.parse(stray)


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\u00a0b", "a\u2003b", "a\nb", "a\x7fb", "a\u200bb"]
)
def test_a_name_that_could_be_misread_is_refused(name: str) -> None:
    with pytest.raises(VerificationError):
        NoteKey(name, SignatureType.ED25519, ED25519.public_key)


def test_a_weak_public_key_is_refused() -> None:
    with pytest.raises(VerificationError):
        NoteKey("a", SignatureType.ED25519, (1).to_bytes(32, "little"))


@pytest.mark.parametrize("kind", list(SignatureType))
def test_a_signer_of_the_other_algorithm_is_our_fault(kind: SignatureType) -> None:
    with pytest.raises(InternalError):
        NoteSigner("a", kind, ED25519 if kind is SignatureType.ML_DSA_44 else ML_DSA)


@pytest.mark.parametrize("kind", list(SignatureType))
def test_a_note_signer_signs_under_its_key_and_prints_no_secret(kind: SignatureType) -> None:
    signer = NoteSigner("a", kind, ML_DSA if kind is SignatureType.ML_DSA_44 else ED25519)
    signature = signer.sign(b"text")
    assert len(signature) == kind.signature_bytes
    signer.key.verify(b"text", signature)
    with pytest.raises(VerificationError):
        signer.key.verify(b"texts", signature)
    assert "redacted" in repr(signer)


@given(st.text(max_size=100))
def test_text_of_any_kind_raises_nothing_but_ours(text: str) -> None:
    with pytest.raises(VerificationError):
        NoteKey.parse(text)
