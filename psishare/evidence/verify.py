"""Verify a party's log: every entry, and what the exchanges in it were, with public keys alone.

Keys come from the cards that the verifier trusts, never from the log. Offline, read-only, plain
Python: the native extension is not needed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psishare.audit.verify_log import LogVerdict
from psishare.evidence.mandate_book import COVERS, NOT_SEEN
from psishare.evidence.silence import Silence, SilenceWatch
from psishare.evidence.source import log_owner, open_evidence
from psishare.evidence.story import Ending, ExchangeVerdict, Story

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from psishare.audit.entry import Entry
    from psishare.evidence.bundle import Header
    from psishare.evidence.quorum import Quorum
    from psishare.evidence.source import Evidence
    from psishare.parties.card import Card

__all__ = [
    "Ending",
    "ExchangeVerdict",
    "Verdict",
    "log_owner",
    "verify_evidence",
    "verify_log",
]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A log, or a part of it, that verifies, and what it holds.

    Attributes:
        party: whose log it is.
        log: sizes, counts and cosigners.
        exchanges: every exchange, in the order in which they were first logged; empty where they
            were handed to a function one by one.
        header: which part of the log it is, where it is a bundle.
        n_exchanges: how many exchanges there are.
        n_uncovered: how many of them their mandate does not cover, or in a bundle: have none.
        n_back: how many entries have an earlier time than one before them: their owner's clock was set
            back, or lies; what is shown of a period is shown by times.
        silence: of a bundle of a period: whether nothing happened in it, as far as the log vouches.
    """

    party: str
    log: LogVerdict
    exchanges: tuple[ExchangeVerdict, ...]
    header: Header | None = None
    n_exchanges: int = 0
    n_uncovered: int = 0
    n_back: int = 0
    silence: Silence | None = None


def verify_log(path: Path, trust: Mapping[str, Card]) -> Verdict:
    """Verify a log's folder, or a bundle of it, and every exchange in it.

    Args:
        path: the folder ``log`` of a home, or a copy, or a bundle.
        trust: cards that the verifier trusts, by party id: the log's owner and its peers.

    Raises:
        ConfigError: a card is missing.
        VerificationError: something does not verify; the first thing is named.
        AuditError: there is no log, or it cannot be read.
    """
    return verify_evidence(path, trust)


def verify_evidence(
    path: Path,
    trust: Mapping[str, Card],
    *,
    each: Callable[[ExchangeVerdict], None] | None = None,
    all_checkpoints: bool = False,
    quorum: Quorum | None = None,
    mandates: Iterable[bytes] = (),
) -> Verdict:
    """Verify a log's folder or a bundle, and every exchange in it.

    Args:
        path: the folder or file.
        trust: cards that the verifier trusts, by party id: the owner, its peers, and for a bundle
            the issuers and validators of its mandates.
        each: called with each exchange as it ends, so that none of them is kept.
        all_checkpoints: verify every older checkpoint of a bundle, not only the newest that each
                trusted party cosigned and the first under new keys.
        quorum: which witnesses must have cosigned.
        mandates: envelopes to hold a folder's exchanges against.

    Raises:
        As ``verify_log``.
    """
    found: list[ExchangeVerdict] = []
    tally = _Tally(each or found.append)
    with open_evidence(
        path, trust, all_checkpoints=all_checkpoints, quorum=quorum, mandates=mandates
    ) as evidence:
        story = Story(evidence.owner, trust, evidence.book)
        watch = _watch(evidence.header)
        for verdict in story.read(_counted(evidence, tally, watch)):
            tally.exchange(verdict)
        for verdict in story.unfinished():
            tally.exchange(verdict)
    return Verdict(
        party=evidence.owner.id,
        log=tally.log(evidence),
        exchanges=tuple(sorted(found, key=lambda exchange: exchange.index)),
        header=evidence.header,
        n_exchanges=tally.n_exchanges,
        n_uncovered=tally.n_broken + (tally.n_unseen if evidence.header else 0),
        n_back=tally.n_back,
        silence=None if watch is None else watch.verdict(),
    )


def _counted(
    evidence: Evidence, tally: _Tally, watch: SilenceWatch | None
) -> Iterator[tuple[int, Entry]]:
    """Yield the entries, counted as they go by."""
    for index, entry in evidence.entries():
        tally.entry(entry.type, entry.time)
        if watch is not None:
            watch.take(entry)
        yield index, entry


def _watch(header: Header | None) -> SilenceWatch | None:
    """Return what listens for silence, where the evidence is of a period."""
    if header is None or header.scope != "period":
        return None
    return SilenceWatch(header.since, header.until)


class _Tally:
    """Counts what goes by."""

    def __init__(self, each: Callable[[ExchangeVerdict], None]) -> None:
        self._each = each
        self._types: Counter[str] = Counter()
        self._first_time: str | None = None
        self._last_time: str | None = None
        self._latest = ""
        self.n_exchanges = 0
        self.n_broken = 0
        self.n_back = 0
        self.n_unseen = 0

    def entry(self, kind: str, time: str) -> None:
        self._types[kind] += 1
        self._first_time = self._first_time or time
        self._last_time = time
        self.n_back += time < self._latest
        self._latest = max(time, self._latest)

    def exchange(self, verdict: ExchangeVerdict) -> None:
        self.n_exchanges += 1
        if verdict.ending not in {Ending.REFUSED, Ending.HELD} and verdict.protocol is not None:
            self.n_unseen += verdict.mandate == NOT_SEEN
            self.n_broken += verdict.mandate not in {COVERS, NOT_SEEN}
        self._each(verdict)

    def log(self, evidence: Evidence) -> LogVerdict:
        return LogVerdict(
            head=evidence.head,
            entries_by_type=dict(sorted(self._types.items())),
            first_time=self._first_time,
            last_time=self._last_time,
            n_checkpoints=evidence.n_checkpoints,
            cosigners=evidence.cosigners,
            unfinished=evidence.unfinished,
            keys=evidence.keys,
        )
