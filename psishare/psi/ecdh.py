"""``ecdh``: the symmetric protocol (protocols/specs/ecdh.md).

No encoded set is handed over. Both parties blind with a scalar that lives for one exchange; the
authority learns its matches (``matches``), or only their number (``count``), or the platform learns
its own matches too (``both``). Each learns the size of the other's set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from psishare import _native
from psishare.errors import ProtocolError
from psishare.psi.channel import (
    EvaluatedFrame,
    FrameChannel,
    Lane,
    Window,
    frames,
    run_beside_each_other,
    spans,
)
from psishare.psi.suite import Output, Sequence

if TYPE_CHECKING:
    from concurrent.futures import Future

    from psishare._native import EcdhScalar

Progress = Callable[[int], None]


class EcdhAuthority:
    """The authority's side of one ``ecdh`` exchange.

    Args:
        scalar: this exchange's secret scalar, used for no other.
        output: what the mandate permits to be learnt.
    """

    def __init__(self, *, scalar: EcdhScalar, output: Output) -> None:
        self._scalar = scalar
        self._output = output

    def run(self, identifiers: pa.Array, channel: FrameChannel, progress: Progress) -> pa.Array:
        """Ask about every identifier and return those that the platform holds.

        Args:
            identifiers: canonical and distinct, ``binary`` or ``large_binary``, shape ``(n,)``.
            channel: an opened exchange.
            progress: called with the number of rows finished, frame by frame.

        Returns:
            ``uint64``: the indices into ``identifiers`` that matched, ascending. With output
            ``count``, positions that say nothing but their number.

        Raises:
            ProtocolError: an answer is malformed, or the platform's elements are out of order.
        """
        theirs = _PlatformElements(self._scalar, self._output, channel)
        # The first call for them has the platform blind its list while this side blinds its own.
        theirs.start()
        sent, rows = _native.sort_elements(self._scalar.blind(identifiers))
        answered: list[pa.FixedSizeBinaryArray] = []
        asking = _asking(sent, channel, answered, progress)
        run_beside_each_other(asking, theirs.lane)
        if self._output is Output.COUNT:
            answered = _fetch_answers(channel, len(sent))
            rows = pa.array(range(len(sent)), pa.uint64())
        matched = rows.filter(_native.contains_in_frames(theirs.doubly_blinded(), answered))
        return matched.take(pc.sort_indices(matched))

    def requests(self, identifiers: pa.Array, frame_rows: int) -> Iterator[pa.FixedSizeBinaryArray]:
        """Yield the elements of each request frame, in order, exactly as ``run`` sends them."""
        sent, _rows = _native.sort_elements(self._scalar.blind(identifiers))
        return frames(sent, frame_rows)


def _asking(
    sent: pa.FixedSizeBinaryArray,
    channel: FrameChannel,
    answered: list[pa.FixedSizeBinaryArray],
    progress: Progress,
) -> Lane:
    """Send every request frame that is not finished; the answers come to ``answered``, in order."""

    def finish(asked: tuple[int, int], answer: EvaluatedFrame) -> None:
        index, rows = asked
        # With output `count` the answers come later, all at once.
        learnt = sent.slice(0, 0) if answer.elements is None else answer.elements
        # What is no element would match nothing, and nobody would know.
        _native.require_elements(learnt)
        answered.append(learnt)
        channel.finish(index, learnt)
        progress(rows)

    def calls() -> Iterator[tuple[tuple[int, int], Future[EvaluatedFrame]]]:
        for index, frame in enumerate(frames(sent, channel.frame_rows)):
            known = channel.finished(index)
            if known is None:
                yield (index, len(frame)), channel.evaluate(index, frame)
            else:
                answered.append(known)
                progress(len(frame))

    return Window(finish), calls()


class _PlatformElements:
    """The platform's elements on their way: fetched, held to their order, blinded a second time.

    Output ``both`` sends each frame back as it comes.

    Attributes:
        lane: the calls that fetch them.
    """

    def __init__(self, scalar: EcdhScalar, output: Output, channel: FrameChannel) -> None:
        self._scalar = scalar
        self._output = output
        self._channel = channel
        self._doubly: list[pa.FixedSizeBinaryArray] = []
        self._last: bytes | None = None
        self._returned: Window[None, None] = Window(lambda _context, _answer: None)
        self._fetching: Window[int, pa.FixedSizeBinaryArray] = Window(self._finish)
        calls = (
            (index, channel.fetch(Sequence.ELEMENTS, index))
            for index, _start, _rows in spans(channel.n_elements, channel.frame_rows)
        )
        self.lane: Lane = (self._fetching, calls)

    def start(self) -> None:
        """Make the first call."""
        self._fetching.fill(islice(self.lane[1], 1))

    def doubly_blinded(self) -> list[pa.FixedSizeBinaryArray]:
        """Return all of them, blinded by both, in the platform's frames; every one has come."""
        self._returned.drain()
        return self._doubly

    def _finish(self, index: int, elements: pa.FixedSizeBinaryArray) -> None:
        require_increasing(elements, "element", self._last)
        self._last = elements[-1].as_py()
        self._doubly.append(self._scalar.multiply(elements))
        if self._output is Output.BOTH:
            self._returned.add(None, self._channel.send_back(index, self._doubly[-1]))


