"""Key files: one secret each, in the clear, encrypted under the home key, or kept elsewhere.

What a key file's bytes are, and nothing of where they lie: ``psishare.keys.vault`` reads and writes
them. Source: protocols/specs/key-file.md, section 2.
"""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from cryptography.exceptions import InvalidTag
from pydantic import BaseModel, ConfigDict, ValidationError

from psishare.errors import PsishareError
from psishare.keys import canonical
from psishare.keys.lock import FILE_SALT_BYTES, HomeKey
from psishare.keys.private_file import malformed

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 64 * 1024


class _Fields(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    algorithm: str
    created: str

    def to_bytes(self) -> bytes:
        """Return the file's bytes."""
        return canonical.dumps(self.model_dump())


class ClearKey(_Fields):
    """Version 1: the secret in the clear; permissions are what guards it."""

    version: Literal[1]
    protection: Literal["none"]
    secret: str

    @classmethod
    def of(cls, algorithm: str, secret: bytes) -> ClearKey:
        """Return the file of a new secret."""
        return cls(
            version=1,
            algorithm=algorithm,
            created=_now(),
            protection="none",
            secret=_text(secret),
        )

    def plain(self) -> bytes:
        """Return the secret.

        Raises:
            ValueError: it is not base64.
        """
        return base64.b64decode(self.secret.encode("ascii"), validate=True)


class EncryptedKey(_Fields):
    """Version 2: the secret encrypted under the home key."""

    version: Literal[2]
    protection: Literal["lock"]
    salt: str
    secret: str

    @classmethod
    def of(
        cls, algorithm: str, secret: bytes, home_key: HomeKey, *, created: str | None = None
    ) -> EncryptedKey:
        """Encrypt a secret; ``created`` is now unless it is that of an older file."""
        salt = secrets.token_bytes(FILE_SALT_BYTES)
        empty = cls(
            version=2,
            algorithm=algorithm,
            created=created or _now(),
            protection="lock",
            salt=_text(salt),
            secret="",
        )
        sealed = home_key.encrypt(secret, salt=salt, algorithm=algorithm, context=empty._context())
        return empty.model_copy(update={"secret": _text(sealed)})

    def decrypt(self, home_key: HomeKey) -> bytes:
        """Return the secret.

        Raises:
            ValueError: it is damaged, renamed, or another home's.
        """
        try:
            return home_key.decrypt(
                base64.b64decode(self.secret.encode("ascii"), validate=True),
                salt=base64.b64decode(self.salt.encode("ascii"), validate=True),
                algorithm=self.algorithm,
                context=self._context(),
            )
        except InvalidTag:
            raise ValueError("does not open") from None

    def _context(self) -> bytes:
        return canonical.dumps(self.model_dump(exclude={"secret"}))


class KeyElsewhere(_Fields):
    """Version 2: the key is in a token or a service, behind a signer; no secret is here."""

    version: Literal[2]
    protection: Literal["signer"]
    signer: str
    settings: dict[str, str]
    public_key: str

    @classmethod
    def of(
        cls, algorithm: str, signer: str, settings: dict[str, str], public_key: bytes
    ) -> KeyElsewhere:
        """Return the file that names a signer."""
        return cls(
            version=2,
            algorithm=algorithm,
            created=_now(),
            protection="signer",
            signer=signer,
            settings=settings,
            public_key=_text(public_key),
        )


KeyFile = ClearKey | EncryptedKey | KeyElsewhere

_FORMS: dict[tuple[object, object], type[ClearKey | EncryptedKey | KeyElsewhere]] = {
    (1, "none"): ClearKey,
    (2, "lock"): EncryptedKey,
    (2, "signer"): KeyElsewhere,
}


def parse_key_file(path: Path, data: bytes, *, algorithm: str | None) -> KeyFile:
    """Parse a key file strictly.

    Args:
        path: where it lies, for messages.
        data: its bytes.
        algorithm: what the secret must be for; None where any will do.

    Raises:
        ConfigError: ``key_file_malformed``.
    """
    try:
        value = canonical.loads(data, max_bytes=MAX_BYTES, what="the key file")
        form = _FORMS.get((value.get("version"), value.get("protection")))
    except (PsishareError, TypeError):
        raise malformed(path, "is not a key file of this format") from None
    if form is None:
        raise malformed(path, "has a format version or a protection that is not read here")
    try:
        document = form.model_validate(value)
    except ValidationError:
        raise malformed(path, "is not a key file of this format") from None
    if algorithm is not None and document.algorithm != algorithm:
        raise malformed(path, f"does not hold a key for {algorithm}")
    return document


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
