"""The terms of an opened exchange: both signed documents, and the receipt that follows from them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from psishare.exchange.offer import Answer, Offer
from psishare.exchange.receipt import Receipt, SequenceTotals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psishare.audit.entry import ExchangeOpened


@dataclass(frozen=True, slots=True)
class Terms:
    """What was offered and answered, and under which mandate.

    Attributes:
        offer: the authority's document.
        offer_signature: the authority's signature over it, 64 bytes.
        answer: the platform's document.
        answer_signature: the platform's signature over it, 64 bytes.
        mandate_id: the mandate's id.
    """

    offer: Offer
    offer_signature: bytes
    answer: Answer
    answer_signature: bytes
    mandate_id: str

    @classmethod
    def of(cls, entry: ExchangeOpened) -> Self:
        """Return the terms that an ``exchange.opened`` entry holds.

        Raises:
            VerificationError: a document in it is malformed.
        """
        return cls(
            offer=Offer.parse(base64.b64decode(entry.offer)),
            offer_signature=base64.b64decode(entry.offer_signature),
            answer=Answer.parse(base64.b64decode(entry.answer)),
            answer_signature=base64.b64decode(entry.answer_signature),
            mandate_id=entry.mandate_id,
        )

    @property
    def exchange_id(self) -> bytes:
        """The exchange's id, 32 bytes."""
        return self.offer.exchange_id

    def receipt(self, totals: Mapping[str, SequenceTotals], *, closed: str) -> Receipt:
        """Return the receipt of an exchange that ended with these totals (exchange.md, section 9).

        Args:
            totals: of the sequences ``requests``, ``elements``, ``answers``, ``returns``.
            closed: the time of signing, as documents write it.
        """
        offer, answer = self.offer, self.answer
        return Receipt(
            exchange_id=answer.exchange_id,
            authority=offer.authority,
            platform=offer.platform,
            protocol=offer.protocol,
            dataset=offer.dataset,
            kind=offer.kind,
            namespace=offer.namespace,
            output=offer.output,
            epoch=answer.epoch,
            manifest_sha256=answer.manifest_sha256,
            mandate_id=self.mandate_id,
            mandate_sha256=offer.mandate_sha256,
            answer_sha256=answer.sha256.hex(),
            requests=totals["requests"],
            elements=totals["elements"],
            answers=totals["answers"],
            returns=totals["returns"],
            opened=answer.time,
            closed=closed,
        )
