"""Who is let in, and whose turn it is: no caller can hold up the others by asking for more.

Promises: at most so many calls, bytes and workers as ``Limits`` says, of all callers together and of
each one; the next worker goes to the caller who holds the fewest, and among equals to the one whose
last turn is the longest ago; whoever waits is let in or refused within ``wait_s``. Every method may be
called from any thread.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psishare.transport.limits import busy
from psishare.transport.message import MESSAGE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psishare.errors import TransportError
    from psishare.transport.limits import Limits

LOOK_AGAIN_S = 1.0
"""How often a call that waits looks whether its caller has gone."""


@dataclass(slots=True)
class _Holding:
    """What one caller holds."""

    calls: int = 0
    held_bytes: int = 0
    working: int = 0
    last_turn: int = 0
    waiting: deque[threading.Event] = field(default_factory=deque)


@dataclass(frozen=True, slots=True)
class Load:
    """What a server has taken on at a moment.

    Attributes:
        calls: taken.
        working: of these, worked on.
        waiting: of these, waiting for a worker.
        held_bytes: of their messages.
        refused: calls refused as too many so far, since the start.
    """

    calls: int
    working: int
    waiting: int
    held_bytes: int
    refused: int


class Visit:
    """One call that was let in; ``leave`` gives back all that it holds, once, whoever calls it."""

    def __init__(self, turnstile: Turnstile, caller: bytes) -> None:
        self._turnstile = turnstile
        self.caller = caller
        self.held_bytes = 0
        self.left = False

    def leave(self) -> None:
        """Give back what the call holds. Again does nothing."""
        self._turnstile._leave(self)  # noqa: SLF001  two halves of one thing


class Turnstile:
    """Lets calls in, one caller as fairly as the other.

    Args:
        limits: how many.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._changed = threading.Condition(threading.RLock())
        self._holdings: dict[bytes, _Holding] = {}
        self._calls = 0
        self._bytes = 0
        self._working = 0
        self._refused = 0
        self._turns = itertools.count(1)

    @property
    def load(self) -> Load:
        """What is taken on now."""
        with self._changed:
            waiting = sum(len(holding.waiting) for holding in self._holdings.values())
            return Load(self._calls, self._working, waiting, self._bytes, self._refused)

    def enter(self, caller: bytes) -> Visit:
        """Let a call in, or refuse it at once.

        Args:
            caller: who calls, as 32 bytes.

        Raises:
            TransportError: ``peer_busy``, this caller has too many calls under way.
        """
        with self._changed:
            holding = self._holdings.setdefault(caller, _Holding())
            if holding.calls >= self._limits.calls_per_caller:
                self._refused += 1
                raise busy(f"{self._limits.calls_per_caller} calls of this party under way")
            holding.calls += 1
            self._calls += 1
        return Visit(self, caller)

    def make_room(self, visit: Visit, is_wanted: Callable[[], bool]) -> None:
        """Wait until a message of any length may be received for a call.

        Args:
            visit: the call.
            is_wanted: whether the caller still waits; asked again now and then.

        Raises:
            TransportError: ``peer_busy``, there was no room in time.
        """
        limits, size = self._limits, MESSAGE_BYTES_MAX

        def fits() -> bool:
            holding = self._holdings[visit.caller]
            return (
                self._bytes + size <= max(size, limits.bytes_in_flight)
                and holding.held_bytes + size <= limits.bytes_per_caller
            )

        deadline_s = time.monotonic() + limits.wait_s
        with self._changed:
            while not (visit.left or fits()):
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or not is_wanted():
                    raise self._too_busy()
                self._changed.wait(min(left_s, LOOK_AGAIN_S))
            self._hold(visit, size)

    def hold(self, visit: Visit, n_bytes: int) -> None:
        """Note how many bytes a call really holds."""
        with self._changed:
            self._hold(visit, n_bytes - visit.held_bytes)
            self._changed.notify_all()

    @contextmanager
    def turn(self, visit: Visit, is_wanted: Callable[[], bool]) -> Iterator[None]:
        """Wait for a worker, and hold it while the ``with`` block lasts.

        Args:
            visit: the call.
            is_wanted: whether the caller still waits; asked again now and then.

        Raises:
            TransportError: ``peer_busy``, none was free in time.
        """
        turn = threading.Event()
        with self._changed:
            self._holdings.setdefault(visit.caller, _Holding()).waiting.append(turn)
            self._grant()
        try:
            self._await_turn(turn, is_wanted)
            yield
        finally:
            with self._changed:
                self._give_up_turn(visit.caller, turn)

    def _await_turn(self, turn: threading.Event, is_wanted: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + self._limits.wait_s
        while not turn.wait(min(LOOK_AGAIN_S, max(0.0, deadline_s - time.monotonic()))):
            if time.monotonic() >= deadline_s or not is_wanted():
                raise self._too_busy()

    def _too_busy(self) -> TransportError:
        with self._changed:
            self._refused += 1
        return busy("more to do than it gets done in time")

    def _give_up_turn(self, caller: bytes, turn: threading.Event) -> None:
        """Give a worker back, or the place in the queue for one; the condition is held."""
        holding = self._holdings[caller]
        if turn.is_set():
            holding.working -= 1
            self._working -= 1
        else:
            holding.waiting.remove(turn)
        self._forget(caller)
        self._grant()

    def _grant(self) -> None:
        """Give free workers to those who wait; the condition is held."""
        while self._working < self._limits.workers:
            most = self._limits.workers_per_caller
            waiting = [h for h in self._holdings.values() if h.waiting and h.working < most]
            if not waiting:
                return
            holding = min(waiting, key=lambda h: (h.working, h.last_turn))
            holding.working += 1
            holding.last_turn = next(self._turns)
            self._working += 1
            holding.waiting.popleft().set()

    def _hold(self, visit: Visit, more_bytes: int) -> None:
        if visit.left:
            return
        visit.held_bytes += more_bytes
        self._holdings[visit.caller].held_bytes += more_bytes
        self._bytes += more_bytes

    def _leave(self, visit: Visit) -> None:
        with self._changed:
            if visit.left:
                return
            self._hold(visit, -visit.held_bytes)
            visit.left = True
            self._holdings[visit.caller].calls -= 1
            self._calls -= 1
            self._forget(visit.caller)
            self._changed.notify_all()

    def _forget(self, caller: bytes) -> None:
        """Keep nothing of a caller who holds nothing."""
        holding = self._holdings[caller]
        if not (holding.calls or holding.working or holding.waiting):
            del self._holdings[caller]
