"""Proof files (C2SP tlog-proof): one entry's place under one checkpoint, in a file by itself.

The bytes are: ``c2sp.org/tlog-proof@v1``; optionally ``extra <base64>``; ``index <decimal>``; a line of
base64 for each hash of the inclusion proof; an empty line; the checkpoint, a signed note. Parsing is strict
by round trip. In psishare ``extra`` is the entry itself, so that the file is all that is needed.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from psishare.audit.checkpoint import MAX_TREE_SIZE, Checkpoint
from psishare.audit.merkle import leaf_hash, verify_inclusion
from psishare.audit.note import MAX_NOTE_BYTES
from psishare.audit.signed_checkpoint import verify_checkpoint
from psishare.audit.tile import MAX_ENTRY_BYTES
from psishare.errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psishare.keys.log_keys import LogKeys
    from psishare.keys.note_key import NoteKey

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES = MAX_NOTE_BYTES + 2 * MAX_ENTRY_BYTES
_HEAD = re.compile(
    r"c2sp\.org/tlog-proof@v1\n"
    r"(?:extra ([A-Za-z0-9+/]*={0,2})\n)?"
    r"index (0|[1-9][0-9]{0,18})\n"
    r"((?:[A-Za-z0-9+/]{43}=\n){0,63})"
)


@dataclass(frozen=True, slots=True)
class LogProof:
    """An entry's place in a log.

    Attributes:
        index: where it stands.
        hashes: the inclusion proof, 32 bytes each.
        checkpoint: a signed note.
        extra: what the application adds; here the entry's bytes.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parse a proof file strictly. Nothing is verified.

        Raises:
            VerificationError: not a proof in its one permitted spelling, or too long.
        """
        if len(data) > MAX_PROOF_BYTES:
            raise _malformed("is too long")
        head, separator, checkpoint = data.partition(b"\n\n")
        try:
            match = _HEAD.fullmatch(head.decode("ascii") + "\n")
        except UnicodeDecodeError:
            match = None
        if match is None or not separator:
            raise _malformed("is not header, index, hashes and checkpoint")
        extra, index, hashes = match.groups()
        try:
            proof = cls(
                int(index),
                tuple(base64.b64decode(line, validate=True) for line in hashes.split()),
                checkpoint,
                None if extra is None else base64.b64decode(extra, validate=True),
            )
        except ValueError:
            raise _malformed("holds what is not base64") from None
        if proof.index >= MAX_TREE_SIZE or proof.serialise() != data:
            raise _malformed("is spelt irregularly")
        return proof

    def serialise(self) -> bytes:
        """Return the file's bytes."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {_text(self.extra)}")
        lines.append(f"index {self.index}")
        lines += map(_text, self.hashes)
        return "\n".join([*lines, "", ""]).encode("ascii") + self.checkpoint

    def verify(self, entry: bytes, verifiers: LogKeys | Sequence[NoteKey]) -> Checkpoint:
        """Verify that an entry stands there, under a checkpoint that its log has signed.

        Args:
            entry: the entry's bytes.
            verifiers: the log's keys, as ``verify_checkpoint`` takes them.

        Returns:
            The checkpoint.

        Raises:
            VerificationError: it does not.
        """
        checkpoint = verify_checkpoint(self.checkpoint, verifiers)
        verify_inclusion(
            leaf_hash(entry), self.index, checkpoint.tree_size, self.hashes, checkpoint.root_hash
        )
        return checkpoint


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _malformed(fault: str) -> VerificationError:
    return VerificationError(
        f"a proof {fault}",
        mend="Get the file again from whoever made it; it must not be reformatted on the way.",
        reason="proof_malformed",
    )
