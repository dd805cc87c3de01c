"""The keys that sign a log's checkpoints: pairs that followed one another, and the sizes at which each counts.

Values only; who verifies with them is ``psishare.audit``. Source: protocols/specs/audit-log.md, section 11.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from psishare.errors import VerificationError
from psishare.keys.note_key import NoteKey, SignatureType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psishare.keys.handover import Handover

OWN_TYPES = (SignatureType.ED25519, SignatureType.ML_DSA_44)
MAX_PAIRS = 10
"""So many fit into a card with the signatures by which each hands over to the next."""


@dataclass(frozen=True, slots=True)
class KeyTerm:
    """One pair of a log's keys, and the tree sizes whose checkpoints it signs.

    Attributes:
        keys: of types 0x01 and 0x06, under the log's origin.
        first: the smallest size.
        last: the largest; None while none is known.
        handover: by which the pair before it named it; None for the first. Who reads it has verified it.
    """

    keys: tuple[NoteKey, ...]
    first: int = 0
    last: int | None = None
    handover: Handover | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LogKeys:
    """What somebody knows of the pairs of one log, in the order in which they came.

    Raises:
        VerificationError: ``key_malformed``: not pairs of one name, or sizes that no log can have.
    """

    terms: tuple[KeyTerm, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.terms) <= MAX_PAIRS:
            raise _malformed("are of no pair, or of too many")
        names = {key.name for term in self.terms for key in term.keys}
        types = {tuple(key.type for key in term.keys) for term in self.terms}
        if len(names) != 1 or types != {OWN_TYPES}:
            raise _malformed("are not pairs of an Ed25519 and an ML-DSA-44 key under one name")
        if len({key for term in self.terms for key in term.keys}) != 2 * len(self.terms):
            raise _malformed("hold one key twice")
        self._require_sizes()

    @classmethod
    def of(cls, pair: Sequence[NoteKey]) -> Self:
        """Return the keys of a log of which one pair is known, from its beginning on."""
        return cls((KeyTerm(tuple(pair)),))

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.terms[0].keys[0].name

    @property
    def newest(self) -> KeyTerm:
        """The pair that came last."""
        return self.terms[-1]

    @property
    def overlaps(self) -> bool:
        """Whether the pair before the newest one signs still, as far as is known."""
        return len(self.terms) > 1 and self.terms[-2].last is None

    def required(self, size: int) -> list[KeyTerm]:
        """Return the pairs without whose signatures a checkpoint of a size does not verify."""
        begun = [term for term in self.terms if term.first <= size]
        older = [term for place, term in enumerate(begun[:-1]) if self._goes_to(place, size)]
        return [*older, begun[-1]]

    def rotated(
        self, pair: Sequence[NoteKey], index: int, handover: Handover | None = None
    ) -> LogKeys:
        """Return the keys after the entry at an index has brought another pair."""
        term = KeyTerm(tuple(pair), first=index + 1, handover=handover)
        return LogKeys((*self.terms, term))

    def retired(self, index: int) -> LogKeys:
        """Return the keys after the entry at an index has ended the overlap.

        The old pair signs the checkpoint of that entry still: the new one alone cannot be rid of it.
        """
        return _ended(self, index + 1)

    def told_by(self, size: int) -> LogKeys:
        """Return what a log of so many entries tells of these keys."""
        begun = [term for term in self.terms if term.first <= size]
        told = [replace(term, last=_within_size(term.last, size)) for term in begun[:-1]]
        return LogKeys((*told, replace(begun[-1], last=None)))

    def binding(self, size: int) -> LogKeys:
        """Return the keys of a log of exactly so many entries: where two overlap, both have to sign.

        Whoever does not know the entries cannot tell whether the overlap has ended since.
        """
        told = self.told_by(size)
        return _ended(told, size) if told.overlaps else told

    def require_kept_by(self, later: LogKeys, *, size: int | None = None) -> None:
        """Require what is known here to be told by later knowledge, too.

        Args:
            later: of the same log.
            size: how far that goes; without an end where None.

        Raises:
            VerificationError: ``log_keys_differ``.
        """
        known = self if size is None else self.told_by(size)
        for place, term in enumerate(known.terms):
            kept = later.terms[place] if place < len(later.terms) else None
            if kept is None or kept.keys != term.keys or kept.first != term.first:
                raise _differ(self.origin)
            if term.last is not None and kept.last != term.last:
                raise _differ(self.origin)

    def require_told_by(self, entries: LogKeys, *, size: int) -> None:
        """Require exactly what is known here, as far as it goes, to be told by a whole log's entries.

        Args:
            entries: what they tell.
            size: how many there are.

        Raises:
            VerificationError: ``log_keys_differ``.
        """
        if self.told_by(size) != entries:
            raise _differ(self.origin)

    def _goes_to(self, place: int, size: int) -> bool:
        """Tell whether a pair that another follows is known to sign at a size that has begun both.

        The first checkpoint of a pair is signed by the one before it, too, however soon that ends.
        """
        last = self.terms[place].last
        return size == self.terms[place + 1].first or (last is not None and size <= last)

    def _require_sizes(self) -> None:
        """Require sizes to follow from entries of one log: a pair comes, the one before it goes."""
        if self.terms[0].first != 0 or self.newest.last is not None:
            raise _malformed("begin after their log, or end before it")
        for place, (term, following) in enumerate(zip(self.terms, self.terms[1:], strict=False)):
            beyond = self.terms[place + 2].first if place + 2 < len(self.terms) else None
            open_end = term.last is None and beyond is None
            if following.first <= term.first:
                raise _malformed("do not follow one another")
            if not open_end and not _within(following.first, term.last, beyond):
                raise _malformed("have an overlap that no log can have")


def _ended(keys: LogKeys, last: int) -> LogKeys:
    return LogKeys((*keys.terms[:-2], replace(keys.terms[-2], last=last), keys.terms[-1]))


def _within_size(last: int | None, size: int) -> int | None:
    return last if last is not None and last <= size else None


def _within(first: int, last: int | None, beyond: int | None) -> bool:
    return last is not None and first <= last and (beyond is None or last < beyond)


def _malformed(fault: str) -> VerificationError:
    return VerificationError(
        f"the keys of a log {fault}",
        mend="Ask its owner for the newest card.",
        reason="key_malformed",
    )


def _differ(origin: str) -> VerificationError:
    return VerificationError(
        f"the log of {origin} tells of other keys, or of other sizes for them, than its card",
        mend=f"Keep both as evidence, and ask {origin} by a way that you trust which one is its own.",
        reason="log_keys_differ",
        party=origin,
    )
