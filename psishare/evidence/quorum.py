"""Which witnesses must have cosigned a log's head: a policy in C2SP's tlog-policy form.

Lines: ``log <vkey> [<url>]``, ``witness <name> <vkey> [<url>]``, ``group <name> <k|any|all> <member>…``,
``quorum <name|none>``, exactly one; ``#`` begins a comment line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psishare.audit.cosignature import verify_cosignature
from psishare.errors import ConfigError, VerificationError
from psishare.keys.note_key import NoteKey, SignatureType

if TYPE_CHECKING:
    from psishare.audit.checkpoint import Checkpoint
    from psishare.audit.note import SignedNote
    from psishare.keys.log_keys import LogKeys

MAX_POLICY_BYTES = 1024 * 1024
NONE = "none"
_COSIGNING = (SignatureType.ED25519_COSIGNATURE, SignatureType.ML_DSA_44)


@dataclass(frozen=True, slots=True)
class _Group:
    """Members, and how many of them have to count."""

    members: tuple[str, ...]
    threshold: int


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness of a policy that can be asked.

    Attributes:
        name: as the policy calls it.
        key: under which it cosigns.
        url: where it is asked.
    """

    name: str
    key: NoteKey
    url: str


class Quorum:
    """A policy, parsed.

    Args:
        text: the policy file's bytes.

    Raises:
        ConfigError: ``policy_malformed``; names the line.
    """

    def __init__(self, text: bytes) -> None:
        self._logs: list[NoteKey] = []
        self._parts: dict[str, NoteKey | _Group] = {}
        self._taken: set[str] = set()
        self._witnesses: list[Witness] = []
        self._quorum: str | None = None
        for number, words in _lines(text):
            self._take(number, words)
        if self._quorum is None:
            raise _malformed("has no quorum line")

    @property
    def witnesses(self) -> tuple[Witness, ...]:
        """The witnesses that have a URL, in the policy's order."""
        return tuple(self._witnesses)

    def require_log(self, keys: LogKeys) -> None:
        """Require the policy to be about the log that has these keys.

        Raises:
            VerificationError: ``quorum_missing``, no Ed25519 key of it, past ones included, is in a ``log`` line.
        """
        if {term.keys[0] for term in keys.terms}.isdisjoint(self._logs):
            raise _missing(f"the policy is not about the log of {keys.origin}", keys.origin)

    def require_on(self, note: SignedNote, checkpoint: Checkpoint) -> None:
        """Require a checkpoint to have the quorum.

        Raises:
            VerificationError: ``quorum_missing``; a witness's cosignature is wrong.
        """
        if not self.is_on(note, checkpoint):
            raise _missing(
                f"the checkpoint of {checkpoint.tree_size} entries lacks the policy's quorum",
                checkpoint.origin,
            )

    def is_on(self, note: SignedNote, checkpoint: Checkpoint) -> bool:
        """Tell whether enough witnesses have cosigned a checkpoint.

        Raises:
            VerificationError: a witness's cosignature is wrong.
        """
        return self._quorum == NONE or self._counts(self._quorum or "", note, checkpoint)

    def vouches_for(self, note: SignedNote, checkpoint: Checkpoint) -> bool:
        """Tell whether witnesses have cosigned a checkpoint as the newest, as many as a policy wants that wants any.

        One of time zero does not say that the witness has seen no larger tree (C2SP tlog-cosignature).

        Raises:
            VerificationError: a witness's cosignature is wrong.
        """
        wanted = self._quorum
        if wanted is None or wanted == NONE:
            return False
        return self._counts(wanted, note, checkpoint, timed=True)

    def _counts(
        self, name: str, note: SignedNote, checkpoint: Checkpoint, *, timed: bool = False
    ) -> bool:
        """Tell whether a witness or group counts; where ``timed``, by cosignatures of a time other than zero."""
        part = self._parts[name]
        if isinstance(part, NoteKey):
            times = [verify_cosignature(checkpoint, part, each) for each in note.by(part)]
            return any(times) if timed else bool(times)
        counting = [self._counts(each, note, checkpoint, timed=timed) for each in part.members]
        return sum(counting) >= part.threshold

    def _take(self, number: int, words: list[str]) -> None:
        match words:
            case ["log", key] | ["log", key, _]:
                self._logs.append(_key(number, key, (SignatureType.ED25519,)))
            case ["witness", name, key, *url] if len(url) <= 1:
                self._define(number, name, _key(number, key, _COSIGNING))
                self._witnesses += [Witness(name, NoteKey.parse(key), each) for each in url]
            case ["group", name, threshold, *members] if members:
                self._define(number, name, self._group(number, threshold, members))
            case ["quorum", name] if self._quorum is None and (name == NONE or name in self._parts):
                self._quorum = name
            case _:
                raise _malformed(f"has a line {number} that says nothing here")

    def _define(self, number: int, name: str, part: NoteKey | _Group) -> None:
        if name == NONE or name in self._parts:
            raise _malformed(f"gives a name twice, or one that none can have, in line {number}")
        self._parts[name] = part

    def _group(self, number: int, threshold: str, members: list[str]) -> _Group:
        known = set(members) <= self._parts.keys()
        if not known or len(set(members)) < len(members) or self._taken & set(members):
            raise _malformed(f"has a group of unknown or repeated members in line {number}")
        self._taken |= set(members)
        least = {"any": "1", "all": str(len(members))}.get(threshold, threshold)
        if not (least.isascii() and least.isdecimal() and str(int(least)) == least):
            raise _malformed(f"has a group without a threshold in line {number}")
        if not 1 <= int(least) <= len(members):
            raise _malformed(f"has a threshold that its group cannot reach in line {number}")
        return _Group(tuple(members), int(least))


def _lines(text: bytes) -> list[tuple[int, list[str]]]:
    if len(text) > MAX_POLICY_BYTES:
        raise _malformed("is too long")
    try:
        lines = text.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise _malformed("is not UTF-8") from None
    told = [(number, line.strip(" \t\r")) for number, line in enumerate(lines, 1)]
    return [(number, line.split()) for number, line in told if line and line[0] != "#"]


def _key(number: int, text: str, types: tuple[SignatureType, ...]) -> NoteKey:
    try:
        key = NoteKey.parse(text)
    except VerificationError as error:
        raise _malformed(f"has a bad key in line {number}: {error.message}") from None
    if key.type not in types:
        raise _malformed(f"has a key of another type in line {number}")
    return key


def _missing(fault: str, party: str) -> VerificationError:
    return VerificationError(
        fault,
        mend="Ask the log's owner for a checkpoint that enough witnesses have cosigned.",
        reason="quorum_missing",
        party=party,
    )


def _malformed(fault: str) -> ConfigError:
    return ConfigError(
        f"the policy {fault}",
        mend="Write it as protocols/specs/bundle.md, section 5, has it.",
        reason="policy_malformed",
    )
