"""What an exchange writes into this party's log: one method an event, durable when it returns."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from psishare.audit.entry import (
    DatasetDelivered,
    DatasetKeyDestroyed,
    DatasetPublished,
    DatasetRefused,
    DatasetReplayed,
    DatasetRevoked,
    ExchangeAborted,
    ExchangeApproved,
    ExchangeClosed,
    ExchangeHeld,
    ExchangeOpened,
    ExchangeRefused,
    ExchangeRejected,
    MandateImported,
    RevocationsImported,
    Ruleset,
    parse_entry,
)
from psishare.datasets.manifest import NAME
from psishare.exchange.approval import Approval, SignedApproval
from psishare.exchange.document import write_time
from psishare.exchange.terms import Terms

if TYPE_CHECKING:
    from psishare.audit.entry import Entry
    from psishare.audit.log import Log
    from psishare.datasets.manifest import SignedManifest
    from psishare.exchange.hold import Hold
    from psishare.exchange.offer import Offer
    from psishare.exchange.receipt import SignedReceipt
    from psishare.mandates.envelope import VerifiedMandate
    from psishare.mandates.revocation import RevocationList


class LastFrame(Protocol):
    """How far the requests had come: frames and rows, and the last transcript and signature."""

    @property
    def frames(self) -> int:
        """Frames committed."""

    @property
    def rows(self) -> int:
        """Rows of them."""

    @property
    def transcript(self) -> bytes | None:
        """The requests' transcript after the last of them, 32 bytes; None before the first."""

    @property
    def signature(self) -> bytes | None:
        """The authority's signature over it, 64 bytes; None before the first."""


@dataclass(frozen=True, slots=True)
class Ending:
    """An exchange that ended before its receipt.

    Attributes:
        exchange_id: 32 bytes.
        peer: the other party.
        mandate_id: the mandate's id, or None where it was not known yet.
        reason: why it ended.
        at_fault: the party at fault.
        last: how far the requests had come.
    """

    exchange_id: bytes
    peer: str
    mandate_id: str | None
    reason: str
    at_fault: str
    last: LastFrame | None


@dataclass(slots=True)
class Told:
    """What a log tells of one exchange.

    Attributes:
        opened: whether it tells of its opening.
        terms: what it was opened on, or None.
        closed: the index of its closing, or None.
        aborted: the reason of its abort, or None.
        refused: the reason of its refusal, or None.
        held: whether it tells of its being held.
        decided: what a second operator said of it, or None.
    """

    opened: bool = False
    terms: Terms | None = None
    closed: int | None = None
    aborted: str | None = None
    refused: str | None = None
    held: bool = False
    decided: SignedApproval | None = None

    def take(self, index: int, entry: Entry) -> None:
        """Take in one more entry about the exchange."""
        match entry:
            case ExchangeOpened():
                self.opened, self.terms = True, Terms.of(entry)
            case ExchangeClosed():
                self.closed = index
            case ExchangeAborted():
                self.aborted = entry.reason
            case ExchangeRefused():
                self.refused = entry.reason
            case ExchangeHeld():
                self.held = True
            case ExchangeApproved() | ExchangeRejected():
                self.decided = SignedApproval(
                    Approval.parse(base64.b64decode(entry.approval)),
                    base64.b64decode(entry.operator_signature),
                )
            case _:
                pass

    @property
    def ended(self) -> bool:
        """Whether it tells of an end."""
        refused = self.refused is not None and not self.opened
        return self.closed is not None or self.aborted is not None or refused


