"""The story that a log tells of its exchanges, read entry by entry, each verified against those before.

Memory holds the exchanges that are open at a time; of those that have ended only an index on the disk
is kept, so that a log of any length is read in little memory.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from psishare.audit.entry import (
    DatasetDelivered,
    DatasetPublished,
    Entry,
    ExchangeAborted,
    ExchangeApproved,
    ExchangeClosed,
    ExchangeHeld,
    ExchangeOpened,
    ExchangeRefused,
    ExchangeRejected,
)
from psishare.errors import ConfigError, PsishareError, VerificationError
from psishare.evidence.digest_set import DigestSet
from psishare.evidence.held import HeldOffer, HeldOffers
from psishare.evidence.mandate_book import COVERS, NOT_SEEN
from psishare.evidence.signatures import Signatures
from psishare.evidence.told import (
    contradiction,
    require_closing,
    require_counts,
    require_last_request,
    require_opening,
    require_timely,
    require_told_alike,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from psishare.evidence.mandate_book import MandateBook
    from psishare.exchange.offer import Answer, Offer
    from psishare.parties.card import Card


SETTLED_AT_ONCE = 256
"""How many signatures are verified at a time."""


class Ending(StrEnum):
    """How an exchange ended, as this log tells it."""

    CLOSED = "closed"
    ABORTED = "aborted"
    REFUSED = "refused"
    OPEN = "open"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class ExchangeVerdict:
    """One exchange, verified.

    Attributes:
        exchange_id: hexadecimal.
        peer: the other party.
        ending: how it ended; ``open`` where the log does not say yet; ``held`` where a second
            operator had not approved it, or rejected it, when the log ended.
        protocol: ``oprf``, ``ecdh`` or ``openmined``; None where the offer could not be read.
        dataset: the platform's name for the set.
        kind: the identifiers' kind.
        output: what was to be learnt.
        rows: rows asked: of the receipt, or those committed before an abort, or those offered.
        mandate_id: under which mandate.
        reason: why it was refused or aborted.
        time: of the last entry about it.
        index: where its first entry stands in the log.
        began: the time of that entry.
        mandate_sha256: the mandate's envelope.
        mandate: ``covers`` where the mandate allows what was done, ``not_seen`` where the evidence
            does not hold it or nothing was opened, else the rule that was broken.
    """

    exchange_id: str
    peer: str
    ending: Ending
    protocol: str | None
    dataset: str | None
    kind: str | None
    output: str | None
    rows: int | None
    mandate_id: str | None
    reason: str | None
    time: str
    index: int
    began: str
    mandate_sha256: str | None
    mandate: str = NOT_SEEN


_Manifest = tuple[str, str | None, int]
"""A manifest's digest, dataset and epoch."""
_Key = tuple[str, str]
"""An exchange's id and the peer: an offer that one party stole from another is refused under its
owner's id."""


@dataclass(slots=True)
class _Open:
    """An exchange that has opened and not ended yet, and what its mandate says of that."""

    index: int
    entry: ExchangeOpened
    offer: Offer
    answer: Answer
    mandate: str


