"""Sealing to a public key: HPKE (RFC 9180), single-shot base mode.

KEM MLKEM768-X25519 (hybrid: safe while either half is), KDF HKDF-SHA256, AEAD ChaCha20-Poly1305.
The context is bound through HPKE's ``info``: ``info ‖ 0x00 ‖ aad``; the AEAD's own associated data is
empty. A sealed text is ``encapsulated key (1,120 bytes) ‖ ciphertext ‖ tag (16 bytes)``.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol, Self

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from psishare.errors import ConfigError, InternalError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SEED_BYTES = 64
X25519_BYTES = 32
SECRET_BYTES = SEED_BYTES + X25519_BYTES
MLKEM_PUBLIC_BYTES = 1184
PUBLIC_KEY_BYTES = MLKEM_PUBLIC_BYTES + X25519_BYTES
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


class Unsealer(Protocol):
    """Whatever opens what was sealed to it."""

    def open(self, sealed: bytes, *, info: bytes, aad: bytes) -> bytes:
        """Open what was sealed in this context.

        Raises:
            VerificationError: sealed to another key or in another context, or damaged.
        """
        ...


class SealingKey:
    """A private key to which others seal. Prints no secret."""

    def __init__(self, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> None:
        self._mlkem = mlkem
        self._x25519 = x25519
        self._key = MLKEM768X25519PrivateKey(mlkem, x25519)
        self.public_key = (
            mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        )

    @classmethod
    def generate(cls) -> Self:
        """Make a new key from the operating system's randomness.

        Raises:
            ConfigError: the installed ``cryptography`` has no ML-KEM.
        """
        try:
            return cls(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())
        except UnsupportedAlgorithm:
            raise _no_ml_kem() from None

    @classmethod
    def from_secret_bytes(cls, secret: bytes) -> Self:
        """Restore a key from its 96 secret bytes: ML-KEM seed (64) ‖ X25519 scalar (32).

        Raises:
            ConfigError: not 96 bytes; or the installed ``cryptography`` has no ML-KEM.
        """
        if len(secret) != SECRET_BYTES:
            raise ConfigError(
                f"a sealing key's secret has {SECRET_BYTES} bytes, not {len(secret)}",
                mend="Restore the key file from a backup.",
                reason="key_malformed",
            )
        try:
            return cls(
                MLKEM768PrivateKey.from_seed_bytes(secret[:SEED_BYTES]),
                X25519PrivateKey.from_private_bytes(secret[SEED_BYTES:]),
            )
        except UnsupportedAlgorithm:
            raise _no_ml_kem() from None

    def secret_bytes(self) -> bytes:
        """Return the 96 secret bytes, for a key file."""
        return self._mlkem.private_bytes_raw() + self._x25519.private_bytes_raw()

    def open(self, sealed: bytes, *, info: bytes, aad: bytes) -> bytes:
        """Open what was sealed to this key in this context.

        Raises:
            VerificationError: sealed to another key or in another context, or damaged.
        """
        try:
            return _SUITE.decrypt(sealed, self._key, info=_context(info, aad))
        except (InvalidTag, ValueError):
            raise VerificationError(
                "a sealed text does not open under this key",
                mend="Use the key that it was sealed to, and the file as it was written.",
                reason="unsealing_failed",
            ) from None

    def __repr__(self) -> str:
        return "SealingKey(<redacted>)"


class SealingKeys:
    """The key to which others seal, and those before it, which open what was sealed then.

    Args:
        current: the key that the card names.
        older: reads the others; asked only where the current one does not open.
    """

    def __init__(self, current: SealingKey, older: Callable[[], Iterable[SealingKey]]) -> None:
        self._current = current
        self._older = older
        self.public_key = current.public_key

    def open(self, sealed: bytes, *, info: bytes, aad: bytes) -> bytes:
        """Open what was sealed to one of these keys in this context.

        Raises:
            VerificationError: sealed to another key or in another context, or damaged.
            ConfigError: an older key cannot be read.
        """
        try:
            return self._current.open(sealed, info=info, aad=aad)
        except VerificationError:
            for key in self._older():
                with contextlib.suppress(VerificationError):
                    return key.open(sealed, info=info, aad=aad)
            raise

    def __repr__(self) -> str:
        return "SealingKeys(<redacted>)"


def seal(public_key: bytes, plaintext: bytes, *, info: bytes, aad: bytes) -> bytes:
    """Seal a text to a public key.

    Args:
        public_key: 1,216 bytes: ML-KEM-768 encapsulation key (1,184) ‖ X25519 public key (32).
        plaintext: any bytes.
        info: names the purpose; without a zero byte.
        aad: what the sealed text belongs to; may be empty.

    Returns:
        The sealed text, 1,136 bytes longer than the plaintext; different each time.

    Raises:
        VerificationError: the public key is malformed.
    """
    key = _public_key(public_key)
    try:
        return _SUITE.encrypt(plaintext, key, info=_context(info, aad))
    except ValueError:
        # An X25519 public key of small order agrees on nothing but zeros.
        raise _bad_public_key() from None


def require_sealing_key(public_key: bytes) -> None:
    """Refuse bytes that are not a sealing key.

    Raises:
        VerificationError: not 1,216 bytes, or not a valid ML-KEM-768 key in its first part.
    """
    _public_key(public_key)


def _public_key(public_key: bytes) -> MLKEM768X25519PublicKey:
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise _bad_public_key()
    try:
        return MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public_key[:MLKEM_PUBLIC_BYTES]),
            X25519PublicKey.from_public_bytes(public_key[MLKEM_PUBLIC_BYTES:]),
        )
    except UnsupportedAlgorithm:
        raise _no_ml_kem() from None
    except ValueError:
        raise _bad_public_key() from None


def _context(info: bytes, aad: bytes) -> bytes:
    if not info or b"\x00" in info:
        raise InternalError(
            "a sealing purpose is not empty and holds no zero byte",
            mend="Report this to the authors of psishare.",
        )
    return info + b"\x00" + aad


def _bad_public_key() -> VerificationError:
    return VerificationError(
        "a sealing key is malformed",
        mend="Get the card again from its owner.",
        reason="key_malformed",
    )


def _no_ml_kem() -> ConfigError:
    return ConfigError(
        "the installed cryptography library has no ML-KEM-768",
        mend="Install cryptography 50 or later from its published wheels.",
        reason="ml_kem_missing",
    )
