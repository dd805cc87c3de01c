"""The authority's side of an exchange: protocols/specs/exchange.md, a step a line.

Promises: the opening is sealed and durable before an offer is sent; ``exchange.opened`` is in this
party's log before a frame is sent, and ``exchange.closed`` with both signatures before a result is
returned. Whatever fails before that leaves no result and an entry that says why.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from psishare import _native
from psishare.audit.checkpoint import parse_checkpoint
from psishare.errors import (
    AuditError,
    InternalError,
    PeerError,
    ProtocolError,
    PsishareError,
    TransportError,
    VerificationError,
)
from psishare.exchange.closed_entry import require_closed_entry
from psishare.exchange.document import now, write_time
from psishare.exchange.head_turn import HeadTurn
from psishare.exchange.heads import (
    PeerHeads,
    cosign_head,
    head_size,
    keep_cosignature,
    require_not_rolled_back,
    show_head,
)
from psishare.exchange.journal import Ending, Journal, LastFrame, Told
from psishare.exchange.offer import (
    ANSWER,
    OFFER,
    WIRE_VERSION,
    Answer,
    Offer,
    Ruleset,
    operator_commitment,
)
from psishare.exchange.opening import Opening, keep_opening, seal_opening
from psishare.exchange.prepared_request import approved_input
from psishare.exchange.reasons import CLOSE_REFUSALS, REFUSALS, is_refusal, recorded
from psishare.exchange.receipt import Receipt, SignedReceipt, sign_receipt, verify_receipt
from psishare.exchange.register import Register, Row, State
from psishare.exchange.retained import RetainedElements, requested
from psishare.exchange.signed_frames import SignedFrames
from psishare.exchange.synchronise import Source, Synchronised, synchronise
from psishare.exchange.terms import Terms
from psishare.keys.statement import sign_statement, verify_statement
from psishare.mandates.archive import MandateArchive
from psishare.mandates.envelope import read_envelope
from psishare.psi import suite
from psishare.psi.ecdh import EcdhAuthority
from psishare.psi.openmined import OpenminedAuthority, require_size
from psishare.psi.oprf import OprfAuthority
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call, Channel

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from psishare.audit.log import Log
    from psishare.parties.home import Home
    from psishare.parties.peers import Peer, Peers
    from psishare.psi.suite import Output

STALE_HEAD_TRIES = 16
STALE_HEAD_PAUSE_S = 0.02
BUSY_FOR_S = 600.0
"""How long a platform that has as much to do as it takes on is asked again to open or close."""

BUSY_PAUSE_S = 0.1
BUSY_PAUSE_MAX_S = 2.0
ABORT_TIMEOUT_S = 5.0

T = TypeVar("T")
_RANDOM = random.SystemRandom()

Progress = Callable[[str, int, int], None]
"""Called with a step's name, what is done of it, and its total (0: unknown)."""


@dataclass(frozen=True)
class AuthorityRooms:
    """What the authority's side works with.

    Attributes:
        home: keys, card and folders.
        peers: pinned parties.
        log: the audit log.
        register: the exchanges.
    """

    home: Home
    peers: Peers
    log: Log
    register: Register


@dataclass(frozen=True)
class Ask:
    """What is to be asked.

    Attributes:
        identifiers: canonical and distinct, ``binary``, in first-occurrence order.
        kind: their kind.
        namespace: their namespace.
        ruleset: the canonical form they are in.
        dataset: the platform's name for the set.
        protocol: which protocol.
        output: what is to be learnt.
        mandate: the envelope's bytes.
        operator: who runs it; only a salted commitment leaves this party.
        frame_rows: rows of a frame.
    """

    identifiers: pa.Array
    kind: str
    namespace: str
    ruleset: Ruleset
    dataset: str
    protocol: suite.Protocol
    output: Output
    mandate: bytes
    operator: str
    frame_rows: int = suite.MAX_FRAME_ROWS


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


@dataclass
class _Run:
    """One exchange on its way: what an abort has to tell of it."""

    offer: Offer
    signed_offer: wire.Signed
    mandate_id: str
    refused: bool = False
    last: LastFrame | None = None


