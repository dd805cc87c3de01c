"""A log's own signatures on its checkpoint: Ed25519 (0x01) and ML-DSA-44 (0x06), always both.

Under C2SP's rules alone a verifier that knows both keys is content with either, so that whoever
breaks one algorithm strips the other. Here a note without both is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.audit.checkpoint import Checkpoint
from psishare.audit.cosignature import cosignature, verify_cosignature
from psishare.audit.note import NoteSignature, SignedNote
from psishare.errors import InternalError, VerificationError
from psishare.keys.note_key import SignatureType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psishare.keys.note_key import NoteKey, NoteSigner

_OWN_TYPES = (SignatureType.ED25519, SignatureType.ML_DSA_44)
_NAMES = {SignatureType.ED25519: "Ed25519", SignatureType.ML_DSA_44: "ML-DSA-44"}


def sign_checkpoint(
    checkpoint: Checkpoint, signer: NoteSigner, pq_signer: NoteSigner, *, time: int
) -> SignedNote:
    """Sign a checkpoint with both of its log's keys.

    Args:
        checkpoint: the head; its origin is the signers' name.
        signer: type 0x01.
        pq_signer: type 0x06.
        time: POSIX seconds, for the ML-DSA-44 signature.

    Raises:
        InternalError: the signers are not the log's pair.
    """
    require_own_keys(checkpoint.origin, [signer.key, pq_signer.key])
    text = checkpoint.text()
    ed25519 = NoteSignature(signer.key.name, signer.key.key_id, signer.sign(text.encode()))
    return SignedNote(text, (ed25519, cosignature(checkpoint, pq_signer, time=time)))


def verify_checkpoint(note: bytes, verifiers: Sequence[NoteKey]) -> Checkpoint:
    """Verify a checkpoint by both of its log's signatures.

    Args:
        note: the signed note; signatures by other keys are ignored.
        verifiers: the log's keys, under one name: at least one of type 0x01 and one of type 0x06.

    Returns:
        The checkpoint, of the log that the keys are named after.

    Raises:
        VerificationError: malformed, another log's, a signature missing or wrong. Where any signature
            under one of the keys is wrong, the whole note is refused.
    """
    signed = SignedNote.parse(note)
    checkpoint = Checkpoint.parse_text(signed.text)
    origin = verifiers[0].name if verifiers else ""
    require_own_keys(origin, verifiers)
    if checkpoint.origin != origin:
        raise _invalid(origin, "is another log's")
    found = {key.type for key in verifiers if _verify_by(signed, checkpoint, key)}
    for kind in _OWN_TYPES:
        if kind not in found:
            raise _invalid(origin, f"has no {_NAMES[kind]} signature")
    return checkpoint


def require_own_keys(origin: str, keys: Sequence[NoteKey]) -> None:
    """Require keys to be such as a log signs with: both types, one name.

    Raises:
        InternalError: they are not.
    """
    if {key.type for key in keys} != set(_OWN_TYPES) or {key.name for key in keys} != {origin}:
        raise InternalError(
            "a log's keys are one Ed25519 key and one ML-DSA-44 key under its origin",
            mend="Report this to the authors of psishare.",
        )


def _verify_by(signed: SignedNote, checkpoint: Checkpoint, key: NoteKey) -> bool:
    """Verify every signature under a key, and tell whether there was one."""
    signatures = signed.by(key)
    for signature in signatures:
        try:
            if key.type is SignatureType.ED25519:
                key.verify(signed.text.encode(), signature.signature)
            else:
                verify_cosignature(checkpoint, key, signature)
        except VerificationError:
            raise _invalid(key.name, f"has a wrong {_NAMES[key.type]} signature") from None
    return bool(signatures)


def _invalid(origin: str, fault: str) -> VerificationError:
    return VerificationError(
        f"a checkpoint of {origin} {fault}",
        mend=f"Do not rely on it; ask {origin} for its log's head and compare its keys.",
        reason="checkpoint_invalid",
        party=origin or None,
    )
