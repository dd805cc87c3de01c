"""The keys of a log's checkpoints as its own entries tell of them, from its first pair on.

Source: protocols/specs/audit-log.md, section 11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.audit.entry import (
    HandoverSignatures,
    LogKeyPair,
    LogKeysRetired,
    LogKeysRotated,
    parse_entry,
)
from psishare.errors import VerificationError
from psishare.keys.handover import Handover
from psishare.keys.log_keys import LogKeys
from psishare.keys.note_key import NoteKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from psishare.audit.entry import Entry
    from psishare.keys.note_key import NoteSigner

_MARK = b'"log.keys_r'
"""In every entry that says something of keys, and in hardly any other."""


class KeyHistory:
    """Follows a log's entries, and knows after each the pairs of keys, with the sizes at which they count.

    Args:
        first: the pair with which the log began, from where a verifier trusts it.
    """

    def __init__(self, first: Sequence[NoteKey]) -> None:
        self.keys = LogKeys.of(first)

    def take(self, index: int, entry: Entry) -> None:
        """Take note of an entry, in the log's order; most say nothing of keys.

        Raises:
            VerificationError: ``log_rotation_invalid``: it cannot stand there, or the old key has not
                signed it.
        """
        if isinstance(entry, LogKeysRotated):
            self._rotate(index, entry)
        elif isinstance(entry, LogKeysRetired):
            self._retire(index, entry)

    def take_all(self, entries: Iterable[tuple[int, bytes]]) -> None:
        """Take note of entries' bytes, each with its index; those that say nothing of keys are not parsed.

        Raises:
            VerificationError: as ``take``; an entry is malformed.
        """
        for index, data in entries:
            if _MARK in data:
                self.take(index, parse_entry(data))

    def _rotate(self, index: int, entry: LogKeysRotated) -> None:
        old = self._pair(index, entry.party, entry.old)
        if old != self.keys.newest.keys or self.keys.overlaps:
            raise self._invalid(index, "does not follow the keys that were in force")
        new = self._pair(index, entry.party, entry.new)
        handover = entry.signatures.handover()
        try:
            handover.verify(old, new)
        except VerificationError:
            raise self._invalid(index, "is not signed by both keys that it retires") from None
        try:
            self.keys = self.keys.rotated(new, index, handover)
        except VerificationError as error:
            raise self._invalid(index, f"cannot be: {error.message}") from None

    def _retire(self, index: int, entry: LogKeysRetired) -> None:
        old = self._pair(index, entry.party, entry.old)
        if not self.keys.overlaps or old != self.keys.terms[-2].keys:
            raise self._invalid(index, "ends an overlap that is not")
        self.keys = self.keys.retired(index)

    def _pair(self, index: int, party: str, pair: LogKeyPair) -> tuple[NoteKey, ...]:
        try:
            keys = parse_pair(pair)
            LogKeys.of(keys)
        except VerificationError as error:
            raise self._invalid(index, f"names a key that is none: {error.message}") from None
        if party != self.keys.origin or keys[0].name != party:
            raise self._invalid(index, "is of another party")
        return keys

    def _invalid(self, index: int, fault: str) -> VerificationError:
        return VerificationError(
            f"entry {index} of the log of {self.keys.origin}, which changes its keys, {fault}",
            mend="Do not rely on this log; ask its owner by a way that you trust, and compare fingerprints.",
            reason="log_rotation_invalid",
            party=self.keys.origin,
        )


def rotation_entry(signers: Sequence[NoteSigner], new: Sequence[NoteKey]) -> LogKeysRotated:
    """Return the entry with which a new pair of keys follows the old one.

    Args:
        signers: of the pair in force.
        new: the one to follow it.

    Raises:
        ConfigError: a signer fails.
    """
    old = [signer.key for signer in signers]
    return LogKeysRotated(
        party=old[0].name,
        old=_named(old),
        new=_named(new),
        signatures=HandoverSignatures.of(Handover.sign(signers, new)),
    )


def retirement_entry(old: Sequence[NoteKey]) -> LogKeysRetired:
    """Return the entry with which a pair of keys, that another follows, signs no more."""
    return LogKeysRetired(party=old[0].name, old=_named(old))


def parse_pair(pair: LogKeyPair) -> tuple[NoteKey, ...]:
    """Return the verifier keys of an entry's pair.

    Raises:
        VerificationError: ``key_malformed``.
    """
    return NoteKey.parse(pair.ed25519), NoteKey.parse(pair.ml_dsa_44)


def _named(pair: Sequence[NoteKey]) -> LogKeyPair:
    ed25519, ml_dsa_44 = (key.encode() for key in pair)
    return LogKeyPair(ed25519=ed25519, ml_dsa_44=ml_dsa_44)
