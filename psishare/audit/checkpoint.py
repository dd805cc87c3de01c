"""Checkpoints (C2SP tlog-checkpoint): what a log states about itself.

The text is three lines, and in psishare never more: the origin; the tree size in decimal; the root
hash in base64.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Self

from psishare.audit.merkle import EMPTY_ROOT, HASH_BYTES
from psishare.audit.note import SignedNote
from psishare.errors import VerificationError
from psishare.keys.note_key import require_note_name

MAX_TREE_SIZE = 2**63 - 1
MAX_ORIGIN_BYTES = 255
_TEXT = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's head.

    Attributes:
        origin: the log's name, which is its party's id.
        tree_size: number of entries.
        root_hash: 32 bytes.

    Raises:
        VerificationError: a value that no checkpoint can have.
    """

    origin: str
    tree_size: int
    root_hash: bytes

    def __post_init__(self) -> None:
        require_note_name(self.origin)
        # The ML-DSA cosignature gives the origin's length in one byte.
        if len(self.origin.encode()) > MAX_ORIGIN_BYTES:
            raise _malformed("has an origin that is too long")
        if not 0 <= self.tree_size <= MAX_TREE_SIZE or len(self.root_hash) != HASH_BYTES:
            raise _malformed("has a size or a root hash out of range")
        if self.tree_size == 0 and self.root_hash != EMPTY_ROOT:
            raise _malformed("gives an empty tree a root that it cannot have")

    @classmethod
    def parse_text(cls, text: str) -> Self:
        """Parse a note's text strictly.

        Raises:
            VerificationError: not exactly three lines in their one permitted spelling.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise _malformed("is not three lines: origin, size, root hash")
        origin, size, root = match.groups()
        checkpoint = cls(origin, int(size), base64.b64decode(root))
        if checkpoint.text() != text:
            raise _malformed("is spelt irregularly")
        return checkpoint

    def text(self) -> str:
        """Return the note's text."""
        root = base64.b64encode(self.root_hash).decode("ascii")
        return f"{self.origin}\n{self.tree_size}\n{root}\n"


def parse_checkpoint(note: bytes) -> Checkpoint:
    """Parse the checkpoint in a signed note WITHOUT verifying a signature.

    For notes that were verified before they were stored; a note that comes from elsewhere goes through
    ``verify_checkpoint``.

    Raises:
        VerificationError: not a note, or not a checkpoint.
    """
    return Checkpoint.parse_text(SignedNote.parse(note).text)


def _malformed(fault: str) -> VerificationError:
    return VerificationError(
        f"a checkpoint {fault}",
        mend="Get the checkpoint again from the log's owner.",
        reason="checkpoint_malformed",
    )
