"""Two parties' evidence, side by side: what one of them does not tell, or tells otherwise, is named.

Each side is verified first. What a side leaves out counts only where its scope has it. The findings are
those of protocols/specs/bundle.md, section 6.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from psishare.audit.entry import (
    DatasetDelivered,
    Entry,
    ExchangeAborted,
    ExchangeClosed,
    ExchangeHeld,
    ExchangeOpened,
    ExchangeRefused,
)
from psishare.audit.merkle import leaf_hash
from psishare.errors import InputError
from psishare.evidence.digest_set import DigestSet
from psishare.evidence.source import open_evidence
from psishare.evidence.story import Ending, Story
from psishare.evidence.told import FILES_TAKE, SAME_MOMENT
from psishare.exchange.document import read_time
from psishare.mandates.check import CLOCK_TOLERANCE_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from psishare.evidence.bundle import Header
    from psishare.evidence.mandate_book import MandateBook
    from psishare.parties.card import Card

_NEVER_LOGGED = frozenset({"log_rolled_back", "peer_unknown"})
"""Refusals that a platform gives before it knows whose offer it is: it does not log them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something on which two logs do not agree.

    Attributes:
        finding: its name.
        party: whose log lacks it, ends early or stands against what is signed; None where it is both.
        exchange_id: of which exchange; None where it is of none.
        mandate_id: of which mandate.
        detail: what exactly, one sentence.
    """

    finding: str
    party: str | None
    exchange_id: str | None
    mandate_id: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What came of laying two logs side by side.

    Attributes:
        parties: whose they are.
        n_exchanges: how many exchanges between the two either of them tells of.
        findings: what they do not agree on; empty where they tell the same story.
    """

    parties: tuple[str, str]
    n_exchanges: int
    findings: tuple[Finding, ...]


@dataclass(slots=True)
class _Account:
    """What one log tells of one exchange."""

    first: int
    last: int
    began: str
    mandate_id: str | None
    ending: Ending = Ending.OPEN
    opened: bytes | None = None
    closed: bytes | None = None
    reason: str | None = None
    rows: int = 0
    frames: int = 0
    transcript: str | None = None
    refused: tuple[str | int | None, ...] = ()
    by_files: bool = False


@dataclass
class _Side:
    """One party's telling."""

    owner: Card
    header: Header | None
    book: MandateBook
    accounts: dict[tuple[str, str], _Account] = field(default_factory=dict)
    deliveries: set[tuple[str, str, str]] = field(default_factory=set)
    leaves: dict[int, bytes] = field(default_factory=dict)

    @property
    def party(self) -> str:
        return self.owner.id

    def about(self, peer: str) -> dict[str, _Account]:
        """Return the accounts of exchanges with a peer, by id."""
        return {key[0]: account for key, account in self.accounts.items() if key[1] == peer}

    def would_tell(self, exchange_id: str, other: _Account) -> bool:
        """Tell whether an exchange that the other side tells of is within this side's scope."""
        header = self.header
        if header is None or header.scope == "all":
            return True
        if header.scope == "exchange":
            return header.exchange_id == exchange_id
        if header.scope == "mandate":
            return header.mandate_id == other.mandate_id
        if other.by_files:
            # Each side enters it when a file comes, which may be in another period.
            return False
        tolerance = timedelta(seconds=CLOCK_TOLERANCE_S)
        began = read_time(other.began)
        since, until = read_time(header.since or ""), read_time(header.until or "")
        return since + tolerance <= began < until - tolerance


