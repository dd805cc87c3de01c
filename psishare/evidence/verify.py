"""Verify a party's log: every entry, and what the exchanges in it were, with public keys alone.

Keys come from the cards that the verifier trusts, never from the log. Offline, read-only, plain
Python: the native extension is not needed.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from psishare.audit.checkpoint import parse_checkpoint
from psishare.audit.entry import (
    DatasetDelivered,
    DatasetPublished,
    Entry,
    ExchangeAborted,
    ExchangeClosed,
    ExchangeOpened,
    ExchangeRefused,
    parse_entry,
)
from psishare.audit.layout import CHECKPOINT
from psishare.audit.note import MAX_NOTE_BYTES
from psishare.audit.tree import StoredTree
from psishare.audit.verify_log import LogVerdict, verify_log_folder
from psishare.errors import AuditError, ConfigError, VerificationError
from psishare.exchange.offer import ANSWER, OFFER, Answer, Offer
from psishare.exchange.receipt import Receipt, SignedReceipt
from psishare.exchange.transcript import REQUEST, Transcript, frame_statement
from psishare.keys.statement import verify_statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from psishare.parties.card import Card


class Ending(StrEnum):
    """How an exchange ended, as this log tells it."""

    CLOSED = "closed"
    ABORTED = "aborted"
    REFUSED = "refused"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class ExchangeVerdict:
    """One exchange, verified.

    Attributes:
        exchange_id: hexadecimal.
        peer: the other party.
        ending: how it ended; ``open`` where the log does not say yet.
        protocol: ``oprf``, ``ecdh`` or ``openmined``; None where the offer could not be read.
        dataset: the platform's name for the set.
        kind: the identifiers' kind.
        output: what was to be learnt.
        rows: rows asked: of the receipt, or those committed before an abort, or those offered.
        mandate_id: under which mandate.
        reason: why it was refused or aborted.
        time: of the last entry about it.
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """A log that verifies, and what it holds.

    Attributes:
        party: whose log it is.
        log: sizes, counts and cosigners.
        exchanges: every exchange, in the order in which they were first logged.
    """

    party: str
    log: LogVerdict
    exchanges: tuple[ExchangeVerdict, ...]


def verify_log(path: Path, trust: Mapping[str, Card]) -> Verdict:
    """Verify a log's folder, or a copy of it, and every exchange in it.

    Args:
        path: the folder ``log`` of a home, or a copy.
        trust: cards that the verifier trusts, by party id: the log's owner and its peers.

    Raises:
        ConfigError: a card is missing.
        VerificationError: something does not verify; the first thing is named.
        AuditError: there is no log, or it cannot be read.
    """
    owner = log_owner(path, trust)
    cosigners = [card for party, card in trust.items() if party != owner.id]
    log = verify_log_folder(
        path,
        owner.verifiers(),
        cosigner_keys=[key for card in cosigners for key in card.cosigner_keys()],
    )
    story = _Story(owner, trust)
    size = log.head.tree_size
    for index, data in enumerate(StoredTree(path, size).entries(0, size)):
        story.take(index, parse_entry(data))
    return Verdict(owner.id, log, tuple(story.verdicts()))


def log_owner(path: Path, trust: Mapping[str, Card]) -> Card:
    """Return the trusted card of the party whose log a folder says it is; nothing is verified.

    Raises:
        ConfigError: that party's card is not among those that are trusted.
        VerificationError: the newest checkpoint is malformed.
        AuditError: there is no log, or it cannot be read.
    """
    return _card(trust, parse_checkpoint(_read_head(path)).origin)


_Manifest = tuple[str, str | None, int]
"""A manifest's digest, dataset and epoch."""


@dataclass
class _Told:
    """What the log has told of one exchange so far."""

    opened: ExchangeOpened | None = None
    offer: Offer | None = None
    verdict: ExchangeVerdict | None = None


