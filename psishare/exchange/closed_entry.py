"""The other side's ``exchange.closed`` entry, proven to be in its log (exchange.md, section 9)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from psishare.audit.entry import ExchangeClosed, parse_entry
from psishare.audit.merkle import leaf_hash, verify_inclusion
from psishare.errors import VerificationError

if TYPE_CHECKING:
    from psishare.audit.checkpoint import Checkpoint
    from psishare.exchange.receipt import SignedReceipt
    from psishare.transport.wire_pb2 import CloseResponse, CosignRequest


def require_closed_entry(
    shown: CloseResponse | CosignRequest, checkpoint: Checkpoint, signed: SignedReceipt, party: str
) -> None:
    """Verify that a party's log holds ``exchange.closed`` with exactly this receipt.

    Args:
        shown: entry, index and inclusion proof as received.
        checkpoint: the party's head, verified.
        signed: the receipt with both signatures.
        party: whose log it is.

    Raises:
        VerificationError: the entry is another one, or not in the log.
    """
    if not _tells(shown.closed_entry, signed, party):
        raise VerificationError(
            f"the log entry that {party} shows is not the closing of this exchange",
            mend="Keep both logs as evidence and reconcile them.",
            reason="closing_not_logged",
            party=party,
        )
    verify_inclusion(
        leaf_hash(shown.closed_entry),
        shown.closed_index,
        checkpoint.tree_size,
        list(shown.inclusion),
        checkpoint.root_hash,
    )


def _tells(data: bytes, signed: SignedReceipt, party: str) -> bool:
    """Tell whether an entry of a party's log is this closing, whole: receipt and both signatures."""
    entry, receipt = parse_entry(data), signed.receipt
    if not isinstance(entry, ExchangeClosed):
        return False
    (other,) = {receipt.authority, receipt.platform} - {party}
    return (
        entry.exchange_id,
        entry.peer,
        entry.mandate_id,
        base64.b64decode(entry.receipt),
        entry.receipt_sha256,
        base64.b64decode(entry.authority_signature),
        base64.b64decode(entry.platform_signature),
        entry.rows,
    ) == (
        receipt.exchange_id,
        other,
        receipt.mandate_id,
        signed.document,
        receipt.sha256.hex(),
        signed.authority_signature,
        signed.platform_signature,
        receipt.requests.rows,
    )
