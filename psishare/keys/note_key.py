"""The keys of C2SP notes: verifier keys as text, their ids, and what signs under them.

A verifier key is ``<name>+<8 hex digits>+<base64(type ‖ public key)>`` (C2SP signed-note). Its id is
the first four bytes of ``SHA-256(name ‖ 0x0A ‖ type ‖ public key)``, always recomputed. What message a
key of each type signs is the note's business (``psishare.audit``); here are only keys.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Self

from psishare.errors import InternalError, VerificationError
from psishare.keys.signer import (
    ED25519_SIGNATURE_BYTES,
    ML_DSA_44_PUBLIC_BYTES,
    ML_DSA_44_SIGNATURE_BYTES,
    require_ed25519_key,
    verify_ed25519,
    verify_ml_dsa_44,
)

if TYPE_CHECKING:
    from psishare.keys.signer import Signer

MAX_VERIFIER_KEY_CHARACTERS = 4096
KEY_ID_BYTES = 4
_KEY_ID = re.compile(r"[0-9a-f]{8}")


class SignatureType(IntEnum):
    """The signature types of C2SP signed-note that psishare knows."""

    ED25519 = 0x01
    """A log's own signature over its note's text."""
    ED25519_COSIGNATURE = 0x04
    """A timestamped cosignature of a checkpoint."""
    ML_DSA_44 = 0x06
    """A timestamped ML-DSA-44 cosignature of a checkpoint."""

    @property
    def signature_bytes(self) -> int:
        """The length of the bare signature, without key id and time."""
        if self is SignatureType.ML_DSA_44:
            return ML_DSA_44_SIGNATURE_BYTES
        return ED25519_SIGNATURE_BYTES


@dataclass(frozen=True)
class NoteKey:
    """A public key under a name: what C2SP calls a verifier key.

    Raises:
        VerificationError: the name is empty or holds a space, a plus sign or a control character;
            or the public key does not fit the type.
    """

    name: str
    type: SignatureType
    public_key: bytes

    def __post_init__(self) -> None:
        require_note_name(self.name)
        if self.type is not SignatureType.ML_DSA_44:
            require_ed25519_key(self.public_key)
        elif len(self.public_key) != ML_DSA_44_PUBLIC_BYTES:
            raise _malformed("holds a public key of the wrong length")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a verifier key strictly: it must serialise to the same text.

        Raises:
            VerificationError: not a verifier key of a known type, or its key id is not the
                recomputed one.
        """
        # The base64 may hold a plus sign: split from the left, twice at most.
        parts = text.split("+", 2)
        if len(text) > MAX_VERIFIER_KEY_CHARACTERS or len(parts) != 3:
            raise _malformed("is not name+id+key")
        name, key_id, encoded = parts
        try:
            typed = base64.b64decode(encoded.encode("ascii"), validate=True)
            kind = SignatureType(typed[0])
        except (ValueError, binascii.Error, IndexError):
            raise _malformed("is not base64 of a known type of key") from None
        key = cls(name, kind, typed[1:])
        if not _KEY_ID.fullmatch(key_id) or key.encode() != text:
            raise _malformed("has a wrong key id or an irregular spelling")
        return key

    def encode(self) -> str:
        """Return the verifier key as text."""
        typed = bytes([self.type]) + self.public_key
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(typed).decode('ascii')}"

    @cached_property
    def key_id(self) -> bytes:
        """The four bytes that stand before a signature made under this key."""
        typed = bytes([self.type]) + self.public_key
        return hashlib.sha256(self.name.encode() + b"\n" + typed).digest()[:KEY_ID_BYTES]

    def verify(self, message: bytes, signature: bytes) -> None:
        """Verify a bare signature (without key id and time) over a message.

        Raises:
            VerificationError: it is not this key's.
        """
        if self.type is SignatureType.ML_DSA_44:
            verify_ml_dsa_44(self.public_key, message, signature)
        else:
            verify_ed25519(self.public_key, message, signature)


class NoteSigner:
    """A signer under a name and a signature type. Prints no secret.

    Args:
        name: the note name, which for a log is its origin.
        kind: the signature type; must fit the signer's algorithm.
        signer: whatever signs.

    Raises:
        InternalError: type and algorithm do not fit.
        VerificationError: the name is not one.
    """

    def __init__(self, name: str, kind: SignatureType, signer: Signer) -> None:
        needed = "ml-dsa-44" if kind is SignatureType.ML_DSA_44 else "ed25519"
        if signer.algorithm != needed:
            raise InternalError(
                f"signature type {int(kind)} needs a key of {needed}",
                mend="Report this to the authors of psishare.",
            )
        self.key = NoteKey(name, kind, signer.public_key)
        self._signer = signer

    def sign(self, message: bytes) -> bytes:
        """Return the bare signature over a message."""
        return self._signer.sign(message)

    def __repr__(self) -> str:
        return f"NoteSigner({self.key.name!r}, {self.key.type.name}, <redacted>)"


def require_note_name(name: str) -> None:
    """Refuse what cannot be a note's name (C2SP signed-note).

    Raises:
        VerificationError: empty, or holds a Unicode space, a plus sign or a control character.
    """
    if not name or "+" in name or any(c.isspace() or not c.isprintable() for c in name):
        raise _malformed(
            "has a name that is empty or holds a space, plus sign or control character"
        )


def _malformed(fault: str) -> VerificationError:
    return VerificationError(
        f"a verifier key {fault}",
        mend="Copy the key again from its owner's card.",
        reason="key_malformed",
    )
