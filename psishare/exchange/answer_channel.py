"""A platform's parcel as a channel: each call gets the answer that stands in the file.

Source: protocols/specs/offline.md, section 6. What an authority would send after the answers it puts
into its next parcel, and is told that the answer to that is still to come.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from psishare.datasets.cache import PIECE_BYTES
from psishare.datasets.manifest import parse_manifest
from psishare.errors import InputError, ProtocolError, TransportError
from psishare.exchange.offer import Answer
from psishare.exchange.transcript import Transcript
from psishare.psi.suite import Output, Sequence, n_frames
from psishare.transport import fault
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call, ClosedOnExit
from psishare.transport.message import parse
from psishare.transport.parcel import FAULT, TAGS, malformed

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from google.protobuf.message import Message

    from psishare.exchange.offer import Offer
    from psishare.exchange.parcels import Outgoing, Parcels
    from psishare.transport.parcel import Parcel

AWAITED = "answer_awaited"
RESTORED = "exchange_restored"


class _ParcelChannel(ClosedOnExit):
    """What the channels over a platform's parcels have in common."""

    def __init__(self, parcels: Parcels, parcel: Parcel) -> None:
        self.peer = parcel.head.sender
        self._parcels = parcels
        self._parcel = parcel

    def _read(self, call: Call, index: int) -> Any:
        """Return the response at a place of the parcel, or raise the fault that stands there."""
        tag, data = self._parcel.record(index if index < len(self._parcel) else self._last)
        if tag == FAULT:
            raise fault.decode(data, peer=self.peer, step=call.step)
        if tag != TAGS[call] or index > self._last:
            raise malformed(f"does not hold the answer to {call.step} in its place")
        response = parse(call.response, data, step=call.step, party=self.peer)
        if call in {Call.OFFER, Call.CLOSE, Call.MANIFEST}:
            self._parcels.fit(self._parcel, response.head)  # type: ignore[attr-defined]
        return response

    @property
    def _last(self) -> int:
        """Where a fault stands that ended the parcel early."""
        return len(self._parcel) - 1

    def close(self) -> None:
        """Close the parcel."""
        self._parcel.close()


class AnswerChannel(_ParcelChannel):
    """An ``answer`` parcel, as an authority that finishes its exchange sees it.

    Args:
        parcels: fits log heads.
        parcel: the answer.
        offer: the exchange's offer.
        out: the ``receipt`` parcel that is being written.
        lock: held while a record is added.
    """

    def __init__(
        self,
        parcels: Parcels,
        parcel: Parcel,
        offer: Offer,
        out: Outgoing,
        lock: threading.Lock,
    ) -> None:
        super().__init__(parcels, parcel)
        self._offer = offer
        self._lock = lock
        self._n_requests = n_frames(offer.rows, offer.frame_rows)
        self._n_elements = 0
        output = Output(offer.output)
        self._frames = _Ordered(out, Call.EVALUATE) if output is not Output.MATCHES else None
        self._returns = _Ordered(out, Call.RETURN)
        self._out = out
        self._asked = False

    def call(self, call: Call, request: Message, *, timeout_s: float | None = None) -> Message:  # noqa: ARG002  a file does not let anyone wait
        """Answer one call from the parcel, or put it into the next one."""
        answers: dict[Call, Callable[[Any], Message]] = {
            Call.OFFER: self._opened,
            Call.RESUME: self._resumed,
            Call.EVALUATE: self._evaluated,
            Call.FETCH: self._fetched,
            Call.RETURN: self._returned,
            Call.CLOSE: self._closing,
        }
        if call not in answers:
            raise _awaited(self.peer, call)
        return answers[call](request)

    def _opened(self, _request: wire.OfferRequest) -> Message:
        response: Message = self._read(Call.OFFER, 0)
        return response

    def _resumed(self, request: wire.ResumeRequest) -> wire.ResumeResponse:
        """Tell that nothing has been sent yet: every frame is to be asked of the parcel."""
        opened: wire.OfferResponse = self._read(Call.OFFER, 0)
        self._place(opened)
        nothing = Transcript(Sequence.REQUESTS, request.exchange_id)
        return wire.ResumeResponse(requests=0, transcript=nothing.value, answered=0)

    def _place(self, opened: wire.OfferResponse) -> None:
        offer, answer = self._offer, Answer.parse(opened.answer.document)
        self._n_elements = n_frames(answer.elements, offer.frame_rows)
        self._asked = True
        late = self._n_requests if Output(offer.output) is Output.COUNT else 0
        due = 1 + self._n_requests + self._n_elements + late
        if len(self._parcel) != due and self._parcel.record(self._last)[0] != FAULT:
            raise malformed(f"holds {len(self._parcel)} records where {due} are due")

    def _evaluated(self, request: wire.EvaluateRequest) -> Message:
        with self._lock:
            if self._frames is not None:
                self._frames.add(request.index, request)
        response: Message = self._read(Call.EVALUATE, 1 + request.index)
        return response

    def _fetched(self, request: wire.FetchRequest) -> Message:
        late = request.sequence == wire.SEQUENCE_ANSWERS
        before = 1 + self._n_requests + (self._n_elements if late else 0)
        response: Message = self._read(Call.FETCH, before + request.index)
        return response

    def _returned(self, request: wire.ReturnRequest) -> wire.ReturnResponse:
        with self._lock:
            self._returns.add(request.index, request)
        return wire.ReturnResponse()

    def _closing(self, request: wire.CloseRequest) -> Message:
        """Put the receipt into the next parcel; its countersignature is still to come."""
        if not self._asked and self._frames is not None:
            # The receipt was signed before the parcel was whole: every frame goes into it again.
            raise ProtocolError(
                "the frames of this exchange are to be sent again",
                mend="Go on.",
                reason=RESTORED,
                party=self.peer,
            )
        with self._lock:
            self._out.add(Call.CLOSE, request)
        raise _awaited(self.peer, Call.CLOSE)


