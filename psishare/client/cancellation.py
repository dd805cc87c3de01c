"""A way to stop long work from elsewhere: another thread, a signal, an event loop."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from psishare.errors import CancellationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from psishare.exchange.progress import Progress

T = TypeVar("T")


class Closable(Protocol):
    """What is closed when it is no longer wanted."""

    def close(self) -> None:
        """Close it."""


Made = TypeVar("Made", bound=Closable)


class Cancellation:
    """Stops the calls that it was given to; once it has, it stops whatever it is given to.

    A match that is stopped before its receipt is signed aborts its exchange, in both logs, and leaves
    no file. From the receipt on the exchange is closed all the same: what is stopped then is the
    handing over of the result, and no file is left either. It may be used from any thread.
    """

    def __init__(self) -> None:
        self._requested: Future[None] = Future()
        self._lock = threading.Lock()

    def cancel(self) -> None:
        """Stop the work. It ends with ``CancellationError``, soon; asking again changes nothing."""
        with self._lock:
            if not self._requested.done():
                self._requested.set_result(None)

    @property
    def requested(self) -> bool:
        """Whether ``cancel`` has been called."""
        return self._requested.done()

    def check(self) -> None:
        """Go on, unless the work is to stop.

        Raises:
            CancellationError: ``cancel`` has been called.
        """
        if self.requested:
            raise CancellationError(
                "the work was stopped before it was done, as was asked",
                mend="Start it again when it is wanted.",
            )

    def watching(self, progress: Progress) -> Progress:
        """Return what reports progress, and stops the work where that is asked for.

        Args:
            progress: called with a step's name, what is done of it, and its total (0: unknown).
        """

        def report(step: str, done: int, total: int) -> None:
            self.check()
            progress(step, done, total)
            self.check()

        return report

    def wait_for(self, work: Future[T]) -> T:
        """Return what other threads work out, unless this one is to stop waiting.

        Args:
            work: under way.

        Raises:
            CancellationError: the work is to stop; it goes on, and nobody waits for it.
            BaseException: what the work raises.
        """
        either: tuple[Future[Any], ...] = (work, self._requested)
        wait(either, return_when=FIRST_COMPLETED)
        if not work.done():
            self.check()
        return work.result()

    def made(self, make: Callable[[], Made]) -> Made:
        """Return what takes long to make, and is to be closed where nobody wants it any more.

        Args:
            make: makes it, in another thread.

        Raises:
            CancellationError: the work is to stop.
            BaseException: what ``make`` raises.
        """
        self.check()
        pool = ThreadPoolExecutor(1, thread_name_prefix="psishare-make")
        work = pool.submit(make)
        pool.shutdown(wait=False)
        try:
            return self.wait_for(work)
        except CancellationError:
            work.add_done_callback(_close)
            raise


def _close(made: Future[Made]) -> None:
    if made.exception() is None:
        made.result().close()
