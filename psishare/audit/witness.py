"""What a log and its witnesses say to each other (C2SP tlog-witness): the call, and what its answer means.

No socket is opened here. Source: protocols/specs/audit-log.md, section 12.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from psishare.audit.checkpoint import MAX_TREE_SIZE
from psishare.audit.cosignature import verify_cosignatures
from psishare.audit.note import SignedNote, parse_signatures, serialise_signatures
from psishare.errors import AuditError, PeerError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psishare.audit.checkpoint import Checkpoint
    from psishare.keys.note_key import NoteKey

ADD_CHECKPOINT: Final = "/add-checkpoint"
SIZE_TYPE: Final = "text/x.tlog.size"
OK, CONFLICT, UNPROCESSABLE = 200, 409, 422
_REFUSED: Final = {
    400: "does not understand the call",
    403: "does not accept the checkpoint's signatures",
    404: "does not know this log",
}
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


@dataclass(frozen=True, slots=True)
class WitnessAnswer:
    """What a witness answered.

    Attributes:
        status: of HTTP.
        content_type: as it stands in the answer; empty where none does.
        body: within its bound.
    """

    status: int
    content_type: str
    body: bytes


def add_checkpoint(note: bytes, old_size: int, proof: Sequence[bytes]) -> bytes:
    """Return the body of a call.

    Args:
        note: a checkpoint; of its signatures those in the log's own name are sent.
        old_size: that of the tree which the witness has seen.
        proof: the consistency proof from it.
    """
    signed = SignedNote.parse(note)
    origin = signed.text.partition("\n")[0]
    own = SignedNote(signed.text, tuple(s for s in signed.signatures if s.name == origin))
    lines = [f"old {old_size}", *(base64.b64encode(node).decode("ascii") for node in proof)]
    return "\n".join([*lines, "", ""]).encode("ascii") + own.serialise()


def known_size(answer: WitnessAnswer, own_size: int, *, name: str) -> int | None:
    """Return the size from which a witness wants the proof instead; None where it did not say so.

    Args:
        answer: the witness's.
        own_size: that of the checkpoint that it was shown.
        name: the witness's, for errors.

    Raises:
        AuditError: ``log_rolled_back``: it has seen a larger tree.
        PeerError: ``witness_failed``: it does not say the size as it has to.
    """
    if answer.status != CONFLICT:
        return None
    match = _SIZE.fullmatch(answer.body)
    size = int(match[1]) if match else MAX_TREE_SIZE + 1
    if answer.content_type != SIZE_TYPE or size > MAX_TREE_SIZE:
        raise _failed(name, "does not say which size it has seen")
    if size > own_size:
        raise AuditError(
            f"the witness {name} has seen {size} entries of this log, which has {own_size}",
            mend="The log was restored from an old copy: restore the newest one before going on.",
            reason="log_rolled_back",
        )
    return size


def cosignatures(
    answer: WitnessAnswer, checkpoint: Checkpoint, keys: Sequence[NoteKey], *, name: str
) -> bytes:
    """Return a witness's signature lines, verified.

    Args:
        answer: the witness's.
        checkpoint: what it was shown.
        keys: its keys; each has to have cosigned. Lines of others are left out.
        name: the witness's, for errors.

    Raises:
        VerificationError: ``cosignature_invalid``, ``note_malformed``; ``log_inconsistent``, it has seen
            another history.
        PeerError: ``witness_refused``, ``witness_failed``.
    """
    if answer.status == OK:
        lines = parse_signatures(answer.body)
        wanted = [line for line in lines if any(line.is_by(key) for key in keys)]
        if not wanted:
            raise VerificationError(
                f"the witness {name} answers without its cosignature",
                mend="Compare its key in the policy with the one that it publishes.",
                reason="cosignature_invalid",
            )
        kept = serialise_signatures(wanted)
        verify_cosignatures(checkpoint, kept, keys)
        return kept
    if answer.status == UNPROCESSABLE:
        raise VerificationError(
            f"the witness {name} has seen another history of this log",
            mend="Stop using the log, keep it, and compare it with what witness and peers have: it has"
            " forked, or was restored from an old copy and written on.",
            reason="log_inconsistent",
        )
    if answer.status in _REFUSED:
        raise PeerError(
            f"the witness {name} {_REFUSED[answer.status]} (HTTP status {answer.status})",
            mend="Ask whoever runs it to enter this log with its keys, the newest included.",
            reason="witness_refused",
        )
    raise _failed(name, f"answers with HTTP status {answer.status}")


def _failed(name: str, fault: str) -> PeerError:
    return PeerError(
        f"the witness {name} {fault}",
        mend="Try again later, and ask whoever runs it; see that the URL in the policy is right.",
        reason="witness_failed",
    )
