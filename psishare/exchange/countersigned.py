"""The receipt at the authority: signed once, and countersigned by the platform (exchange.md, section 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.errors import ProtocolError, VerificationError
from psishare.exchange.receipt import Receipt, SequenceTotals, SignedReceipt, verify_receipt

if TYPE_CHECKING:
    from psishare.exchange.terms import Terms
    from psishare.parties.peers import Peer


def require_same(
    signed: Receipt, terms: Terms, totals: dict[str, SequenceTotals], platform: Peer
) -> None:
    """Refuse to sign another receipt of an exchange that went on after the first one.

    Raises:
        ProtocolError: ``receipt_differs``.
    """
    differing = terms.receipt(totals, closed=signed.closed).same_but_closing_time(signed)
    if differing:
        raise ProtocolError(
            f"the receipt signed before differs now in {', '.join(differing)}",
            mend="Do not trust this exchange; reconcile both logs.",
            reason="receipt_differs",
            party=platform.id,
        )


def countersigned(
    document: bytes, signature: bytes, countersignature: bytes, platform: Peer
) -> SignedReceipt:
    """Return a receipt with both signatures, once the platform's is known to be good.

    Raises:
        ProtocolError: ``receipt_invalid``.
    """
    try:
        verify_receipt(document, countersignature, platform.card.log_key, platform.id)
    except VerificationError as error:
        raise ProtocolError(
            f"the receipt is not countersigned by {platform.id}",
            mend="Do not trust this exchange; reconcile both logs.",
            reason="receipt_invalid",
            party=platform.id,
        ) from error
    return SignedReceipt(Receipt.parse(document), document, signature, countersignature)
