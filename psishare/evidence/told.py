"""What a log tells of one exchange, against what both parties signed.

Every field of an entry that repeats a signed document is compared with it; every signature is required of
the keys of cards that the verifier trusts, and verified when whoever reads the log settles them.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from psishare.audit.entry import signed_bytes
from psishare.errors import VerificationError
from psishare.exchange.document import read_time
from psishare.exchange.offer import ANSWER, OFFER, Answer, Offer
from psishare.exchange.receipt import RECEIPT, Receipt
from psishare.exchange.transcript import REQUEST, empty_transcript, frame_statement

if TYPE_CHECKING:
    from psishare.audit.entry import ExchangeAborted, ExchangeClosed, ExchangeOpened
    from psishare.evidence.signatures import Signatures

FILES_TAKE = timedelta(days=366)
"""How long a file of the platform may be on its way to the authority (offline.md, section 8)."""
SAME_MOMENT = timedelta(seconds=900)
"""How far apart two logs may have what happened at once: by two clocks, and each waiting for its disk."""


def require_opening(
    entry: ExchangeOpened, signatures: Signatures, owner: str
) -> tuple[Offer, Answer]:
    """Return offer and answer, and require that they are signed with keys of cards that are trusted."""
    offer_bytes, answer_bytes = signed_bytes(entry.offer), signed_bytes(entry.answer)
    offer, answer = Offer.parse(offer_bytes), Answer.parse(answer_bytes)
    if {offer.authority, offer.platform} != {owner, entry.peer}:
        raise contradiction("holds an offer between other parties")
    for party, label, document, signature in (
        (offer.authority, OFFER, offer_bytes, entry.offer_signature),
        (offer.platform, ANSWER, answer_bytes, entry.answer_signature),
    ):
        signatures.require(party, label, document, signed_bytes(signature))
    return offer, answer


def require_told_alike(entry: ExchangeOpened, offer: Offer, answer: Answer) -> None:
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
        _sha256(entry.offer),
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
        raise contradiction("differs from the documents that it holds")


def require_timely(entry: ExchangeOpened, offer: Offer, answer: Answer, owner: str) -> None:
    """Require an opening to be entered when it was answered, which both parties' receipt repeats.

    Otherwise an owner could move an exchange out of a period in which it is looked for. Where the answer
    went by a file, the authority enters it when the file comes.
    """
    by_file = offer.is_offline and owner == offer.authority
    late = read_time(entry.time) - read_time(answer.time)
    if not -SAME_MOMENT <= late <= (SAME_MOMENT + FILES_TAKE if by_file else SAME_MOMENT):
        raise contradiction("is of another time than the answer that it holds")


def require_closing(
    entry: ExchangeClosed,
    opened: ExchangeOpened,
    documents: tuple[Offer, Answer],
    signatures: Signatures,
) -> Receipt:
    """Require both signatures of a receipt, and that it is what this exchange came to.

    Raises:
        VerificationError: it is not.
        ConfigError: a party's card is not trusted.
    """
    document = signed_bytes(entry.receipt)
    receipt = Receipt.parse(document)
    for party, signature in (
        (receipt.authority, entry.authority_signature),
        (receipt.platform, entry.platform_signature),
    ):
        signatures.require(party, RECEIPT, document, signed_bytes(signature))
    _require_receipt(entry, receipt, opened, documents)
    return receipt


def _require_receipt(
    entry: ExchangeClosed,
    receipt: Receipt,
    opened: ExchangeOpened,
    documents: tuple[Offer, Answer],
) -> None:
    """Require the receipt to be this exchange's, and the entry to say what it says."""
    offer, answer = documents
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
        _sha256(opened.answer),
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
        _sha256(entry.receipt),
        receipt.requests.rows,
    )
    if actual != expected or told != right:
        raise contradiction("holds a receipt that is not this exchange's")
    _require_sequences(receipt, offer, answer)


def require_counts(
    entry: ExchangeAborted, offer: Offer | None, *, signed_ahead: bool = False
) -> None:
    """Require frames, rows, transcript and signature of an abort to be possible together.

    Every frame but the last is full, so the offer gives the rows of so many frames.

    Args:
        entry: the abort.
        offer: what was opened, or None where nothing was.
        signed_ahead: whether requests may have been signed before anything was answered: in an
            authority's log, of an exchange across an air gap.
    """
    rows = entry.rows if offer is None and signed_ahead and entry.rows >= entry.frames else 0
    if offer is not None and entry.frames <= _n_frames(offer.rows, offer.frame_rows):
        rows = min(entry.frames * offer.frame_rows, offer.rows)
    proven = entry.requests_transcript is not None and entry.last_signature is not None
    unproven = entry.requests_transcript is None and entry.last_signature is None
    if entry.rows != rows or not (
        proven and entry.frames if rows else unproven and entry.frames == 0
    ):
        raise contradiction("tells of requests that cannot have been made")


def _n_frames(rows: int, frame_rows: int) -> int:
    return -(-rows // frame_rows)


def require_last_request(entry: ExchangeAborted, offer: Offer, signatures: Signatures) -> None:
    """Require the authority's signature over the last request before an abort."""
    statement = frame_statement(
        offer.exchange_id,
        entry.frames - 1,
        bytes.fromhex(entry.requests_transcript or ""),
        entry.rows - (entry.frames - 1) * offer.frame_rows,
    )
    signature = signed_bytes(entry.last_signature or "")
    signatures.require(offer.authority, REQUEST, statement, signature)


def _require_sequences(receipt: Receipt, offer: Offer, answer: Answer) -> None:
    """Require every sequence to have the frames and rows that offer and answer give it."""
    due = {
        "requests": offer.rows,
        "answers": offer.rows,
        "elements": answer.elements,
        "returns": answer.elements if offer.output == "both" else 0,
    }
    # The answer's has been compared with the offer's, which would have to be hashed again.
    exchange_id = bytes.fromhex(answer.exchange_id)
    for name, rows in due.items():
        totals = getattr(receipt, name)
        empty = empty_transcript(name, exchange_id).hex()
        if (totals.frames, totals.rows) != (_n_frames(rows, offer.frame_rows), rows) or (
            (rows == 0) != (totals.transcript == empty)
        ):
            raise contradiction(f"holds a receipt whose {name} are not those that were due")


def _sha256(encoded: str) -> str:
    """Return the digest of a document that stands in an entry, which is parsed already."""
    return hashlib.sha256(signed_bytes(encoded)).hexdigest()


def contradiction(fault: str) -> VerificationError:
    """Return the error of an entry that cannot be, beside those before it or what was signed."""
    return VerificationError(
        f"it {fault}",
        mend="The log's owner has written what cannot be; reconcile it with the peer's log.",
        reason="log_contradicts",
    )
