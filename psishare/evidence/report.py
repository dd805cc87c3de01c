"""What was consulted and disclosed in a period: for each the justification, when, who, and to whom.

The fields are those that article 25 of the EU Law Enforcement Directive asks of logs; refusals and aborts
are told too. Everything comes from verified evidence; names of operators and cases are in it only as
commitments, which ``psishare.evidence.commitment`` opens.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psishare.audit.entry import DatasetDelivered, DatasetRefused, Entry, Heartbeat
from psishare.evidence.silence import Silence, SilenceWatch
from psishare.evidence.source import open_evidence
from psishare.evidence.story import ExchangeVerdict, Story
from psishare.exchange.document import write_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from psishare.evidence.mandate_book import MandateBook
    from psishare.mandates.mandate import Mandate
    from psishare.parties.card import Card


@dataclass(frozen=True, slots=True)
class Event:
    """One consultation (an exchange) or disclosure (a delivered dataset), or the attempt at one.

    Attributes:
        time: when it began.
        ended: when it ended; as ``time`` where it was one moment.
        event: ``exchange`` or ``delivery``.
        outcome: ``closed``, ``aborted``, ``refused``, ``held``, ``open`` or ``delivered``.
        authority: who.
        platform: to whom the question went, from whom the set came.
        protocol, dataset, kind, output, rows: what; None where it is not known.
        exchange_id: None for a delivery.
        mandate_id: None where it is not known.
        legal_basis, purpose, issuer, validator: the mandate's, where the evidence holds it.
        emergency_until: until when its validator could sign; None where it was no emergency.
        no_notice_until: until when the persons concerned are not to be told, if it says so.
        mandate: ``covers``, ``not_seen``, or the rule that was broken; ``not_judged`` for a delivery.
        reason: of a refusal or an abort.
    """

    time: str
    ended: str
    event: str
    outcome: str
    authority: str
    platform: str
    protocol: str | None
    dataset: str | None
    kind: str | None
    output: str | None
    rows: int | None
    exchange_id: str | None
    mandate_id: str | None
    legal_basis: str | None
    purpose: str | None
    issuer: str | None
    validator: str | None
    emergency_until: str | None
    no_notice_until: str | None
    mandate: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Total:
    """How much there was of one authority, one mandate and one kind.

    Attributes:
        authority, mandate_id, kind: of what; None where it is not known.
        exchanges: how many that closed.
        refused, aborted: how many that did not; those that stand open count as aborted.
        held: how many wait for a second operator, or were rejected by one.
        rows: that were asked.
    """

    authority: str
    mandate_id: str | None
    kind: str | None
    exchanges: int
    refused: int
    aborted: int
    held: int
    rows: int


@dataclass(frozen=True, slots=True)
class Report:
    """A period, told.

    Attributes:
        party: whose log tells it.
        since, until: the period; None where it is open on that side.
        events: in the order of their beginning.
        totals: for each authority, mandate and kind.
        heartbeats: how many heartbeats stand in the period.
        failed_handshakes: how many strangers they say were turned away.
        silence: whether nothing happened, and for how much of the period the log vouches.
    """

    party: str
    since: str | None
    until: str | None
    events: tuple[Event, ...]
    totals: tuple[Total, ...]
    heartbeats: int
    failed_handshakes: int
    silence: Silence


def make_report(
    path: Path,
    trust: Mapping[str, Card],
    *,
    since: str | None = None,
    until: str | None = None,
    mandates: Iterable[bytes] = (),
) -> Report:
    """Verify evidence and tell what it holds of a period.

    Args:
        path: a bundle or a log's folder.
        trust: the cards that the verifier trusts, by party id.
        since: only what began at this time or later, ``YYYY-MM-DDThh:mm:ssZ``.
        until: only what began before this time.
        mandates: envelopes of mandates that the evidence does not hold.

    Raises:
        ConfigError: a card is missing.
        VerificationError: something does not verify.
        AuditError: there is no evidence, or it cannot be read.
    """
    with open_evidence(path, trust, mandates=mandates) as evidence:
        teller = _Teller(evidence.owner, evidence.book, since or "", until or "9999")
        story = Story(evidence.owner, trust, evidence.book)
        watch = SilenceWatch(since, until)
        for index, entry in evidence.entries():
            watch.take(entry)
            verdict = story.take(index, entry)
            if verdict is not None:
                teller.exchange(verdict)
            teller.entry(index, entry)
        for verdict in story.unfinished():
            teller.exchange(verdict)
    return Report(
        party=evidence.owner.id,
        since=since,
        until=until,
        events=teller.events(),
        totals=teller.totals(),
        heartbeats=teller.heartbeats,
        failed_handshakes=teller.failed_handshakes,
        silence=watch.verdict(),
    )


@dataclass
class _Teller:
    """Makes events of what a log tells."""

    owner: Card
    book: MandateBook
    since: str
    until: str
    heartbeats: int = 0
    failed_handshakes: int = 0
    _found: list[tuple[int, Event]] = field(default_factory=list)

    def events(self) -> tuple[Event, ...]:
        return tuple(event for _index, event in sorted(self._found, key=lambda found: found[0]))

    def totals(self) -> tuple[Total, ...]:
        """Add up the exchanges, authority by authority, mandate by mandate, kind by kind."""
        outcomes: Counter[tuple[tuple[str, str, str], str]] = Counter()
        rows: Counter[tuple[str, str, str]] = Counter()
        for event in self.events():
            if event.event == "exchange":
                key = event.authority, event.mandate_id or "", event.kind or ""
                outcomes[key, event.outcome] += 1
                rows[key] += 0 if event.outcome in {"refused", "held"} else event.rows or 0
        return tuple(
            Total(
                authority=key[0],
                mandate_id=key[1] or None,
                kind=key[2] or None,
                exchanges=outcomes[key, "closed"],
                refused=outcomes[key, "refused"],
                aborted=outcomes[key, "aborted"] + outcomes[key, "open"],
                held=outcomes[key, "held"],
                rows=rows[key],
            )
            for key in sorted({key for key, _outcome in outcomes})
        )

    def exchange(self, verdict: ExchangeVerdict) -> None:
        """Take an exchange that has ended, or that nothing more is told of."""
        if not self._is_due(verdict.began):
            return
        mandate = self.book.get(verdict.mandate_sha256 or "")
        self._add(
            verdict.index,
            peer=verdict.peer,
            mandate=mandate,
            time=verdict.began,
            ended=verdict.time,
            event="exchange",
            outcome=verdict.ending.value,
            protocol=verdict.protocol,
            dataset=verdict.dataset,
            kind=verdict.kind,
            output=verdict.output,
            rows=verdict.rows,
            exchange_id=verdict.exchange_id,
            mandate_id=verdict.mandate_id or (mandate.id if mandate else None),
            judged=verdict.mandate,
            reason=verdict.reason,
        )

    def entry(self, index: int, entry: Entry) -> None:
        """Take an entry that is an event by itself."""
        if not self._is_due(entry.time):
            return
        if isinstance(entry, Heartbeat):
            self.heartbeats += 1
            self.failed_handshakes += entry.failed_handshakes
        if not isinstance(entry, DatasetDelivered | DatasetRefused):
            return
        mandate = self.book.get(entry.mandate_sha256)
        refused = isinstance(entry, DatasetRefused)
        self._add(
            index,
            peer=entry.peer,
            mandate=mandate,
            time=entry.time,
            ended=entry.time,
            event="delivery",
            outcome="refused" if refused else "delivered",
            protocol="oprf",
            dataset=entry.dataset,
            kind=None,
            output=None,
            rows=None,
            exchange_id=None,
            mandate_id=mandate.id if mandate else getattr(entry, "mandate_id", None),
            judged="not_seen" if mandate is None else "not_judged",
            reason=entry.reason if isinstance(entry, DatasetRefused) else None,
        )

    def _add(
        self,
        index: int,
        *,
        peer: str,
        mandate: Mandate | None,
        judged: str,
        **fields: str | int | None,
    ) -> None:
        at_platform = self.owner.role == "platform"
        event = Event(
            authority=peer if at_platform else self.owner.id,
            platform=self.owner.id if at_platform else peer,
            legal_basis=mandate.legal_basis if mandate else None,
            purpose=mandate.purpose if mandate else None,
            issuer=mandate.issuer if mandate else None,
            validator=mandate.validator if mandate else None,
            emergency_until=_emergency_until(mandate),
            no_notice_until=_no_notice_until(mandate),
            mandate=judged,
            **fields,  # type: ignore[arg-type]  # each is passed by name just above
        )
        self._found.append((index, event))

    def _is_due(self, time: str) -> bool:
        return self.since <= time < self.until


def _emergency_until(mandate: Mandate | None) -> str | None:
    found = mandate.emergency if mandate else None
    return write_time(found.validate_by) if found else None


def _no_notice_until(mandate: Mandate | None) -> str | None:
    found = mandate.delayed_notification if mandate else None
    return write_time(found.until) if found else None
