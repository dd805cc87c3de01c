"""The lock of a home: one random home key, wrapped under a passphrase, encrypts every key file.

Source: protocols/specs/key-file.md, section 3.
"""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any, Literal, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from psishare.errors import ConfigError, PsishareError
from psishare.keys import canonical
from psishare.keys.durable_file import write_durably
from psishare.keys.private_file import malformed, read_private

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.keys.passphrase import Passphrase

LOCK_FILE = "lock.json"
MAX_BYTES = 64 * 1024
HOME_KEY_BYTES = 32
FILE_SALT_BYTES = 32
LOCK_SALT_BYTES = 16
MEMORY_KIB = 64 * 1024
PASSES = 3
LANES = 4
_FILE_LABEL = b"psishare/key-file/v2"
_LOCK_LABEL = b"psishare/lock/v1"
_NONCE = bytes(12)
"""Every key encrypts one text, and comes from a fresh salt; so the nonce need not differ."""


class _Fields(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


class _Derivation(_Fields):
    name: Literal["argon2id"]
    memory_kib: int = Field(ge=8 * 1024, le=4 * 1024 * 1024)
    passes: int = Field(ge=1, le=64)
    lanes: int = Field(ge=1, le=16)
    salt: str

    def derive(self, passphrase: Passphrase) -> ChaCha20Poly1305:
        derived = Argon2id(
            salt=base64.b64decode(self.salt, validate=True),
            length=HOME_KEY_BYTES,
            iterations=self.passes,
            lanes=self.lanes,
            memory_cost=self.memory_kib,
        ).derive(passphrase.encode())
        return ChaCha20Poly1305(derived)


class _LockDocument(_Fields):
    version: Literal[1]
    kdf: _Derivation
    wrapped: str

    def context(self) -> bytes:
        """Return what the wrapping authenticates beside the home key."""
        return _LOCK_LABEL + b"\x00" + canonical.dumps(self.model_dump(exclude={"wrapped"}))


class HomeKey:
    """The key under which a home's key files are encrypted. Prints no secret."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def generate(cls) -> Self:
        """Make a new key from the operating system's randomness."""
        return cls(secrets.token_bytes(HOME_KEY_BYTES))

    def encrypt(self, secret: bytes, *, salt: bytes, algorithm: str, context: bytes) -> bytes:
        """Encrypt a key file's secret.

        Args:
            secret: the secret.
            salt: 32 fresh random bytes, used for this one text.
            algorithm: what the secret is for.
            context: what is authenticated with it.
        """
        return self._cipher(salt, algorithm).encrypt(_NONCE, secret, context)

    def decrypt(self, encrypted: bytes, *, salt: bytes, algorithm: str, context: bytes) -> bytes:
        """Decrypt what ``encrypt`` made.

        Raises:
            InvalidTag: it was not made with this key, for this algorithm, in this context.
        """
        return self._cipher(salt, algorithm).decrypt(_NONCE, encrypted, context)

    def wrap(self, path: Path, passphrase: Passphrase) -> None:
        """Write the lock that this passphrase opens, durably, replacing the one that is there.

        Raises:
            ConfigError: ``key_file_unwritable``.
        """
        salt = base64.b64encode(secrets.token_bytes(LOCK_SALT_BYTES)).decode("ascii")
        kdf = _Derivation(
            name="argon2id", memory_kib=MEMORY_KIB, passes=PASSES, lanes=LANES, salt=salt
        )
        document = _LockDocument(version=1, kdf=kdf, wrapped="")
        wrapped = kdf.derive(passphrase).encrypt(_NONCE, self._secret, document.context())
        fields = document.model_dump() | {"wrapped": base64.b64encode(wrapped).decode("ascii")}
        data = canonical.dumps(fields)
        write_durably(path, data, error=ConfigError, reason="key_file_unwritable")

    def _cipher(self, salt: bytes, algorithm: str) -> ChaCha20Poly1305:
        info = _FILE_LABEL + b"\x00" + algorithm.encode("ascii")
        derived = HKDF(SHA256(), HOME_KEY_BYTES, salt, info).derive(self._secret)
        return ChaCha20Poly1305(derived)

    def __repr__(self) -> str:
        return "HomeKey(<redacted>)"


def unwrap(path: Path, passphrase: Passphrase) -> HomeKey:
    """Open a lock.

    Raises:
        ConfigError: ``passphrase_wrong``; or the file is missing, exposed or malformed, as
            ``read_private`` says.
    """
    data = read_private(path, max_bytes=MAX_BYTES)
    try:
        value: dict[str, Any] = canonical.loads(data, max_bytes=MAX_BYTES, what="the lock")
        document = _LockDocument.model_validate(value)
        wrapped = base64.b64decode(document.wrapped, validate=True)
        cipher = document.kdf.derive(passphrase)
    except (PsishareError, ValidationError, ValueError, MemoryError):
        raise malformed(path, "is not a lock of this format") from None
    try:
        return HomeKey(cipher.decrypt(_NONCE, wrapped, document.context()))
    except InvalidTag:
        came_from = f": it came from {passphrase.variable}" if passphrase.variable else ""
        raise ConfigError(
            f"the passphrase does not open {path}{came_from}",
            mend=f"{_another(passphrase)} A lost passphrase cannot be replaced: restore home and"
            " passphrase together.",
            reason="passphrase_wrong",
        ) from None


def _another(passphrase: Passphrase) -> str:
    if passphrase.variable is None:
        return "Give the right one."
    return f"Unset {passphrase.variable} to be asked, or have it name the file of the right one."
