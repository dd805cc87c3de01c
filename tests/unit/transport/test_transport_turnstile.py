"""Who is let in, and whose turn it is."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from psishare.errors import TransportError
from psishare.transport.limits import Limits
from psishare.transport.message import MESSAGE_BYTES_MAX
from psishare.transport.turnstile import Turnstile, Visit

GREEDY, MODEST = b"g" * 32, b"m" * 32


def always() -> bool:
    return True


def reason_of(turnstile: Turnstile, caller: bytes) -> str:
    with pytest.raises(TransportError) as caught:
        turnstile.enter(caller)
    return caught.value.reason


def test_caller_with_too_many_calls_is_refused_and_another_let_in() -> None:
    turnstile = Turnstile(Limits(calls_per_caller=2))
    visits = [turnstile.enter(GREEDY) for _ in range(2)]
    assert reason_of(turnstile, GREEDY) == "peer_busy"
    turnstile.enter(MODEST)
    visits[0].leave()
    turnstile.enter(GREEDY)
    assert reason_of(turnstile, GREEDY) == "peer_busy"
    assert turnstile.load.refused == 2


def test_leaving_twice_gives_back_once() -> None:
    turnstile = Turnstile(Limits(calls_per_caller=2))
    first, _second = turnstile.enter(GREEDY), turnstile.enter(GREEDY)
    turnstile.make_room(first, always)
    first.leave()
    first.leave()
    load = turnstile.load
    assert (load.calls, load.held_bytes) == (1, 0)


def test_message_of_unknown_length_waits_for_room_and_real_length_frees_it() -> None:
    turnstile = Turnstile(Limits(bytes_in_flight=MESSAGE_BYTES_MAX, wait_s=0.05))
    first, second = turnstile.enter(GREEDY), turnstile.enter(MODEST)
    turnstile.make_room(first, always)
    with pytest.raises(TransportError) as caught:
        turnstile.make_room(second, always)
    assert caught.value.reason == "peer_busy"
    turnstile.hold(first, 0)
    turnstile.make_room(second, always)
    assert turnstile.load.held_bytes == MESSAGE_BYTES_MAX


def test_one_caller_never_takes_all_the_room() -> None:
    turnstile = Turnstile(Limits(bytes_in_flight=4 * MESSAGE_BYTES_MAX, wait_s=0.05))
    for _ in range(2):
        turnstile.make_room(turnstile.enter(GREEDY), always)
    with pytest.raises(TransportError):
        turnstile.make_room(turnstile.enter(GREEDY), always)
    turnstile.make_room(turnstile.enter(MODEST), always)


def test_caller_who_has_gone_waits_no_longer() -> None:
    turnstile = Turnstile(Limits(workers=1))
    with (
        turnstile.turn(turnstile.enter(MODEST), always),
        pytest.raises(TransportError),
        turnstile.turn(turnstile.enter(GREEDY), lambda: False),
    ):
        pass
    assert turnstile.load.waiting == turnstile.load.working == 0


def take_turns(turnstile: Turnstile, visits: list[Visit], order: list[bytes]) -> None:
    """Queue a call of each visit while the only worker is held, and note in which order they go."""
    holder = turnstile.enter(b"h" * 32)

    def work(visit: Visit) -> None:
        with turnstile.turn(visit, always):
            order.append(visit.caller)

    with ThreadPoolExecutor(len(visits)) as pool:
        with turnstile.turn(holder, always):
            works = []
            for n, visit in enumerate(visits, 1):
                works.append(pool.submit(work, visit))
                until(lambda n=n: turnstile.load.waiting == n)
        for done in works:
            done.result(10)


def until(ready: object) -> None:
    """Poll a condition, with a bound."""
    assert callable(ready)
    for _ in range(2000):
        if ready():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not come about")


def test_next_worker_goes_to_the_caller_whose_last_turn_is_the_longest_ago() -> None:
    turnstile, order = Turnstile(Limits(workers=1)), list[bytes]()
    visits = [turnstile.enter(GREEDY) for _ in range(6)] + [turnstile.enter(MODEST)]
    take_turns(turnstile, visits, order)
    assert order.index(MODEST) <= 1
    assert len(order) == 7


def test_some_workers_are_always_left_to_the_others() -> None:
    turnstile = Turnstile(Limits(workers=4, wait_s=0.05))
    greedy = [turnstile.enter(GREEDY) for _ in range(4)]
    with (
        turnstile.turn(greedy[0], always),
        turnstile.turn(greedy[1], always),
        turnstile.turn(greedy[2], always),
    ):
        with pytest.raises(TransportError), turnstile.turn(greedy[3], always):
            pass
        with turnstile.turn(turnstile.enter(MODEST), always):
            assert turnstile.load.working == 4


def test_nothing_is_kept_of_callers_who_have_left() -> None:
    turnstile = Turnstile(Limits())
    for n in range(100):
        visit = turnstile.enter(n.to_bytes(32))
        turnstile.make_room(visit, always)
        with turnstile.turn(visit, always):
            pass
        visit.leave()
    assert turnstile._holdings == {}
