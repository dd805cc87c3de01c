"""The signers of a log's checkpoints: the pair with which it began, and those that followed.

Which of them are in force, the log says: those whose signatures its newest checkpoint bears, and what the
entries after that change. So a process that has had the log open for long signs with the keys that
another process of its host has put in force (protocols/specs/audit-log.md, section 11).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from psishare.audit.entry import Entry, LogKeyPair, LogKeysRetired, LogKeysRotated
from psishare.audit.key_history import parse_pair
from psishare.audit.note import SignedNote
from psishare.audit.signed_checkpoint import verify_checkpoint
from psishare.errors import AuditError, InternalError
from psishare.keys.note_key import NoteSigner

if TYPE_CHECKING:
    from psishare.audit.checkpoint import Checkpoint
    from psishare.keys.note_key import NoteKey

SignerPair = tuple[NoteSigner, NoteSigner]
LaterPairs = Callable[[], Sequence[SignerPair]]


class Keyring:
    """What signs one log's checkpoints.

    Args:
        first: types 0x01 and 0x06, with which the log began.
        later: returns the pairs that have followed or are about to; asked when the log bears a signature
            under its own name by a key that is not known.
    """

    def __init__(self, first: SignerPair, later: LaterPairs = tuple) -> None:
        self._pairs: list[SignerPair] = [first]
        self._later = later
        self._asking = threading.Lock()
        self.origin = first[0].key.name

    def verify(self, note: bytes) -> Checkpoint:
        """Verify a checkpoint of the log by every pair that has signed it: at least one.

        Raises:
            VerificationError: malformed, of another log, a signature missing or wrong.
            AuditError: ``log_keys_unknown``: other keys alone have signed it in the log's name.
        """
        signed = SignedNote.parse(note)
        checkpoints = [verify_checkpoint(note, _keys(pair)) for pair in self._on(signed)]
        if not checkpoints and self._strange(signed):
            raise self._unknown()
        return checkpoints[0] if checkpoints else verify_checkpoint(note, _keys(self._pairs[0]))

    def overlaps(self, head: bytes) -> bool:
        """Tell whether more than one pair has signed a checkpoint."""
        return len(self._on(SignedNote.parse(head))) > 1

    def after(
        self, head: bytes, entries: Sequence[Entry], last: Entry | None = None
    ) -> list[SignerPair]:
        """Return the pairs that sign once entries have been added, the older one first.

        A pair signs the checkpoint of the entry that retires it still, and none after it.

        Args:
            head: the checkpoint before them, verified.
            entries: what follows it, in order: one by itself where it changes the keys.
            last: the entry before them, where ``overlaps`` tells that it matters.

        Raises:
            AuditError: ``log_keys_unknown``: one of the pairs is not here.
            InternalError: none would be in force.
        """
        signed = SignedNote.parse(head)
        in_force = self._on(signed)
        if self._strange(signed):
            raise self._unknown()
        if isinstance(last, LogKeysRetired):
            old = parse_pair(last.old)
            in_force = [pair for pair in in_force if _keys(pair) != old]
        for entry in entries:
            if isinstance(entry, LogKeysRotated):
                in_force = [*in_force, self._of(entry.new)]
        if not in_force:
            raise InternalError(
                "an entry would leave the log without keys",
                mend="Report this to the authors of psishare.",
            )
        return in_force

    def _on(self, signed: SignedNote) -> list[SignerPair]:
        """Return the pairs of which any signature is on a note."""
        if self._strange(signed):
            self._ask()
        return [pair for pair in self._pairs if any(signed.by(key) for key in _keys(pair))]

    def _strange(self, signed: SignedNote) -> bool:
        """Tell whether a note bears a signature in the log's name by a key that is not known."""
        known = {key.key_id for pair in self._pairs for key in _keys(pair)}
        return any(
            line.name == self.origin and line.key_id not in known for line in signed.signatures
        )

    def _of(self, named: LogKeyPair) -> SignerPair:
        wanted = parse_pair(named)
        if not any(_keys(pair) == wanted for pair in self._pairs):
            self._ask()
        for pair in self._pairs:
            if _keys(pair) == wanted:
                return pair
        raise self._unknown()

    def _ask(self) -> None:
        # Threads share a log: of two that ask at once the second finds what the first has added.
        with self._asking:
            known = {_keys(pair): pair for pair in self._pairs}
            for pair in self._later():
                known.setdefault(_keys(pair), pair)
            self._pairs = list(known.values())

    def _unknown(self) -> AuditError:
        return AuditError(
            f"the log of {self.origin} is signed by keys that are not here",
            mend="Restore the whole home folder from one backup, the newest there is.",
            reason="log_keys_unknown",
            party=self.origin,
        )


def changes_keys(entry: Entry) -> bool:
    """Tell whether an entry changes the keys that sign its log's checkpoints."""
    return isinstance(entry, LogKeysRotated | LogKeysRetired)


def _keys(pair: SignerPair) -> tuple[NoteKey, NoteKey]:
    return pair[0].key, pair[1].key
