"""The keys of a log's checkpoints as its own entries tell of them, from its first pair on.

Source: protocols/specs/audit-log.md, section 11.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from psishare.audit.entry import LogKeyPair, LogKeysRetired, LogKeysRotated, parse_entry
from psishare.errors import VerificationError
from psishare.keys import canonical
from psishare.keys.log_keys import LogKeys
from psishare.keys.note_key import NoteKey
from psishare.keys.statement import sign_statement, verify_statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from psishare.audit.entry import Entry
    from psishare.keys.signer import Signer

LABEL = "log-keys"
_MARK = b'"log.keys_r'
"""In every entry that says something of keys, and in hardly any other."""


class KeyHistory:
    """Follows a log's entries, and knows after each the pairs of keys, with the sizes at which they count.

    Args:
        first: the pair with which the log began, from where a verifier trusts it.
    """

    def __init__(self, first: Sequence[NoteKey]) -> None:
        self.keys = LogKeys.of(first)

    def keys_at(self, size: int) -> LogKeys:
        """Return the keys as they stand after exactly so many entries, when both of an overlap have to sign.

        Whoever does not know the entries cannot tell whether the overlap has ended since.
        """
        return self.keys.retired(size) if self.keys.overlaps else self.keys

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
        payload = _statement(entry.party, entry.old, entry.new)
        signature = base64.b64decode(entry.signature)
        try:
            verify_statement(old[0].public_key, LABEL, payload, signature, party=entry.party)
        except VerificationError:
            raise self._invalid(index, "is not signed by the key that it retires") from None
        try:
            self.keys = self.keys.rotated(new, index)
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


def rotation_entry(
    old: Sequence[NoteKey], new: Sequence[NoteKey], signer: Signer
) -> LogKeysRotated:
    """Return the entry with which a new pair of keys follows the old one.

    Args:
        old: the pair in force.
        new: the one to follow it.
        signer: of the old pair's Ed25519 key.
    """
    party, pairs = old[0].name, (_named(old), _named(new))
    signature = sign_statement(signer, LABEL, _statement(party, *pairs))
    return LogKeysRotated(
        party=party,
        old=pairs[0],
        new=pairs[1],
        signature=base64.b64encode(signature).decode("ascii"),
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


def _statement(party: str, old: LogKeyPair, new: LogKeyPair) -> bytes:
    pairs = {"old": old.model_dump(), "new": new.model_dump()}
    return canonical.dumps({"party": party, **pairs})