@dataclass
class Story:
    """Reads the entries in order and verifies each exchange's part of them.

    Attributes:
        owner: whose log it is.
        trust: the cards that the verifier trusts, by party id.
        book: the mandates, verified.
        verified: which signatures have verified, where others who read the same documents remember.
    """

    owner: Card
    trust: Mapping[str, Card]
    book: MandateBook
    verified: DigestSet | None = None
    _open: dict[_Key, _Open] = field(default_factory=dict)
    _ended: DigestSet = field(default_factory=DigestSet)
    _published: set[_Manifest] = field(default_factory=set)
    _delivered: set[tuple[str, _Manifest]] = field(default_factory=set)
    _held: HeldOffers = field(init=False)
    _signatures: Signatures = field(init=False)

    def __post_init__(self) -> None:
        self._held = HeldOffers(self.owner, self.trust)
        self._signatures = Signatures(self.trust, self.verified)

    def take(self, index: int, entry: Entry) -> ExchangeVerdict | None:
        """Verify one entry against those before it.

        Returns:
            The verdict on the exchange that it ends, or None.

        Raises:
            VerificationError: the entry cannot be, or is not signed as it says.
            ConfigError: the card of a party is not among those that are trusted.
        """
        verdict = self._read(index, entry)
        self._settle()
        return verdict

    def read(self, entries: Iterable[tuple[int, Entry]]) -> Iterator[ExchangeVerdict]:
        """Read entries in order, and yield the verdict on each exchange that they end.

        Signatures are verified some entries at a time: one by one between entries each costs a tenth more,
        because either finds the processor's caches full of the other. No verdict is yielded before every
        signature up to its entry has verified, and what is wrong first in the log is what is named.

        Raises:
            As ``take``, and whatever the entries raise.
        """
        ready: list[ExchangeVerdict] = []
        try:
            for index, entry in entries:
                verdict = self._read(index, entry)
                if verdict is not None:
                    ready.append(verdict)
                if self._signatures.n_due >= SETTLED_AT_ONCE:
                    self._settle()
                    yield from ready
                    ready.clear()
        except PsishareError:
            self._settle()
            raise
        self._settle()
        yield from ready

    def _read(self, index: int, entry: Entry) -> ExchangeVerdict | None:
        """Read an entry; of the signatures that it needs those are verified that a fault comes after."""
        self._signatures.index = index
        try:
            return self._take(index, entry)
        except VerificationError as error:
            self._settle()
            raise self._at(index, error) from error
        except ConfigError:
            self._settle()
            raise

    def _settle(self) -> None:
        try:
            self._signatures.settle()
        except VerificationError as error:
            raise self._at(self._signatures.index, error) from error

    def _at(self, index: int, error: VerificationError) -> VerificationError:
        return VerificationError(
            f"entry {index} of the log of {self.owner.id}: {error.message}",
            mend=error.mend,
            reason=error.reason,
            party=error.party,
        )

    def offer(self, exchange_id: str, peer: str) -> Offer | None:
        """Return the offer of an exchange that stands open, or None where it does not."""
        told = self._open.get((exchange_id, peer))
        return None if told is None else told.offer

    def unfinished(self) -> Iterator[ExchangeVerdict]:
        """Yield the exchanges of whose end the log does not tell, and free what is held."""
        for told in self._open.values():
            mandate = self._charged(told.entry.mandate_id, told.entry.rows, told.mandate)
            yield _of_open(told, told.entry, Ending.OPEN, mandate)
        for held in self._held.left():
            yield _waiting(held)
        self._open.clear()
        self._ended.close()

    def _take(self, index: int, entry: Entry) -> ExchangeVerdict | None:
        match entry:
            case ExchangeOpened():
                self._opened(index, entry)
            case ExchangeClosed():
                return self._closed(entry)
            case ExchangeAborted():
                return self._aborted(index, entry)
            case ExchangeRefused():
                return self._refused(index, entry)
            case ExchangeHeld():
                self._hold(index, entry)
            case ExchangeApproved() | ExchangeRejected():
                self._held.decide(entry)
            case DatasetPublished():
                self._published.add((entry.manifest_sha256, entry.dataset, entry.epoch))
            case DatasetDelivered():
                self._deliver(entry)
            case _:
                pass
        return None

    def _deliver(self, entry: DatasetDelivered) -> None:
        manifest = entry.manifest_sha256, entry.dataset, entry.epoch
        if self.owner.role == "platform" and manifest not in self._published:
            raise contradiction("delivers a dataset that was not published")
        self._delivered.add((entry.peer, manifest))

    def _require_known(self, entry: ExchangeOpened) -> None:
        """Require an encoded set to have been published, at the authority delivered, before."""
        if entry.manifest_sha256 is None or entry.epoch is None:
            return
        manifest = entry.manifest_sha256, entry.dataset, entry.epoch
        at_platform = self.owner.role == "platform"
        known = (
            manifest in self._published
            if at_platform
            else (entry.peer, manifest) in self._delivered
        )
        if not known:
            raise contradiction("opens an exchange on a dataset that this log does not know")

    def _opened(self, index: int, entry: ExchangeOpened) -> None:
        key = entry.exchange_id, entry.peer
        if key in self._open or self._has_ended(key):
            raise contradiction("opens an exchange that was told of before")
        self._require_known(entry)
        self._held.open(*key)
        offer, answer = require_opening(entry, self._signatures, self.owner.id)
        require_told_alike(entry, offer, answer)
        require_timely(entry, offer, answer, self.owner.id)
        mandate = self._judge(entry, offer, answer)
        self._open[key] = _Open(index, entry, offer, answer, mandate)

    def _judge(self, entry: ExchangeOpened, offer: Offer, answer: Answer) -> str:
        mandate = self.book.get(entry.mandate_sha256)
        if mandate is not None and mandate.id != entry.mandate_id:
            raise contradiction("names a mandate by another id than its own")
        return self.book.judge(offer, answer)

    def _closed(self, entry: ExchangeClosed) -> ExchangeVerdict:
        told = self._end(entry)
        if told is None:
            raise contradiction("closes an exchange that is not open")
        receipt = require_closing(entry, told.entry, (told.offer, told.answer), self._signatures)
        requests = receipt.requests
        mandate = self._asked(told, entry, requests.frames, requests.transcript)
        return _of_open(told, entry, Ending.CLOSED, mandate)

    def _aborted(self, index: int, entry: ExchangeAborted) -> ExchangeVerdict:
        key = entry.exchange_id, entry.peer
        if self._has_ended(key):
            raise contradiction("aborts an exchange that has ended")
        told = self._end(entry)
        peer = self.trust.get(entry.peer)
        ahead = peer is not None and peer.role == "platform"
        require_counts(entry, told.offer if told else None, signed_ahead=ahead)
        if told is None:
            # The offer went out, and the process ended before an answer was logged.
            return _unopened(index, entry, Ending.ABORTED)
        if entry.frames:
            require_last_request(entry, told.offer, self._signatures)
        mandate = self._asked(told, entry, entry.frames, entry.requests_transcript)
        return _of_open(told, entry, Ending.ABORTED, mandate)

    def _asked(
        self,
        told: _Open,
        entry: ExchangeClosed | ExchangeAborted,
        frames: int,
        transcript: str | None,
    ) -> str:
        """Hold what was really asked against a mandate that approves one list, and against its caps."""
        judged = self.book.judge_requests(told.offer, frames, transcript, judged=told.mandate)
        return self._charged(told.entry.mandate_id, entry.rows, judged)

    def _hold(self, index: int, entry: ExchangeHeld) -> None:
        key = entry.exchange_id, entry.peer
        if key in self._open or self._has_ended(key):
            raise contradiction("holds an offer that was opened, refused or ended before")
        self._held.hold(index, entry)

    def _refused(self, index: int, entry: ExchangeRefused) -> ExchangeVerdict | None:
        key = entry.exchange_id, entry.peer
        if key in self._open or self._has_ended(key):
            # A repeat of an offer is refused without touching the exchange itself.
            return None
        self._held.end(*key)
        self._ended.add(_digest(key))
        return _unopened(index, entry, Ending.REFUSED)

    def _end(self, entry: ExchangeClosed | ExchangeAborted) -> _Open | None:
        key = entry.exchange_id, entry.peer
        self._ended.add(_digest(key))
        self._held.end(*key)
        return self._open.pop(key, None)

    def _has_ended(self, key: _Key) -> bool:
        return _digest(key) in self._ended

    def _charged(self, mandate_id: str, rows: int, judged: str) -> str:
        """Count an exchange's rows against its mandate."""
        return self.book.charge(mandate_id, rows) if judged == COVERS else judged


