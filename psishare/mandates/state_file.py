"""``state.db``: one SQLite file that the threads and processes of one host share.

Promises: a transaction that returned is durable unless it says otherwise; one that raised left nothing. One connection a
process, whatever the number of its threads, so that threads that end leave nothing open. Rooms keep
tables of their own in it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from typing import TYPE_CHECKING, Final, NoReturn

from psishare.errors import AuditError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY_TIMEOUT_S: Final = 30.0


class StateFile:
    """The open file; safe to share among threads.

    Args:
        path: ``state.db``; made, for its owner alone, where it is not there.

    Raises:
        ConfigError: ``state_invalid``, not a state file.
        AuditError: ``state_write_failed``, it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        with self._translated():
            _make(path)
            self._database = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        try:
            with self._translated():
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the file; what is in it stays."""
        with self._lock:
            self._database.close()

    @contextlib.contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Run one transaction that holds the write lock from its start.

        Args:
            durable: wait for the disk; without, what is written outlives the process, and perhaps
                not the machine.

        Raises:
            AuditError: ``state_write_failed``; nothing was written.
            ConfigError: ``state_invalid``.
        """
        with self._lock, self._translated():
            self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read; what is fetched before the end of the block is one thread's alone.

        Raises:
            AuditError: ``state_write_failed``; it cannot be read.
            ConfigError: ``state_invalid``.
        """
        with self._lock, self._translated():
            yield self._database

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the database's and the system's errors into ours."""
        try:
            yield
        except (OSError, sqlite3.OperationalError, sqlite3.ProgrammingError):
            self._refuse()
        except sqlite3.DatabaseError:
            raise ConfigError(
                f"{self.path} is not a state file of psishare, or is damaged",
                mend="Put back its newest copy from a backup; or move it away: budgets are counted again from"
                " the log, and what was left open is lost.",
                reason="state_invalid",
            ) from None

    def _refuse(self) -> NoReturn:
        raise AuditError(
            f"{self.path} could not be read or written; nothing was entered, reserved or charged",
            mend="See that the disk has room, that the folder is yours, and that no other process"
            " holds the file.",
            reason="state_write_failed",
        ) from None


def _make(path: Path) -> None:
    """Make the file where it is not there, for its owner alone; SQLite's beside it get the same mode.

    One that is there must not be opened but by SQLite: to close it again would drop the locks that
    other connections of this process hold on it, for such are POSIX locks, and another process could
    then take the file apart under them.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
