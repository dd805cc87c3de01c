"""Signed statements: a document's bytes signed under a label that says what they are.

The signed message is ``"psishare/" ‖ label ‖ "/v1" ‖ 0x00 ‖ payload`` (protocols/specs/exchange.md,
section 3). The zero byte keeps a statement apart from a C2SP note, which holds no control character
but a newline, and from a DSSE message, which begins ``DSSEv1 ``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from psishare.errors import InternalError, VerificationError
from psishare.keys.signer import verify_ed25519

if TYPE_CHECKING:
    from psishare.keys.signer import Signer

_LABEL = re.compile(r"[a-z]+(-[a-z]+)*")


def sign_statement(signer: Signer, label: str, payload: bytes) -> bytes:
    """Sign a payload as a statement of the kind ``label``.

    Args:
        signer: an Ed25519 signer.
        label: lower-case words joined by hyphens.
        payload: the document's bytes.

    Returns:
        The 64-byte signature.

    Raises:
        InternalError: the label is not one, or the signer is not Ed25519.
    """
    if signer.algorithm != "ed25519":
        raise _our_fault("a statement is signed with Ed25519 only")
    return signer.sign(statement_message(label, payload))


def verify_statement(
    public_key: bytes, label: str, payload: bytes, signature: bytes, *, party: str
) -> None:
    """Verify a statement of the kind ``label``.

    Args:
        public_key: 32 bytes, the party's Ed25519 key.
        label: the kind of statement that it must be.
        payload: the document's bytes.
        signature: 64 bytes.
        party: the id of the party that should have signed.

    Raises:
        VerificationError: the signature is not that party's over this payload under this label.
    """
    try:
        verify_ed25519(public_key, statement_message(label, payload), signature)
    except VerificationError as error:
        raise VerificationError(
            f"the {label} is not signed by {party}",
            mend=f"Do not rely on it; ask {party} for it again and compare the key's fingerprint.",
            reason=error.reason,
            party=party,
        ) from None


def statement_message(label: str, payload: bytes) -> bytes:
    """Return the bytes that are signed for a payload under a label.

    Raises:
        InternalError: the label is not one.
    """
    return _prefix(label) + payload


@lru_cache(32)
def _prefix(label: str) -> bytes:
    if not _LABEL.fullmatch(label):
        raise _our_fault("a statement's label is lower-case words joined by hyphens")
    return b"psishare/" + label.encode("ascii") + b"/v1\x00"


def _our_fault(message: str) -> InternalError:
    return InternalError(message, mend="Report this to the authors of psishare.")
