"""The authority's side of an exchange: protocols/specs/exchange.md, a step a line.

Promises: the opening is sealed and durable before an offer is sent; ``exchange.opened`` is in this
party's log before a frame is sent, and ``exchange.closed`` with both signatures before a result is
returned. Whatever fails before that leaves no result and an entry that says why; but a lost connection
or a killed process leaves the exchange open, to go on where it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, TypeVar

from psishare import _native
from psishare.audit.checkpoint import parse_checkpoint
from psishare.errors import (
    AuditError,
    AuthorisationError,
    InternalError,
    PeerError,
    ProtocolError,
    PsishareError,
    TransportError,
)
from psishare.exchange.authority_driver import Driver, authority_driver
from psishare.exchange.closed_entry import require_closed_entry
from psishare.exchange.countersigned import countersigned, require_same
from psishare.exchange.current_heads import CurrentHeads
from psishare.exchange.document import now, write_time
from psishare.exchange.head_turn import HeadTurn
from psishare.exchange.heads import (
    PeerHeads,
    cosign_head,
    head_size,
    keep_cosignature,
    require_current,
    require_not_rolled_back,
    show_head,
)
from psishare.exchange.journal import Journal, Told
from psishare.exchange.left_open import LeftOpen, is_unclosed, left_open, not_resumable
from psishare.exchange.offer import WIRE_VERSION, Offer
from psishare.exchange.offer_reply import require_answer, require_hold
from psishare.exchange.opening import (
    COURT_FILE_NAME,
    Opening,
    keep_opening,
    keep_own_opening,
    seal_opening,
)
from psishare.exchange.patient_channel import PatientChannel
from psishare.exchange.prepared_request import approved_input
from psishare.exchange.progress import Progress, advanced
from psishare.exchange.reasons import REFUSALS, is_refusal, recorded
from psishare.exchange.receipt import Receipt, SequenceTotals, SignedReceipt, sign_receipt
from psishare.exchange.register import LIVE, Row, State
from psishare.exchange.run import Run
from psishare.exchange.settlement import RESTORED, Settlement
from psishare.exchange.signed_frames import SignedFrames
from psishare.exchange.synchronise import Source, Synchronised, synchronise
from psishare.exchange.task import keep_task
from psishare.exchange.terms import Terms
from psishare.exchange.unfinished import KeptResult
from psishare.mandates.archive import MandateArchive
from psishare.mandates.envelope import read_envelope
from psishare.psi import suite
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call, Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from psishare.exchange.ask import Ask
    from psishare.exchange.rooms import AuthorityRooms
    from psishare.parties.peers import Peer

_logger = logging.getLogger(__name__)

ABORT_TIMEOUT_S = 5.0
RESTARTS_MAX = 16
"""How often a platform may start again in one exchange before a person has to look."""

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """What an exchange brought.

    Attributes:
        matched: ``uint64``, ascending indices into ``Ask.identifiers``; with output ``count`` only
            their number means anything.
        receipt: signed by both parties.
        elements: the platform's set size.
        cosigned: whether the platform has cosigned this party's log head yet.
    """

    matched: pa.Array
    receipt: SignedReceipt
    elements: int
    cosigned: bool


@dataclass(frozen=True)
class _Prepared:
    """What an exchange begins with."""

    ask: Ask
    offer: Offer
    opening: Opening
    seed: _native.Seed
    encoded: Synchronised | None
    driver: Driver


class Authority:
    """Runs exchanges with one platform.

    Args:
        rooms: home, peers, log and register.
        channel: to the platform.
        platform: the platform, as pinned.
        progress: called as steps advance.
        retry_for_s: for how many seconds a call that gets no answer is made again; 0: never.
    """

    _carried: ClassVar[bool] = False
    """Whether the platform's heads come in parcels."""

    def __init__(
        self,
        rooms: AuthorityRooms,
        channel: Channel,
        platform: Peer,
        progress: Progress,
        *,
        retry_for_s: float = 0.0,
    ) -> None:
        self._rooms = rooms
        self._once = channel
        tries = advanced(progress, f"no answer from {channel.peer}, trying again", 0)
        self._channel = PatientChannel(
            channel, retry_for_s=retry_for_s, waiting=lambda _peer: tries(1)
        )
        self._platform = platform
        self._progress = progress
        self._id = rooms.home.card.id
        self._signer = rooms.home.log_signer()
        self._journal = Journal(rooms.log)
        turn = HeadTurn(rooms.register.locks, platform.id)
        self._current_heads = CurrentHeads(turn, platform.id, lambda: self._greet().known_tree_size)
        self._heads = PeerHeads(rooms.peers, rooms.register)
        self._left = LeftOpen(rooms.home, rooms.log, rooms.register)
        self._settlement = Settlement(
            rooms.register,
            self._channel,
            platform.id,
            self._left,
            close=self._close_again,
        )

    def exchange(self, ask: Ask) -> Outcome:
        """Run one exchange from greeting to receipt.

        Raises:
            AuthorisationError: the platform refuses; the reason is its own.
            TransportError: the platform is silent or cannot be reached; the exchange is left open.
            PeerError: the platform fails, or breaks the protocol.
            AuditError: this party's log cannot take an entry, or evidence does not verify.
            InputError, ConfigError: the list is not the one that the mandate approves.
        """
        prepared = self._prepare(ask)
        with self._rooms.register.attending(prepared.offer.exchange_id):
            run = self._begin(prepared.ask, prepared.offer, prepared.opening, prepared.seed)
            return self._conclude(run, ask.identifiers, prepared.encoded, prepared.driver)

    def _prepare(self, ask: Ask) -> _Prepared:
        """Have everything that an exchange needs, and its offer made, before anything is entered."""
        mandate = read_envelope(ask.mandate).mandate
        # Before anybody is asked anything.
        approved = approved_input(self._rooms.home, mandate, ask.identifiers)
        ask = replace(ask, frame_rows=approved.frame_rows or ask.frame_rows)
        hello = self._greet()
        self._settle()
        MandateArchive(self._rooms.home.mandates_path).keep(ask.mandate)
        encoded = self._synchronise(ask.protocol, ask.dataset, ask.mandate)
        seed = approved.seed or _native.Seed.generate()
        # Before the offer: what cannot be computed here is not to open anything there.
        driver = authority_driver(ask.protocol, ask.output, len(ask.identifiers), seed, encoded)
        offer, opening = self._make_offer(ask, hello, encoded, seed)
        return _Prepared(ask, offer, opening, seed, encoded, driver)

    def resume(self, exchange_id: bytes, identifiers: pa.Array) -> Outcome:
        """Go on with an exchange that was left open, to the same receipt (section 13).

        One that was closed meanwhile, and whose result was not handed over, needs no connection.

        Args:
            exchange_id: 32 bytes, registered.
            identifiers: the list that it was begun with, as ``Ask.identifiers``.

        Raises:
            InputError: ``list_differs``; ``exchange_running``; ``exchange_finished``.
            PsishareError: as ``exchange``.
        """
        with self._rooms.register.attending(exchange_id):
            row = self._rooms.register.get(exchange_id)
            if row is None:
                raise InternalError("no such exchange is registered", mend="Report this fault.")
            run = Run.again(self._rooms.home, self._signer, row, identifiers)
            run.last = self._left.requested(row)
            if row.state is State.CLOSED:
                return self._closed_before(row, run)
            if row.state not in LIVE:
                raise not_resumable(row)
            self._greet()
            self._settle()
            if row.state is State.PENDING and self._settlement.receipt(row):
                return self._closed_before(row, run)
            self._require_live(exchange_id)
            with self._ending_well(run):
                encoded, driver = self._prepare_again(run)
            return self._conclude(run, identifiers, encoded, driver)

    def _require_live(self, exchange_id: bytes) -> None:
        """Refuse to go on with an exchange that turned out to have ended."""
        row = self._rooms.register.get(exchange_id)
        if row is not None and row.state not in LIVE:
            raise not_resumable(row)

    def hand_over(self, exchange_id: bytes) -> None:
        """Note that a result has reached whoever wanted it: nothing of it is kept any longer.

        Raises:
            AuditError: ``state_write_failed``: the disk refuses.
        """
        self._left.clear(exchange_id)

    def _conclude(
        self, run: Run, identifiers: pa.Array, encoded: Synchronised | None, driver: Driver
    ) -> Outcome:
        """Open, ask and close, or go on wherever that was left."""
        with self._ending_well(run):
            terms = self._open(run, encoded)
            elements = encoded.signed.manifest.items if encoded else terms.answer.elements
            matched, receipt = self._ask_until_closed(run, identifiers, terms, driver, elements)
        cosigned = self._cosign_quietly(run.exchange_id)
        return Outcome(matched, receipt, elements, cosigned)

    # Going on.

    def _prepare_again(self, run: Run) -> tuple[Synchronised | None, Driver]:
        """Have the dataset and the computation that the exchange was begun with."""
        offer = run.offer
        protocol = suite.Protocol(offer.protocol)
        encoded = self._synchronise(protocol, offer.dataset, run.mandate)
        if encoded is not None and encoded.signed.sha256.hex() != offer.manifest_sha256:
            raise AuthorisationError(
                f"{offer.dataset} has another epoch by now than the exchange was begun with",
                mend="Start a new exchange.",
                reason="manifest_mismatch",
                party=self._platform.id,
            )
        output = suite.Output(offer.output)
        return encoded, authority_driver(protocol, output, offer.rows, run.seed, encoded)

    def _closed_before(self, row: Row, run: Run) -> Outcome:
        """Return the result of an exchange that is closed, as it was kept."""
        closed = self._rooms.register.get(row.exchange_id) or row
        with run.unfinished() as unfinished:
            result = unfinished.result(run.offer.rows)
        if result is None or closed.signed_receipt is None:
            raise not_resumable(closed)
        return Outcome(result.matched, closed.signed_receipt, result.elements, cosigned=True)

    def _how_far(self, run: Run) -> int:
        """Ask how far the exchange has come there; return how many frames need not be sent again."""
        request = wire.ResumeRequest(exchange_id=run.exchange_id)
        there: wire.ResumeResponse = self._channel.call(Call.RESUME, request)  # type: ignore[assignment]
        with run.retained() as retained:
            known = there.answered <= there.requests <= len(retained.digests)
            if not known or retained.transcript(there.requests) != there.transcript:
                raise ProtocolError(
                    f"{self._platform.id} tells of other frames than were sent to it",
                    mend="Do not trust this exchange; reconcile both logs.",
                    reason="transcript_differs",
                    party=self._platform.id,
                )
        return there.answered

    # Connect.

    def _greet(self) -> wire.HelloResponse:
        """Greet, and check whom and which certificate we speak to (section 4)."""
        request = wire.HelloRequest(authority=self._id, wire_versions=[WIRE_VERSION])
        hello: wire.HelloResponse = self._channel.call(Call.HELLO, request)  # type: ignore[assignment]
        if hello.platform != self._platform.id or (
            hello.certificate_sha256 not in self._platform.card.certificate_digests()
        ):
            raise ProtocolError(
                f"the server that answers is not {self._platform.id} as its card says",
                mend="Check the address, and whether the platform's card has been replaced.",
                reason="peer_certificate",
                party=self._platform.id,
            )
        if WIRE_VERSION not in hello.wire_versions:
            raise ProtocolError(
                f"the platform speaks wire versions {list(hello.wire_versions)}, not {WIRE_VERSION}",
                mend="Use the same version of psishare on both sides.",
                reason="version_mismatch",
                party=self._platform.id,
            )
        require_not_rolled_back(self._rooms.log.size, hello.known_tree_size)
        return hello

    def _synchronise(
        self, protocol: suite.Protocol, dataset: str, mandate: bytes
    ) -> Synchronised | None:
        """Have the dataset's current epoch, verified, before anything is offered (section 12)."""
        if protocol is not suite.Protocol.OPRF:
            return None
        source = Source(
            channel=self._channel,
            platform=self._platform,
            dataset=dataset,
            mandate=mandate,
            mandate_id=read_envelope(mandate).mandate.id,
            mandate_sha256=hashlib.sha256(mandate).digest(),
        )
        cache = self._rooms.home.datasets_path
        return self._with_current_heads(
            lambda _since: synchronise(source, self._heads, self._journal, cache, self._progress)
        )

    # Offer.

    def _make_offer(
        self,
        ask: Ask,
        hello: wire.HelloResponse,
        encoded: Synchronised | None,
        seed: _native.Seed,
    ) -> tuple[Offer, Opening]:
        """Make the offer and its opening (section 5)."""
        ends = self._own_end(), hello.certificate_sha256
        return ask.offer(self._id, self._platform.id, ends, encoded, seed, write_time(now()))

    def _own_end(self) -> bytes:
        """Return what stands for this side's end of the channel: its certificate's digest."""
        return self._rooms.home.tls_identity().certificate_sha256

    def _begin(self, ask: Ask, offer: Offer, opening: Opening, seed: _native.Seed) -> Run:
        """Keep the opening sealed and durable, then enter the offer, before it is sent."""
        run = Run.of(self._rooms.home, self._signer, offer, ask.mandate, seed)
        self._keep_opening(run, opening)
        if ask.task is not None:
            own_key = self._rooms.home.card.sealing_key_bytes
            keep_task(run.folder, ask.task, run.exchange_id, own_key)
        self._enter(offer, run.mandate_id)
        return run

    def _enter(self, offer: Offer, mandate_id: str) -> None:
        """Enter the exchange in the register: from here on its end will be in the log."""
        self._rooms.register.begin(
            offer.exchange_id,
            peer=self._platform.id,
            state=State.OFFERED,
            offer=offer.document(),
            log_size=self._rooms.log.size,
        )
        self._rooms.register.update(offer.exchange_id, State.OFFERED, mandate_id=mandate_id)

    def _keep_opening(self, run: Run, opening: Opening) -> None:
        """Seal the opening to this party and, where the mandate names one, to the court."""
        keep_own_opening(self._rooms.home, opening, run.exchange_id)
        court_key = read_envelope(run.mandate).mandate.court_sealing_key
        if court_key is not None:
            sealed = seal_opening(opening, run.exchange_id, court_key)
            keep_opening(run.folder / COURT_FILE_NAME, sealed)

    def _open(self, run: Run, encoded: Synchronised | None) -> Terms:
        """Offer, verify the answer, log ``exchange.opened`` (sections 5 to 7), unless it is there."""
        exchange_id = run.exchange_id
        row = self._rooms.register.get(exchange_id)
        if run.resumed and row is not None:
            opened = self._journal.told(exchange_id, row.log_size).terms
            if opened is not None:
                return opened
        response = self._with_current_heads(lambda since: self._offer(run, since))
        if response.HasField("hold"):
            raise self._held(run, response.hold)
        answer = require_answer(response.answer, run.offer, self._platform, encoded)
        terms = Terms(
            offer=run.offer,
            offer_signature=run.signed_offer.signature,
            answer=answer,
            answer_signature=response.answer.signature,
            mandate_id=run.mandate_id,
        )
        self._journal.opened(terms, self._platform.id)
        self._rooms.register.update(run.exchange_id, State.OPENED, answer=response.answer.document)
        return terms

    def _held(self, run: Run, signed: wire.Signed) -> AuthorisationError:
        """Verify that the platform holds the offer, log it once, and return what tells of it."""
        offer, platform = run.offer, self._platform
        row = self._rooms.register.get(offer.exchange_id)
        before = row.answer if row is not None and row.state is State.HELD else None
        hold = require_hold(signed, offer, platform, before)
        if row is None or row.state is not State.HELD:
            self._journal.held(hold, signed.signature, offer, run.mandate_id, platform.id)
            self._rooms.register.update(offer.exchange_id, State.HELD, answer=signed.document)
        run.held = True
        return AuthorisationError(
            f"{platform.id} holds the offer until a second operator of its own approves it",
            mend=f"Go on with `psishare match --resume {offer.exchange_id.hex()[:16]}` once it is"
            f" approved, at the latest by {hold.expires}.",
            reason="approval_required",
            party=platform.id,
        )

    def _offer(self, run: Run, since: int) -> wire.OfferResponse:
        request = wire.OfferRequest(
            offer=run.signed_offer,
            mandate=run.mandate,
            head=show_head(self._rooms.log, since),
            known_tree_size=self._heads.known_size(self._platform),
        )
        try:
            response: wire.OfferResponse = self._channel.call(Call.OFFER, request)  # type: ignore[assignment]
        except REFUSALS as error:
            run.refused = is_refusal(error)
            raise
        self._heads.accept(self._platform, response.head, carried=self._carried)
        return response

    def _with_current_heads(self, call: Callable[[int], T]) -> T:
        """Make a call that shows log heads, in turn; it is given how far this log is known there."""
        return self._current_heads.call(call)

    # Frames and close.

    def _ask_until_closed(
        self, run: Run, identifiers: pa.Array, terms: Terms, driver: Driver, elements: int
    ) -> tuple[pa.Array, SignedReceipt]:
        """Ask and close; begin where the platform is when it has started again meanwhile.

        Raises:
            TransportError: ``peer_silent``: it says so again and again.
        """
        answered = self._how_far(run) if run.resumed else 0
        for _ in range(RESTARTS_MAX + 1):
            try:
                matched, totals = self._ask_all(run, identifiers, terms, driver, answered)
                with run.unfinished() as unfinished:
                    unfinished.keep_result(KeptResult(matched, elements), len(identifiers))
                return matched, self._close(run.exchange_id, terms, totals)
            except ProtocolError as error:
                # Each time is one more start of the platform's server.
                if error.reason != RESTORED:
                    raise
            answered = self._how_far(run)
        raise TransportError(
            f"{self._platform.id} has started again {RESTARTS_MAX} times in this exchange",
            mend="Ask the platform's operator what ends its server, then go on.",
            reason="peer_silent",
            party=self._platform.id,
        )

    def _ask_all(
        self, run: Run, identifiers: pa.Array, terms: Terms, driver: Driver, answered: int
    ) -> tuple[pa.Array, dict[str, SequenceTotals]]:
        """Run the protocol from the first frame that is not finished on (section 8)."""
        with run.retained() as retained, run.unfinished() as unfinished:
            frames = SignedFrames(
                self._channel,
                terms,
                self._signer,
                retained=retained,
                unfinished=unfinished,
                answered=answered,
                approved=read_envelope(run.mandate).mandate.sealed_request,
            )
            try:
                with contextlib.closing(frames):
                    matched = driver.run(
                        identifiers, frames, advanced(self._progress, "asking", len(identifiers))
                    )
            except PsishareError as error:
                cause = frames.cause_of(error)
                if cause is error:
                    raise
                raise cause from error
            finally:
                last = frames.last_request()
                if run.last is None or last.frames >= run.last.frames:
                    run.last = last
        return matched, frames.totals()

    def _close(
        self, exchange_id: bytes, terms: Terms, totals: dict[str, SequenceTotals]
    ) -> SignedReceipt:
        """Sign the receipt, get it countersigned, and log it before a result is released."""
        row = self._rooms.register.get(exchange_id)
        if row is not None and row.receipt is not None and row.authority_signature is not None:
            document, signature = row.receipt, row.authority_signature
            require_same(Receipt.parse(document), terms, totals, self._platform)
        else:
            document = terms.receipt(totals, closed=write_time(now())).document()
            signature = sign_receipt(document, self._signer)
            self._rooms.register.update(
                exchange_id, State.PENDING, receipt=document, authority_signature=signature
            )
        return self._finish_close(exchange_id, document, signature)

    def _finish_close(self, exchange_id: bytes, document: bytes, signature: bytes) -> SignedReceipt:
        """Get the countersignature, verify it and its log entry, and log the closing."""
        signed = self._with_current_heads(
            lambda _since: self._request_close(exchange_id, document, signature)
        )
        self._log_closed(exchange_id, signed)
        return signed

    def _close_again(self, exchange_id: bytes, document: bytes, signature: bytes) -> None:
        """Close, with a receipt that was signed before, and exchange cosignatures."""
        self._finish_close(exchange_id, document, signature)
        self._cosign_quietly(exchange_id)

    def _log_closed(self, exchange_id: bytes, signed: SignedReceipt) -> None:
        row = self._rooms.register.get(exchange_id)
        # A process that is gone, or a disk that was full, may have left the entry in the log.
        told = self._journal.told(exchange_id, row.log_size) if row else Told()
        index = told.closed
        if index is None:
            index = self._journal.closed(signed, self._platform.id)
        self._rooms.register.update(exchange_id, State.CLOSED, closed_index=index)

    def _request_close(
        self, exchange_id: bytes, document: bytes, signature: bytes
    ) -> SignedReceipt:
        platform = self._platform
        request = wire.CloseRequest(
            exchange_id=exchange_id,
            receipt=wire.Signed(document=document, signature=signature),
            known_tree_size=self._heads.known_size(platform),
        )
        response: wire.CloseResponse = self._channel.call(Call.CLOSE, request)  # type: ignore[assignment]
        signed = countersigned(document, signature, response.countersignature, platform)
        # Whatever is wrong with the platform's log, the doubly signed receipt is not lost.
        self._rooms.register.update(
            exchange_id, State.PENDING, platform_signature=response.countersignature
        )
        checkpoint = self._heads.accept(platform, response.head, carried=self._carried)
        require_closed_entry(response, checkpoint, signed, platform.id)
        return signed

    # After the close.

    def _settle(self) -> None:
        """Ask what became of the exchanges with this platform that were left open (section 13)."""
        self._settlement.settle()

    def _cosign_quietly(self, exchange_id: bytes) -> bool:
        """Exchange cosignatures; a failure never holds back a result, and False tells of it."""
        try:
            self._with_current_heads(lambda since: self._cosign(exchange_id, since))
        except PsishareError:
            return False
        return True

    def _cosign(self, exchange_id: bytes, since: int) -> None:
        """Cosign the platform's head, show ours with our ``exchange.closed``, keep its cosignature."""
        row = self._rooms.register.get(exchange_id)
        theirs = self._rooms.peers.checkpoint(self._platform.id)
        if row is None or row.closed_index is None or theirs is None:
            raise InternalError("the exchange to cosign is not closed", mend="Report this fault.")
        require_current(self._platform, parse_checkpoint(theirs))
        head = show_head(self._rooms.log, since)
        own_size = head_size(head)
        request = wire.CosignRequest(
            exchange_id=exchange_id,
            head=head,
            closed_entry=self._rooms.log.entry(row.closed_index),
            closed_index=row.closed_index,
            inclusion=self._rooms.log.inclusion_proof(row.closed_index, own_size),
            cosignature=cosign_head(self._rooms.home, theirs),
            cosigned_size=parse_checkpoint(theirs).tree_size,
        )
        response: wire.CosignResponse = self._once.call(Call.COSIGN, request)  # type: ignore[assignment]
        keep_cosignature(self._rooms.log, own_size, response.cosignature, self._platform)

    # Failures.

    def recover(self) -> int:
        """Record how exchanges ended that were left open too long, or that the log tells the end of.

        Returns:
            How many were recorded as aborted.
        """
        if self._rooms.register.unattended():
            self._ask_for_own_size()
        return self._left.recover()

    def _ask_for_own_size(self) -> None:
        """Ask the platform, before the first signature after a start, how far it has seen this log.

        Where it cannot be reached, nobody is there to tell a log that was restored from an old copy.
        """
        try:
            self._greet()
        except TransportError:
            _logger.warning("nobody could be asked whether this log is its newest copy")

    @contextlib.contextmanager
    def _ending_well(self, run: Run) -> Iterator[None]:
        """Log whatever ends the exchange before its time, and tell the platform.

        A connection that is lost ends nothing.
        """
        try:
            yield
        except TransportError as error:
            raise left_open(run.exchange_id, error) from error
        except BaseException as error:
            self._end(run, error)
            raise

    def _end(self, run: Run, error: BaseException) -> None:
        row = self._rooms.register.get(run.exchange_id)
        if run.held:
            # It waits for a decision of the platform's, and goes on after that.
            return
        if row is None or (row.state is State.PENDING and not is_unclosed(row, error)):
            # A doubly signed receipt may exist: the exchange stays pending.
            return
        reason = recorded(error) if isinstance(error, PsishareError) else "interrupted"
        # Where the log itself fails, the next start finds the exchange open and records this.
        with contextlib.suppress(AuditError):
            if run.refused:
                self._journal.refused(run.exchange_id, run.offer, reason, row.peer)
                self._rooms.register.update(row.exchange_id, State.REFUSED, reason=reason)
                self._left.clear(row.exchange_id)
            else:
                self._left.abort(row, reason, self._at_fault(error), run.last)
        if not run.refused:
            self._tell(run.exchange_id, reason)

    def _at_fault(self, error: BaseException) -> str:
        """Name the platform for what it did or told of itself, and this party for all else."""
        platform = self._platform.id
        theirs = isinstance(error, PsishareError) and error.party == platform
        return platform if theirs or isinstance(error, PeerError) else self._id

    def _tell(self, exchange_id: bytes, reason: str) -> None:
        """Tell the platform of the abort, once."""
        with contextlib.suppress(PsishareError):
            request = wire.AbortRequest(exchange_id=exchange_id, reason=reason)
            self._once.call(Call.ABORT, request, timeout_s=ABORT_TIMEOUT_S)