class Authority:
    """Runs exchanges with one platform.

    Args:
        rooms: home, peers, log and register.
        channel: to the platform.
        platform: the platform, as pinned.
        progress: called as steps advance.
    """

    def __init__(
        self, rooms: AuthorityRooms, channel: Channel, platform: Peer, progress: Progress
    ) -> None:
        self._rooms = rooms
        self._channel = channel
        self._platform = platform
        self._progress = progress
        self._id = rooms.home.card.id
        self._signer = rooms.home.log_signer()
        self._journal = Journal(rooms.log)
        self._heads = PeerHeads(rooms.peers)
        self._turn = HeadTurn(rooms.register.locks, platform.id)

    def exchange(self, ask: Ask) -> Outcome:
        """Run one exchange from greeting to receipt.

        Raises:
            AuthorisationError: the platform refuses; the reason is its own.
            PeerError: the platform is silent, unreachable, or breaks the protocol.
            AuditError: this party's log cannot take an entry, or evidence does not verify.
            InputError, ConfigError: the list is not the one that the mandate approves.
        """
        mandate = read_envelope(ask.mandate).mandate
        # Before anybody is asked anything.
        approved = approved_input(self._rooms.home, mandate, ask.identifiers)
        ask = replace(ask, frame_rows=approved.frame_rows or ask.frame_rows)
        hello = self._greet()
        self._settle_pending()
        MandateArchive(self._rooms.home.mandates_path).keep(ask.mandate)
        encoded = self._synchronise(ask)
        seed = approved.seed or _native.Seed.generate()
        # Before the offer: what cannot be computed here is not to open anything there.
        driver = _driver(ask, seed, encoded)
        root = _native.merkle_root(ask.identifiers)
        run = self._begin(ask, hello, encoded, seed, root)
        with self._ending_well(run):
            terms = self._open(run, ask, encoded)
            matched, receipt = self._ask_and_close(run, ask, terms, driver)
        cosigned = self._cosign_quietly(run.offer.exchange_id)
        elements = encoded.signed.manifest.items if encoded else terms.answer.elements
        return Outcome(matched, receipt, elements, cosigned)

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

    def _synchronise(self, ask: Ask) -> Synchronised | None:
        """Have the dataset's current epoch, verified, before anything is offered (section 12)."""
        if ask.protocol is not suite.Protocol.OPRF:
            return None
        source = Source(
            channel=self._channel,
            platform=self._platform,
            dataset=ask.dataset,
            mandate=ask.mandate,
            mandate_id=read_envelope(ask.mandate).mandate.id,
            mandate_sha256=hashlib.sha256(ask.mandate).digest(),
        )
        cache = self._rooms.home.datasets_path
        return self._with_current_heads(
            lambda _since: synchronise(source, self._heads, self._journal, cache, self._progress)
        )

    # Offer.

    def _begin(
        self,
        ask: Ask,
        hello: wire.HelloResponse,
        encoded: Synchronised | None,
        seed: _native.Seed,
        root: bytes,
    ) -> _Run:
        """Make the offer, and keep its opening sealed and durable before it is sent (section 5)."""
        salt = secrets.token_bytes(32)
        offer = Offer(
            suite=ask.protocol.suite,
            protocol=ask.protocol.value,
            authority=self._id,
            platform=self._platform.id,
            authority_certificate=self._rooms.home.tls_identity().certificate_sha256.hex(),
            platform_certificate=hello.certificate_sha256.hex(),
            dataset=ask.dataset,
            manifest_sha256=encoded.signed.sha256.hex() if encoded else None,
            kind=ask.kind,
            namespace=ask.namespace,
            ruleset=ask.ruleset,
            rows=len(ask.identifiers),
            output=ask.output.value,
            frame_rows=ask.frame_rows,
            mandate_sha256=hashlib.sha256(ask.mandate).hexdigest(),
            opening_commitment=seed.commitment(root).hex(),
            operator_commitment=operator_commitment(ask.operator, salt).hex(),
            nonce=secrets.token_hex(32),
            time=write_time(now()),
        )
        court_key = read_envelope(ask.mandate).mandate.court_sealing_key
        opening = Opening(
            protocol=ask.protocol.value,
            seed=seed.secret_bytes().hex(),
            input_root=root.hex(),
            rows=len(ask.identifiers),
            operator=ask.operator,
            operator_salt=salt.hex(),
        )
        self._keep_opening(offer, opening, court_key)
        return self._enter(offer, read_envelope(ask.mandate).mandate.id)

    def _enter(self, offer: Offer, mandate_id: str) -> _Run:
        """Enter the exchange in the register: from here on its end will be in the log."""
        document = offer.document()
        signature = sign_statement(self._signer, OFFER, document)
        self._rooms.register.begin(
            offer.exchange_id,
            peer=self._platform.id,
            state=State.OFFERED,
            offer=document,
            log_size=self._rooms.log.size,
        )
        self._rooms.register.update(offer.exchange_id, State.OFFERED, mandate_id=mandate_id)
        return _Run(offer, wire.Signed(document=document, signature=signature), mandate_id)

    def _keep_opening(self, offer: Offer, opening: Opening, court_key: bytes | None) -> None:
        """Seal the opening to this party and, where the mandate names one, to the court."""
        home = self._rooms.home
        folder = self._folder(offer.exchange_id)
        own = seal_opening(opening, offer.exchange_id, home.card.sealing_key_bytes)
        keep_opening(folder / "opening.sealed", own)
        if court_key is not None:
            sealed = seal_opening(opening, offer.exchange_id, court_key)
            keep_opening(folder / "opening.court.sealed", sealed)

    def _open(self, run: _Run, ask: Ask, encoded: Synchronised | None) -> Terms:
        """Offer, verify the answer, log ``exchange.opened`` (sections 5 to 7)."""
        response = self._with_current_heads(lambda since: self._offer(run, ask, since))
        answer = self._read_answer(response.answer)
        self._require_answer(run.offer, answer, encoded)
        terms = Terms(
            offer=run.offer,
            offer_signature=run.signed_offer.signature,
            answer=answer,
            answer_signature=response.answer.signature,
            mandate_id=run.mandate_id,
        )
        self._journal.opened(terms, self._platform.id)
        self._rooms.register.update(
            run.offer.exchange_id, State.OPENED, answer=response.answer.document
        )
        return terms

    def _offer(self, run: _Run, ask: Ask, since: int) -> wire.OfferResponse:
        request = wire.OfferRequest(
            offer=run.signed_offer,
            mandate=ask.mandate,
            head=show_head(self._rooms.log, since),
            known_tree_size=self._heads.known_size(self._platform),
        )
        try:
            response: wire.OfferResponse = self._channel.call(Call.OFFER, request)  # type: ignore[assignment]
        except REFUSALS as error:
            run.refused = is_refusal(error)
            raise
        self._heads.accept(self._platform, response.head)
        return response

    def _with_current_heads(self, call: Callable[[int], T]) -> T:
        """Make a call that shows log heads; make it again where another exchange moved them on.

        Args:
            call: given the size of this party's log as the platform knows it.
        """
        for tries in range(STALE_HEAD_TRIES):
            try:
                return self._once_there_is_room(call)
            except PeerError as error:
                if error.reason != "log_head_stale":
                    raise
            # Those that went ahead without a turn get out of each other's way.
            time.sleep(_RANDOM.uniform(0, STALE_HEAD_PAUSE_S * (tries + 1)))
        raise PeerError(
            "the logs' heads moved on at every try",
            mend="Run fewer exchanges between these two parties at the same time.",
            reason="log_head_stale",
            party=self._platform.id,
        )

    def _once_there_is_room(self, call: Callable[[int], T]) -> T:
        """Make a call that shows log heads in this home's turn; again while the platform is busy."""
        until_s, pause_s = None, BUSY_PAUSE_S
        while True:
            try:
                with self._turn.taken():
                    return call(self._greet().known_tree_size)
            except TransportError as error:
                until_s = until_s or time.monotonic() + BUSY_FOR_S
                if error.reason != "peer_busy" or time.monotonic() > until_s:
                    raise
            # Out of turn, so that exchanges that can end do so, and make room.
            time.sleep(_RANDOM.uniform(pause_s / 2, pause_s))
            pause_s = min(2 * pause_s, BUSY_PAUSE_MAX_S)

    def _read_answer(self, signed: wire.Signed) -> Answer:
        platform = self._platform
        try:
            verify_statement(
                platform.card.log_key, ANSWER, signed.document, signed.signature, party=platform.id
            )
            return Answer.parse(signed.document)
        except VerificationError as error:
            raise ProtocolError(
                f"the answer is malformed or not signed by {platform.id}",
                mend="Use the same version of psishare on both sides.",
                reason="answer_invalid",
                party=platform.id,
            ) from error

    def _require_answer(self, offer: Offer, answer: Answer, encoded: Synchronised | None) -> None:
        """Refuse an answer to another offer, or about another set."""
        right = (
            answer.exchange_id == offer.exchange_id.hex()
            and answer.platform == offer.platform
            and answer.dataset == offer.dataset
            and answer.manifest_sha256 == offer.manifest_sha256
            and answer.epoch == (encoded.signed.manifest.epoch if encoded else None)
            and (answer.opening_commitment is None) == (encoded is not None)
            and not (encoded and answer.elements)
        )
        if not right:
            raise ProtocolError(
                "the platform's answer is not one to this offer",
                mend="Use the same version of psishare on both sides.",
                reason="answer_misdirected",
                party=self._platform.id,
            )

    # Frames and close.

    def _ask_and_close(
        self, run: _Run, ask: Ask, terms: Terms, driver: Driver
    ) -> tuple[pa.Array, SignedReceipt]:
        """Run the protocol, exchange receipts, log ``exchange.closed`` (sections 8 and 9)."""
        with RetainedElements(self._folder(terms.exchange_id) / "elements") as retained:
            sealed = read_envelope(ask.mandate).mandate.sealed_request
            frames = SignedFrames(self._channel, terms, self._signer, retained.add, approved=sealed)
            try:
                with contextlib.closing(frames):
                    matched = driver.run(ask.identifiers, frames, self._asked(len(ask.identifiers)))
            except PsishareError as error:
                cause = frames.cause_of(error)
                if cause is error:
                    raise
                raise cause from error
            finally:
                run.last = frames.last_request()
        totals = frames.totals()
        receipt = terms.receipt(totals, closed=write_time(now()))
        return matched, self._close(run.offer.exchange_id, receipt)

    def _asked(self, n_rows: int) -> Callable[[int], None]:
        done = 0

        def advanced(rows: int) -> None:
            nonlocal done
            done += rows
            self._progress("asking", done, n_rows)

        return advanced

    def _close(self, exchange_id: bytes, receipt: Receipt) -> SignedReceipt:
        """Sign the receipt, get it countersigned, and log it before a result is released."""
        document = receipt.document()
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
        self._verify_countersignature(document, response.countersignature)
        signed = SignedReceipt(
            Receipt.parse(document), document, signature, response.countersignature
        )
        # Whatever is wrong with the platform's log, the doubly signed receipt is not lost.
        self._rooms.register.update(
            exchange_id, State.PENDING, platform_signature=response.countersignature
        )
        checkpoint = self._heads.accept(platform, response.head)
        require_closed_entry(response, checkpoint, signed, platform.id)
        return signed

    def _verify_countersignature(self, document: bytes, signature: bytes) -> None:
        platform = self._platform
        try:
            verify_receipt(document, signature, platform.card.log_key, platform.id)
        except VerificationError as error:
            raise ProtocolError(
                f"the receipt is not countersigned by {platform.id}",
                mend="Do not trust this exchange; reconcile both logs.",
                reason="receipt_invalid",
                party=platform.id,
            ) from error

    # After the close.

    def _settle_pending(self) -> None:
        """Ask again for the receipts that an earlier connection did not bring back."""
        for row in self._rooms.register.pending(self._platform.id):
            if row.receipt is None or row.authority_signature is None:
                continue
            try:
                self._finish_close(row.exchange_id, row.receipt, row.authority_signature)
            except ProtocolError as error:
                known = self._rooms.register.get(row.exchange_id)
                if known is None or not _is_unclosed(known, error):
                    raise
                self._log_abort(known, recorded(error), self._platform.id, self._requested(known))
            else:
                self._cosign_quietly(row.exchange_id)

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
        response: wire.CosignResponse = self._channel.call(Call.COSIGN, request)  # type: ignore[assignment]
        keep_cosignature(self._rooms.log, own_size, response.cosignature, self._platform)

    # Failures.

    def recover(self) -> int:
        """Record how the exchanges ended that a process that is gone left open.

        A receipt that this side has signed stays pending until the platform is reached.

        Returns:
            How many were recorded as aborted.
        """
        orphans = self._rooms.register.orphans()
        return sum(self._record(row) for row in orphans)

    def _record(self, row: Row) -> bool:
        """Enter what the log tells of an exchange's end; where it tells none, that it was cut off."""
        told = self._journal.told(row.exchange_id, row.log_size)
        update = self._rooms.register.update
        if told.closed is not None:
            update(row.exchange_id, State.CLOSED, closed_index=told.closed)
        elif told.aborted is not None:
            update(row.exchange_id, State.ABORTED, reason=told.aborted)
        elif told.refused is not None and not told.opened:
            update(row.exchange_id, State.REFUSED, reason=told.refused)
        elif row.state is not State.PENDING:
            self._log_abort(row, "interrupted", self._id, self._requested(row))
            return True
        return False

    def _requested(self, row: Row) -> LastFrame:
        """Work out how far the requests of an exchange had come, from what was retained of it."""
        elements = self._folder(row.exchange_id) / "elements"
        return requested(elements, Offer.parse(row.offer), self._signer)

    @contextlib.contextmanager
    def _ending_well(self, run: _Run) -> Iterator[None]:
        """Log whatever ends the exchange before its time, and tell the platform."""
        try:
            yield
        except BaseException as error:
            self._end(run, error)
            raise

    def _end(self, run: _Run, error: BaseException) -> None:
        row = self._rooms.register.get(run.offer.exchange_id)
        if row is None or (row.state is State.PENDING and not _is_unclosed(row, error)):
            # A doubly signed receipt may exist: the exchange stays pending.
            return
        reason = recorded(error) if isinstance(error, PsishareError) else "interrupted"
        # Where the log itself fails, the next start finds the exchange open and records this.
        with contextlib.suppress(AuditError):
            if run.refused:
                self._journal.refused(run.offer.exchange_id, run.offer, reason, row.peer)
                self._rooms.register.update(row.exchange_id, State.REFUSED, reason=reason)
            else:
                self._log_abort(row, reason, self._at_fault(error), run.last)
        if not run.refused:
            self._tell(run.offer.exchange_id, reason, error)

    def _at_fault(self, error: BaseException) -> str:
        """Name the platform for what it did or told of itself, and this party for all else."""
        platform = self._platform.id
        theirs = isinstance(error, PsishareError) and error.party == platform
        return platform if theirs or isinstance(error, PeerError) else self._id

    def _log_abort(self, row: Row, reason: str, at_fault: str, last: LastFrame | None) -> None:
        self._journal.aborted(
            Ending(row.exchange_id, row.peer, row.mandate_id, reason, at_fault, last)
        )
        self._rooms.register.update(row.exchange_id, State.ABORTED, reason=reason)

    def _tell(self, exchange_id: bytes, reason: str, error: BaseException) -> None:
        """Tell the platform of the abort, where it can still be told."""
        if isinstance(error, TransportError):
            return
        with contextlib.suppress(PsishareError):
            request = wire.AbortRequest(exchange_id=exchange_id, reason=reason)
            self._channel.call(Call.ABORT, request, timeout_s=ABORT_TIMEOUT_S)

    def _folder(self, exchange_id: bytes) -> Path:
        return self._rooms.home.exchanges_path / exchange_id.hex()