def _digest(key: _Key) -> bytes:
    return hashlib.sha256(" ".join(key).encode()).digest()


def _of_open(
    told: _Open,
    last: ExchangeOpened | ExchangeClosed | ExchangeAborted,
    ending: Ending,
    mandate: str,
) -> ExchangeVerdict:
    """Return the verdict on an exchange that was opened.

    Args:
        told: how it was opened.
        last: the last entry about it, whose rows were required to be those that were asked.
        ending: how it ended.
        mandate: what its mandate says of it.
    """
    opened = told.entry
    return ExchangeVerdict(
        exchange_id=opened.exchange_id,
        peer=opened.peer,
        ending=ending,
        protocol=opened.protocol,
        dataset=opened.dataset,
        kind=opened.kind,
        output=opened.output,
        rows=last.rows,
        mandate_id=opened.mandate_id,
        reason=last.reason if isinstance(last, ExchangeAborted) else None,
        time=last.time,
        index=told.index,
        began=opened.time,
        mandate_sha256=opened.mandate_sha256,
        mandate=mandate,
    )


def _unopened(
    index: int, entry: ExchangeAborted | ExchangeRefused, ending: Ending
) -> ExchangeVerdict:
    refused = entry if isinstance(entry, ExchangeRefused) else None
    return ExchangeVerdict(
        exchange_id=entry.exchange_id,
        peer=entry.peer,
        ending=ending,
        protocol=refused.protocol if refused else None,
        dataset=refused.dataset if refused else None,
        kind=refused.kind if refused else None,
        output=refused.output if refused else None,
        rows=entry.rows,
        mandate_id=None if isinstance(entry, ExchangeRefused) else entry.mandate_id,
        reason=entry.reason,
        time=entry.time,
        index=index,
        began=entry.time,
        mandate_sha256=refused.mandate_sha256 if refused else None,
    )


def _waiting(held: HeldOffer) -> ExchangeVerdict:
    """Return the verdict on an offer that is held where the log ends."""
    entry = held.entry
    rejected = isinstance(held.decision, ExchangeRejected)
    return ExchangeVerdict(
        exchange_id=entry.exchange_id,
        peer=entry.peer,
        ending=Ending.HELD,
        protocol=entry.protocol,
        dataset=entry.dataset,
        kind=entry.kind,
        output=entry.output,
        rows=entry.rows,
        mandate_id=entry.mandate_id,
        reason="approval_rejected" if rejected else entry.reason,
        time=held.last,
        index=held.index,
        began=entry.time,
        mandate_sha256=entry.mandate_sha256,
    )
