"""One opened exchange at the platform: its frames in order, its transcripts, its computation.

Frames are committed in the order of their numbers, each before it is evaluated; evaluations run side
by side. Every call may come again and gets the same answer (protocols/specs/exchange.md, section 8).
One that a process left that is gone is made again from its past, and goes on (section 13).
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from psishare.errors import (
    AuthorisationError,
    InternalError,
    ProtocolError,
    VerificationError,
)
from psishare.exchange.frame import decode_frame, element_bytes_of, encode_frame
from psishare.exchange.receipt import Receipt, SequenceTotals
from psishare.exchange.transcript import (
    REQUEST,
    RETURN,
    Transcript,
    frame_digest,
    frame_statement,
)
from psishare.keys.statement import verify_statement
from psishare.psi import suite
from psishare.psi.ecdh import EcdhPlatform, require_increasing, sorted_answers
from psishare.psi.suite import Output, Sequence, frame_span, n_frames
from psishare.transport.wire_pb2 import (
    SEQUENCE_ANSWERS,
    SEQUENCE_ELEMENTS,
    EvaluateRequest,
    FetchRequest,
    FrameResponse,
    ResumeResponse,
    ReturnRequest,
    ReturnResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from collections.abc import Sequence as Many
    from datetime import datetime

    import pyarrow as pa

    from psishare.exchange.offering import Driver
    from psishare.exchange.terms import Terms
    from psishare.mandates.budget import CommittedFrame
    from psishare.mandates.envelope import VerifiedMandate

PENDING_AFTER_S = 2.0
"""How long a call waits for work that is under way before it answers ``pending``."""


class FrameLedger(Protocol):
    """Where frames are committed and charged, durably (``mandates.budget.Budget``)."""

    def charge(  # noqa: PLR0917  one frame, in the order in which it is described
        self,
        exchange_id: bytes,
        index: int,
        rows: int,
        digest: bytes,
        transcript: bytes,
        signature: bytes,
    ) -> object:
        """Commit a frame, or recognise one that was committed."""


class AnswerLedger(Protocol):
    """Where the digests of answers are kept (``exchange.register.Register``)."""

    def answered(self, exchange_id: bytes, index: int, digest: bytes) -> None:
        """Keep one, so that another process finds it."""


@dataclass(frozen=True, slots=True)
class Past:
    """What an exchange had come to in a process that is gone.

    Attributes:
        committed: its request frames, in order.
        answers: the digests of the answers that were kept, by frame.
    """

    committed: Many[CommittedFrame]
    answers: Mapping[int, bytes]


class _Calls:
    """The calls that are being worked on, and when the last of them ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way = 0
        self._last = time.monotonic()
        self.any = False

    @contextlib.contextmanager
    def one_more(self) -> Iterator[None]:
        with self._lock:
            self._under_way += 1
            self.any = True
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
                self._last = time.monotonic()

    def idle_s(self) -> float:
        with self._lock:
            return 0.0 if self._under_way else time.monotonic() - self._last


@dataclass(slots=True)
class _Sequences:
    """The four transcripts of an exchange."""

    requests: Transcript
    elements: Transcript
    answers: Transcript
    returns: Transcript

    @classmethod
    def start(cls, exchange_id: bytes) -> _Sequences:
        return cls(**{name.value: Transcript(name, exchange_id) for name in Sequence})


