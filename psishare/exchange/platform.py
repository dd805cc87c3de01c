"""The platform's side of an exchange: the rule book of protocols/specs/exchange.md, a step a line.

Promises: no group operation before mandate, policy and budget allow it and ``exchange.opened`` is
durable in the log; no answer for a frame that is not committed and charged; no countersignature
leaves without ``exchange.closed`` in the log. Every call is idempotent. Refusals and aborts are
logged; what a full disk or a kill kept from the log is recorded as soon as it takes entries again.
What a process that is gone left open is taken up, and goes on as if nothing had happened.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psishare import _native
from psishare.errors import (
    AuditError,
    InternalError,
    ProtocolError,
    PsishareError,
    TransportError,
)
from psishare.exchange.admission import Admission, another_party
from psishare.exchange.approvals import Approvals, hold_of
from psishare.exchange.catalogue import Catalogue
from psishare.exchange.claimed_receipt import require_own_record
from psishare.exchange.closed_entry import require_closed_entry
from psishare.exchange.delivery import Delivery
from psishare.exchange.document import now, write_time
from psishare.exchange.heads import (
    PeerHeads,
    cosign_head,
    head_size,
    keep_cosignature,
    require_not_rolled_back,
    show_head,
)
from psishare.exchange.hold import Hold
from psishare.exchange.journal import Journal
from psishare.exchange.offer import ANSWER, WIRE_VERSION, Answer, Offer
from psishare.exchange.open_exchanges import End, OpenExchanges, not_open
from psishare.exchange.opened import OpenedExchange
from psishare.exchange.opening import Opening, keep_own_opening
from psishare.exchange.pinned_caller import pinned_authority
from psishare.exchange.reasons import REFUSALS
from psishare.exchange.receipt import SignedReceipt, sign_receipt
from psishare.exchange.recount import recall_deliveries, recount
from psishare.exchange.register import State, require_unfinished
from psishare.exchange.repeated_offer import repeated, require_no_end
from psishare.exchange.restoration import Recovered, Restoration, not_restorable
from psishare.exchange.terms import Terms
from psishare.keys.statement import sign_statement
from psishare.mandates.archive import MandateArchive
from psishare.mandates.decision import Verdict
from psishare.psi import suite
from psishare.psi.suite import Output
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call, Caller

if TYPE_CHECKING:
    import pyarrow as pa

    from psishare.exchange.offering import Offering
    from psishare.exchange.rooms import PlatformRooms
    from psishare.mandates.envelope import VerifiedMandate
    from psishare.mandates.policy import Policy
    from psishare.parties.home import Home
    from psishare.parties.peers import Peer

IDLE_TIMEOUT_S = 300.0
"""How long an exchange may stand still before it is aborted."""

EXCHANGES_PER_AUTHORITY = 64
"""How many exchanges one authority may have open at once."""

_logger = logging.getLogger(__name__)

Matched = Callable[[bytes, "Offering", "pa.Array"], None]


@dataclass
class _Offered:
    """An offer as far as it has been read and entered."""

    exchange_id: bytes
    offer: Offer | None = None
    entered: bool = False


class Platform:
    """Answers the calls of authorities; give it to a transport's server.

    Args:
        rooms: home, peers, log, budget, register, policy.
        offerings: what is served.
        matched: for output ``both``: called with exchange id, what the exchange was opened on and the
            indices of the platform's matches, once the receipt is in the log.
        idle_timeout_s: how long an exchange may stand still.
        exchanges_per_authority: how many one authority may have open at once.
    """

    def __init__(
        self,
        rooms: PlatformRooms,
        offerings: Iterable[Offering],
        *,
        matched: Matched | None = None,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        exchanges_per_authority: int = EXCHANGES_PER_AUTHORITY,
    ) -> None:
        self._rooms = rooms
        self._id = rooms.home.card.id
        self._catalogue = Catalogue(offerings)
        self._matched = matched
        self._idle_timeout_s = idle_timeout_s
        self._journal = Journal(rooms.log)
        self._approvals = Approvals(rooms, self._journal)
        self._heads = PeerHeads(rooms.peers, rooms.register)
        self._exchanges = OpenExchanges(rooms, self._journal)
        self._offers = threading.Lock()
        self._recovering = threading.Lock()
        self._admission = Admission(rooms, self._catalogue)
        self._restoration = Restoration(
            rooms, self._catalogue, self._admission, self._journal, self._exchanges, self._hand_out
        )
        self._delivery = Delivery(rooms, self._catalogue, self._admission, self._journal)
        self._exchanges_per_authority = exchanges_per_authority
        self._draining = False

    def count_log(self) -> None:
        """Take the log's word for what was spent and delivered: a state that was lost gives nothing back.

        Whatever answers authorities does so before its first answer.

        Raises:
            AuditError: the log or a kept mandate cannot be read, or the state not be written.
            VerificationError: an entry, or a kept mandate, is not what it must be.
        """
        rooms = self._rooms
        mandates = MandateArchive(rooms.home.mandates_path)
        recall_deliveries(rooms.log, rooms.budget, rooms.register, mandates)
        recount(rooms.log, rooms.budget)

    def recover(self) -> Recovered:
        """Take up the exchanges that a process left open that is gone, or record how they ended.

        The rest had their receipt, or their end, already.
        """
        self.count_log()
        aborted = restored = 0
        for row in self._rooms.register.orphans():
            if row.state is State.HELD:
                continue
            cause = self._restoration.restore(row)
            if cause is None:
                restored += 1
            else:
                aborted += self._exchanges.record(row.exchange_id, End(cause, self._id))
        aborted += self.expire_offline()
        self._restoration.free_reservations()
        return Recovered(aborted, restored)

    def expire_offline(self) -> int:
        """Abort the exchanges that go by files and have expired; return how many.

        Raises:
            AuditError: the log cannot take an entry.
        """
        expired = self._rooms.register.expired_offline(write_time(now()))
        return sum(
            self._exchanges.record(row.exchange_id, End("peer_silent", row.peer)) for row in expired
        )

    def take_up(self, exchange_id: bytes) -> None:
        """Take up an exchange that goes by files: between them no process holds it.

        Raises:
            ConfigError: ``not_restorable``: this platform does not serve what it was opened on. The
                exchange stays as it is.
        """
        row = self._rooms.register.get(exchange_id)
        is_open = self._exchanges.find(exchange_id) is not None
        if is_open or row is None or row.state is not State.OPENED:
            return
        cause = self._restoration.restore(row)
        if cause == "not_restorable":
            raise not_restorable("what it was opened on is not served here now")
        if cause is not None:
            self._exchanges.record(exchange_id, End(cause, self._id))

    def opened_again(self, request: wire.OfferRequest) -> wire.OfferResponse | None:
        """Return what an offer was answered that is open; None where it is not.

        Args:
            request: the offer, as it came before, in the same parcel.
        """
        exchange_id = hashlib.sha256(request.offer.document).digest()
        exchange = self._exchanges.find(exchange_id)
        return self._answer_again(exchange.terms, request) if exchange is not None else None

    def answer(self, call: Call, request: Any, caller: Caller) -> Any:
        """Answer one call of a pinned party.

        Raises:
            PsishareError: what the caller is told; refusals and aborts are logged first.
        """
        peer = pinned_authority(self._rooms.peers, caller)
        answers: dict[Call, Callable[[Any, Peer], Any]] = {
            Call.HELLO: self._hello,
            Call.MANIFEST: self._delivery.manifest,
            Call.SHARD: self._delivery.shard,
            Call.OFFER: lambda r, p: self._offer(r, p, caller),
            Call.EVALUATE: lambda r, p: self._in_exchange(r, p, OpenedExchange.evaluate),
            Call.FETCH: lambda r, p: self._in_exchange(r, p, OpenedExchange.fetch),
            Call.RETURN: lambda r, p: self._in_exchange(r, p, OpenedExchange.take_return),
            Call.CLOSE: self._close,
            Call.COSIGN: self._cosign,
            Call.ABORT: self._abort,
            Call.RESUME: self._resume,
        }
        return answers[call](request, peer)

    def expire(self) -> None:
        """Abort every exchange whose authority has been silent for too long.

        What the log would not take before is recorded now, where it takes it; where it does not, that
        stands in the operational log, and the next call or the next start tries again.
        """
        for exchange in self._exchanges.all():
            if exchange.idle_s() > self._idle_timeout_s:
                silent = End("peer_silent", exchange.terms.offer.authority)
                interrupted = End("interrupted", self._id)
                self._exchanges.end_quietly(
                    exchange, interrupted if exchange.is_left_alone else silent
                )
        self._exchanges.record_due()

    def stop(self) -> int:
        """Leave every exchange that is still open to the next start; the server no longer answers.

        Returns:
            How many they are.
        """
        self._exchanges.record_due()
        left = [exchange.terms.exchange_id for exchange in self._exchanges.all()]
        try:
            self._rooms.register.leave(left)
        except AuditError as error:
            # They are found all the same, once this process has ended.
            _logger.warning("%s [%s]", error.message, error.reason)
        return len(left)

    def abandon(self, exchange_id: bytes) -> None:
        """Abort an exchange that no process works on.

        Raises:
            InputError: ``exchange_running``; or ``exchange_finished``, it has ended or is to close.
            AuditError: the log cannot take the entry.
        """
        register = self._rooms.register
        with register.attending(exchange_id):
            row = self._exchanges.require_row(exchange_id)
            require_unfinished(row)
            self._exchanges.record(exchange_id, End("abandoned", self._id))

    def drain(self) -> None:
        """Open no exchange from now on; those that are open go on."""
        self._draining = True

    def reload(self, home: Home, policy: Policy, offerings: Iterable[Offering]) -> None:
        """Judge and serve by a new card, policy and offerings from now on; what is open goes on."""
        self._rooms.reopen(home)
        self._rooms.policy = policy
        self._catalogue.replace(offerings)

    @property
    def open_by_authority(self) -> dict[str, int]:
        """How many exchanges each authority has open, of those that have any."""
        return self._exchanges.by_authority

    @property
    def has_unrecorded(self) -> bool:
        """Whether an exchange has ended whose end the log would not take yet."""
        return self._exchanges.has_unrecorded

    def _require_room(self, peer: Peer) -> None:
        """Ask an authority to come again where no exchange can be opened for it now.

        This is no refusal: nothing has been checked, nothing is entered, nothing is logged.
        """
        if self._draining:
            raise TransportError(
                "it is about to stop, and opens no exchange any more",
                mend="Try again when it has been started again.",
                reason="peer_stopping",
            )
        if self.open_by_authority.get(peer.id, 0) >= self._exchanges_per_authority:
            raise TransportError(
                f"{self._exchanges_per_authority} exchanges of this authority are open already",
                mend="Try again when one of them has ended, or run fewer at once.",
                reason="peer_busy",
            )

    # Steps 1 and 2: who calls, and what both sides know of each other.

    def _hello(self, request: wire.HelloRequest, peer: Peer) -> wire.HelloResponse:
        if request.authority != peer.id:
            raise another_party(peer)
        return wire.HelloResponse(
            platform=self._id,
            wire_versions=[WIRE_VERSION],
            certificate_sha256=self._rooms.home.tls_identity().certificate_sha256,
            known_tree_size=self._heads.known_size(peer),
            datasets=self._catalogue.names,
        )

    # Steps 3 and 4: check the offer, open the exchange.

    def _offer(self, request: wire.OfferRequest, peer: Peer, caller: Caller) -> wire.OfferResponse:
        # Before anything else: a log that was restored from an old copy takes no entry at all.
        require_not_rolled_back(self._rooms.log.size, request.known_tree_size)
        exchange_id = hashlib.sha256(request.offer.document).digest()
        # One at a time, so that the same offer twice at once is opened once and answered twice.
        with self._offers:
            row = self._rooms.register.get(exchange_id)
            if row is not None and row.peer == peer.id:
                require_no_end(row, peer)
            offered = _Offered(exchange_id)
            try:
                admitted = self._admit(offered, request, peer, caller)
            except Exception as error:
                if offered.entered:
                    self._exchanges.give_up(exchange_id, error)
                raise
        if isinstance(admitted, Hold):
            return wire.OfferResponse(
                hold=self._approvals.shown(admitted),
                head=show_head(self._rooms.log, request.known_tree_size),
            )
        return self._answer_again(admitted, request)

    def _admit(
        self, offered: _Offered, request: wire.OfferRequest, peer: Peer, caller: Caller
    ) -> Terms | Hold:
        """Check an offer in the order of section 6, and open the exchange or hold it."""
        try:
            offer = offered.offer = Offer.parse(request.offer.document)
            self._admission.require_own(offer, request, peer, caller)
            held = self._approvals.held(offer.exchange_id)
            terms = None if held is not None else self._repeated_offer(offer)
            if terms is not None:
                return terms
            self._require_room(peer)
            if held is None:
                self._admission.require_timely(offer, caller)
            offering = self._admission.require_served(offer)
            self._heads.accept(peer, request.head, carried=caller.party is not None)
            # One that is held is entered already.
            if held is None and not self._enter(offered.exchange_id, request.offer.document, peer):
                raise repeated(offer.exchange_id)
            offered.entered = True
            if held is not None and not self._approvals.let_go_on(held):
                offered.entered = False
                return hold_of(held)
            mandate, decision = self._admission.authorise(
                offer, request.mandate, offering, approved=held is not None
            )
        except REFUSALS as refusal:
            self._refuse(offered, request, refusal, peer)
            raise
        if decision.verdict is Verdict.HOLD:
            reason = decision.refusal().reason
            return self._approvals.hold(offer, request.mandate, mandate.mandate, reason, peer.id)
        return self._open(offer, request, peer, offering, mandate)

    def _enter(self, exchange_id: bytes, document: bytes, peer: Peer) -> bool:
        return self._rooms.register.begin(
            exchange_id,
            peer=peer.id,
            state=State.OFFERED,
            offer=document,
            log_size=self._rooms.log.size,
        )

    def _open(
        self,
        offer: Offer,
        request: wire.OfferRequest,
        peer: Peer,
        offering: Offering,
        mandate: VerifiedMandate,
    ) -> Terms:
        """Log ``exchange.opened``; what is answered after that stands (section 7)."""
        rooms = self._rooms
        seed = _native.Seed.generate()
        driver = offering.driver(suite.Protocol(offer.protocol), Output(offer.output), seed)
        answer = self._make_answer(offer, offering, seed)
        terms = Terms(
            offer=offer,
            offer_signature=request.offer.signature,
            answer=answer,
            answer_signature=sign_statement(rooms.home.log_signer(), ANSWER, answer.document()),
            mandate_id=mandate.mandate.id,
        )
        MandateArchive(rooms.home.mandates_path).keep(request.mandate)
        rooms.register.update(
            offer.exchange_id, State.OPENED, mandate_id=terms.mandate_id, answer=answer.document()
        )
        self._journal.opened(terms, peer.id)
        exchange = OpenedExchange(
            terms,
            peer.card.log_key,
            driver,
            rooms.budget,
            rooms.register,
            matched=self._hand_out(offer, offering),
            mandate=mandate,
        )
        self._exchanges.add(exchange)
        return terms

    def _make_answer(self, offer: Offer, offering: Offering, seed: _native.Seed) -> Answer:
        root = offering.input_root
        if root is not None:
            opening = Opening.of_platform(offer.protocol, seed, root, offering.n_elements)
            keep_own_opening(self._rooms.home, opening, offer.exchange_id)
        return Answer(
            exchange_id=offer.exchange_id.hex(),
            platform=self._id,
            dataset=offer.dataset,
            epoch=offering.epoch,
            manifest_sha256=offering.manifest_sha256,
            elements=offering.n_elements,
            opening_commitment=seed.commitment(root).hex() if root is not None else None,
            nonce=secrets.token_hex(32),
            time=write_time(now()),
        )

    def _hand_out(self, offer: Offer, offering: Offering) -> Callable[[pa.Array], None] | None:
        matched = self._matched
        if matched is None or Output(offer.output) is not Output.BOTH:
            return None
        return lambda indices: matched(offer.exchange_id, offering, indices)

    def _repeated_offer(self, offer: Offer) -> Terms | None:
        """Return what the same offer was answered, as long as no frame has come (step 3)."""
        exchange = self._exchanges.find(offer.exchange_id)
        if exchange is not None and exchange.n_requests == 0:
            return exchange.terms
        if exchange is not None or self._rooms.register.get(offer.exchange_id) is not None:
            raise repeated(offer.exchange_id)
        return None

    def _answer_again(self, terms: Terms, request: wire.OfferRequest) -> wire.OfferResponse:
        document = terms.answer.document()
        return wire.OfferResponse(
            answer=wire.Signed(document=document, signature=terms.answer_signature),
            head=show_head(self._rooms.log, request.known_tree_size),
        )

    def _refuse(
        self, offered: _Offered, request: wire.OfferRequest, refusal: PsishareError, peer: Peer
    ) -> None:
        """Log a refusal; it is durable before the caller hears of it."""
        exchange_id, offer = offered.exchange_id, offered.offer
        # An offer in another party's name must not take the id from the party whose it is.
        if not offered.entered and (offer is None or offer.authority == peer.id):
            # What is no offer may be megabytes of anything: its digest is all that is kept.
            document = request.offer.document if offer is not None else b""
            offered.entered = self._enter(exchange_id, document, peer)
        self._journal.refused(exchange_id, offer, refusal.reason, peer.id)
        if offered.entered:
            self._rooms.register.update(exchange_id, State.REFUSED, reason=refusal.reason)
            self._rooms.budget.cancel(exchange_id)

    # Step 5: frames.

    def _in_exchange(
        self, request: Any, peer: Peer, step: Callable[[OpenedExchange, Any], Any]
    ) -> Any:
        """Run a step of an open exchange; whatever fails in it ends the exchange."""
        exchange = self._require_open(request.exchange_id, peer)
        exchange.require_resumed()
        try:
            with exchange.working():
                exchange.require_in_force(now(), self._rooms.policy.clock_tolerance_s)
                self._admission.require_in_force(exchange.mandate)
                return step(exchange, request)
        except Exception as error:
            self._exchanges.end_failed(exchange, error)
            raise

    def _require_open(self, exchange_id: bytes, peer: Peer) -> OpenedExchange:
        """Return an open exchange; take up first what another process of this home left open."""
        if self._exchanges.find(exchange_id) is None:
            row = self._rooms.register.get(exchange_id)
            if row is not None and row.peer == peer.id and row.state is State.OPENED:
                self._take_up_left(exchange_id)
        return self._exchanges.require(exchange_id, peer)

    def _take_up_left(self, exchange_id: bytes) -> None:
        """Take up what another process of this home left open that has ended since this one began."""
        with self._recovering:
            if self._exchanges.find(exchange_id) is None:
                self.recover()

    # Step 6: close.

    def _close(self, request: wire.CloseRequest, peer: Peer) -> wire.CloseResponse:
        require_not_rolled_back(self._rooms.log.size, request.known_tree_size)
        row = self._rooms.register.get(request.exchange_id)
        if row is None or row.peer != peer.id or row.state is State.OPENED:
            self._close_open(self._require_open(request.exchange_id, peer), request.receipt, peer)
        elif row.state is State.PENDING:
            self._exchanges.record(request.exchange_id, End(InternalError.default_reason, self._id))
        return self._closed_again(request, peer)

    def _close_open(self, exchange: OpenedExchange, claimed: wire.Signed, peer: Peer) -> None:
        if not exchange.is_complete:
            exchange.require_resumed()
        try:
            with exchange.working():
                signed = self._countersign(exchange, claimed, peer)
                first = self._exchanges.keep_receipt(exchange.terms.exchange_id, signed, peer)
        except Exception as error:
            self._exchanges.end_failed(exchange, error)
            raise
        # From here on a doubly signed receipt exists: the exchange is closed and never aborted.
        self._exchanges.record(
            exchange.terms.exchange_id, End(InternalError.default_reason, self._id), first=first
        )

    def _countersign(
        self, exchange: OpenedExchange, claimed: wire.Signed, peer: Peer
    ) -> SignedReceipt:
        """Compare the authority's receipt with this side's own record and sign it."""
        receipt = require_own_record(
            exchange, claimed, peer, at=now(), tolerance=self._admission.clock_tolerance
        )
        signature = sign_receipt(claimed.document, self._rooms.home.log_signer())
        return SignedReceipt(receipt, claimed.document, claimed.signature, signature)

    def _closed_again(self, request: wire.CloseRequest, peer: Peer) -> wire.CloseResponse:
        """Return the stored countersignature with its entry, proof and head."""
        row = self._exchanges.require_row(request.exchange_id)
        if row.state is not State.CLOSED or row.closed_index is None:
            raise not_open(row, peer)
        if row.receipt != request.receipt.document:
            raise ProtocolError(
                "the exchange has been closed with another receipt",
                mend="Do not trust this exchange; reconcile both logs.",
                reason="receipt_differs",
                party=peer.id,
            )
        head = show_head(self._rooms.log, request.known_tree_size)
        proof = self._rooms.log.inclusion_proof(row.closed_index, head_size(head))
        return wire.CloseResponse(
            countersignature=row.platform_signature or b"",
            closed_entry=self._rooms.log.entry(row.closed_index),
            closed_index=row.closed_index,
            inclusion=proof,
            head=head,
        )

    # After the close: both cosign each other's heads.

    def _cosign(self, request: wire.CosignRequest, peer: Peer) -> wire.CosignResponse:
        """Verify the authority's log holds its ``exchange.closed``, keep its cosignature, cosign."""
        row = self._rooms.register.get(request.exchange_id)
        signed = row.signed_receipt if row is not None else None
        if row is None or signed is None or row.peer != peer.id or row.state is not State.CLOSED:
            raise ProtocolError(
                "there is no closed exchange of this id to cosign",
                mend="Close the exchange first.",
                reason="exchange_unknown",
                party=peer.id,
            )
        checkpoint = self._heads.accept(peer, request.head)
        require_closed_entry(request, checkpoint, signed, peer.id)
        keep_cosignature(self._rooms.log, request.cosigned_size, request.cosignature, peer)
        return wire.CosignResponse(
            cosignature=cosign_head(self._rooms.home, request.head.checkpoint)
        )

    # Ends.

    def _resume(self, request: wire.ResumeRequest, peer: Peer) -> wire.ResumeResponse:
        return self._require_open(request.exchange_id, peer).resume()

    def _abort(self, request: wire.AbortRequest, peer: Peer) -> wire.AbortResponse:
        exchange = self._exchanges.find(request.exchange_id)
        if exchange is not None and exchange.terms.offer.authority == peer.id:
            self._exchanges.end(exchange, End("peer_aborted", peer.id))
        return wire.AbortResponse()
