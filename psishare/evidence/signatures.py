"""What parties signed, verified with the keys of cards that the verifier trusts.

Two logs hold the same documents with the same signatures. Whoever reads both can remember which ones
verified: the same key, label, bytes and signature are then not verified again, and nothing else is
taken for the same.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from psishare.evidence.trust import trusted_card
from psishare.keys.statement import verify_statement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psishare.evidence.digest_set import DigestSet
    from psishare.parties.card import Card


class Signatures:
    """Verifies signed statements: at once, or those that entries need when it is settled, in their order.

    Args:
        trust: the cards that the verifier trusts, by party id.
        verified: what has verified so far, where that is to be remembered.

    Attributes:
        index: the entry that is read; while it is settled, the entry whose signature is verified.
    """

    def __init__(self, trust: Mapping[str, Card], verified: DigestSet | None = None) -> None:
        self._trust = trust
        self._verified = verified
        self._due: list[tuple[int, str, str, bytes, bytes]] = []
        self.index = 0

    @property
    def n_due(self) -> int:
        """How many signatures are to be verified yet."""
        return len(self._due)

    def require(self, party: str, label: str, payload: bytes, signature: bytes) -> None:
        """Require a party's statement, as ``verify`` has it, by the time that it is settled.

        Raises:
            ConfigError: the party's card is not among those that are trusted.
        """
        trusted_card(self._trust, party)
        self._due.append((self.index, party, label, payload, signature))

    def settle(self) -> None:
        """Verify what is due, in the order in which it was required.

        Raises:
            VerificationError: of the first signature that is wrong; ``index`` is that of its entry.
        """
        due, self._due = self._due, []
        for index, party, label, payload, signature in due:
            self.index = index
            self.verify(party, label, payload, signature)

    def verify(self, party: str, label: str, payload: bytes, signature: bytes) -> None:
        """Verify a party's statement.

        Args:
            party: who must have signed it.
            label: the kind of statement that it must be.
            payload: the document's bytes.
            signature: 64 bytes.

        Raises:
            VerificationError: the signature is not that party's over this payload under this label.
            ConfigError: the party's card is not among those that are trusted.
        """
        key = trusted_card(self._trust, party).log_key
        if self._verified is None:
            verify_statement(key, label, payload, signature, party=party)
            return
        digest = _digest(key, label.encode(), payload, signature)
        if digest not in self._verified:
            verify_statement(key, label, payload, signature, party=party)
            self._verified.add(digest)


def _digest(*parts: bytes) -> bytes:
    """Return the digest of parts, each after its length."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
