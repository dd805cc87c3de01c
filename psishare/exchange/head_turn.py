"""The turn to show log heads to one peer, among the exchanges of one home that run at once.

A head is proven from the one that the receiver knows, so of two calls that show heads at the same time
one comes too late and has to be made again (protocols/specs/exchange.md, section 4, step 4). In turn,
none does. It is a courtesy and no safeguard: whoever has waited too long goes ahead, and is at worst told
that its head is stale.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import random
import threading
import time
from typing import TYPE_CHECKING

from psishare.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_S = 60.0
PAUSE_S = 0.01
_RANDOM = random.SystemRandom()


class HeadTurn:
    """The turn of one home towards one peer; threads and processes of one host share it.

    Args:
        folder: the home's ``run``, which is there.
        peer: the peer's party id.
    """

    def __init__(self, folder: Path, peer: str) -> None:
        self._threads = _of_threads(folder, peer)
        self._path = folder / f"heads-{hashlib.sha256(peer.encode()).hexdigest()[:16]}.lock"

    @contextlib.contextmanager
    def taken(self, *, wait_s: float = WAIT_S) -> Iterator[None]:
        """Hold the turn while the ``with`` block lasts.

        Args:
            wait_s: seconds after which the block begins without it.

        Raises:
            AuditError: ``state_write_failed``: the lock file cannot be made.
        """
        deadline_s = time.monotonic() + wait_s
        # One thread of this process at a time waits for the others.
        first = self._threads.acquire(timeout=wait_s)
        try:
            with self._open() as lock:
                _wait(lock, deadline_s)
                yield
        finally:
            if first:
                self._threads.release()

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        """Open the lock file, each time anew: whoever closes it lets go of its own lock only."""
        try:
            lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise AuditError(
                f"{self._path} cannot be made: {error.strerror or type(error).__name__}",
                mend="Check free space and permissions there, then try again.",
                reason="state_write_failed",
            ) from error
        try:
            yield lock
        finally:
            os.close(lock)


@functools.cache
def _of_threads(_folder: Path, _peer: str) -> threading.Lock:
    return threading.Lock()


def _wait(lock: int, deadline_s: float) -> None:
    while time.monotonic() < deadline_s:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_RANDOM.uniform(PAUSE_S / 2, PAUSE_S))
        else:
            return