@dataclass
class _Story:
    """Reads the entries in order and verifies each exchange's part of them."""

    owner: Card
    trust: Mapping[str, Card]
    exchanges: dict[tuple[str, str], _Told] = field(default_factory=dict)
    published: set[_Manifest] = field(default_factory=set)
    delivered: set[tuple[str, _Manifest]] = field(default_factory=set)

    def take(self, index: int, entry: Entry) -> None:
        """Verify one entry against those before it."""
        try:
            match entry:
                case ExchangeOpened():
                    self._opened(entry)
                case ExchangeClosed():
                    self._closed(entry)
                case ExchangeAborted():
                    self._aborted(entry)
                case ExchangeRefused():
                    self._refused(entry)
                case DatasetPublished():
                    self.published.add((entry.manifest_sha256, entry.dataset, entry.epoch))
                case DatasetDelivered():
                    self._delivered(entry)
                case _:
                    pass
        except VerificationError as error:
            raise VerificationError(
                f"entry {index} of the log of {self.owner.id}: {error.message}",
                mend=error.mend,
                reason=error.reason,
                party=error.party,
            ) from error

    def verdicts(self) -> Iterator[ExchangeVerdict]:
        """Yield every exchange."""
        for told in self.exchanges.values():
            if told.verdict is not None:
                yield told.verdict

    def _delivered(self, entry: DatasetDelivered) -> None:
        manifest = entry.manifest_sha256, entry.dataset, entry.epoch
        if self.owner.role == "platform" and manifest not in self.published:
            raise _contradiction("delivers a dataset that was not published")
        self.delivered.add((entry.peer, manifest))

    def _require_known(self, entry: ExchangeOpened) -> None:
        """Require an encoded set to have been published, at the authority delivered, before."""
        if entry.manifest_sha256 is None or entry.epoch is None:
            return
        manifest = entry.manifest_sha256, entry.dataset, entry.epoch
        at_platform = self.owner.role == "platform"
        known = (
            manifest in self.published if at_platform else (entry.peer, manifest) in self.delivered
        )
        if not known:
            raise _contradiction("opens an exchange on a dataset that this log does not know")

    def _opened(self, entry: ExchangeOpened) -> None:
        told = self._told(entry)
        if told.verdict is not None:
            raise _contradiction("opens an exchange that was told of before")
        self._require_known(entry)
        offer, answer = _verify_documents(entry, self.trust, self.owner.id)
        told.opened, told.offer = entry, offer
        _require_told_alike(entry, offer, answer)
        told.verdict = ExchangeVerdict(
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
        )

    def _closed(self, entry: ExchangeClosed) -> None:
        told = self._told(entry)
        if told.opened is None or told.verdict is None or told.verdict.ending is not Ending.OPEN:
            raise _contradiction("closes an exchange that is not open")
        document = base64.b64decode(entry.receipt)
        receipt = Receipt.parse(document)
        signed = SignedReceipt(
            receipt,
            document,
            base64.b64decode(entry.authority_signature),
            base64.b64decode(entry.platform_signature),
        )
        signed.verify(
            authority_key=_card(self.trust, receipt.authority).log_key,
            platform_key=_card(self.trust, receipt.platform).log_key,
        )
        _require_receipt(entry, receipt, told.opened, signed)
        told.verdict = _ended(told.verdict, Ending.CLOSED, receipt.requests.rows, None, entry.time)

    def _aborted(self, entry: ExchangeAborted) -> None:
        told = self._told(entry)
        _require_counts(entry, told.offer)
        if told.verdict is None:
            # The offer went out, and the process ended before an answer was logged.
            told.verdict = _unopened(entry, Ending.ABORTED, entry.reason, entry.rows)
            return
        if told.verdict.ending is not Ending.OPEN:
            raise _contradiction("aborts an exchange that has ended")
        if entry.frames and told.offer is not None:
            _verify_last_request(entry, told.offer, self.trust)
        told.verdict = _ended(told.verdict, Ending.ABORTED, entry.rows, entry.reason, entry.time)

    def _refused(self, entry: ExchangeRefused) -> None:
        told = self._told(entry)
        if told.verdict is not None and told.verdict.ending is not Ending.REFUSED:
            # A repeat of an offer is refused without touching the exchange itself.
            return
        told.verdict = _unopened(entry, Ending.REFUSED, entry.reason, entry.rows)

    def _told(
        self, entry: ExchangeOpened | ExchangeClosed | ExchangeAborted | ExchangeRefused
    ) -> _Told:
        # By peer, too: an offer that one party stole from another is refused under its owner's id.
        return self.exchanges.setdefault((entry.exchange_id, entry.peer), _Told())


