"""The receipt: the closing statement of an exchange, signed by both parties.

Source: protocols/specs/exchange.md, section 9. Plain Python: auditors verify it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from psishare.exchange.document import Digest, Document, Name, PartyId, Positive, Rows, Time
from psishare.keys.statement import sign_statement, verify_statement

if TYPE_CHECKING:
    from psishare.exchange.transcript import Transcript
    from psishare.keys.signer import Signer

RECEIPT = "receipt"


class SequenceTotals(Document):
    """One sequence of frames as it ended."""

    frames: Rows
    rows: Rows
    transcript: Digest

    @classmethod
    def of(cls, transcript: Transcript) -> SequenceTotals:
        """Return the totals of a finished transcript."""
        return cls(
            frames=transcript.frames, rows=transcript.rows, transcript=transcript.value.hex()
        )


class Receipt(Document):
    """Who exchanged what with whom, under which mandate, and the transcripts of all of it."""

    version: Literal[1] = 1
    exchange_id: Digest
    authority: PartyId
    platform: PartyId
    protocol: Literal["oprf", "ecdh", "openmined"]
    dataset: Name
    kind: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9./-]{0,64}$")]
    output: Literal["matches", "count", "both"]
    epoch: Positive | None
    manifest_sha256: Digest | None
    mandate_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{16,64}$")]
    mandate_sha256: Digest
    answer_sha256: Digest
    requests: SequenceTotals
    elements: SequenceTotals
    answers: SequenceTotals
    returns: SequenceTotals
    opened: Time
    closed: Time

    def same_but_closing_time(self, other: Receipt) -> list[str]:
        """Return the names of the fields that differ, the time of closing aside."""
        names = [name for name in type(self).model_fields if name != "closed"]
        return [name for name in names if getattr(self, name) != getattr(other, name)]


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """A receipt with the bytes that both parties signed.

    Attributes:
        receipt: the parsed document.
        document: its canonical bytes.
        authority_signature: 64 bytes.
        platform_signature: 64 bytes.
    """

    receipt: Receipt
    document: bytes
    authority_signature: bytes
    platform_signature: bytes

    def verify(self, *, authority_key: bytes, platform_key: bytes) -> None:
        """Verify both signatures with the parties' pinned Ed25519 keys.

        Raises:
            VerificationError: one is wrong; names the party.
        """
        verify_receipt(
            self.document, self.authority_signature, authority_key, self.receipt.authority
        )
        verify_receipt(self.document, self.platform_signature, platform_key, self.receipt.platform)


def sign_receipt(document: bytes, signer: Signer) -> bytes:
    """Return one party's signature over a receipt's bytes, 64 bytes."""
    return sign_statement(signer, RECEIPT, document)


def verify_receipt(document: bytes, signature: bytes, public_key: bytes, party: str) -> None:
    """Verify one party's signature over a receipt's bytes.

    Raises:
        VerificationError: it is wrong.
    """
    verify_statement(public_key, RECEIPT, document, signature, party=party)
