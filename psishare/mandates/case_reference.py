"""The case reference: committed to in the mandate, its cleartext sealed in a file that stays local.

Source: protocols/specs/mandate.md, section 3.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from psishare.errors import InputError, VerificationError
from psishare.keys import canonical, sealing

if TYPE_CHECKING:
    from psishare.keys.sealing import Unsealer

LABEL = b"psishare/case/v1"
SALT_BYTES = 32
MAX_REFERENCE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class CaseReference:
    """A case's reference and the salt that keeps its commitment from being guessed."""

    reference: str = field(repr=False)
    salt: bytes = field(repr=False)

    @classmethod
    def new(cls, reference: str) -> Self:
        """Take a reference and draw a fresh salt.

        Raises:
            InputError: empty, longer than 1,024 bytes of UTF-8, or not encodable.
        """
        try:
            length = len(reference.encode())
        except UnicodeEncodeError:
            length = 0
        if not 0 < length <= MAX_REFERENCE_BYTES:
            raise InputError(
                f"a case reference is 1 to {MAX_REFERENCE_BYTES} bytes of text",
                mend="Give the reference under which the case is kept.",
                reason="case_reference_invalid",
            )
        return cls(reference, secrets.token_bytes(SALT_BYTES))

    @property
    def commitment(self) -> bytes:
        """SHA-256 of label, zero byte, salt and reference: 32 bytes."""
        return hashlib.sha256(LABEL + b"\x00" + self.salt + self.reference.encode()).digest()

    def seal(self, public_key: bytes) -> bytes:
        """Seal reference and salt to a sealing key, bound to the commitment."""
        document = canonical.dumps(
            {"version": 1, "reference": self.reference, "salt": self.salt.hex()}
        )
        return sealing.seal(public_key, document, info=LABEL, aad=self.commitment)

    @classmethod
    def open(cls, sealed: bytes, key: Unsealer, *, commitment: bytes) -> Self:
        """Open what ``seal`` made and check it against the mandate's commitment.

        Raises:
            VerificationError: sealed to another key or commitment, altered, or malformed.
        """
        document = key.open(sealed, info=LABEL, aad=commitment)
        fields = canonical.loads(document, max_bytes=4096, what="the case reference")
        reference, salt = fields.get("reference"), fields.get("salt")
        if (
            fields.keys() != {"version", "reference", "salt"}
            or fields["version"] != 1
            or not isinstance(reference, str)
            or not isinstance(salt, str)
        ):
            raise _differs()
        try:
            opened = cls(reference, bytes.fromhex(salt))
        except ValueError:
            raise _differs() from None
        if opened.commitment != commitment:
            raise _differs()
        return opened


def _differs() -> VerificationError:
    return VerificationError(
        "the sealed case reference is not what the mandate commits to",
        mend="Use the file that was written when this mandate was drafted.",
        reason="case_reference_differs",
    )
