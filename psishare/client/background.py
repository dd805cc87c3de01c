"""Blocking work done beside an event loop, and stopped properly when its task is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import threading
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from psishare.client.cancellation import Cancellation
from psishare.errors import CancellationError
from psishare.exchange.progress import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from psishare.exchange.progress import Progress

P = ParamSpec("P")
T = TypeVar("T")
Worker = TypeVar("Worker")
Worker_co = TypeVar("Worker_co", covariant=True)

NOTE = """

        Does not block the event loop. Where the task is cancelled, the work is stopped and waited for:
        an exchange is then aborted in both logs, and no file is left. ``progress`` is called in the
        event loop.

"""


class Wraps(Protocol[Worker_co]):
    """An object of the asynchronous face, over one that blocks."""

    @property
    def blocking(self) -> Worker_co:
        """The object that does the work."""


def in_background(
    method: Callable[Concatenate[Worker, P], T], *, note: str = NOTE
) -> Callable[Concatenate[Wraps[Worker], P], Coroutine[Any, Any, T]]:
    """Return a blocking method as a coroutine of the object that wraps the blocking one.

    Args:
        method: blocks.
        note: what its docstring says besides: what becomes of the work where the task is cancelled.
    """
    takes = inspect.signature(method).parameters

    @functools.wraps(method)
    async def run(wrapper: Wraps[Worker], /, *args: P.args, **kwargs: P.kwargs) -> T:
        named: dict[str, Any] = dict(kwargs)
        stop = named.get("cancellation") or Cancellation()
        if "progress" in takes:
            named["progress"] = stop.watching(_in_loop(named.get("progress") or quiet))
        if "cancellation" in takes:
            named["cancellation"] = stop
        work = functools.partial(method, wrapper.blocking, *args, **named)
        return await run_in_thread(work, stop)

    summary, _blank, rest = (method.__doc__ or "").partition("\n\n")
    run.__doc__ = summary.rstrip() + note + rest
    return run


async def run_in_thread(work: Callable[[], T], stop: Cancellation) -> T:
    """Do blocking work in a thread of its own.

    Args:
        work: what to do.
        stop: cancelled where the task is; the work is waited for all the same.

    Returns:
        What the work returns.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def do() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  whoever awaits it raises it
            loop.call_soon_threadsafe(_fail, future, error)
        else:
            loop.call_soon_threadsafe(_succeed, future, result)

    threading.Thread(target=do, name="psishare-background", daemon=True).start()
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop.cancel()
        error = await _ended(future)
        if isinstance(error, CancellationError):
            raise
        raise asyncio.CancelledError from error


async def _ended(future: asyncio.Future[Any]) -> BaseException | None:
    """Wait for work that was told to stop, however often the task is cancelled meanwhile."""
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait((future,))
    return future.exception()


def _in_loop(progress: Progress) -> Progress:
    loop = asyncio.get_running_loop()

    def report(step: str, done: int, total: int) -> None:
        loop.call_soon_threadsafe(progress, step, done, total)

    return report


def _succeed(future: asyncio.Future[T], result: T) -> None:
    future.set_result(result)


def _fail(future: asyncio.Future[T], error: BaseException) -> None:
    future.set_exception(error)