def _verify_documents(
    entry: ExchangeOpened, trust: Mapping[str, Card], owner: str
) -> tuple[Offer, Answer]:
    """Verify offer and answer with the keys of the cards that are trusted."""
    offer_bytes, answer_bytes = base64.b64decode(entry.offer), base64.b64decode(entry.answer)
    offer, answer = Offer.parse(offer_bytes), Answer.parse(answer_bytes)
    if {offer.authority, offer.platform} != {owner, entry.peer}:
        raise _contradiction("holds an offer between other parties")
    for document, label, signature, party in (
        (offer_bytes, OFFER, entry.offer_signature, offer.authority),
        (answer_bytes, ANSWER, entry.answer_signature, offer.platform),
    ):
        key = _card(trust, party).log_key
        verify_statement(key, label, document, base64.b64decode(signature), party=party)
    return offer, answer


def _require_told_alike(entry: ExchangeOpened, offer: Offer, answer: Answer) -> None:
    """Require the entry's fields to be those of the documents that it holds."""
    told = (
        entry.exchange_id,
        entry.protocol,
        entry.dataset,
        entry.kind,
        entry.ruleset.version,
        entry.ruleset.digest,
        entry.output,
        entry.rows,
        entry.mandate_sha256,
        entry.opening_commitment,
        entry.operator_commitment,
        entry.exchange_id,
        entry.epoch,
        entry.manifest_sha256,
        entry.peer_opening_commitment,
    )
    signed = (
        offer.exchange_id.hex(),
        offer.protocol,
        offer.dataset,
        offer.kind,
        offer.ruleset.version,
        offer.ruleset.digest,
        offer.output,
        offer.rows,
        offer.mandate_sha256,
        offer.opening_commitment,
        offer.operator_commitment,
        answer.exchange_id,
        answer.epoch,
        answer.manifest_sha256,
        answer.opening_commitment,
    )
    if told != signed or (answer.platform, answer.dataset) != (offer.platform, offer.dataset):
        raise _contradiction("differs from the documents that it holds")


def _require_receipt(
    entry: ExchangeClosed, receipt: Receipt, opened: ExchangeOpened, signed: SignedReceipt
) -> None:
    """Require the receipt to be this exchange's, and the entry to say what it says."""
    offer = Offer.parse(base64.b64decode(opened.offer))
    answer = Answer.parse(base64.b64decode(opened.answer))
    expected = (
        opened.exchange_id,
        offer.authority,
        offer.platform,
        offer.protocol,
        offer.dataset,
        offer.kind,
        offer.namespace,
        offer.output,
        answer.epoch,
        answer.manifest_sha256,
        opened.mandate_id,
        offer.mandate_sha256,
        answer.sha256.hex(),
        answer.time,
    )
    actual = (
        receipt.exchange_id,
        receipt.authority,
        receipt.platform,
        receipt.protocol,
        receipt.dataset,
        receipt.kind,
        receipt.namespace,
        receipt.output,
        receipt.epoch,
        receipt.manifest_sha256,
        receipt.mandate_id,
        receipt.mandate_sha256,
        receipt.answer_sha256,
        receipt.opened,
    )
    told = entry.exchange_id, entry.peer, entry.mandate_id, entry.receipt_sha256, entry.rows
    right = (
        receipt.exchange_id,
        opened.peer,
        receipt.mandate_id,
        signed.receipt.sha256.hex(),
        receipt.requests.rows,
    )
    if actual != expected or told != right:
        raise _contradiction("holds a receipt that is not this exchange's")
    _require_sequences(receipt, offer, answer)


