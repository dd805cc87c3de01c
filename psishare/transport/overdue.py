"""Ends what a caller lets lie: a request that does not arrive, an answer that nobody takes."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOOK_EVERY_S = 0.25

_logger = logging.getLogger(__name__)


class Overdue:
    """Calls ``end`` for whatever is not done in its time, from a thread of its own until ``stop``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: dict[int, tuple[float, Callable[[], object]]] = {}
        self._numbers = itertools.count()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="psishare-overdue", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def expect(self, within_s: float, end: Callable[[], object]) -> Callable[[], None]:
        """Expect something to be done.

        Args:
            within_s: seconds that it has.
            end: called once, if it is not done by then; must be quick.

        Returns:
            What to call when it is done.
        """
        number = next(self._numbers)
        with self._lock:
            self._due[number] = (time.monotonic() + within_s, end)
        return lambda: self._forget(number)

    @contextmanager
    def expecting(self, within_s: float, end: Callable[[], object]) -> Iterator[None]:
        """Expect the ``with`` block to be done."""
        done = self.expect(within_s, end)
        try:
            yield
        finally:
            done()

    def _forget(self, number: int) -> None:
        with self._lock:
            self._due.pop(number, None)

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_EVERY_S):
            now_s = time.monotonic()
            with self._lock:
                late = [number for number, (at_s, _end) in self._due.items() if at_s <= now_s]
                ends = [self._due.pop(number)[1] for number in late]
            for end in ends:
                try:
                    end()
                except Exception as error:  # noqa: BLE001  one call must not keep the others alive
                    _logger.warning("an overdue call could not be ended: %s", type(error).__name__)
