"""The channel of frames that a driver sees, and what flows over it.

Calls are idempotent and several may be in flight; each returns a future. Frames must be handed over
in order of their index, because they are chained and signed in that order.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    import pyarrow as pa

    from psishare.psi.suite import Sequence

IN_FLIGHT = 4
"""Frames under way at once: enough to hide a round trip behind the group operations."""

Context = TypeVar("Context")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class EvaluatedFrame:
    """The platform's answer to a request frame.

    Attributes:
        elements: ``fixed_size_binary``, same rows and order as the request; None where the
            answers come after the last request (``ecdh``, output ``count``).
        proof: the DLEQ proof (``oprf``), otherwise empty.
    """

    elements: pa.FixedSizeBinaryArray | None
    proof: bytes = b""


class FrameChannel(Protocol):
    """The authority's side of an opened exchange."""

    @property
    def frame_rows(self) -> int:
        """Rows of every frame but the last, as offered."""

    @property
    def n_elements(self) -> int:
        """How many elements of its own the platform announced; 0 for ``oprf``."""

    def evaluate(self, index: int, elements: pa.FixedSizeBinaryArray) -> Future[EvaluatedFrame]:
        """Send request frame ``index``; the future holds the platform's answer."""

    def fetch(self, sequence: Sequence, index: int) -> Future[pa.FixedSizeBinaryArray]:
        """Ask for frame ``index`` of the platform's own elements, or of its late answers."""

    def finished(self, index: int) -> pa.Array | None:
        """Return what was learnt from request frame ``index`` before an interruption.

        Asked in order, before anything is sent: from the first None on, frames are to be sent.
        """

    def finish(self, index: int, learnt: pa.Array) -> None:
        """Keep what was learnt from a request frame, so that it need not be sent again.

        Args:
            index: the frame's number; frames are finished in order.
            learnt: ``uint8`` or ``fixed_size_binary``, no nulls; empty where nothing was learnt yet.
        """

    def send_back(self, index: int, elements: pa.FixedSizeBinaryArray) -> Future[None]:
        """Return frame ``index`` of the platform's elements, blinded twice (output ``both``)."""


class Window(Generic[Context, Answer]):
    """At most ``IN_FLIGHT`` calls under way, their answers taken in the order of the calls.

    Args:
        finish: called with each call's context and its answer, in order.
    """

    def __init__(self, finish: Callable[[Context, Answer], None]) -> None:
        self._finish = finish
        self._pending: deque[tuple[Context, Future[Answer]]] = deque()

    def add(self, context: Context, call: Future[Answer]) -> None:
        """Take a call that is under way; first finish the oldest where too many are."""
        self._pending.append((context, call))
        if len(self._pending) >= IN_FLIGHT:
            self._take()

    def fill(self, calls: Iterator[tuple[Context, Future[Answer]]]) -> bool:
        """Make calls, each by taking the next of ``calls``, until enough are under way.

        Returns:
            Whether any is under way.
        """
        while len(self._pending) < IN_FLIGHT and (call := next(calls, None)) is not None:
            self._pending.append(call)
        return bool(self._pending)

    @property
    def oldest(self) -> Future[Answer]:
        """The call whose answer is due next."""
        return self._pending[0][1]

    def finish_answered(self) -> None:
        """Finish the calls whose turn it is and whose answers are there; wait for none."""
        while self._pending and self.oldest.done():
            self._take()

    def drain(self) -> None:
        """Finish every call that is still under way."""
        while self._pending:
            self._take()

    def _take(self) -> None:
        context, call = self._pending.popleft()
        self._finish(context, call.result())


def spans(n_rows: int, frame_rows: int) -> Iterator[tuple[int, int, int]]:
    """Yield index, first row and rows of each frame."""
    for index, start in enumerate(range(0, n_rows, frame_rows)):
        yield index, start, min(frame_rows, n_rows - start)


def frames(elements: pa.FixedSizeBinaryArray, frame_rows: int) -> Iterator[pa.FixedSizeBinaryArray]:
    """Yield the frames that elements are cut into, in order."""
    return (elements.slice(start, rows) for _, start, rows in spans(len(elements), frame_rows))


Lane = tuple[Window[Any, Any], "Iterator[tuple[Any, Future[Any]]]"]


def run_beside_each_other(*lanes: Lane) -> None:
    """Run sequences of calls at the same time, and finish whichever answer comes first.

    Within a lane answers are finished in the order of the calls. So this side computes while the peer
    does, whatever either is faster at.

    Args:
        lanes: windows, each with the calls that go through it; taking the next one makes the call.
    """
    busy = [lane for lane in lanes if lane[0].fill(lane[1])]
    while busy:
        wait([window.oldest for window, _ in busy], return_when=FIRST_COMPLETED)
        for window, _ in busy:
            window.finish_answered()
        busy = [lane for lane in busy if lane[0].fill(lane[1])]