def _require_counts(entry: ExchangeAborted, offer: Offer | None) -> None:
    """Require frames, rows, transcript and signature of an abort to be possible together.

    Every frame but the last is full, so the offer gives the rows of so many frames.
    """
    rows = 0
    if offer is not None and entry.frames <= _n_frames(offer.rows, offer.frame_rows):
        rows = min(entry.frames * offer.frame_rows, offer.rows)
    proven = entry.requests_transcript is not None and entry.last_signature is not None
    unproven = entry.requests_transcript is None and entry.last_signature is None
    if entry.rows != rows or not (proven if rows else unproven and entry.frames == 0):
        raise _contradiction("tells of requests that cannot have been made")


def _n_frames(rows: int, frame_rows: int) -> int:
    return -(-rows // frame_rows)


def _verify_last_request(entry: ExchangeAborted, offer: Offer, trust: Mapping[str, Card]) -> None:
    """Verify the authority's signature over the last request before an abort."""
    statement = frame_statement(
        offer.exchange_id,
        entry.frames - 1,
        bytes.fromhex(entry.requests_transcript or ""),
        entry.rows - (entry.frames - 1) * offer.frame_rows,
    )
    verify_statement(
        _card(trust, offer.authority).log_key,
        REQUEST,
        statement,
        base64.b64decode(entry.last_signature or ""),
        party=offer.authority,
    )


def _require_sequences(receipt: Receipt, offer: Offer, answer: Answer) -> None:
    """Require every sequence to have the frames and rows that offer and answer give it."""
    due = {
        "requests": offer.rows,
        "answers": offer.rows,
        "elements": answer.elements,
        "returns": answer.elements if offer.output == "both" else 0,
    }
    for name, rows in due.items():
        totals = getattr(receipt, name)
        empty = Transcript(name, offer.exchange_id).value.hex()
        if (totals.frames, totals.rows) != (_n_frames(rows, offer.frame_rows), rows) or (
            (rows == 0) != (totals.transcript == empty)
        ):
            raise _contradiction(f"holds a receipt whose {name} are not those that were due")


def _ended(
    verdict: ExchangeVerdict, ending: Ending, rows: int, reason: str | None, time: str
) -> ExchangeVerdict:
    return ExchangeVerdict(
        exchange_id=verdict.exchange_id,
        peer=verdict.peer,
        ending=ending,
        protocol=verdict.protocol,
        dataset=verdict.dataset,
        kind=verdict.kind,
        output=verdict.output,
        rows=rows,
        mandate_id=verdict.mandate_id,
        reason=reason,
        time=time,
    )


def _unopened(
    entry: ExchangeAborted | ExchangeRefused, ending: Ending, reason: str, rows: int | None
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
        rows=rows,
        mandate_id=None if isinstance(entry, ExchangeRefused) else entry.mandate_id,
        reason=reason,
        time=entry.time,
    )


def _read_head(path: Path) -> bytes:
    """Read the newest checkpoint, to learn whose log this says it is."""
    try:
        with (path / CHECKPOINT).open("rb") as file:
            return file.read(MAX_NOTE_BYTES)
    except OSError as error:
        raise AuditError(
            f"there is no log in {path}",
            mend="Name the folder `log` of a party's home, or a copy of it.",
            reason="log_missing",
        ) from error


def _card(trust: Mapping[str, Card], party: str) -> Card:
    card = trust.get(party)
    if card is None:
        raise ConfigError(
            f"the card of {party} is not among those that are trusted",
            mend="Give its card, as its owner exported it, with --trust.",
            reason="card_missing",
            party=party,
        )
    return card


def _contradiction(fault: str) -> VerificationError:
    return VerificationError(
        f"it {fault}",
        mend="The log's owner has written what cannot be; reconcile it with the peer's log.",
        reason="log_contradicts",
    )
