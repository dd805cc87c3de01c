from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psishare.errors import ConfigError, InternalError, VerificationError
from psishare.keys.sealing import (
    PUBLIC_KEY_BYTES,
    SealingKey,
    require_sealing_key,
    seal,
)

KEY = SealingKey.from_secret_bytes(bytes(range(96)))
INFO = b"psishare/test/v1"


def test_what_is_sealed_opens_and_is_never_the_same() -> None:
    first, second = (seal(KEY.public_key, b"secret", info=INFO, aad=b"a") for _ in range(2))
    assert first != second
    assert len(first) == len(b"secret") + 1136
    assert (
        KEY.open(first, info=INFO, aad=b"a") == KEY.open(second, info=INFO, aad=b"a") == b"secret"
    )


@pytest.mark.parametrize(
    ("info", "aad"),
    [(b"psishare/test/v2", b"a"), (INFO, b"b"), (INFO, b""), (INFO, b"a\0"), (INFO + b"a", b"")],
)
def test_what_is_sealed_opens_in_its_own_context_only(info: bytes, aad: bytes) -> None:
    sealed = seal(KEY.public_key, b"secret", info=INFO, aad=b"a")
    with pytest.raises(VerificationError) as caught:
        KEY.open(sealed, info=info, aad=aad)
    assert caught.value.reason == "unsealing_failed"


def test_another_key_does_not_open_it() -> None:
    sealed = seal(KEY.public_key, b"secret", info=INFO, aad=b"")
    with pytest.raises(VerificationError):
        SealingKey.generate().open(sealed, info=INFO, aad=b"")


@settings(max_examples=60)
@given(st.integers(0, 1142 * 8 - 1))
def test_a_flipped_bit_does_not_open(bit: int) -> None:
    sealed = bytearray(seal(KEY.public_key, b"secret", info=INFO, aad=b""))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VerificationError):
        KEY.open(bytes(sealed), info=INFO, aad=b"")


@given(st.binary(max_size=1300))
def test_bytes_of_any_kind_raise_nothing_but_ours(data: bytes) -> None:
    with pytest.raises(VerificationError):
        KEY.open(data, info=INFO, aad=b"")


def test_a_key_survives_its_secret_bytes_and_prints_none() -> None:
    key = SealingKey.generate()
    again = SealingKey.from_secret_bytes(key.secret_bytes())
    assert again.public_key == key.public_key
    assert len(key.public_key) == PUBLIC_KEY_BYTES == 1216
    assert repr(key) == "SealingKey(<redacted>)"
    with pytest.raises(ConfigError):
        SealingKey.from_secret_bytes(key.secret_bytes()[:-1])


@pytest.mark.parametrize(
    "public_key",
    [
        b"",
        KEY.public_key[:-1],
        KEY.public_key + b"\0",
        b"\xff" * 1216,
    ],
)
def test_a_malformed_public_key_is_refused(public_key: bytes) -> None:
    with pytest.raises(VerificationError):
        require_sealing_key(public_key)
    with pytest.raises(VerificationError):
        seal(public_key, b"", info=INFO, aad=b"")


def test_a_public_key_of_small_order_seals_nothing() -> None:
    with pytest.raises(VerificationError):
        seal(KEY.public_key[:1184] + bytes(32), b"", info=INFO, aad=b"")


@pytest.mark.parametrize("info", [b"", b"a\0b"])
def test_a_purpose_that_could_blur_into_the_context_is_our_fault(info: bytes) -> None:
    with pytest.raises(InternalError):
        seal(KEY.public_key, b"", info=info, aad=b"")
