"""A ``FrameChannel`` in memory, straight to the platform's drivers."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from psishare.psi.channel import EvaluatedFrame
from psishare.psi.ecdh import sorted_answers
from psishare.psi.suite import Output, Sequence, frame_span

if TYPE_CHECKING:
    import pyarrow as pa

    from psishare.exchange.offering import Driver

T = TypeVar("T")


def done(value: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(value)
    return future


class MemoryFrames:
    """Hands frames to a platform's driver and keeps what passed."""

    def __init__(
        self,
        driver: Driver,
        *,
        frame_rows: int,
        n_elements: int,
        output: Output = Output.MATCHES,
    ) -> None:
        self.driver = driver
        self.frame_rows = frame_rows
        self.n_elements = n_elements
        self.output = output
        self.requests: list[pa.FixedSizeBinaryArray] = []
        self.answers: list[pa.FixedSizeBinaryArray] = []
        self.returned: list[pa.FixedSizeBinaryArray] = []
        self.n_finished = 0

    def evaluate(self, index: int, elements: pa.FixedSizeBinaryArray) -> Future[EvaluatedFrame]:
        assert index == len(self.requests)
        self.requests.append(elements)
        answer = self.driver.evaluate(elements)
        assert answer.elements is not None
        self.answers.append(answer.elements)
        return done(EvaluatedFrame(None) if self.output is Output.COUNT else answer)

    def fetch(self, sequence: Sequence, index: int) -> Future[pa.FixedSizeBinaryArray]:
        of_own = sequence is Sequence.ELEMENTS
        whole = self.driver.elements if of_own else sorted_answers(self.answers)
        return done(whole.slice(*frame_span(index, len(whole), self.frame_rows)))

    def finished(self, index: int) -> None:
        """Nothing was finished before."""

    def finish(self, index: int, learnt: pa.Array) -> None:
        assert index == self.n_finished
        self.n_finished += 1

    def send_back(self, index: int, elements: pa.FixedSizeBinaryArray) -> Future[None]:
        assert index == len(self.returned)
        self.returned.append(elements)
        return done(None)
