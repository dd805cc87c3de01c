"""The other side's ``exchange.closed`` entry, proven to be in its log (exchange.md, section 9)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from psishare.audit.entry import parse_entry
from psishare.audit.merkle import leaf_hash, verify_inclusion
from psishare.errors import VerificationError

if TYPE_CHECKING:
    from psishare.audit.checkpoint import Checkpoint
    from psishare.transport.wire_pb2 import CloseResponse, CosignRequest


def require_closed_entry(
    shown: CloseResponse | CosignRequest, checkpoint: Checkpoint, receipt: bytes, party: str
) -> None:
    """Verify that a party's log holds ``exchange.closed`` with exactly this receipt.

    Args:
        shown: entry, index and inclusion proof as received.
        checkpoint: the party's head, verified.
        receipt: the receipt's bytes.
        party: whose log it is.

    Raises:
        VerificationError: the entry is another one, or not in the log.
    """
    entry = parse_entry(shown.closed_entry)
    digest = hashlib.sha256(receipt).hexdigest()
    if (entry.type, entry.fields.get("receipt_sha256")) != ("exchange.closed", digest):
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
