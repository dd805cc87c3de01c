"""What a party knows of another's log: the last head that it verified, and what may follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.audit.merkle import verify_consistency
from psishare.audit.signed_checkpoint import verify_checkpoint
from psishare.errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psishare.audit.checkpoint import Checkpoint
    from psishare.keys.log_keys import LogKeys
    from psishare.keys.note_key import NoteKey


def verify_extension(
    old: Checkpoint | None,
    new_note: bytes,
    proof: Sequence[bytes],
    verifiers: LogKeys | Sequence[NoteKey],
) -> Checkpoint:
    """Verify that a log's new head extends the one that was verified before.

    Args:
        old: the head last verified, or None where this is the first.
        new_note: the signed note of the new head.
        proof: the consistency proof from ``old``; empty where there is nothing to prove.
        verifiers: the log's keys, as ``verify_checkpoint`` takes them.

    Returns:
        The new head, to be remembered in place of the old.

    Raises:
        VerificationError: ``log_rolled_back`` where the new head is smaller, ``log_inconsistent``
            where the proof fails or a tree of the same size has another root; otherwise as
            ``verify_checkpoint``.
    """
    new = verify_checkpoint(new_note, verifiers)
    old_size = old.tree_size if old else 0
    if old and old.origin != new.origin:
        raise _refused(new, "log_inconsistent", "is compared with another log's")
    if new.tree_size < old_size:
        raise _refused(new, "log_rolled_back", f"has {new.tree_size} entries after {old_size}")
    if old is None or old_size == 0:
        if proof:
            raise _refused(new, "log_inconsistent", "comes with a proof that starts from nothing")
        return new
    try:
        verify_consistency(old_size, old.root_hash, new.tree_size, new.root_hash, proof)
    except VerificationError:
        raise _refused(
            new, "log_inconsistent", "is not proven to extend the one known before"
        ) from None
    return new


def _refused(new: Checkpoint, reason: str, fault: str) -> VerificationError:
    return VerificationError(
        f"the log head of {new.origin} {fault}",
        mend=f"Keep both heads as evidence and ask {new.origin}: its log was altered or restored.",
        reason=reason,
        party=new.origin,
    )
