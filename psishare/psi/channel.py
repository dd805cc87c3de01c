"""The channel of frames that a driver sees, and what flows over it.

Calls are idempotent and several may be in flight; each returns a future. Frames must be handed over
in order of their index, because they are chained and signed in that order.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

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
