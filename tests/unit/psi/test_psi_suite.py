"""The parameters of a suite: frames and fingerprint lengths, at their edges."""

from __future__ import annotations

import math
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psishare.errors import ProtocolError
from psishare.psi.channel import IN_FLIGHT, Window, run_beside_each_other, spans
from psishare.psi.suite import Output, Protocol, fingerprint_bits, frame_span, n_frames

if TYPE_CHECKING:
    from collections.abc import Iterator


@given(st.integers(0, 10**7), st.integers(1, 32_768))
def test_frames_cover_every_row_once(n_rows: int, frame_rows: int) -> None:
    first, last = 0, n_frames(n_rows, frame_rows) - 1
    assert (n_rows == 0) == (last == -1)
    if n_rows:
        assert frame_span(first, n_rows, frame_rows)[0] == 0
        start, rows = frame_span(last, n_rows, frame_rows)
        assert start + rows == n_rows
        assert 0 < rows <= frame_rows


@given(st.integers(0, 300), st.integers(1, 40))
def test_spans_are_the_frames(n_rows: int, frame_rows: int) -> None:
    found = list(spans(n_rows, frame_rows))
    assert [index for index, _, _ in found] == list(range(n_frames(n_rows, frame_rows)))
    assert [(start, rows) for _, start, rows in found] == [
        frame_span(index, n_rows, frame_rows) for index, _, _ in found
    ]


@pytest.mark.parametrize("index", [-1, 3, 2**64 - 1])
def test_no_frame_lies_beyond_the_offer(index: int) -> None:
    with pytest.raises(ProtocolError) as raised:
        frame_span(index, 20, 7)
    assert raised.value.reason == "frame_over_offer"


@given(st.integers(1, 2**40), st.integers(1, 2**40))
def test_a_fingerprint_is_long_enough_for_a_false_match_in_2_to_the_40(
    n_max: int, max_query: int
) -> None:
    bits = fingerprint_bits(n_max, max_query)
    assert n_max * max_query * 2**40 <= 2**bits
    assert bits <= 40 + math.log2(n_max) + math.log2(max_query) + 2
    assert bits <= 120


def test_the_default_dataset_needs_84_bits() -> None:
    assert fingerprint_bits(2**24, 2**20) == 84
    assert fingerprint_bits(1, 1) == fingerprint_bits(0, 0) == 40


def test_outputs_are_those_that_each_protocol_can_give() -> None:
    assert Protocol.ECDH.outputs == set(Output)
    assert Protocol.OPRF.outputs == Protocol.OPENMINED.outputs == {Output.MATCHES}
    assert [p.element_bytes for p in Protocol] == [32, 32, 33]


def test_a_window_takes_answers_in_the_order_of_the_calls_and_holds_few() -> None:
    taken: list[tuple[int, int]] = []
    window: Window[int, int] = Window(lambda context, answer: taken.append((context, answer)))
    calls: list[Future[int]] = [Future() for _ in range(IN_FLIGHT + 2)]
    # The last is answered first; nothing is taken out of turn.
    for place, call in reversed(list(enumerate(calls))):
        call.set_result(10 * place)
    for place, call in enumerate(calls):
        window.add(place, call)
    assert len(taken) == 3
    window.drain()
    assert taken == [(place, 10 * place) for place in range(IN_FLIGHT + 2)]


def test_lanes_beside_each_other_keep_their_order_and_wait_for_neither() -> None:
    finished: list[str] = []
    calls: dict[str, Future[str]] = {}

    def lane(name: str, n: int) -> tuple[Window[str, str], Iterator[tuple[str, Future[str]]]]:
        def made() -> Iterator[tuple[str, Future[str]]]:
            for place in range(n):
                call: Future[str] = Future()
                calls[f"{name}{place}"] = call
                if name == "b":
                    call.set_result("at once")
                yield f"{name}{place}", call

        def finish(context: str, _answer: str) -> None:
            finished.append(context)
            # The slow lane is answered, the later call first, once the quick one is done.
            if context == f"b{n - 1}":
                for place in reversed(range(n)):
                    calls[f"a{place}"].set_result("late")

        return Window(finish), made()

    run_beside_each_other(lane("a", IN_FLIGHT), lane("b", IN_FLIGHT), lane("c", 0))
    first, then = finished[:IN_FLIGHT], finished[IN_FLIGHT:]
    assert first == [f"b{place}" for place in range(IN_FLIGHT)]
    assert then == [f"a{place}" for place in range(IN_FLIGHT)]
