"""Signing keys: Ed25519 (RFC 8032) and ML-DSA-44 (FIPS 204, empty context).

Whatever signs is a ``Signer``; only the classes here hold a secret in memory. A key in a PKCS#11
token or a key service is another class with the same three members (``external_signer``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Protocol, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from psishare.errors import ConfigError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable

Algorithm = Literal["ed25519", "ml-dsa-44"]

ED25519_PUBLIC_BYTES = 32
ED25519_SIGNATURE_BYTES = 64
ML_DSA_44_PUBLIC_BYTES = 1312
ML_DSA_44_SIGNATURE_BYTES = 2420
SECRET_BYTES = 32

_FIELD_PRIME = 2**255 - 19
_ORDER_8_Y = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
# The y coordinates of the eight points whose order divides 8.
_SMALL_ORDER_Y = frozenset({0, 1, _FIELD_PRIME - 1, _ORDER_8_Y, _FIELD_PRIME - _ORDER_8_Y})


class Signer(Protocol):
    """Whatever can sign bytes under one public key."""

    @property
    def algorithm(self) -> Algorithm:
        """The signature's algorithm."""
        ...

    @property
    def public_key(self) -> bytes:
        """The raw public key: 32 bytes for Ed25519, 1,312 for ML-DSA-44."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the signature over a message: 64 or 2,420 bytes."""
        ...


class Ed25519Signer:
    """An Ed25519 key in memory (RFC 8032). Prints no secret."""

    algorithm: Algorithm = "ed25519"

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Self:
        """Make a new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_secret_bytes(cls, secret: bytes) -> Self:
        """Restore a key from its 32 secret bytes.

        Raises:
            ConfigError: not 32 bytes.
        """
        _require_secret(secret)
        return cls(Ed25519PrivateKey.from_private_bytes(secret))

    def secret_bytes(self) -> bytes:
        """Return the 32 secret bytes, for a key file."""
        return self._key.private_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over a message."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return "Ed25519Signer(<redacted>)"


class MlDsa44Signer:
    """An ML-DSA-44 key in memory (FIPS 204, empty context). Prints no secret."""

    algorithm: Algorithm = "ml-dsa-44"

    def __init__(self, key: MLDSA44PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Self:
        """Make a new key from the operating system's randomness.

        Raises:
            ConfigError: the installed ``cryptography`` has no ML-DSA.
        """
        try:
            return cls(MLDSA44PrivateKey.generate())
        except UnsupportedAlgorithm:
            raise _no_ml_dsa() from None

    @classmethod
    def from_secret_bytes(cls, secret: bytes) -> Self:
        """Restore a key from its 32-byte seed.

        Raises:
            ConfigError: not 32 bytes; or the installed ``cryptography`` has no ML-DSA.
        """
        _require_secret(secret)
        try:
            return cls(MLDSA44PrivateKey.from_seed_bytes(secret))
        except UnsupportedAlgorithm:
            raise _no_ml_dsa() from None

    def secret_bytes(self) -> bytes:
        """Return the 32-byte seed, for a key file."""
        return self._key.private_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the 2,420-byte signature over a message; a fresh one each time."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return "MlDsa44Signer(<redacted>)"


class DeferredSigner:
    """A signer whose public key is known, and whose secret is read when it first signs.

    Args:
        algorithm: its algorithm.
        public_key: its raw public key.
        load: returns the signer; it must have that key.
    """

    def __init__(self, algorithm: Algorithm, public_key: bytes, load: Callable[[], Signer]) -> None:
        self.algorithm = algorithm
        self.public_key = public_key
        self._load = load

    def sign(self, message: bytes) -> bytes:
        """Return the signature over a message."""
        return self._load().sign(message)

    def __repr__(self) -> str:
        return "DeferredSigner(<redacted>)"


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Verify an Ed25519 signature (RFC 8032, section 5.1.7).

    Public keys of small order and non-canonical ones are refused: under them one signature fits
    many messages, which proves nothing to a third party.

    Raises:
        VerificationError: the key is malformed or weak, or the signature is not this key's.
    """
    try:
        _ed25519_key(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise _bad_signature("Ed25519") from None


@lru_cache(64)
def _ed25519_key(public_key: bytes) -> Ed25519PublicKey:
    """Return a public key, decoded once: an auditor verifies many signatures under few keys."""
    require_ed25519_key(public_key)
    return Ed25519PublicKey.from_public_bytes(public_key)


def verify_ml_dsa_44(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Verify an ML-DSA-44 signature (FIPS 204, empty context).

    Raises:
        VerificationError: the key is malformed, or the signature is not this key's.
        ConfigError: the installed ``cryptography`` has no ML-DSA.
    """
    if len(public_key) != ML_DSA_44_PUBLIC_BYTES:
        raise _bad_key("ML-DSA-44")
    try:
        MLDSA44PublicKey.from_public_bytes(public_key).verify(signature, message)
    except UnsupportedAlgorithm:
        raise _no_ml_dsa() from None
    except (InvalidSignature, ValueError):
        raise _bad_signature("ML-DSA-44") from None


def require_ed25519_key(public_key: bytes) -> None:
    """Refuse bytes that cannot be an honest party's Ed25519 public key.

    Raises:
        VerificationError: not 32 bytes, not a canonical encoding, or a point of small order.
    """
    if len(public_key) != ED25519_PUBLIC_BYTES:
        raise _bad_key("Ed25519")
    y = int.from_bytes(public_key, "little") & (2**255 - 1)
    if y >= _FIELD_PRIME or y in _SMALL_ORDER_Y:
        raise _bad_key("Ed25519")


def _require_secret(secret: bytes) -> None:
    if len(secret) != SECRET_BYTES:
        raise ConfigError(
            f"a signing key's secret has {SECRET_BYTES} bytes, not {len(secret)}",
            mend="Restore the key file from a backup.",
            reason="key_malformed",
        )


def _bad_key(algorithm: str) -> VerificationError:
    return VerificationError(
        f"a public key is not an acceptable {algorithm} key",
        mend="Get the key again from its owner and compare fingerprints.",
        reason="key_malformed",
    )


def _bad_signature(algorithm: str) -> VerificationError:
    return VerificationError(
        f"an {algorithm} signature does not verify",
        mend="Do not rely on this document; get it again from its author.",
        reason="signature_invalid",
    )


def _no_ml_dsa() -> ConfigError:
    return ConfigError(
        "the installed cryptography library has no ML-DSA-44",
        mend="Install cryptography 50 or later from its published wheels.",
        reason="ml_dsa_missing",
    )
