"""The word of one pair of a log's keys that another pair follows it: signed by both of the old pair's keys.

A card and an entry of the log carry it. By an Ed25519 signature alone, whoever breaks that algorithm could
name keys of their own, and ML-DSA-44 would count for nothing from there on.
Source: protocols/specs/audit-log.md, section 11, step 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from psishare.errors import VerificationError
from psishare.keys import canonical
from psishare.keys.statement import statement_message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psishare.keys.note_key import NoteKey, NoteSigner

LABEL = "log-keys"


@dataclass(frozen=True, slots=True)
class Handover:
    """Two signatures over the names of an old and a new pair.

    Attributes:
        ed25519: 64 bytes, by the old pair's Ed25519 key.
        ml_dsa_44: 2,420 bytes, by its ML-DSA-44 key.
    """

    ed25519: bytes
    ml_dsa_44: bytes

    @classmethod
    def sign(cls, signers: Sequence[NoteSigner], new: Sequence[NoteKey]) -> Self:
        """Sign that a pair follows another.

        Args:
            signers: of the old pair, types 0x01 and 0x06.
            new: the pair to follow it, in the same order.

        Raises:
            ConfigError: a signer fails.
        """
        message = _message([signer.key for signer in signers], new)
        ed25519, ml_dsa_44 = (signer.sign(message) for signer in signers)
        return cls(ed25519, ml_dsa_44)

    def verify(self, old: Sequence[NoteKey], new: Sequence[NoteKey]) -> None:
        """Verify both signatures.

        Args:
            old: the pair that must have signed, types 0x01 and 0x06.
            new: the pair that it must have named.

        Raises:
            VerificationError: ``log_rotation_invalid``: one of them is not the old pair's.
        """
        message = _message(old, new)
        try:
            for key, signature in zip(old, (self.ed25519, self.ml_dsa_44), strict=True):
                key.verify(message, signature)
        except VerificationError:
            party = old[0].name
            raise VerificationError(
                f"a pair of keys of the log of {party} is not signed for by both keys before it",
                mend=f"Do not rely on it; ask {party} by a way that you trust, and compare fingerprints.",
                reason="log_rotation_invalid",
                party=party,
            ) from None


def _message(old: Sequence[NoteKey], new: Sequence[NoteKey]) -> bytes:
    payload = {"party": old[0].name, "old": _named(old), "new": _named(new)}
    return statement_message(LABEL, canonical.dumps(payload))


def _named(pair: Sequence[NoteKey]) -> dict[str, str]:
    ed25519, ml_dsa_44 = (key.encode() for key in pair)
    return {"ed25519": ed25519, "ml_dsa_44": ml_dsa_44}
