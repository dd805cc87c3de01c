"""One exchange of an authority's on its way: what it works with, and what an abort tells of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psishare import _native
from psishare.errors import AuditError, InputError
from psishare.exchange.offer import OFFER, WIRE_VERSION, Offer
from psishare.exchange.opening import own_opening
from psishare.exchange.retained import RetainedElements
from psishare.exchange.unfinished import Unfinished
from psishare.keys.statement import sign_statement
from psishare.mandates.archive import MandateArchive
from psishare.mandates.envelope import read_envelope
from psishare.psi import suite
from psishare.transport import wire_pb2 as wire

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from psishare.exchange.journal import LastFrame
    from psishare.exchange.register import Row
    from psishare.keys.signer import Signer
    from psishare.parties.home import Home


@dataclass
class Run:
    """One exchange on its way.

    Attributes:
        folder: where what it works with is kept.
        offer: what is offered.
        signed_offer: with this party's signature.
        mandate: the envelope's bytes.
        mandate_id: its mandate's id.
        seed: what every blind comes from.
        refused: whether the platform has refused it.
        held: whether it waits for a decision of the platform's.
        resumed: whether another process began it.
        last: how far its signed requests have come.
    """

    folder: Path
    offer: Offer
    signed_offer: wire.Signed
    mandate: bytes
    mandate_id: str
    seed: _native.Seed
    refused: bool = False
    held: bool = False
    resumed: bool = False
    last: LastFrame | None = None

    @classmethod
    def of(
        cls, home: Home, signer: Signer, offer: Offer, mandate: bytes, seed: _native.Seed
    ) -> Run:
        """Return an exchange at its beginning, its offer signed."""
        document = offer.document()
        signature = sign_statement(signer, OFFER, document)
        return cls(
            home.exchange_path(offer.exchange_id),
            offer,
            wire.Signed(document=document, signature=signature),
            mandate,
            read_envelope(mandate).mandate.id,
            seed,
        )

    @classmethod
    def again(cls, home: Home, signer: Signer, row: Row, identifiers: pa.Array) -> Run:
        """Return an exchange as its process left it, once the list is known to be the same.

        Raises:
            InputError: ``list_differs``; ``wire_version_differs``, and nothing is changed.
            AuditError: ``mandate_unreadable``; ``state_write_failed``.
        """
        offer = Offer.parse(row.offer)
        if offer.wire_version != WIRE_VERSION:
            raise InputError(
                f"the exchange was begun with wire version {offer.wire_version}, and here is"
                f" version {WIRE_VERSION}",
                mend="Finish it with the psishare that began it, or abandon it and start a new one.",
                reason="wire_version_differs",
            )
        opening = own_opening(home, row.exchange_id)
        if _native.merkle_root(identifiers).hex() != opening.input_root:
            raise InputError(
                "this is not the list that the exchange was begun with",
                mend="Give the same list, unchanged; or abandon the exchange and start a new one.",
                reason="list_differs",
            )
        mandate = MandateArchive(home.mandates_path).get(offer.mandate_sha256)
        if mandate is None:
            raise AuditError(
                "the mandate of the exchange is not kept any more",
                mend="Restore the folder of mandates from a backup, or abandon the exchange.",
                reason="mandate_unreadable",
            )
        run = cls.of(
            home,
            signer,
            offer,
            mandate,
            _native.Seed.from_secret_bytes(bytes.fromhex(opening.seed)),
        )
        run.resumed = True
        return run

    @property
    def exchange_id(self) -> bytes:
        """The exchange's id, 32 bytes."""
        return self.offer.exchange_id

    def retained(self) -> RetainedElements:
        """Open the elements that were sent; to be used with ``with``."""
        return RetainedElements(self.folder, self.offer)

    def unfinished(self) -> Unfinished:
        """Open what was learnt so far, kept sealed; to be used with ``with``."""
        return Unfinished(
            self.folder,
            self.exchange_id,
            self.seed.secret_bytes(),
            suite.Protocol(self.offer.protocol),
        )
