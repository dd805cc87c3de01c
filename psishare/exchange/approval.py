"""The approval: what a second operator signs of a held offer, for it or against it.

Signed by a key of the operator's own, which the platform trusts and which is no other party's to the
exchange. Source: protocols/specs/exchange.md, "Held offers".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psishare.errors import VerificationError
from psishare.exchange.document import Digest, Document, PartyId, Time
from psishare.keys.statement import sign_statement, verify_statement

if TYPE_CHECKING:
    from psishare.exchange.hold import Hold
    from psishare.keys.signer import Signer

APPROVAL = "approval"

Verdict = Literal["approved", "rejected"]


class Approval(Document):
    """What an operator says of a hold."""

    version: Literal[1] = 1
    hold_sha256: Digest
    operator: PartyId
    verdict: Verdict
    time: Time


@dataclass(frozen=True, slots=True)
class SignedApproval:
    """An approval with the operator's signature, 64 bytes."""

    approval: Approval
    signature: bytes

    @classmethod
    def sign(cls, approval: Approval, signer: Signer) -> SignedApproval:
        """Sign an approval with the operator's own key."""
        return cls(approval, sign_statement(signer, APPROVAL, approval.document()))

    def verify(self, hold: Hold, operator_key: bytes) -> None:
        """Verify that it is the operator's word on a hold.

        Args:
            hold: what it is to be about.
            operator_key: the raw Ed25519 key, 32 bytes, under which the operator is trusted.

        Raises:
            VerificationError: ``approval_invalid``, it is about another hold, or by a party to the
                exchange; or the signature is not the operator's.
        """
        approval = self.approval
        if approval.hold_sha256 != hold.sha256.hex():
            raise _invalid("it is about another hold", approval.operator)
        if approval.operator in {hold.authority, hold.platform}:
            raise _invalid("it is by a party to the exchange itself", approval.operator)
        verify_statement(
            operator_key, APPROVAL, approval.document(), self.signature, party=approval.operator
        )


def _invalid(fault: str, operator: str) -> VerificationError:
    return VerificationError(
        f"the approval does not count: {fault}",
        mend="Have an operator with a key of its own approve exactly this offer.",
        reason="approval_invalid",
        party=operator,
    )
