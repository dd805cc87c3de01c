"""The receipt that an authority claims, held against the platform's own record (exchange.md, section 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.errors import ProtocolError, VerificationError
from psishare.exchange.document import read_time
from psishare.exchange.receipt import Receipt, verify_receipt

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from psishare.exchange.opened import OpenedExchange
    from psishare.exchange.terms import Terms
    from psishare.parties.peers import Peer
    from psishare.transport.wire_pb2 import Signed


def require_own_record(
    exchange: OpenedExchange, claimed: Signed, peer: Peer, *, at: datetime, tolerance: timedelta
) -> Receipt:
    """Return the authority's receipt, which tells the exchange exactly as this side knows it.

    Args:
        exchange: as this side has it.
        claimed: the receipt with the authority's signature.
        peer: the authority.
        at: the time by this clock.
        tolerance: by how much the authority's clock may differ.

    Raises:
        ProtocolError: ``receipt_invalid``, ``receipt_untimely``, ``receipt_differs``.
    """
    try:
        receipt = Receipt.parse(claimed.document)
        verify_receipt(claimed.document, claimed.signature, peer.card.log_key, peer.id)
    except VerificationError as error:
        raise ProtocolError(
            "the receipt is malformed or not signed by the authority",
            mend="Use the same version of psishare on both sides.",
            reason="receipt_invalid",
            party=peer.id,
        ) from error
    _require_closing_time(receipt, exchange.terms, peer, at, tolerance)
    differing = exchange.receipt(receipt).same_but_closing_time(receipt)
    if differing:
        raise ProtocolError(
            f"the receipt differs from this side's record in {', '.join(differing)}",
            mend="Do not trust this exchange; reconcile both logs.",
            reason="receipt_differs",
            party=peer.id,
        )
    return receipt


def _require_closing_time(
    receipt: Receipt, terms: Terms, peer: Peer, at: datetime, tolerance: timedelta
) -> None:
    """Check that the closing lies between the opening and now, as far as clocks agree.

    Not only now: a receipt that was held up on its way is as good when it comes again.
    """
    opened, closed = read_time(terms.answer.time), read_time(receipt.closed)
    if not opened - tolerance <= closed <= at + tolerance:
        raise ProtocolError(
            "the receipt's time of closing is not between the opening and now",
            mend="Set both clocks, then start a new exchange.",
            reason="receipt_untimely",
            party=peer.id,
        )
