"""The authority's channel of frames: signs and chains what it sends, checks and chains what comes.

Source: protocols/specs/exchange.md, section 8.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from psishare.errors import (
    ProtocolError,
    PsishareError,
    TransportError,
)
from psishare.exchange.frame import decode_frame, element_bytes_of, encode_frame
from psishare.exchange.receipt import SequenceTotals
from psishare.exchange.signed_requests import SignedRequests
from psishare.exchange.transcript import (
    RETURN,
    Transcript,
    frame_digest,
    frame_statement,
)
from psishare.keys.statement import sign_statement
from psishare.psi import suite
from psishare.psi.channel import IN_FLIGHT, EvaluatedFrame
from psishare.psi.suite import Output, Sequence, frame_span
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call

if TYPE_CHECKING:
    import pyarrow as pa

    from psishare.exchange.patient_channel import PatientChannel
    from psishare.exchange.retained import Requested, RetainedElements
    from psishare.exchange.terms import Terms
    from psishare.exchange.unfinished import Unfinished
    from psishare.keys.signer import Signer
    from psishare.mandates.sealed_request import SealedRequest

MAX_PENDING = 1_800
"""How often a peer may answer ``pending`` to one call; each takes it up to two seconds."""
ENDED = "exchange_ended"
LANES = 3
"""Sequences that are under way at once: requests, elements, and elements sent back."""
NO_DIGEST = bytes(32)
"""Stands for an answer that comes later."""
_WIRE_SEQUENCE = {
    Sequence.ELEMENTS: wire.SEQUENCE_ELEMENTS,
    Sequence.ANSWERS: wire.SEQUENCE_ANSWERS,
}


class SignedFrames:
    """The ``FrameChannel`` of one opened exchange.

    Args:
        channel: to the platform.
        terms: what was offered and answered.
        signer: the authority's Ed25519 signer.
        retained: keeps the elements of each request frame before it is sent.
        unfinished: keeps what was learnt from each, and which elements the platform has shown.
        answered: how many frames, from the first on, need not be sent again where they are finished.
        approved: the frames that the mandate approves; None where it does not name them.
    """

    def __init__(
        self,
        channel: PatientChannel,
        terms: Terms,
        signer: Signer,
        *,
        retained: RetainedElements,
        unfinished: Unfinished,
        approved: SealedRequest | None,
        answered: int = 0,
    ) -> None:
        self._closed = threading.Event()
        self._channel = channel.until(self._closed)
        self._terms = terms
        self._signer = signer
        self._retained = retained
        self._unfinished = unfinished
        self._answered = min(answered, len(retained.digests))
        self._answer_digests: dict[int, bytes] = {}
        self._width = suite.Protocol(terms.offer.protocol).element_bytes
        self._transcripts = {name: Transcript(name, terms.exchange_id) for name in Sequence}
        self._requests = SignedRequests(self._transcripts[Sequence.REQUESTS], signer, approved)
        self._early: dict[Sequence, dict[int, tuple[bytes, int]]] = {name: {} for name in Sequence}
        self._lock = threading.Lock()
        self._cause: PsishareError | None = None
        self._calls = ThreadPoolExecutor(LANES * IN_FLIGHT, thread_name_prefix="psishare-frame")

    def close(self) -> None:
        """Drop the calls that are not under way and wait for those that are.

        None of them is made again, whatever it is answered: each ends within its deadline.
        """
        self._closed.set()
        self._calls.shutdown(wait=True, cancel_futures=True)

    def cause_of(self, error: PsishareError) -> PsishareError:
        """Return why the platform ended the exchange, where an error only tells that it has.

        Of several calls under way one broke it, and the answer to another may be looked at first.
        """
        return self._cause or error if error.reason == ENDED else error

    @property
    def frame_rows(self) -> int:
        """Rows of every frame but the last."""
        return self._terms.offer.frame_rows

    @property
    def n_elements(self) -> int:
        """How many elements of its own the platform announced."""
        return self._terms.answer.elements

    def last_request(self) -> Requested:
        """Tell how far the signed requests have come, for the log."""
        return self._requests.last

    def totals(self) -> dict[str, SequenceTotals]:
        """Return the totals of the four sequences, for the receipt."""
        return {name.value: SequenceTotals.of(t) for name, t in self._transcripts.items()}

    def evaluate(self, index: int, elements: pa.FixedSizeBinaryArray) -> Future[EvaluatedFrame]:
        """Sign and send request frame ``index``; frames come in order."""
        digest = self._retained.add(index, elements)
        return self._calls.submit(
            self._evaluated, self._requests.request(index, digest, elements), len(elements)
        )

    def finished(self, index: int) -> pa.Array | None:
        """Return what was learnt from a frame that both sides have finished; sign and chain it."""
        frame = self._unfinished.frame(index) if index < self._answered else None
        if frame is None:
            self._answered = min(self._answered, index)
            return None
        _start, rows = frame_span(index, self._terms.offer.rows, self.frame_rows)
        self._requests.sign(index, self._retained.digests[index], rows)
        if not self._answers_come_late:
            self._chain(Sequence.ANSWERS, index, frame.digest, rows)
        return frame.learnt

    def finish(self, index: int, learnt: pa.Array) -> None:
        """Keep what was learnt from a frame, sealed."""
        with self._lock:
            digest = self._answer_digests.pop(index, NO_DIGEST)
        self._unfinished.keep_frame(index, digest, learnt)

    @property
    def _answers_come_late(self) -> bool:
        return Output(self._terms.offer.output) is Output.COUNT

    def fetch(self, sequence: Sequence, index: int) -> Future[pa.FixedSizeBinaryArray]:
        """Fetch one frame of the platform's elements or late answers."""
        request = wire.FetchRequest(
            exchange_id=self._terms.exchange_id, sequence=_WIRE_SEQUENCE[sequence], index=index
        )
        return self._calls.submit(self._fetched, sequence, request)

    def send_back(self, index: int, elements: pa.FixedSizeBinaryArray) -> Future[None]:
        """Sign and return a frame of the platform's elements, blinded by both."""
        n_rows = len(elements)
        digest = frame_digest(Sequence.RETURNS, index, n_rows, element_bytes_of(elements))
        transcript = self._transcripts[Sequence.RETURNS].add(digest, n_rows)
        statement = frame_statement(self._terms.exchange_id, index, transcript, n_rows)
        signature = sign_statement(self._signer, RETURN, statement)
        request = wire.ReturnRequest(
            exchange_id=self._terms.exchange_id,
            index=index,
            transcript=transcript,
            signature=signature,
            batch=encode_frame(elements),
        )
        return self._calls.submit(self._returned, request)

    def _evaluated(self, request: wire.EvaluateRequest, n_rows: int) -> EvaluatedFrame:
        response = self._patiently(Call.EVALUATE, request)
        if self._answers_come_late:
            _require_empty(response)
            return EvaluatedFrame(None)
        elements = decode_frame(response.batch, n_rows=n_rows, element_bytes=self._width)
        digest = frame_digest(Sequence.ANSWERS, request.index, n_rows, element_bytes_of(elements))
        with self._lock:
            self._answer_digests[request.index] = digest
        self._chain(Sequence.ANSWERS, request.index, digest, n_rows)
        return EvaluatedFrame(elements, response.proof)

    def _fetched(self, sequence: Sequence, request: wire.FetchRequest) -> pa.FixedSizeBinaryArray:
        response = self._patiently(Call.FETCH, request)
        of_own = sequence is Sequence.ELEMENTS
        total = self.n_elements if of_own else self._terms.offer.rows
        _start, rows = frame_span(request.index, total, self.frame_rows)
        elements = decode_frame(response.batch, n_rows=rows, element_bytes=self._width)
        digest = frame_digest(sequence, request.index, rows, element_bytes_of(elements))
        if of_own and not self._unfinished.same_elements(request.index, digest):
            raise _changed(request.index, self._channel.peer)
        self._chain(sequence, request.index, digest, rows)
        return elements

    def _returned(self, request: wire.ReturnRequest) -> None:
        self._patiently(Call.RETURN, request)

    def _patiently(self, call: Call, request: Any) -> Any:
        """Make a call again as long as the platform says that it is still working on it."""
        for _ in range(MAX_PENDING):
            response: Any = self._call(call, request)
            if not response.pending:
                return response
            if self._closed.is_set():
                break
        raise TransportError(
            f"{self._channel.peer} has been working on {call.step} for too long",
            mend="Ask the platform's operator whether its server is overloaded, then try again.",
            reason="peer_silent",
            party=self._channel.peer,
        )

    def _call(self, call: Call, request: Any) -> Any:
        try:
            return self._channel.call(call, request)
        except PsishareError as error:
            with self._lock:
                if self._cause is None or self._cause.reason == ENDED:
                    self._cause = error
            raise

    def _chain(self, sequence: Sequence, index: int, digest: bytes, n_rows: int) -> None:
        """Chain received frames in order, whatever order they came in."""
        with self._lock:
            early, transcript = self._early[sequence], self._transcripts[sequence]
            early[index] = digest, n_rows
            while (known := early.pop(transcript.frames, None)) is not None:
                transcript.add(*known)


def _changed(index: int, peer: str) -> ProtocolError:
    """Return the error of a platform that would have other elements blinded after an interruption.

    Each one that is sent back tells whether its value was asked about; only the last ones would be
    in the receipt.
    """
    return ProtocolError(
        f"frame {index} of the elements of {peer} came before with other elements",
        mend="Do not trust this exchange; ask the platform for its opening, and replay it.",
        reason="frame_changed",
        party=peer,
    )


def _require_empty(response: wire.FrameResponse) -> None:
    """Refuse an answer that tells which row it belongs to, where only the count may be learnt."""
    if response.batch or response.proof:
        raise ProtocolError(
            "the peer answered a frame at once, although only the count is to be learnt",
            mend="Use the same version of psishare on both sides.",
            reason="frame_malformed",
        )
