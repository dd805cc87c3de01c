"""The platform's side of an exchange: the rule book of protocols/specs/exchange.md, a step a line.

Promises: no group operation before mandate, policy and budget allow it and ``exchange.opened`` is
durable in the log; no answer for a frame that is not committed and charged; no countersignature
without ``exchange.closed`` in the log. Every call is idempotent. Refusals and aborts are logged.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from psishare import _native
from psishare.errors import (
    AuditError,
    AuthorisationError,
    InternalError,
    PeerError,
    ProtocolError,
    PsishareError,
    VerificationError,
)
from psishare.exchange.admission import Admission, PlatformRooms, another_party
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
from psishare.exchange.journal import Ending, Journal
from psishare.exchange.offer import ANSWER, WIRE_VERSION, Answer, Offer
from psishare.exchange.offering import EncodedOffering, Offering
from psishare.exchange.opened import OpenedExchange
from psishare.exchange.opening import Opening, seal_opening
from psishare.exchange.receipt import Receipt, SignedReceipt, sign_receipt, verify_receipt
from psishare.exchange.register import State
from psishare.exchange.terms import Terms
from psishare.keys.durable_file import write_durably
from psishare.keys.statement import sign_statement
from psishare.psi import suite
from psishare.psi.suite import Output
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call, Caller

if TYPE_CHECKING:
    import pyarrow as pa

    from psishare.mandates.envelope import VerifiedMandate
    from psishare.parties.peers import Peer

IDLE_TIMEOUT_S = 300.0
"""How long an exchange may stand still before it is aborted."""

Matched = Callable[[bytes, str, "pa.Array"], None]


@dataclass
class _Live:
    """The exchanges that this process has open, by id."""

    exchanges: dict[bytes, OpenedExchange] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Platform:
    """Answers the calls of authorities; give it to a transport's server.

    Args:
        rooms: home, peers, log, budget, register, policy.
        offerings: what is served.
        matched: for output ``both``: called with exchange id, dataset and the indices of the
            platform's matches, once the receipt is in the log.
        idle_timeout_s: how long an exchange may stand still.
    """

    def __init__(
        self,
        rooms: PlatformRooms,
        offerings: Iterable[Offering],
        *,
        matched: Matched | None = None,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
    ) -> None:
        self._rooms = rooms
        self._id = rooms.home.card.id
        served = list(offerings)
        self._offerings = {(o.name, p): o for o in served for p in o.protocols}
        self._matched = matched
        self._idle_timeout_s = idle_timeout_s
        self._journal = Journal(rooms.log)
        self._heads = PeerHeads(rooms.peers)
        self._live = _Live()
        self._admission = Admission(rooms, self._offerings)
        encoded = {o.name: o for o in served if isinstance(o, EncodedOffering)}
        self._delivery = Delivery(rooms, encoded, self._admission, self._journal)

    def recover(self) -> int:
        """Abort what a process that is gone left open, and return how many that were."""
        orphans = self._rooms.register.orphans()
        for row in orphans:
            self._log_abort(row.exchange_id, row.peer, row.mandate_id, "interrupted", self._id)
        self._free_stray_reservations()
        return len(orphans)

    def _free_stray_reservations(self) -> None:
        """Free what a process reserved that ended before it entered the exchange anywhere."""
        budget = self._rooms.budget
        # A living process gets from one step to the other in far less than a minute.
        for exchange_id in budget.open_exchanges(opened_before=now() - timedelta(minutes=1)):
            if self._rooms.register.get(exchange_id) is None:
                budget.cancel(exchange_id)

    def answer(self, call: Call, request: Any, caller: Caller) -> Any:
        """Answer one call of a pinned party.

        Raises:
            PsishareError: what the caller is told; refusals and aborts are logged first.
        """
        peer = self._peer(caller)
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
        }
        return answers[call](request, peer)

    def expire(self) -> None:
        """Abort every exchange whose authority has been silent for too long."""
        oldest = time.monotonic() - self._idle_timeout_s
        with self._live.lock:
            silent = [e for e in self._live.exchanges.values() if e.touched < oldest]
        for exchange in silent:
            self._end(exchange, "peer_silent", exchange.terms.offer.authority)

    def stop(self) -> None:
        """Abort every exchange that is still open; the server no longer answers."""
        with self._live.lock:
            remaining = list(self._live.exchanges.values())
        for exchange in remaining:
            self._end(exchange, "interrupted", self._id)

    # Steps 1 and 2: who calls, and what both sides know of each other.

    def _peer(self, caller: Caller) -> Peer:
        peer = self._rooms.peers.by_certificate(caller.certificate_sha256)
        if peer is None or peer.card.role != "authority":
            raise AuthorisationError(
                "this certificate belongs to no authority that the platform has pinned",
                mend="Exchange cards again and compare the fingerprints.",
                reason="peer_unknown",
            )
        return peer

    def _hello(self, request: wire.HelloRequest, peer: Peer) -> wire.HelloResponse:
        if request.authority != peer.id:
            raise another_party(peer)
        return wire.HelloResponse(
            platform=self._id,
            wire_versions=[WIRE_VERSION],
            certificate_sha256=self._rooms.home.tls_identity().certificate_sha256,
            known_tree_size=self._heads.known_size(peer),
            datasets=sorted({name for name, _protocol in self._offerings}),
        )

    # Steps 3 and 4: check the offer, open the exchange.

    def _offer(self, request: wire.OfferRequest, peer: Peer, caller: Caller) -> wire.OfferResponse:
        exchange_id = hashlib.sha256(request.offer.document).digest()
        repeated = self._repeated_offer(exchange_id, request, peer)
        if repeated is not None:
            return repeated
        offer: Offer | None = None
        try:
            offer = Offer.parse(request.offer.document)
            self._admission.require_own(offer, request, peer, caller)
            offering = self._admission.require_served(offer)
            self._heads.accept(peer, request.head)
            mandate = self._admission.authorise(offer, request.mandate)
        except (AuthorisationError, ProtocolError, VerificationError) as refusal:
            self._refuse(exchange_id, request, offer, refusal, peer)
            raise
        return self._open(offer, request, peer, offering, mandate)

    def _open(
        self,
        offer: Offer,
        request: wire.OfferRequest,
        peer: Peer,
        offering: Offering,
        mandate: VerifiedMandate,
    ) -> wire.OfferResponse:
        """Log ``exchange.opened``, and only then answer (section 7)."""
        exchange_id = offer.exchange_id
        rooms = self._rooms
        try:
            require_not_rolled_back(rooms.log.size, request.known_tree_size)
            if not rooms.register.begin(
                exchange_id, peer=peer.id, state=State.OPENED, offer=request.offer.document
            ):
                raise _repeated(exchange_id)
            seed = _native.Seed.generate()
            answer = self._make_answer(offer, offering, seed)
            terms = Terms(
                offer=offer,
                offer_signature=request.offer.signature,
                answer=answer,
                answer_signature=sign_statement(rooms.home.log_signer(), ANSWER, answer.document()),
                mandate_id=mandate.mandate.id,
            )
            rooms.register.update(
                exchange_id, State.OPENED, mandate_id=mandate.mandate.id, answer=answer.document()
            )
            self._journal.opened(terms, peer.id)
        except PsishareError:
            rooms.budget.cancel(exchange_id)
            raise
        driver = offering.driver(suite.Protocol(offer.protocol), Output(offer.output), seed)
        exchange = OpenedExchange(
            terms, peer.card.log_key, driver, rooms.budget, self._hand_out(offer)
        )
        with self._live.lock:
            self._live.exchanges[exchange_id] = exchange
        return self._answer_again(terms, request)

    def _make_answer(self, offer: Offer, offering: Offering, seed: _native.Seed) -> Answer:
        root = offering.input_root
        if root is not None:
            self._keep_opening(offer, seed, root, offering.n_elements)
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

    def _keep_opening(self, offer: Offer, seed: _native.Seed, root: bytes, rows: int) -> None:
        """Seal what this side committed to, durably, to its own key (section 11)."""
        home = self._rooms.home
        opening = Opening(
            protocol=offer.protocol,
            seed=seed.secret_bytes().hex(),
            input_root=root.hex(),
            rows=rows,
            operator="",
            operator_salt=bytes(32).hex(),
        )
        sealed = seal_opening(opening, offer.exchange_id, home.card.sealing_key_bytes)
        folder = home.exchanges_path / offer.exchange_id.hex()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(folder / "opening.sealed", sealed, error=AuditError)

    def _hand_out(self, offer: Offer) -> Callable[[pa.Array], None] | None:
        matched = self._matched
        if matched is None or Output(offer.output) is not Output.BOTH:
            return None
        return lambda indices: matched(offer.exchange_id, offer.dataset, indices)

    def _repeated_offer(
        self, exchange_id: bytes, request: wire.OfferRequest, peer: Peer
    ) -> wire.OfferResponse | None:
        """Answer the same offer again as long as no frame has come (section 6, step 5)."""
        with self._live.lock:
            exchange = self._live.exchanges.get(exchange_id)
        if exchange is not None and exchange.terms.offer.authority == peer.id:
            if exchange.n_requests == 0:
                return self._answer_again(exchange.terms, request)
            raise _repeated(exchange_id)
        row = self._rooms.register.get(exchange_id)
        if row is not None and row.state is not State.REFUSED:
            raise _repeated(exchange_id)
        return None

    def _answer_again(self, terms: Terms, request: wire.OfferRequest) -> wire.OfferResponse:
        document = terms.answer.document()
        return wire.OfferResponse(
            answer=wire.Signed(document=document, signature=terms.answer_signature),
            head=show_head(self._rooms.log, request.known_tree_size),
        )

    def _refuse(
        self,
        exchange_id: bytes,
        request: wire.OfferRequest,
        offer: Offer | None,
        refusal: PsishareError,
        peer: Peer,
    ) -> None:
        """Log a refusal; it is durable before the caller hears of it."""
        if self._rooms.register.begin(
            exchange_id, peer=peer.id, state=State.REFUSED, offer=request.offer.document
        ):
            self._rooms.register.update(exchange_id, State.REFUSED, reason=refusal.reason)
        self._journal.refused(exchange_id, offer, refusal.reason, peer.id)

    # Step 5: frames.

    def _in_exchange(
        self, request: Any, peer: Peer, step: Callable[[OpenedExchange, Any], Any]
    ) -> Any:
        """Run a step of an open exchange; a breach of the protocol ends it."""
        exchange = self._require_live(request.exchange_id, peer)
        try:
            return step(exchange, request)
        except (ProtocolError, AuditError, InternalError) as error:
            at_fault = peer.id if isinstance(error, PeerError) else self._id
            self._end(exchange, error.reason, at_fault)
            raise

    def _require_live(self, exchange_id: bytes, peer: Peer) -> OpenedExchange:
        with self._live.lock:
            exchange = self._live.exchanges.get(exchange_id)
        if exchange is None or exchange.terms.offer.authority != peer.id:
            row = self._rooms.register.get(exchange_id) if len(exchange_id) == 32 else None
            ended = row is not None and row.peer == peer.id and row.reason
            raise ProtocolError(
                f"the exchange has ended: {ended}" if ended else "there is no such exchange",
                mend="Make a new offer.",
                reason="exchange_ended" if ended else "exchange_unknown",
                party=peer.id,
            )
        return exchange

    # Step 6: close.

    def _close(self, request: wire.CloseRequest, peer: Peer) -> wire.CloseResponse:
        row = self._rooms.register.get(request.exchange_id)
        if row is not None and row.state is State.CLOSED and row.peer == peer.id:
            return self._closed_again(request)
        exchange = self._require_live(request.exchange_id, peer)
        try:
            signed = self._countersign(exchange, request.receipt, peer)
            index = self._journal.closed(signed, peer.id)
        except (ProtocolError, AuditError) as error:
            self._end(exchange, error.reason, peer.id if isinstance(error, PeerError) else self._id)
            raise
        self._rooms.register.update(
            request.exchange_id,
            State.CLOSED,
            receipt=signed.document,
            authority_signature=signed.authority_signature,
            platform_signature=signed.platform_signature,
            closed_index=index,
        )
        with self._live.lock:
            self._live.exchanges.pop(request.exchange_id, None)
        self._rooms.budget.release(request.exchange_id)
        exchange.release_matches()
        return self._closed_again(request)

    def _countersign(
        self, exchange: OpenedExchange, claimed: wire.Signed, peer: Peer
    ) -> SignedReceipt:
        """Compare the authority's receipt with this side's own record and sign it."""
        try:
            receipt = Receipt.parse(claimed.document)
            verify_receipt(claimed.document, claimed.signature, peer.card.log_key, peer.id)
        except VerificationError as error:
            raise ProtocolError(
                "the receipt is malformed or not signed by the authority",
                mend="Use the same version of psishare on both sides.",
                reason="receipt_invalid",
                party=peer.id,
            ) from error
        self._admission.require_timely(receipt.closed, "receipt", peer)
        differing = exchange.receipt(receipt).same_but_closing_time(receipt)
        if differing:
            raise ProtocolError(
                f"the receipt differs from this side's record in {', '.join(differing)}",
                mend="Do not trust this exchange; reconcile both logs.",
                reason="receipt_differs",
                party=peer.id,
            )
        signature = sign_receipt(claimed.document, self._rooms.home.log_signer())
        return SignedReceipt(receipt, claimed.document, claimed.signature, signature)

    def _closed_again(self, request: wire.CloseRequest) -> wire.CloseResponse:
        """Return the stored countersignature with its entry, proof and head."""
        row = self._rooms.register.get(request.exchange_id)
        if row is None or row.closed_index is None or row.platform_signature is None:
            raise InternalError("a closed exchange has no receipt", mend="Report this as a fault.")
        head = show_head(self._rooms.log, request.known_tree_size)
        proof = self._rooms.log.inclusion_proof(row.closed_index, head_size(head))
        return wire.CloseResponse(
            countersignature=row.platform_signature,
            closed_entry=self._rooms.log.entry(row.closed_index),
            closed_index=row.closed_index,
            inclusion=proof,
            head=head,
        )

    # After the close: both cosign each other's heads.

    def _cosign(self, request: wire.CosignRequest, peer: Peer) -> wire.CosignResponse:
        """Verify the authority's log holds its ``exchange.closed``, keep its cosignature, cosign."""
        row = self._rooms.register.get(request.exchange_id)
        if row is None or row.peer != peer.id or row.state is not State.CLOSED:
            raise ProtocolError(
                "there is no closed exchange of this id to cosign",
                mend="Close the exchange first.",
                reason="exchange_unknown",
                party=peer.id,
            )
        checkpoint = self._heads.accept(peer, request.head)
        require_closed_entry(request, checkpoint, row.receipt or b"", peer.id)
        keep_cosignature(self._rooms.log, request.cosigned_size, request.cosignature, peer)
        return wire.CosignResponse(
            cosignature=cosign_head(self._rooms.home, request.head.checkpoint)
        )

    # Abort.

    def _abort(self, request: wire.AbortRequest, peer: Peer) -> wire.AbortResponse:
        with self._live.lock:
            exchange = self._live.exchanges.get(request.exchange_id)
        if exchange is not None and exchange.terms.offer.authority == peer.id:
            self._end(exchange, "peer_aborted", peer.id)
        return wire.AbortResponse()

    def _end(self, exchange: OpenedExchange, reason: str, at_fault: str) -> None:
        """End an exchange: log it, free what was reserved and not used, forget its secrets."""
        terms = exchange.terms
        with self._live.lock:
            if self._live.exchanges.pop(terms.exchange_id, None) is None:
                return
        self._log_abort(
            terms.exchange_id, terms.offer.authority, terms.mandate_id, reason, at_fault
        )

    def _log_abort(
        self, exchange_id: bytes, peer: str, mandate_id: str | None, reason: str, at_fault: str
    ) -> None:
        last = self._rooms.budget.last_frame(exchange_id)
        self._journal.aborted(Ending(exchange_id, peer, mandate_id, reason, at_fault, last))
        self._rooms.register.update(exchange_id, State.ABORTED, reason=reason)
        self._rooms.budget.release(exchange_id)


def _repeated(exchange_id: bytes) -> AuthorisationError:
    return AuthorisationError(
        f"the offer {exchange_id.hex()[:16]} has been made before",
        mend="Make a new offer.",
        reason="exchange_repeated",
    )