class Driver(Protocol):
    """The authority's computation in one exchange."""

    def run(
        self, identifiers: pa.Array, channel: SignedFrames, progress: Callable[[int], None]
    ) -> pa.Array:
        """Ask about every identifier; return the indices that matched, ``uint64``, ascending."""


def _driver(ask: Ask, seed: _native.Seed, encoded: Synchronised | None) -> Driver:
    """Choose the computation.

    Raises:
        ConfigError: it needs a package that is not installed.
        InputError: the list is too long for it.
    """
    if encoded is not None:
        manifest = encoded.signed.manifest
        return OprfAuthority(
            seed=seed,
            public_key=bytes.fromhex(manifest.public_key),
            bits=manifest.fingerprint_bits,
            lookup=encoded.contents.contains,
        )
    if ask.protocol is suite.Protocol.OPENMINED:
        require_size(len(ask.identifiers))
        return OpenminedAuthority(seed=seed)
    return EcdhAuthority(scalar=seed.scalar(), output=ask.output)


def _is_unclosed(row: Row, error: BaseException) -> bool:
    """Tell whether an error shows that no doubly signed receipt of an exchange exists.

    Only what the platform answers to ``Close`` shows that, and only as long as it has not signed.
    """
    signed = row.platform_signature is not None
    return not signed and isinstance(error, ProtocolError) and error.reason in CLOSE_REFUSALS
