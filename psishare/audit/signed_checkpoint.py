"""A log's own signatures on its checkpoint: Ed25519 (0x01) and ML-DSA-44 (0x06), always both.

Under C2SP's rules alone a verifier that knows both keys is content with either, so that whoever
breaks one algorithm strips the other. Here a note without both is refused.
Where one pair of keys follows another, each pair in force signs (protocols/specs/audit-log.md, section 11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.audit.checkpoint import Checkpoint
from psishare.audit.cosignature import cosignature, verify_cosignature
from psishare.audit.note import NoteSignature, SignedNote
from psishare.errors import InternalError, VerificationError
from psishare.keys.log_keys import OWN_TYPES, LogKeys
from psishare.keys.note_key import SignatureType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psishare.keys.log_keys import KeyTerm
    from psishare.keys.note_key import NoteKey, NoteSigner

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


def verify_checkpoint(note: bytes, verifiers: LogKeys | Sequence[NoteKey]) -> Checkpoint:
    """Verify a checkpoint by both of its log's signatures, of each pair that has to sign it.

    Args:
        note: the signed note; signatures by other keys are ignored.
        verifiers: the log's keys: what is known of its pairs, or the one pair that it has, of types
            0x01 and 0x06 under one name.

    Returns:
        The checkpoint, of the log that the keys are named after.

    Raises:
        VerificationError: malformed, another log's, a signature missing or wrong
            (``checkpoint_invalid``). Where any signature under one of the keys is wrong, or of a pair that
            is in force no more (``log_key_retired``), the whole note is refused.
    """
    signed = SignedNote.parse(note)
    checkpoint = Checkpoint.parse_text(signed.text)
    keys = as_log_keys(verifiers)
    if checkpoint.origin != keys.origin:
        raise _invalid(keys.origin, "is another log's")
    found = {term: _types(signed, checkpoint, term) for term in keys.terms}
    for term in keys.terms:
        if found[term] and term.last is not None and checkpoint.tree_size > term.last:
            raise _retired(keys.origin)
    for term in keys.required(checkpoint.tree_size):
        for kind in OWN_TYPES:
            if kind not in found[term]:
                raise _missing(keys, signed, kind)
    return checkpoint


def require_up_to_date(head: Checkpoint, keys: LogKeys, *, vouched: bool) -> None:
    """Require a head on which evidence rests to be under the newest pair that is known.

    A pair that was retired could have signed another tree of its own sizes, and none of the notes tells so.

    Args:
        head: verified under the keys.
        keys: what is known of the log's pairs.
        vouched: whether a party that is trusted, or a policy's witnesses, cosigned this very head.

    Raises:
        VerificationError: ``log_head_outdated``.
    """
    if head.tree_size < keys.newest.first and not vouched:
        raise VerificationError(
            f"a head of {head.origin} with {head.tree_size} entries is from before its log's keys were"
            " rotated, and nobody who is trusted has cosigned it",
            mend=f"Ask {head.origin} for a newer one: whoever has the old keys could have made this one.",
            reason="log_head_outdated",
            party=head.origin,
        )


def as_log_keys(verifiers: LogKeys | Sequence[NoteKey]) -> LogKeys:
    """Return the keys of a log, of which perhaps one pair is known.

    Raises:
        InternalError: they are not such as a log signs with.
    """
    if isinstance(verifiers, LogKeys):
        return verifiers
    require_own_keys(verifiers[0].name if verifiers else "", verifiers)
    return LogKeys.of(sorted(verifiers, key=lambda key: key.type))


def require_own_keys(origin: str, keys: Sequence[NoteKey]) -> None:
    """Require keys to be such as a log signs with: both types, one name.

    Raises:
        InternalError: they are not.
    """
    if {key.type for key in keys} != set(OWN_TYPES) or {key.name for key in keys} != {origin}:
        raise InternalError(
            "a log's keys are one Ed25519 key and one ML-DSA-44 key under its origin",
            mend="Report this to the authors of psishare.",
        )


def _types(signed: SignedNote, checkpoint: Checkpoint, term: KeyTerm) -> set[SignatureType]:
    """Return of which types a pair's signatures are there; raise where one of them is wrong."""
    return {key.type for key in term.keys if _verify_by(signed, checkpoint, key)}


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


def _missing(keys: LogKeys, signed: SignedNote, kind: SignatureType) -> VerificationError:
    """Name a signature that is not there, and what explains it where other keys of the name signed."""
    known = {(key.name, key.key_id) for term in keys.terms for key in term.keys}
    own = {(line.name, line.key_id) for line in signed.signatures if line.name == keys.origin}
    fault = f"has no {_NAMES[kind]} signature by the key that has to sign it"
    if own and not own & known:
        return _invalid(
            keys.origin,
            f"{fault}, but by other keys of that name",
            mend=f"{keys.origin} may have rotated the keys of its log: get its newest card, which its"
            " pinned key signs. Do not rely on the checkpoint until then.",
        )
    return _invalid(keys.origin, fault)


def _retired(origin: str) -> VerificationError:
    return VerificationError(
        f"a checkpoint of {origin} is signed by keys that had been retired before",
        mend=f"Do not rely on it, and tell {origin}: somebody may have its old keys.",
        reason="log_key_retired",
        party=origin,
    )


def _invalid(origin: str, fault: str, *, mend: str | None = None) -> VerificationError:
    return VerificationError(
        f"a checkpoint of {origin} {fault}",
        mend=mend or f"Do not rely on it; ask {origin} for its log's head and compare its keys.",
        reason="checkpoint_invalid",
        party=origin or None,
    )