class ConfirmationChannel(_ParcelChannel):
    """A ``confirmation`` parcel, as an authority that releases its result sees it.

    Args:
        parcels: fits log heads.
        parcel: the confirmation.
    """

    def call(self, call: Call, request: Message, *, timeout_s: float | None = None) -> Message:  # noqa: ARG002  a file does not let anyone wait
        """Answer ``Close`` from the parcel; nothing else stands in it."""
        if call is not Call.CLOSE:
            raise _awaited(self.peer, call)
        response: Message = self._read(Call.CLOSE, 0)
        return response

    @property
    def fault(self) -> Exception | None:
        """Why the platform did not close the exchange; None where it did."""
        tag, data = self._parcel.record(0)
        return fault.decode(data, peer=self.peer, step=Call.CLOSE.step) if tag == FAULT else None


class DatasetChannel(_ParcelChannel):
    """A ``dataset`` parcel: the response to ``Manifest``, then every piece of every shard, in order.

    Args:
        parcels: fits log heads.
        parcel: the dataset.

    Attributes:
        dataset: the name of what is in it, not verified yet.

    Raises:
        VerificationError: the manifest in it is malformed.
    """

    def __init__(self, parcels: Parcels, parcel: Parcel) -> None:
        super().__init__(parcels, parcel)
        response: wire.ManifestResponse = self._read(Call.MANIFEST, 0)
        manifest = parse_manifest(response.manifest.document)
        self.dataset = manifest.dataset
        pieces = (-(-shard.bytes // PIECE_BYTES) for shard in manifest.shards)
        self._first = list(accumulate(pieces, initial=1))

    def call(self, call: Call, request: Message, *, timeout_s: float | None = None) -> Message:  # noqa: ARG002  a file does not let anyone wait
        """Answer ``Manifest`` and ``Shard`` from the parcel."""
        if call is Call.MANIFEST:
            response: Message = self._read(call, 0)
            return response
        if call is not Call.SHARD or not isinstance(request, wire.ShardRequest):
            raise _awaited(self.peer, call)
        if request.offset % PIECE_BYTES:
            raise InputError(
                "a copy of this dataset was begun in pieces of another size",
                mend="Remove the unfinished copy from the home's datasets, then take the parcel again.",
                reason="dataset_unfinished",
            )
        place = self._first[request.shard] + request.offset // PIECE_BYTES
        piece: Message = self._read(call, place)
        return piece


class _Ordered:
    """Calls of one sequence, put into a parcel in the order of their numbers."""

    def __init__(self, out: Outgoing, call: Call) -> None:
        self._out = out
        self._call = call
        self._next = 0
        self._early: dict[int, Message] = {}

    def add(self, index: int, request: Message) -> None:
        self._early[index] = request
        while (due := self._early.pop(self._next, None)) is not None:
            self._out.add(self._call, due)
            self._next += 1


def _awaited(peer: str, call: Call) -> TransportError:
    return TransportError(
        f"{peer} has yet to answer {call.step}, by the next parcel",
        mend="Take the parcel to the platform, and go on with the one that it gives back.",
        reason=AWAITED,
        party=peer,
    )
