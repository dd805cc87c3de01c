r"""Cosignatures of checkpoints (C2SP tlog-cosignature), types 0x04 and 0x06.

A cosignature's bytes are ``u64be time ‖ signature``. What is signed:

- 0x04, Ed25519: ``cosignature/v1\n``, ``time <decimal>\n``, then the checkpoint's text;
- 0x06, ML-DSA-44: ``"subtree/v1\n\0" ‖ u8 length, cosigner ‖ u64be time ‖ u8 length, origin ‖
  u64be start ‖ u64be end ‖ 32-byte root``, start 0 and end the tree size.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from psishare.audit.checkpoint import MAX_ORIGIN_BYTES
from psishare.audit.note import NoteSignature, parse_signatures, serialise_signatures
from psishare.errors import InternalError, VerificationError
from psishare.keys.note_key import SignatureType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psishare.audit.checkpoint import Checkpoint
    from psishare.keys.note_key import NoteKey, NoteSigner

MAX_TIME = 2**63 - 1
_TIME_BYTES = 8
_ED25519_HEADER = "cosignature/v1"
_ML_DSA_44_LABEL = b"subtree/v1\n\x00"


def cosign(checkpoint: Checkpoint, signers: Sequence[NoteSigner], *, time: int) -> bytes:
    """Cosign a checkpoint that was verified to extend every earlier one seen of its log.

    Args:
        checkpoint: the verified checkpoint.
        signers: under the cosigner's own name, types 0x04 and 0x06.
        time: POSIX seconds.

    Returns:
        One signature line for each signer.

    Raises:
        InternalError: a signer of another type.
    """
    return serialise_signatures(cosignature(checkpoint, each, time=time) for each in signers)


def cosignature(checkpoint: Checkpoint, signer: NoteSigner, *, time: int) -> NoteSignature:
    """Return one cosignature of a checkpoint.

    Raises:
        InternalError: the signer is of another type than 0x04 and 0x06.
    """
    key = signer.key
    signature = signer.sign(_message(checkpoint, key, time))
    return NoteSignature(key.name, key.key_id, struct.pack(">Q", time) + signature)


def verify_cosignature(checkpoint: Checkpoint, key: NoteKey, signature: NoteSignature) -> int:
    """Verify one cosignature of a checkpoint and return its time, POSIX seconds.

    Raises:
        VerificationError: it is not this key's over this checkpoint.
    """
    data = signature.signature
    if not signature.is_by(key) or len(data) != _TIME_BYTES + key.type.signature_bytes:
        raise _invalid(key, "malformed")
    time = int.from_bytes(data[:_TIME_BYTES], "big")
    if time > MAX_TIME:
        raise _invalid(key, "malformed")
    try:
        key.verify(_message(checkpoint, key, time), data[_TIME_BYTES:])
    except VerificationError:
        raise _invalid(key, "wrong") from None
    return time


def verify_cosignatures(checkpoint: Checkpoint, lines: bytes, keys: Sequence[NoteKey]) -> int:
    """Verify that every one of a cosigner's keys has cosigned a checkpoint.

    Args:
        checkpoint: what must have been cosigned.
        lines: signature lines; those of other keys are refused.
        keys: the cosigner's keys, types 0x04 and 0x06.

    Returns:
        The earliest of the times, POSIX seconds.

    Raises:
        VerificationError: a line is missing, wrong, or from another key.
    """
    signatures = parse_signatures(lines)
    times = []
    for key in keys:
        found = [signature for signature in signatures if signature.is_by(key)]
        if len(found) != 1:
            raise _invalid(key, "missing" if not found else "there twice")
        times.append(verify_cosignature(checkpoint, key, found[0]))
        if times[-1] == 0:
            # C2SP: time zero says nothing of this being the largest tree seen.
            raise _invalid(key, "without a time")
    if not keys or len(signatures) != len(keys):
        raise VerificationError(
            "a cosignature is by a key that is not the cosigner's",
            mend="Ask the cosigner for its cosignature again.",
            reason="cosignature_invalid",
        )
    return min(times)


def _message(checkpoint: Checkpoint, key: NoteKey, time: int) -> bytes:
    if key.type is SignatureType.ED25519_COSIGNATURE:
        return f"{_ED25519_HEADER}\ntime {time}\n{checkpoint.text()}".encode()
    if key.type is SignatureType.ML_DSA_44:
        return (
            _ML_DSA_44_LABEL
            + _prefixed(key.name)
            + struct.pack(">Q", time)
            + _prefixed(checkpoint.origin)
            + struct.pack(">QQ", 0, checkpoint.tree_size)
            + checkpoint.root_hash
        )
    raise InternalError(
        f"keys of type {int(key.type)} do not cosign",
        mend="Report this to the authors of psishare.",
    )


def _prefixed(name: str) -> bytes:
    encoded = name.encode()
    if len(encoded) > MAX_ORIGIN_BYTES:
        raise VerificationError(
            "a cosigner's name is too long",
            mend="Use names of at most 255 bytes.",
            reason="key_malformed",
        )
    return bytes([len(encoded)]) + encoded


def _invalid(key: NoteKey, fault: str) -> VerificationError:
    kind = "ML-DSA-44" if key.type is SignatureType.ML_DSA_44 else "Ed25519"
    return VerificationError(
        f"the {kind} cosignature of {key.name} is {fault}",
        mend=f"Do not rely on this checkpoint; ask {key.name} and the log's owner.",
        reason="cosignature_invalid",
        party=key.name,
    )