class Journal:
    """Writes the entries of exchanges and deliveries.

    Args:
        log: this party's log.
    """

    def __init__(self, log: Log) -> None:
        self._log = log

    def published(self, signed: SignedManifest) -> int:
        """Enter a new epoch of a dataset, or an update of it, and return the entry's index."""
        manifest = signed.manifest
        entry = DatasetPublished(
            dataset=manifest.dataset,
            kind=manifest.kind,
            namespace=manifest.namespace,
            epoch=manifest.epoch,
            public_key=manifest.public_key,
            manifest_sha256=signed.sha256.hex(),
            n_max=manifest.n_max,
            max_query=manifest.max_query,
        )
        return self._log.append(entry).index

    def revoked(self, signed: SignedManifest) -> None:
        """Enter that an epoch is served no more."""
        entry = DatasetRevoked(
            dataset=signed.manifest.dataset,
            epoch=signed.manifest.epoch,
            manifest_sha256=signed.sha256.hex(),
        )
        self._log.append(entry)

    def key_destroyed(self, signed: SignedManifest) -> None:
        """Enter that an epoch's key is destroyed."""
        entry = DatasetKeyDestroyed(
            dataset=signed.manifest.dataset,
            epoch=signed.manifest.epoch,
            public_key=signed.manifest.public_key,
        )
        self._log.append(entry)

    def replayed(self, signed: SignedManifest, n_elements: int) -> None:
        """Enter that a whole list is evaluated for an auditor."""
        entry = DatasetReplayed(
            dataset=signed.manifest.dataset,
            epoch=signed.manifest.epoch,
            manifest_sha256=signed.sha256.hex(),
            elements=n_elements,
        )
        self._log.append(entry)

    def deliveries(self, dataset: str) -> list[DatasetDelivered]:
        """Return every delivery of a dataset that the log tells of, the oldest first.

        Raises:
            AuditError: the log cannot be read.
        """
        mark = b'"dataset.delivered"'
        parsed = (parse_entry(d) for d in self._log.entries(0, self._log.size) if mark in d)
        return [e for e in parsed if isinstance(e, DatasetDelivered) and e.dataset == dataset]

    def delivered(
        self, signed: SignedManifest, peer: str, mandate_id: str, mandate_sha256: bytes
    ) -> None:
        """Enter a delivery; both sides do."""
        entry = DatasetDelivered(
            dataset=signed.manifest.dataset,
            epoch=signed.manifest.epoch,
            manifest_sha256=signed.sha256.hex(),
            peer=peer,
            mandate_id=mandate_id,
            mandate_sha256=mandate_sha256.hex(),
        )
        self._log.append(entry)

    def delivery_refused(self, dataset: str, peer: str, reason: str, mandate_sha256: bytes) -> None:
        """Enter the refusal of a delivery; both sides do."""
        entry = DatasetRefused(
            dataset=dataset if NAME.fullmatch(dataset) else None,
            peer=peer,
            reason=reason,
            mandate_sha256=mandate_sha256.hex(),
        )
        self._log.append(entry)

    def refused(self, exchange_id: bytes, offer: Offer | None, reason: str, peer: str) -> None:
        """Enter a refusal; an offer that could not be read has no fields to tell."""
        entry = ExchangeRefused(
            exchange_id=exchange_id.hex(),
            peer=peer,
            reason=reason,
            mandate_sha256=offer.mandate_sha256 if offer else None,
            protocol=offer.protocol if offer else None,
            dataset=offer.dataset if offer else None,
            kind=offer.kind if offer else None,
            output=offer.output if offer else None,
            rows=offer.rows if offer else None,
        )
        self._log.append(entry)

    def held(self, hold: Hold, signature: bytes, offer: Offer, mandate_id: str, peer: str) -> None:
        """Enter that an offer waits for a second operator, with what the platform signed of it."""
        entry = ExchangeHeld(
            exchange_id=hold.exchange_id,
            peer=peer,
            reason=hold.reason,
            expires=hold.expires,
            mandate_id=mandate_id,
            mandate_sha256=offer.mandate_sha256,
            protocol=offer.protocol,
            dataset=offer.dataset,
            kind=offer.kind,
            output=offer.output,
            rows=offer.rows,
            hold=_base64(hold.document()),
            platform_signature=_base64(signature),
        )
        self._log.append(entry)

    def decided(self, hold: Hold, signed: SignedApproval) -> None:
        """Enter what a second operator of the platform says of a held offer."""
        approved = signed.approval.verdict == "approved"
        entry = (ExchangeApproved if approved else ExchangeRejected)(
            exchange_id=hold.exchange_id,
            peer=hold.authority,
            operator=signed.approval.operator,
            approval=_base64(signed.approval.document()),
            operator_signature=_base64(signed.signature),
        )
        self._log.append(entry)

    def opened(self, terms: Terms, peer: str) -> None:
        """Enter the opening of an exchange, with both signed documents."""
        offer, answer = terms.offer, terms.answer
        entry = ExchangeOpened(
            exchange_id=answer.exchange_id,
            peer=peer,
            protocol=offer.protocol,
            dataset=offer.dataset,
            epoch=answer.epoch,
            manifest_sha256=answer.manifest_sha256,
            kind=offer.kind,
            ruleset=Ruleset(version=offer.ruleset.version, digest=offer.ruleset.digest),
            output=offer.output,
            rows=offer.rows,
            mandate_id=terms.mandate_id,
            mandate_sha256=offer.mandate_sha256,
            opening_commitment=offer.opening_commitment,
            peer_opening_commitment=answer.opening_commitment,
            operator_commitment=offer.operator_commitment,
            offer=_base64(offer.document()),
            offer_signature=_base64(terms.offer_signature),
            answer=_base64(answer.document()),
            answer_signature=_base64(terms.answer_signature),
        )
        self._log.append(entry)

    def closed(self, signed: SignedReceipt, peer: str) -> int:
        """Enter a doubly signed receipt and return the entry's index."""
        receipt = signed.receipt
        entry = ExchangeClosed(
            exchange_id=receipt.exchange_id,
            peer=peer,
            mandate_id=receipt.mandate_id,
            receipt=_base64(signed.document),
            receipt_sha256=receipt.sha256.hex(),
            authority_signature=_base64(signed.authority_signature),
            platform_signature=_base64(signed.platform_signature),
            rows=receipt.requests.rows,
        )
        return self._log.append(entry).index

    def aborted(self, ending: Ending) -> None:
        """Enter the end of an exchange before its receipt, with the last signed request."""
        last = ending.last
        transcript = last.transcript if last else None
        signature = last.signature if last else None
        entry = ExchangeAborted(
            exchange_id=ending.exchange_id.hex(),
            peer=ending.peer,
            mandate_id=ending.mandate_id,
            reason=ending.reason,
            frames=last.frames if last else 0,
            rows=last.rows if last else 0,
            requests_transcript=transcript.hex() if transcript else None,
            last_signature=_base64(signature) if signature else None,
            at_fault=ending.at_fault,
        )
        self._log.append(entry)

    def mandate_imported(self, verified: VerifiedMandate) -> None:
        """Enter that this party was given a mandate outside an exchange."""
        entry = MandateImported(
            mandate_id=verified.mandate.id,
            mandate_sha256=verified.envelope_sha256.hex(),
            signed_as=("issuer", "validator") if verified.validated else ("issuer",),
        )
        self._log.append(entry)

    def revocations_imported(self, revocations: RevocationList) -> None:
        """Enter that this party holds a newer revocation list."""
        entry = RevocationsImported(
            peer=revocations.party,
            sequence=revocations.sequence,
            issued=write_time(revocations.issued),
            revoked=len(revocations.revoked),
            list_sha256=revocations.sha256.hex(),
        )
        self._log.append(entry)

    def told(self, exchange_id: bytes, since: int) -> Told:
        """Return what the log tells of an exchange: after a failure, an entry may be in it or not.

        Args:
            exchange_id: 32 bytes.
            since: the index from which on there may be something.

        Raises:
            AuditError: the log cannot be read, or a decided append cannot be finished.
        """
        size = self._log.settle().tree_size
        mark = exchange_id.hex().encode("ascii")
        told = Told()
        for index, data in enumerate(self._log.entries(min(since, size), size), start=since):
            if mark not in data:
                continue
            entry = parse_entry(data)
            # A peer may write this id into another field of an exchange of its own.
            if entry.fields.get("exchange_id") != exchange_id.hex():
                continue
            told.take(index, entry)
        return told


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