class EcdhPlatform:
    """The platform's side of one ``ecdh`` exchange.

    Args:
        scalar: this exchange's secret scalar, used for no other.
        identifiers: the platform's canonical, distinct identifiers.
    """

    def __init__(self, *, scalar: EcdhScalar, identifiers: pa.Array) -> None:
        self._scalar = scalar
        self._identifiers = identifiers

    @property
    def elements(self) -> pa.FixedSizeBinaryArray:
        """The platform's own elements, strictly increasing; computed on first use."""
        return self._sorted[0]

    @cached_property
    def _sorted(self) -> tuple[pa.FixedSizeBinaryArray, pa.UInt64Array]:
        return _native.sort_elements(self._scalar.blind(self._identifiers))

    def evaluate(self, elements: pa.FixedSizeBinaryArray) -> EvaluatedFrame:
        """Blind a request frame a second time.

        Raises:
            ProtocolError: an element is the identity or not canonical.
        """
        return EvaluatedFrame(self._scalar.multiply(elements))

    def require_elements(self, elements: pa.FixedSizeBinaryArray) -> None:
        """Refuse a frame that the authority returned where it does not hold elements alone.

        Raises:
            ProtocolError: an element is the identity or not canonical.
        """
        _native.require_elements(elements)

    def matched(
        self, answers: list[pa.FixedSizeBinaryArray], returned: list[pa.FixedSizeBinaryArray]
    ) -> pa.Array:
        """Return which of the platform's identifiers matched (output ``both``).

        Args:
            answers: everything that was answered to the authority, frame by frame.
            returned: the platform's elements as the authority returned them, in their frames.

        Returns:
            ``uint64``: indices into the platform's identifiers, ascending.
        """
        matched = self._sorted[1].filter(_native.contains_in_frames(answers, returned))
        return matched.take(pc.sort_indices(matched))


def sorted_answers(answers: list[pa.FixedSizeBinaryArray]) -> pa.FixedSizeBinaryArray:
    """Sort all answers as a whole, so that their order says nothing (output ``count``)."""
    return _native.sort_elements(join(answers, pa.binary(32)))[0]


def require_increasing(
    elements: pa.FixedSizeBinaryArray, what: str, previous: bytes | None = None
) -> None:
    """Refuse elements that are not strictly increasing (ecdh.md, "Order").

    Raises:
        ProtocolError: names the first row that is equal to or below the one before it.
    """
    row = _native.first_not_increasing(elements, previous)
    if row is not None:
        raise ProtocolError(
            f"the peer's {what} at row {row} is not above the one before it",
            mend="The peer's software is faulty or dishonest; do not trust this exchange.",
            reason="elements_out_of_order",
        )


def join(parts: list[pa.FixedSizeBinaryArray], kind: pa.DataType) -> pa.FixedSizeBinaryArray:
    """Join frames into one array; an empty one of type ``kind`` where there are none."""
    return pa.concat_arrays(parts) if parts else pa.array([], kind)


def _fetch_answers(channel: FrameChannel, n_rows: int) -> list[pa.FixedSizeBinaryArray]:
    """Fetch the late answers, and hold them to their order and to being elements."""
    parts: list[pa.FixedSizeBinaryArray] = []
    last: bytes | None = None

    def finish(_context: None, frame: pa.FixedSizeBinaryArray) -> None:
        nonlocal last
        require_increasing(frame, "answer", last)
        last = frame[-1].as_py()
        _native.require_elements(frame)
        parts.append(frame)

    window: Window[None, pa.FixedSizeBinaryArray] = Window(finish)
    for index, _start, _rows in spans(n_rows, channel.frame_rows):
        window.add(None, channel.fetch(Sequence.ANSWERS, index))
    window.drain()
    return parts