def reconcile(first: Path, second: Path, trust: Mapping[str, Card]) -> Reconciliation:
    """Compare two parties' evidence entry by entry, or two copies of one party's log.

    Args:
        first: a bundle or a log's folder.
        second: another.
        trust: the cards that the verifier trusts, by party id.

    Raises:
        ConfigError: a card is missing.
        VerificationError: one of them does not verify by itself.
        AuditError: one cannot be read.
        InputError: they are not of an authority and a platform, nor of one party.
    """
    with closing(DigestSet()) as verified:
        sides = _read(first, trust, verified), _read(second, trust, verified)
    one, other = sides
    parties = one.party, other.party
    if one.party == other.party:
        return Reconciliation(parties, 0, tuple(_forks(one, other)))
    by_role = {side.owner.role: side for side in sides}
    if by_role.keys() != {"authority", "platform"}:
        raise InputError(
            "what is reconciled are the logs of an authority and a platform, or two of one party",
            mend="Name the two parties' bundles or log folders.",
            reason="parties_unrelated",
        )
    pair = _Pair(by_role["authority"], by_role["platform"])
    return Reconciliation(parties, len(pair.exchange_ids), tuple(pair.findings()))


def _read(path: Path, trust: Mapping[str, Card], verified: DigestSet) -> _Side:
    """Verify one side's evidence, and keep what it tells."""
    with open_evidence(path, trust) as evidence:
        side = _Side(evidence.owner, evidence.header, evidence.book)
        story = Story(evidence.owner, trust, evidence.book, verified)
        for index, data in evidence.read():
            entry = evidence.parse(index, data)
            story.take(index, entry)
            side.leaves[index] = leaf_hash(data)
            _note(side, index, entry, story)
        for _verdict in story.unfinished():
            pass
    return side


def _note(side: _Side, index: int, entry: Entry, story: Story) -> None:
    if isinstance(entry, DatasetDelivered):
        side.deliveries.add((entry.peer, entry.manifest_sha256, entry.mandate_sha256))
        return
    if not isinstance(
        entry, ExchangeOpened | ExchangeClosed | ExchangeAborted | ExchangeRefused | ExchangeHeld
    ):
        return
    account = side.accounts.setdefault(
        (entry.exchange_id, entry.peer), _Account(index, index, entry.time, None)
    )
    repeated = account.first != index and account.ending is not Ending.HELD
    if isinstance(entry, ExchangeRefused) and repeated:
        return
    account.last = index
    match entry:
        case ExchangeOpened():
            account.ending, account.reason = Ending.OPEN, None
            account.mandate_id, account.rows = entry.mandate_id, entry.rows
            offer = story.offer(entry.exchange_id, entry.peer)
            account.by_files = offer is not None and offer.is_offline
            account.opened = _digest(
                entry.offer, entry.offer_signature, entry.answer, entry.answer_signature
            )
        case ExchangeClosed():
            account.ending, account.rows = Ending.CLOSED, entry.rows
            account.closed = _digest(
                entry.receipt, entry.authority_signature, entry.platform_signature
            )
        case ExchangeAborted():
            account.ending, account.reason, account.rows = Ending.ABORTED, entry.reason, entry.rows
            account.frames, account.transcript = entry.frames, entry.requests_transcript
            account.mandate_id = account.mandate_id or entry.mandate_id
        case ExchangeHeld():
            account.ending, account.reason, account.rows = Ending.HELD, entry.reason, entry.rows
            account.mandate_id = entry.mandate_id
        case ExchangeRefused():
            account.ending, account.reason = Ending.REFUSED, entry.reason
            account.refused = (entry.mandate_sha256, entry.protocol, entry.dataset, entry.kind)
            account.refused += (entry.output, entry.rows)


