"""The authority's side of an exchange across an air gap (protocols/specs/offline.md, section 6).

The same rule book as over a network: what an interruption leaves open, a file goes on with. Promises:
those of ``authority.py``; a parcel is there only when it is whole, and only when what it tells is in
the register; no result before the platform's countersignature is in this party's log.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from psishare.datasets.cache import DatasetCache
from psishare.errors import (
    AuthorisationError,
    ConfigError,
    InputError,
    InternalError,
    ProtocolError,
    TransportError,
)
from psishare.exchange.answer_channel import (
    AWAITED,
    AnswerChannel,
    ConfirmationChannel,
    DatasetChannel,
)
from psishare.exchange.authority import Authority, Outcome
from psishare.exchange.document import now, read_time, write_time
from psishare.exchange.heads import PeerHeads, show_head
from psishare.exchange.journal import Journal
from psishare.exchange.left_open import not_resumable
from psishare.exchange.offer import Offer
from psishare.exchange.parcels import Addressed, Parcels
from psishare.exchange.progress import advanced
from psishare.exchange.register import LIVE, Row, State
from psishare.exchange.signed_requests import SignedRequests
from psishare.exchange.synchronise import Source, Synchronised, synchronise
from psishare.exchange.transcript import Transcript
from psishare.mandates.envelope import read_envelope
from psishare.psi import suite
from psishare.psi.suite import Sequence
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call, ClosedOnExit
from psishare.transport.parcel import VERSION, Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    import pyarrow as pa
    from google.protobuf.message import Message

    from psishare.exchange.ask import Ask
    from psishare.exchange.authority_driver import Driver
    from psishare.exchange.parcels import Outgoing
    from psishare.exchange.progress import Progress
    from psishare.exchange.rooms import AuthorityRooms
    from psishare.exchange.run import Run
    from psishare.parties.peers import Peer
    from psishare.transport.channel import Channel
    from psishare.transport.parcel import Parcel

T = TypeVar("T")

LATEST: Final = timedelta(days=366)
REQUEST: Final = "request.parcel"
RECEIPT: Final = "receipt.parcel"


class OfflineAuthority(Authority):
    """Runs exchanges with one platform by files.

    Args:
        rooms: home, peers, log and register.
        platform: the platform, as pinned.
        progress: called as steps advance.
        channel: the parcel that came back; None where there is none yet.
    """

    _carried = True

    def __init__(
        self,
        rooms: AuthorityRooms,
        platform: Peer,
        progress: Progress,
        channel: Channel | None = None,
    ) -> None:
        super().__init__(rooms, channel or _NoChannel(platform.id), platform, progress)
        self._parcels = Parcels(rooms)

    # The steps.

    def request(self, ask: Ask, *, expires: datetime) -> Path:
        """Offer, and ask about every identifier, in one parcel.

        Args:
            ask: what is to be asked.
            expires: after when nothing goes on, UTC; at most 366 days from now.

        Returns:
            The parcel, as it is kept in this party's home.

        Raises:
            InputError: ``expiry_invalid``; or the list is not the one that the mandate approves.
            ConfigError: ``dataset_unknown``: the dataset has not been synchronised.
            AuditError: this party's state cannot be written.
        """
        if not now() < expires <= now() + LATEST:
            raise InputError(
                "an exchange by files expires after now, and within 366 days",
                mend="Choose another time.",
                reason="expiry_invalid",
            )
        prepared = self._prepare(ask)
        exchange_id, register = prepared.offer.exchange_id, self._rooms.register
        kept = self._parcels.kept(exchange_id, REQUEST)
        with register.attending(exchange_id):
            register.put_offline(exchange_id, write_time(expires))
            run = self._begin(prepared.ask, prepared.offer, prepared.opening, prepared.seed)
            with self._ending_well(run):
                self._write_request(run, prepared.ask.identifiers, prepared.driver, kept)
        return kept

    def finish(self, identifiers: pa.Array, parcel: Parcel) -> Path:
        """Verify the answers, sign the receipt, and seal the result until it is countersigned.

        Args:
            identifiers: the list that was asked about, as ``Ask.identifiers``.
            parcel: the ``answer``.

        Returns:
            The ``receipt`` parcel, as it is kept in this party's home.

        Raises:
            AuthorisationError: the platform has refused; that is logged here too.
            ProtocolError: an answer is wrong, or the parcel is not of an exchange that waits for it.
        """
        row = self._awaiting(parcel, {State.OFFERED, State.OPENED, State.PENDING})
        kept = self._parcels.kept(row.exchange_id, RECEIPT)
        if row.state is State.PENDING and kept.exists():
            return kept
        offer = Offer.parse(row.offer)
        self._require_same_dataset(offer)
        version = parcel.head.version
        addressed = self._addressed(Kind.RECEIPT, offer, version)
        first = self._begin_receipt if version >= VERSION else None
        with self._parcels.making(kept, addressed, first=first) as out:
            channel = AnswerChannel(self._parcels, parcel, offer, out, threading.Lock())
            going = OfflineAuthority(self._rooms, self._platform, self._progress, channel)
            going._go_on(row, identifiers)
        return kept

    def release(self, identifiers: pa.Array, parcel: Parcel) -> Outcome:
        """Verify the countersignature, log the closing, and return the result.

        Args:
            identifiers: the list that was asked about, as ``Ask.identifiers``.
            parcel: the ``confirmation``.

        Raises:
            ProtocolError: the platform did not close the exchange, which is logged here too; or the
                parcel is not of an exchange that waits for it.
            InputError: the result has been handed over before.
        """
        row = self._awaiting(parcel, {State.PENDING, State.CLOSED})
        channel = ConfirmationChannel(self._parcels, parcel)
        going = OfflineAuthority(self._rooms, self._platform, self._progress, channel)
        try:
            outcome = going.resume(row.exchange_id, identifiers)
        except InputError as error:
            if channel.fault is not None and error.reason == "exchange_finished":
                raise channel.fault from error
            raise
        return replace(outcome, cosigned=False)

    def synchronise(self, parcel: Parcel, mandate: bytes) -> Synchronised:
        """Take a dataset that came in a parcel, as one is taken over a network.

        Args:
            parcel: the ``dataset``.
            mandate: the envelope under which it was made.

        Raises:
            AuthorisationError: ``mandate_mismatch``: it was made under another mandate.
            ProtocolError: the manifest is not one that the platform published.
            VerificationError: a shard is not what the manifest says.
        """
        digest = hashlib.sha256(mandate)
        if digest.hexdigest() != parcel.head.mandate_sha256:
            raise AuthorisationError(
                "the dataset was delivered under another mandate",
                mend="Name the mandate that the platform was given.",
                reason="mandate_mismatch",
            )
        channel = DatasetChannel(self._parcels, parcel)
        source = Source(
            channel=channel,
            platform=self._platform,
            dataset=channel.dataset,
            mandate=mandate,
            mandate_id=read_envelope(mandate).mandate.id,
            mandate_sha256=digest.digest(),
            carried=self._carried,
        )
        rooms = self._rooms
        heads, journal = PeerHeads(rooms.peers, rooms.register), Journal(rooms.log)
        return synchronise(source, heads, journal, rooms.home.datasets_path, self._progress)

    # What a connection would do.

    def _own_end(self) -> bytes:
        return self._rooms.home.card.offline_end

    def _greet(self) -> wire.HelloResponse:
        """Say of the platform what its card says: nobody is there to be asked (section 4)."""
        return wire.HelloResponse(
            platform=self._platform.id, certificate_sha256=self._platform.card.offline_end
        )

    def _with_current_heads(self, call: Callable[[int], T]) -> T:
        """Make a call once: a parcel holds what it holds."""
        return call(0)

    def _settle(self) -> None:
        """Leave other exchanges alone: there is nobody to be asked about them."""

    def _cosign_quietly(self, exchange_id: bytes) -> bool:  # noqa: ARG002  as over a network
        """Leave that of the closing to the next request, or connection (section 6, step 7)."""
        return False

    def _tell(self, exchange_id: bytes, reason: str) -> None:
        """Tell nobody of an abort: the platform learns of it when the exchange expires."""

    def _synchronise(
        self,
        protocol: suite.Protocol,
        dataset: str,
        mandate: bytes,  # noqa: ARG002  it was needed when the dataset came
    ) -> Synchronised | None:
        """Open the copy that is here; nothing can be asked for now."""
        if protocol is not suite.Protocol.OPRF:
            return None
        cache, platform = DatasetCache(self._rooms.home.datasets_path), self._platform
        signed = cache.newest(platform.id, dataset, platform.card.log_key)
        contents = cache.open(signed) if signed is not None else None
        if signed is None or contents is None:
            raise ConfigError(
                f"there is no copy of {platform.id}'s dataset {dataset} here",
                mend="Ask the platform for `psishare offline export`, and take it with"
                " `psishare offline sync`.",
                reason="dataset_unknown",
            )
        return Synchronised(signed, contents)

    # Insides.

    def _write_request(self, run: Run, identifiers: pa.Array, driver: Driver, kept: Path) -> None:
        offer, log = run.offer, self._rooms.log
        head = show_head(log, 0)
        first = wire.OfferRequest(
            offer=run.signed_offer,
            mandate=run.mandate,
            head=head,
            known_tree_size=self._heads.known_size(self._platform),
        )
        approved = read_envelope(run.mandate).mandate.sealed_request
        chain = Transcript(Sequence.REQUESTS, offer.exchange_id)
        signed = SignedRequests(chain, self._signer, approved)
        asked = advanced(self._progress, "asking", len(identifiers))
        with (
            self._parcels.making(kept, self._addressed(Kind.REQUEST, offer, VERSION)) as out,
            run.retained() as retained,
        ):
            self._parcels.show(self._platform, head, out)
            out.add(Call.OFFER, first)
            for index, elements in enumerate(driver.requests(identifiers, offer.frame_rows)):
                digest = retained.add(index, elements)
                out.add(Call.EVALUATE, signed.request(index, digest, elements))
                run.last = signed.last
                asked(len(elements))

    def _require_same_dataset(self, offer: Offer) -> None:
        """Refuse to go on while the copy here is not the one that was asked about; abort nothing."""
        encoded = self._synchronise(suite.Protocol(offer.protocol), offer.dataset, b"")
        if encoded is not None and encoded.signed.sha256.hex() != offer.manifest_sha256:
            raise ConfigError(
                f"the copy of {offer.dataset} is another than the one that was asked about",
                mend="Abandon the exchange with `psishare exchange abandon`, and make a new request.",
                reason="dataset_replaced",
            )

    def _go_on(self, row: Row, identifiers: pa.Array) -> None:
        """Go on until the receipt is signed and in the next parcel."""
        try:
            self.resume(row.exchange_id, identifiers)
        except TransportError as error:
            if error.reason != AWAITED:
                raise
        else:
            raise InternalError("an exchange closed by itself", mend="Report this fault.")

    def _awaiting(self, parcel: Parcel, states: set[State]) -> Row:
        """Return the exchange that a parcel of the platform goes on with.

        Raises:
            ProtocolError: ``parcel_unexpected``: none of this party waits for it, or not any more.
        """
        head = parcel.head
        row = self._rooms.register.get(bytes.fromhex(head.exchange_id or ""))
        if row is None or row.peer != self._platform.id:
            raise unexpected("it is of no exchange of this party with its sender")
        expires = self._rooms.register.offline_until(row.exchange_id)
        if expires is None or expires != head.expires:
            raise unexpected("its exchange does not go by files, or is another one")
        if row.state not in LIVE and row.state not in states:
            raise not_resumable(row)
        if row.state not in states:
            raise unexpected(f"its exchange is {row.state.value}")
        if row.state is not State.CLOSED and read_time(expires) < now():
            self._left.recover()
            if row.state is not State.PENDING:
                raise expired(row.exchange_id)
        return row

    def _begin_receipt(self, out: Outgoing) -> None:
        """Show this log's head, now that it tells of the opening, and cosign the platform's."""
        self._parcels.show(self._platform, show_head(self._rooms.log, 0), out)

    def _addressed(self, kind: Kind, offer: Offer, version: Literal[1, 2]) -> Addressed:
        expires = self._rooms.register.offline_until(offer.exchange_id)
        return Addressed(
            kind, self._platform, offer.exchange_id, offer.mandate_sha256, expires, version
        )


class _NoChannel(ClosedOnExit):
    """What stands for a channel before a parcel has come back."""

    def __init__(self, peer: str) -> None:
        self.peer = peer

    def call(self, call: Call, request: Message, *, timeout_s: float | None = None) -> Message:  # noqa: ARG002  nothing is sent
        raise InternalError(f"{call.step} has nobody to go to", mend="Report this fault.")

    def close(self) -> None:
        """Do nothing."""


def unexpected(what: str) -> ProtocolError:
    """Return the error for a parcel that belongs to no step that is due."""
    return ProtocolError(
        f"the parcel is not one that this party waits for: {what}",
        mend="See `psishare exchange list`, and take the parcel to where it belongs.",
        reason="parcel_unexpected",
    )


def expired(exchange_id: bytes) -> ProtocolError:
    """Return the error for a parcel of an exchange that has expired."""
    return ProtocolError(
        f"the exchange {exchange_id.hex()[:16]} has expired, and nothing goes on with it",
        mend="Make a new request, with more time for the way.",
        reason="parcel_expired",
    )