class OpenedExchange:
    """One opened exchange at the platform.

    Args:
        terms: what was offered and answered.
        authority_key: the authority's pinned Ed25519 key.
        driver: the platform's computation.
        ledger: commits and charges frames.
        answers: keeps the digests of answers.
        matched: for output ``both``, called once with the indices of the platform's matches.
        mandate: verified, as it stood when the exchange opened.
        past: what it had come to in a process that is gone; None for a new exchange.

    Raises:
        VerificationError: the past is not one of this exchange.
    """

    def __init__(
        self,
        terms: Terms,
        authority_key: bytes,
        driver: Driver,
        ledger: FrameLedger,
        answers: AnswerLedger,
        *,
        matched: Callable[[pa.Array], None] | None = None,
        mandate: VerifiedMandate,
        past: Past | None = None,
    ) -> None:
        self.terms = terms
        self.mandate = mandate
        self._protocol = suite.Protocol(terms.offer.protocol)
        self._authority_key = authority_key
        self._driver = driver
        self._ledger = ledger
        self._answer_ledger = answers
        self._matched = matched
        self._sequences = _Sequences.start(terms.exchange_id)
        self._answer_digests: dict[int, bytes] = {}
        self._answers: dict[int, pa.FixedSizeBinaryArray] = {}
        self._returned: list[pa.FixedSizeBinaryArray] = []
        self._return_digests: list[bytes] = []
        self._last_element: bytes | None = None
        self._turn = threading.Condition()
        self._own = _OwnElements(driver, terms.offer.frame_rows, self._sequences.elements)
        self._late = _LateAnswers(terms.offer.frame_rows, self._sequences.answers)
        self._calls = _Calls()
        self._restored = past is not None
        self._awaits_resume = self._restored
        if past is not None:
            self._take_up(past)

    def _take_up(self, past: Past) -> None:
        """Chain what was committed and answered before."""
        for frame in past.committed:
            if self._sequences.requests.add(frame.digest, frame.n_rows) != frame.transcript:
                raise VerificationError(
                    "the frames committed do not chain up to their transcripts",
                    mend="Restore the state file, or verify the disk that it lies on.",
                    reason="verification_failed",
                )
        if self.output is Output.MATCHES:
            self._answer_digests.update(past.answers)
            self._chain_answers()

    @property
    def is_left_alone(self) -> bool:
        """Whether it was taken up from a process that is gone, and nobody has called since."""
        return self._restored and not self._calls.any

    def require_resumed(self) -> None:
        """Refuse calls until the authority has asked how far the exchange has come.

        Raises:
            ProtocolError: ``exchange_restored``; it ends nothing.
        """
        if self._awaits_resume:
            raise ProtocolError(
                "the platform has started again since this exchange was opened",
                mend="Ask how far it has come, and go on from there.",
                reason="exchange_restored",
                party=self.terms.offer.authority,
            )

    def resume(self) -> ResumeResponse:
        """Tell how far the exchange has come (section 13, steps 2 and 3)."""
        with self._turn:
            self._awaits_resume = False
            requests = self._sequences.requests
            return ResumeResponse(
                requests=requests.frames, transcript=requests.value, answered=self._n_answered()
            )

    def _n_answered(self) -> int:
        """Count the frames, from the first on, that need not be sent again."""
        if self.output is not Output.MATCHES:
            return next(i for i in range(len(self._answers) + 1) if i not in self._answers)
        committed = self._sequences.requests.frames
        known = committed if self._knows_order(committed) else committed - 1
        return min(self._sequences.answers.frames, known)

    def _knows_order(self, index: int) -> bool:
        """Tell whether a new frame can be compared with the one before it."""
        unordered = self._protocol is suite.Protocol.OPRF
        return unordered or index == 0 or self._last_element is not None

    def require_in_force(self, now: datetime, clock_tolerance_s: int) -> None:
        """Refuse to go on once the mandate's validity has ended.

        Raises:
            AuthorisationError: ``mandate_expired``.
        """
        if now - timedelta(seconds=clock_tolerance_s) > self.mandate.mandate.not_after:
            raise AuthorisationError(
                "the mandate expired while the exchange was open",
                mend="Ask the issuer for a new mandate, and make a new offer.",
                reason="mandate_expired",
            )

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Count a call as being worked on: the exchange does not stand still meanwhile."""
        with self._calls.one_more():
            yield

    def idle_s(self) -> float:
        """Return for how many seconds no call has been worked on; 0 while one is."""
        return self._calls.idle_s()

    def evaluate(self, request: EvaluateRequest) -> FrameResponse:
        """Take a request frame: verify, commit, charge, then evaluate it."""
        offer, protocol = self.terms.offer, self._protocol
        _start, rows = frame_span(request.index, offer.rows, offer.frame_rows)
        self._verify_signature(REQUEST, request, rows)
        elements = decode_frame(request.batch, n_rows=rows, element_bytes=protocol.element_bytes)
        digest = frame_digest("requests", request.index, rows, element_bytes_of(elements))
        self._require_approved(request.index, digest)
        if not self._commit(request, digest, elements):
            return FrameResponse(pending=True)
        answer = self._driver.evaluate(elements)
        if answer.elements is None:
            raise InternalError("a driver gave no answer", mend="Report this as a fault.")
        with self._turn:
            self._keep_answer(request.index, answer.elements)
            self._turn.notify_all()
        if self.output is Output.MATCHES:
            self._answer_ledger.answered(
                self.terms.exchange_id, request.index, self._answer_digests[request.index]
            )
        if self.output is Output.COUNT:
            return FrameResponse()
        return FrameResponse(batch=encode_frame(answer.elements), proof=answer.proof)

    @property
    def output(self) -> Output:
        """The output that was offered."""
        return Output(self.terms.offer.output)

    def fetch(self, request: FetchRequest) -> FrameResponse:
        """Return a frame of the platform's own elements, or of its late answers (``count``)."""
        if request.sequence == SEQUENCE_ELEMENTS:
            return self._own.frame(request.index)
        if request.sequence == SEQUENCE_ANSWERS and self.output is Output.COUNT:
            with self._turn:
                if not self._turn.wait_for(self._is_answered, PENDING_AFTER_S):
                    return FrameResponse(pending=True)
                return self._late.frame(request.index, self._answers)
        raise ProtocolError(
            "the peer asked for a sequence that this exchange does not have",
            mend="Use the same version of psishare on both sides.",
            reason="sequence_unknown",
        )

    def take_return(self, request: ReturnRequest) -> ReturnResponse:
        """Take a frame of the platform's elements, blinded by both (output ``both``)."""
        n_elements, frame_rows = self.terms.answer.elements, self.terms.offer.frame_rows
        if self.output is not Output.BOTH:
            raise ProtocolError(
                "the peer returned elements in an exchange whose output is not `both`",
                mend="Use the same version of psishare on both sides.",
                reason="sequence_unknown",
            )
        _start, rows = frame_span(request.index, n_elements, frame_rows)
        self._verify_signature(RETURN, request, rows)
        elements = decode_frame(request.batch, n_rows=rows, element_bytes=suite.ELEMENT_BYTES)
        if isinstance(self._driver, EcdhPlatform):
            self._driver.require_elements(elements)
        digest = frame_digest("returns", request.index, rows, element_bytes_of(elements))
        return ReturnResponse(pending=not self._keep_returned(request, digest, elements))

    def _keep_returned(
        self, request: ReturnRequest, digest: bytes, elements: pa.FixedSizeBinaryArray
    ) -> bool:
        """Keep a returned frame in its turn; False where the frame before it has not come yet."""
        index, returns = request.index, self._sequences.returns
        with self._turn:
            if not self._turn.wait_for(lambda: returns.frames >= index, PENDING_AFTER_S):
                return False
            if returns.frames == index:
                _require_transcript(returns, digest, request.transcript)
                returns.add(digest, len(elements))
                self._returned.append(elements)
                self._return_digests.append(digest)
                self._turn.notify_all()
            elif self._return_digests[index] != digest:
                raise _changed(index)
        return True

    def _is_answered(self) -> bool:
        """Tell whether every offered row has been asked and evaluated, not committed alone."""
        offer = self.terms.offer
        return len(self._answers) == n_frames(offer.rows, offer.frame_rows)

    def receipt(self, claimed: Receipt) -> Receipt:
        """Return the receipt that this side stands by, with the claimed time of closing.

        Raises:
            ProtocolError: frames are missing, so there is nothing to close.
        """
        with self._turn:
            self._require_complete()
            totals = {
                name.value: SequenceTotals.of(getattr(self._sequences, name)) for name in Sequence
            }
        return self.terms.receipt(totals, closed=claimed.closed)

    @property
    def n_requests(self) -> int:
        """Request frames committed so far."""
        return self._sequences.requests.frames

    def release_matches(self) -> None:
        """Hand the platform its matches (output ``both``), once the receipt is signed and logged."""
        if self._matched is None or not isinstance(self._driver, EcdhPlatform):
            return
        answers = [self._answers[i] for i in sorted(self._answers)]
        self._matched(self._driver.matched(answers, self._returned))

    def _verify_signature(
        self, label: str, request: EvaluateRequest | ReturnRequest, rows: int
    ) -> None:
        """Verify the authority's signature over a frame, before anything else is done with it."""
        exchange_id = self.terms.exchange_id
        statement = frame_statement(exchange_id, request.index, request.transcript, rows)
        authority = self.terms.offer.authority
        try:
            verify_statement(
                self._authority_key, label, statement, request.signature, party=authority
            )
        except VerificationError as error:
            raise ProtocolError(
                f"the signature of frame {request.index} is not {authority}'s",
                mend="Do not trust this exchange; ask the authority for its log.",
                reason="frame_signature_invalid",
                party=authority,
            ) from error

    def _require_approved(self, index: int, digest: bytes) -> None:
        """Refuse a frame that is not one of those that the mandate approves, where it approves some."""
        sealed = self.mandate.mandate.sealed_request
        if sealed is not None and not sealed.approves(index, digest):
            raise AuthorisationError(
                f"frame {index} is not the one that the mandate approves",
                mend="Ask with the request that was prepared for this mandate, and no other list.",
                reason="sealed_request_differs",
                party=self.terms.offer.authority,
            )

    def _commit(
        self, request: EvaluateRequest, digest: bytes, elements: pa.FixedSizeBinaryArray
    ) -> bool:
        """Commit a frame in its turn; False where the frame before it has not come yet."""
        index, requests = request.index, self._sequences.requests

        def is_due() -> bool:
            known = requests.frames > index
            return known or (requests.frames == index and self._knows_order(index))

        with self._turn:
            if not self._turn.wait_for(is_due, PENDING_AFTER_S):
                return False
            new = requests.frames == index
            if new:
                _require_transcript(requests, digest, request.transcript)
                self._require_order(elements)
            self._ledger.charge(
                self.terms.exchange_id,
                index,
                len(elements),
                digest,
                request.transcript,
                request.signature,
            )
            if new:
                requests.add(digest, len(elements))
            if index == requests.frames - 1:
                self._last_element = elements[-1].as_py()
            self._turn.notify_all()
        return True

    def _require_order(self, elements: pa.FixedSizeBinaryArray) -> None:
        if self._protocol is not suite.Protocol.OPRF:
            require_increasing(elements, "element", self._last_element)

    def _keep_answer(self, index: int, elements: pa.FixedSizeBinaryArray) -> None:
        """Chain the answers' digests in order; keep the answers where a later step needs them."""
        if self.output is not Output.MATCHES:
            self._answers[index] = elements
        if self.output is Output.COUNT:
            return
        digest = frame_digest("answers", index, len(elements), element_bytes_of(elements))
        self._answer_digests[index] = digest
        self._chain_answers()

    def _chain_answers(self) -> None:
        sequences, offer = self._sequences, self.terms.offer
        while (known := self._answer_digests.get(sequences.answers.frames)) is not None:
            at = sequences.answers.frames
            sequences.answers.add(known, frame_span(at, offer.rows, offer.frame_rows)[1])

    @property
    def is_complete(self) -> bool:
        """Whether every frame of every sequence has passed."""
        with self._turn:
            return not self._missing()

    def _missing(self) -> list[str]:
        """Return the names of the sequences of which frames have not passed."""
        offer, answer, sequences = self.terms.offer, self.terms.answer, self._sequences
        due = {
            sequences.requests: offer.rows,
            sequences.answers: offer.rows,
            sequences.elements: answer.elements,
            sequences.returns: answer.elements if self.output is Output.BOTH else 0,
        }
        return [transcript.sequence for transcript, rows in due.items() if transcript.rows != rows]

    def _require_complete(self) -> None:
        """Refuse to close while a frame is missing in any sequence."""
        if missing := self._missing():
            raise ProtocolError(
                f"the peer closes the exchange although {', '.join(missing)} are not complete",
                mend="Use the same version of psishare on both sides.",
                reason="exchange_incomplete",
            )


