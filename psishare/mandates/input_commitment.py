"""The input commitment: a salted digest of a list's Merkle root, which a mandate can hold.

It shows nothing of the list. The authority's own software checks it before it asks, and a replay
afterwards; a platform cannot. Source: protocols/specs/mandate.md, section 15.
"""

from __future__ import annotations

import hashlib
import hmac

LABEL = b"psishare/input/v1"
SALT_BYTES = 32


def input_commitment(salt: bytes, input_root: bytes) -> bytes:
    """Return the commitment to a list, 32 bytes.

    Args:
        salt: 32 secret random bytes, for this list alone.
        input_root: the RFC 6962 Merkle root over the distinct canonical values, 32 bytes.
    """
    return hashlib.sha256(LABEL + b"\x00" + salt + input_root).digest()


def commits_to(commitment: str, salt: bytes, input_root: bytes) -> bool:
    """Tell whether a mandate's commitment, in hexadecimal, is to the list of this root."""
    return hmac.compare_digest(commitment, input_commitment(salt, input_root).hex())