class _Pair:
    """An authority's and a platform's accounts of their exchanges."""

    def __init__(self, authority: _Side, platform: _Side) -> None:
        self._sides = {side.party: side for side in (authority, platform)}
        self._authority, self._platform = authority, platform
        self._ours = authority.about(platform.party)
        self._theirs = platform.about(authority.party)
        order = {**self._theirs, **self._ours}
        self.exchange_ids = sorted(order, key=lambda exchange_id: order[exchange_id].first)

    def findings(self) -> Iterator[Finding]:
        """Yield everything on which the two do not agree."""
        for exchange_id in self.exchange_ids:
            asked, answered = self._ours.get(exchange_id), self._theirs.get(exchange_id)
            if asked is not None and answered is not None:
                yield from self._compared(exchange_id, asked, answered)
            elif asked is not None:
                yield from self._missing(exchange_id, asked, self._platform)
            elif answered is not None:
                yield from self._missing(exchange_id, answered, self._authority)
        yield from self._reordered()
        yield from self._undelivered()
        yield from self._over_caps()

    def _missing(self, exchange_id: str, told: _Account, silent: _Side) -> Iterator[Finding]:
        offer_lost = told.opened is None and told.ending is Ending.ABORTED
        unlogged = told.ending is Ending.REFUSED and told.reason in _NEVER_LOGGED
        if offer_lost or unlogged or not silent.would_tell(exchange_id, told):
            return
        detail = f"only the other log tells of it: {told.ending}, {told.rows} rows"
        yield self._finding("exchange_missing", silent, exchange_id, told, detail)

    def _compared(self, exchange_id: str, asked: _Account, answered: _Account) -> Iterator[Finding]:
        """Compare two accounts of one exchange."""
        if asked.opened and answered.opened and asked.opened != answered.opened:
            detail = "the two logs hold another offer, answer or signature"
            yield self._finding("exchange_edited", None, exchange_id, asked, detail)
        if asked.closed and answered.closed and asked.closed != answered.closed:
            detail = "the two logs hold another receipt or signature"
            yield self._finding("exchange_edited", None, exchange_id, asked, detail)
        yield from self._endings(exchange_id, asked, answered)

    def _endings(self, exchange_id: str, asked: _Account, answered: _Account) -> Iterator[Finding]:
        match asked.ending, answered.ending:
            case Ending.OPEN, Ending.CLOSED:
                detail = "the platform has closed it; the authority's log has no receipt"
                yield self._finding(
                    "receipt_undelivered", self._authority, exchange_id, asked, detail
                )
            case Ending.OPEN, Ending.ABORTED | Ending.REFUSED:
                detail = f"it stands open, the other log has it {answered.ending}"
                yield self._finding(
                    "exchange_cut_short", self._authority, exchange_id, asked, detail
                )
            case Ending.CLOSED | Ending.ABORTED, Ending.OPEN:
                detail = f"it stands open, the other log has it {asked.ending}"
                yield self._finding(
                    "exchange_cut_short", self._platform, exchange_id, asked, detail
                )
            case Ending.ABORTED, Ending.ABORTED:
                yield from self._requests(exchange_id, asked, answered)
            case Ending.ABORTED, Ending.REFUSED | Ending.HELD if asked.opened is None:
                # The offer was refused or held, and that was lost on its way.
                pass
            case Ending.HELD, Ending.REFUSED | Ending.OPEN | Ending.ABORTED if not answered.frames:
                # What became of it after it had been held was lost on its way.
                pass
            case Ending.REFUSED, Ending.REFUSED:
                yield from self._refusals(exchange_id, asked, answered)
            case one, other if one is not other:
                yield self._otherwise(exchange_id, asked, answered)

    def _requests(self, exchange_id: str, asked: _Account, answered: _Account) -> Iterator[Finding]:
        """Compare how far two aborted accounts have the requests come."""
        same = asked.frames == answered.frames
        if answered.frames > asked.frames or (same and asked.transcript != answered.transcript):
            detail = (
                f"the authority signed {asked.frames} frames, the platform took {answered.frames}"
            )
            yield self._finding("requests_differ", None, exchange_id, asked, detail)

    def _refusals(self, exchange_id: str, asked: _Account, answered: _Account) -> Iterator[Finding]:
        """Compare two accounts of a refusal."""
        if asked.reason != answered.reason:
            yield self._otherwise(exchange_id, asked, answered)
        elif _contradict(asked.refused, answered.refused):
            detail = "the two logs tell of another offer that was refused"
            yield self._finding("told_differently", None, exchange_id, asked, detail)
        elif not -SAME_MOMENT <= _later(asked, answered) <= SAME_MOMENT + FILES_TAKE:
            detail = f"the authority has it at {asked.began}, the platform at {answered.began}"
            yield self._finding("told_differently", None, exchange_id, asked, detail)

    def _otherwise(self, exchange_id: str, asked: _Account, answered: _Account) -> Finding:
        detail = f"the authority has it {_ended(asked)}, the platform {_ended(answered)}"
        return self._finding("told_differently", None, exchange_id, asked, detail)

    def _reordered(self) -> Iterator[Finding]:
        """Name exchanges that came one after the other in each log, in another order."""
        both = sorted(
            (exchange_id for exchange_id in self.exchange_ids if self._is_in_both(exchange_id)),
            key=lambda exchange_id: self._ours[exchange_id].first,
        )
        waiting: list[tuple[int, str]] = []
        latest: str | None = None
        for exchange_id in both:
            asked, answered = self._ours[exchange_id], self._theirs[exchange_id]
            while waiting and waiting[0][0] < asked.first:
                _last, over = heapq.heappop(waiting)
                if latest is None or self._theirs[over].first > self._theirs[latest].first:
                    latest = over
            if latest is not None and answered.last < self._theirs[latest].first:
                detail = f"one log has it before exchange {latest[:12]}, the other after it"
                yield self._finding("exchanges_reordered", None, exchange_id, asked, detail)
            heapq.heappush(waiting, (asked.last, exchange_id))

    def _is_in_both(self, exchange_id: str) -> bool:
        return exchange_id in self._ours and exchange_id in self._theirs

    def _undelivered(self) -> Iterator[Finding]:
        """Name deliveries that the authority has and the platform does not tell of."""
        header = self._platform.header
        if header is not None and header.scope != "all":
            return
        told = {delivery[1:] for delivery in self._platform.deliveries}
        for peer, manifest, mandate in sorted(self._authority.deliveries):
            if peer == self._platform.party and (manifest, mandate) not in told:
                detail = f"only the authority tells of the delivery of manifest {manifest[:12]}"
                yield Finding("delivery_missing", self._platform.party, None, None, detail)

    def _over_caps(self) -> Iterator[Finding]:
        """Name mandates that were used beyond their caps, as both logs tell it together."""
        rows: defaultdict[str, int] = defaultdict(int)
        exchanges: defaultdict[str, int] = defaultdict(int)
        for exchange_id in self.exchange_ids:
            told = [
                account
                for account in (self._ours.get(exchange_id), self._theirs.get(exchange_id))
                if account is not None and account.opened is not None and account.mandate_id
            ]
            for mandate_id in {account.mandate_id or "" for account in told}:
                exchanges[mandate_id] += 1
                rows[mandate_id] += max(account.rows for account in told)
        for mandate_id in sorted(exchanges):
            mandate = self._authority.book.by_id(mandate_id) or self._platform.book.by_id(
                mandate_id
            )
            if mandate is None:
                continue
            for name, used, most in (
                ("exchanges", exchanges[mandate_id], mandate.max_exchanges),
                ("rows", rows[mandate_id], mandate.max_rows_total),
            ):
                if used > most:
                    detail = f"{used} {name} were made under it, {most} are allowed"
                    yield Finding("mandate_over_caps", None, None, mandate_id, detail)

    def _finding(
        self, name: str, side: _Side | None, exchange_id: str, told: _Account, detail: str
    ) -> Finding:
        party = side.party if side else None
        return Finding(name, party, exchange_id, told.mandate_id, detail)


def _later(asked: _Account, answered: _Account) -> timedelta:
    """Return by how much later the authority tells of an exchange: a refusal may come by a file."""
    return read_time(asked.began) - read_time(answered.began)


def _contradict(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    """Tell whether two tellings of one refused offer differ in a field that both could read."""
    return any(a is not None and b is not None and a != b for a, b in zip(one, other, strict=False))


def _forks(one: _Side, other: _Side) -> Iterable[Finding]:
    """Name the first entry at which two copies of one party's log part."""
    for index in sorted(one.leaves.keys() & other.leaves.keys()):
        if one.leaves[index] != other.leaves[index]:
            detail = f"entry {index} is not the same in both"
            yield Finding("log_forked", one.party, None, None, detail)
            return


def _ended(account: _Account) -> str:
    return f"{account.ending} ({account.reason})" if account.reason else str(account.ending)


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\n".join(parts).encode()).digest()