class _FrameSource:
    """Serves frames of one array, chaining their digests in order as they are first served."""

    def __init__(self, frame_rows: int, transcript: Transcript) -> None:
        self._frame_rows = frame_rows
        self._transcript = transcript
        self._lock = threading.Lock()

    def _serve(self, elements: pa.FixedSizeBinaryArray, index: int) -> FrameResponse:
        start, rows = frame_span(index, len(elements), self._frame_rows)
        with self._lock:
            for at in range(self._transcript.frames, index + 1):
                at_start, at_rows = frame_span(at, len(elements), self._frame_rows)
                part = element_bytes_of(elements.slice(at_start, at_rows))
                digest = frame_digest(self._transcript.sequence, at, at_rows, part)
                self._transcript.add(digest, at_rows)
        return FrameResponse(batch=encode_frame(elements.slice(start, rows)))


class _OwnElements(_FrameSource):
    """The platform's own elements, computed beside the first requests."""

    def __init__(self, driver: Driver, frame_rows: int, transcript: Transcript) -> None:
        super().__init__(frame_rows, transcript)
        self._driver = driver
        self._elements: Future[pa.FixedSizeBinaryArray] | None = None

    def frame(self, index: int) -> FrameResponse:
        """Return one frame, or ``pending`` while the elements are being computed."""
        try:
            elements = self._start().result(timeout=PENDING_AFTER_S)
        except FutureTimeoutError:
            return FrameResponse(pending=True)
        return self._serve(elements, index)

    def _start(self) -> Future[pa.FixedSizeBinaryArray]:
        with self._lock:
            if self._elements is None:
                self._elements = Future()
                threading.Thread(target=self._compute, args=(self._elements,), daemon=True).start()
            return self._elements

    def _compute(self, future: Future[pa.FixedSizeBinaryArray]) -> None:
        try:
            future.set_result(self._driver.elements)
        except Exception as error:  # noqa: BLE001  the call that waits for it raises it
            future.set_exception(error)


class _LateAnswers(_FrameSource):
    """All answers of a ``count`` exchange, sorted as a whole after the last request."""

    def __init__(self, frame_rows: int, transcript: Transcript) -> None:
        super().__init__(frame_rows, transcript)
        self._sorted: pa.FixedSizeBinaryArray | None = None

    def frame(self, index: int, answers: dict[int, pa.FixedSizeBinaryArray]) -> FrameResponse:
        """Return one frame of the sorted answers."""
        if self._sorted is None:
            self._sorted = sorted_answers([answers[i] for i in sorted(answers)])
        return self._serve(self._sorted, index)


def _require_transcript(transcript: Transcript, digest: bytes, claimed: bytes) -> None:
    if transcript.after(digest) != claimed:
        raise ProtocolError(
            f"frame {transcript.frames} is not the one that its transcript was signed for",
            mend="A frame was changed, replayed or reordered; do not trust this exchange.",
            reason="transcript_differs",
        )


def _changed(index: int) -> ProtocolError:
    return ProtocolError(
        f"frame {index} came before with other elements",
        mend="A frame was changed; do not trust this exchange.",
        reason="frame_changed",
    )
