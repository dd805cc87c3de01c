"""The story that a log tells of its exchanges, read entry by entry, each verified against those before.

Memory holds the exchanges that are open at a time; of those that have ended only an index on the disk
is kept, so that a log of any length is read in little memory.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field, replace
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
from psishare.errors import VerificationError
from psishare.evidence.held import HeldOffer, HeldOffers
from psishare.evidence.mandate_book import COVERS, NOT_SEEN
from psishare.evidence.told import (
    contradiction,
    require_counts,
    require_timely,
    require_told_alike,
    verify_closing,
    verify_last_request,
    verify_opening,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psishare.evidence.mandate_book import MandateBook
    from psishare.exchange.offer import Answer, Offer
    from psishare.parties.card import Card


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


@dataclass
class _Open:
    """An exchange that has opened and not ended yet."""

    entry: ExchangeOpened
    offer: Offer
    answer: Answer
    verdict: ExchangeVerdict


class _Ended:
    """Which exchanges have ended; on the disk, in a file without a name."""

    def __init__(self) -> None:
        self._table = sqlite3.connect("", isolation_level=None)
        self._table.execute("PRAGMA journal_mode=OFF")
        self._table.execute("PRAGMA cache_size=-4096")
        self._table.execute("CREATE TABLE ended (key TEXT PRIMARY KEY) WITHOUT ROWID")

    def __contains__(self, key: _Key) -> bool:
        found = self._table.execute("SELECT 1 FROM ended WHERE key = ?", [" ".join(key)])
        return found.fetchone() is not None

    def add(self, key: _Key) -> None:
        self._table.execute("INSERT OR IGNORE INTO ended VALUES (?)", [" ".join(key)])

    def close(self) -> None:
        self._table.close()


@dataclass
class Story:
    """Reads the entries in order and verifies each exchange's part of them.

    Attributes:
        owner: whose log it is.
        trust: the cards that the verifier trusts, by party id.
        book: the mandates, verified.
    """

    owner: Card
    trust: Mapping[str, Card]
    book: MandateBook
    _open: dict[_Key, _Open] = field(default_factory=dict)
    _ended: _Ended = field(default_factory=_Ended)
    _published: set[_Manifest] = field(default_factory=set)
    _delivered: set[tuple[str, _Manifest]] = field(default_factory=set)
    _held: HeldOffers = field(init=False)

    def __post_init__(self) -> None:
        self._held = HeldOffers(self.owner, self.trust)

    def take(self, index: int, entry: Entry) -> ExchangeVerdict | None:
        """Verify one entry against those before it.

        Returns:
            The verdict on the exchange that it ends, or None.

        Raises:
            VerificationError: the entry cannot be, or is not signed as it says.
            ConfigError: the card of a party is not among those that are trusted.
        """
        try:
            return self._take(index, entry)
        except VerificationError as error:
            raise VerificationError(
                f"entry {index} of the log of {self.owner.id}: {error.message}",
                mend=error.mend,
                reason=error.reason,
                party=error.party,
            ) from error

    def unfinished(self) -> Iterator[ExchangeVerdict]:
        """Yield the exchanges of whose end the log does not tell, and free what is held."""
        for told in self._open.values():
            yield self._charged(told.verdict)
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
        if key in self._open or key in self._ended:
            raise contradiction("opens an exchange that was told of before")
        self._require_known(entry)
        self._held.open(*key)
        offer, answer = verify_opening(entry, self.trust, self.owner.id)
        require_told_alike(entry, offer, answer)
        require_timely(entry, offer, answer, self.owner.id)
        verdict = ExchangeVerdict(
            exchange_id=entry.exchange_id,
            peer=entry.peer,
            ending=Ending.OPEN,
            protocol=entry.protocol,
            dataset=entry.dataset,
            kind=entry.kind,
            output=entry.output,
            rows=entry.rows,
            mandate_id=entry.mandate_id,
            reason=None,
            time=entry.time,
            index=index,
            began=entry.time,
            mandate_sha256=entry.mandate_sha256,
            mandate=self._judge(entry, offer, answer),
        )
        self._open[key] = _Open(entry, offer, answer, verdict)

    def _judge(self, entry: ExchangeOpened, offer: Offer, answer: Answer) -> str:
        mandate = self.book.get(entry.mandate_sha256)
        if mandate is not None and mandate.id != entry.mandate_id:
            raise contradiction("names a mandate by another id than its own")
        return self.book.judge(offer, answer)

    def _closed(self, entry: ExchangeClosed) -> ExchangeVerdict:
        told = self._end(entry)
        if told is None:
            raise contradiction("closes an exchange that is not open")
        receipt = verify_closing(entry, told.entry, (told.offer, told.answer), self.trust)
        requests = receipt.requests
        verdict = replace(
            told.verdict,
            ending=Ending.CLOSED,
            rows=requests.rows,
            time=entry.time,
            mandate=self._asked(told, requests.frames, requests.transcript),
        )
        return self._charged(verdict)

    def _aborted(self, index: int, entry: ExchangeAborted) -> ExchangeVerdict:
        key = entry.exchange_id, entry.peer
        if key in self._ended:
            raise contradiction("aborts an exchange that has ended")
        told = self._end(entry)
        peer = self.trust.get(entry.peer)
        ahead = peer is not None and peer.role == "platform"
        require_counts(entry, told.offer if told else None, signed_ahead=ahead)
        if told is None:
            # The offer went out, and the process ended before an answer was logged.
            return _unopened(index, entry, Ending.ABORTED)
        if entry.frames:
            verify_last_request(entry, told.offer, self.trust)
        verdict = replace(
            told.verdict,
            ending=Ending.ABORTED,
            rows=entry.rows,
            reason=entry.reason,
            time=entry.time,
            mandate=self._asked(told, entry.frames, entry.requests_transcript),
        )
        return self._charged(verdict)

    def _asked(self, told: _Open, frames: int, transcript: str | None) -> str:
        """Hold what was really asked against a mandate that approves one list."""
        return self.book.judge_requests(told.offer, frames, transcript, judged=told.verdict.mandate)

    def _hold(self, index: int, entry: ExchangeHeld) -> None:
        key = entry.exchange_id, entry.peer
        if key in self._open or key in self._ended:
            raise contradiction("holds an offer that was opened, refused or ended before")
        self._held.hold(index, entry)

    def _refused(self, index: int, entry: ExchangeRefused) -> ExchangeVerdict | None:
        key = entry.exchange_id, entry.peer
        if key in self._open or key in self._ended:
            # A repeat of an offer is refused without touching the exchange itself.
            return None
        self._held.end(*key)
        self._ended.add(key)
        return _unopened(index, entry, Ending.REFUSED)

    def _end(self, entry: ExchangeClosed | ExchangeAborted) -> _Open | None:
        key = entry.exchange_id, entry.peer
        self._ended.add(key)
        self._held.end(*key)
        return self._open.pop(key, None)

    def _charged(self, verdict: ExchangeVerdict) -> ExchangeVerdict:
        """Count an exchange's rows against its mandate."""
        if verdict.mandate != COVERS:
            return verdict
        return replace(verdict, mandate=self.book.charge(verdict.mandate_id, verdict.rows or 0))


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
