"""The opening: with it an authority can later prove what it asked (exchange.md, section 11)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from psishare.exchange.document import Digest, Document, Rows
from psishare.keys.sealing import SealingKey, seal

INFO = b"psishare/opening/v1"


class Opening(Document):
    """The sealed secret of one exchange. Never printed, never sent to the platform."""

    version: Literal[1] = 1
    protocol: Literal["oprf", "ecdh", "openmined"]
    seed: Digest
    input_root: Digest
    rows: Rows
    operator: Annotated[str, Field(max_length=256)]
    operator_salt: Digest

    def __repr__(self) -> str:
        """Return the type's name alone."""
        return "Opening(<redacted>)"

    __str__ = __repr__


def seal_opening(opening: Opening, exchange_id: bytes, public_key: bytes) -> bytes:
    """Seal an opening to a party's HPKE key, bound to the exchange."""
    return seal(public_key, opening.document(), info=INFO, aad=exchange_id)


def unseal_opening(sealed: bytes, exchange_id: bytes, key: SealingKey) -> Opening:
    """Open a sealed opening.

    Raises:
        VerificationError: it was sealed to another key or for another exchange, or is damaged.
    """
    return Opening.parse(key.open(sealed, info=INFO, aad=exchange_id))
