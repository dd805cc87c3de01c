"""Who has cosigned a checkpoint: a party has where each of its two keys has, at some time.

A cosignature of time zero says nothing of this being the largest tree that the cosigner has seen (C2SP
tlog-cosignature), and counts for nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.audit.cosignature import verify_cosignature

if TYPE_CHECKING:
    from psishare.audit.checkpoint import Checkpoint
    from psishare.audit.note import SignedNote
    from psishare.parties.card import Card


def bears_cosignature(note: SignedNote, card: Card) -> bool:
    """Tell whether a checkpoint names each of a party's keys; nothing is verified."""
    return all(note.by(key) for key in card.cosigner_keys())


def has_cosigned(note: SignedNote, checkpoint: Checkpoint, card: Card) -> bool:
    """Verify every cosignature that names a party's keys, and tell whether all of its keys have cosigned.

    Args:
        note: the signed note.
        checkpoint: what it says.
        card: the cosigner's, which the verifier trusts.

    Raises:
        VerificationError: ``cosignature_invalid``, one of them is wrong.
    """
    times = [
        [verify_cosignature(checkpoint, key, signature) for signature in note.by(key)]
        for key in card.cosigner_keys()
    ]
    return all(any(each) for each in times)
