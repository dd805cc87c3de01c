"""The exchanges of a verdict as a command prints them: any number of them, in little memory.

They come in the order in which they ended and are printed in the order in which they were first logged;
until then they lie on the disk, in a file without a name.
"""

from __future__ import annotations

import sqlite3
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from psishare.cli.console import moment, number, say_long_table, say_table, short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psishare.evidence.verify import ExchangeVerdict

MEMBERS = (
    "exchange_id",
    "peer",
    "ending",
    "protocol",
    "dataset",
    "kind",
    "output",
    "rows",
    "mandate_id",
    "mandate",
    "reason",
    "time",
)
"""What ``--json`` says of each exchange, by the names that its verdict has for it."""
HEADERS = ("exchange", "with", "of", "#rows", "ended", "mandate", "at (UTC)")
LONG = 1_000
"""From how many on a table is printed as it is read, and not folded to a terminal's width."""
_WRITTEN_AT_ONCE = 512
_INSERT = "INSERT INTO exchanges VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_told = attrgetter("index", *MEMBERS)


class ExchangeList:
    """Exchanges, told one by one."""

    def __init__(self) -> None:
        self._table = sqlite3.connect("", isolation_level=None)
        self._table.execute("PRAGMA journal_mode=OFF")
        self._table.execute("PRAGMA cache_size=-4096")
        self._table.execute(f"CREATE TABLE exchanges (place INTEGER, {', '.join(MEMBERS)})")
        self._waiting: list[tuple[Any, ...]] = []
        self._n = 0

    def add(self, exchange: ExchangeVerdict) -> None:
        """Add an exchange."""
        self._waiting.append(_told(exchange))
        self._n += 1
        if len(self._waiting) >= _WRITTEN_AT_ONCE:
            self._write()

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield what ``--json`` says of each exchange, in the order in which they were first logged."""
        for _place, *values in self._all():
            yield dict(zip(MEMBERS, values, strict=True))

    def say(self) -> None:
        """Print a table of the exchanges; nothing where there are none."""
        if self._n >= LONG:
            say_long_table(HEADERS, self._rows)
        elif self._n:
            say_table(HEADERS, self._rows())

    def close(self) -> None:
        """Free the file."""
        self._table.close()

    def _write(self) -> None:
        self._table.execute("BEGIN")
        self._table.executemany(_INSERT, self._waiting)
        self._table.execute("COMMIT")
        self._waiting.clear()

    def _all(self) -> sqlite3.Cursor:
        self._write()
        return self._table.execute("SELECT * FROM exchanges ORDER BY place")

    def _rows(self) -> Iterator[tuple[str, ...]]:
        return map(_row, self.documents())


def _row(told: dict[str, Any]) -> tuple[str, ...]:
    reason = f": {told['reason']}" if told["reason"] else ""
    return (
        short(told["exchange_id"]),
        told["peer"],
        told["dataset"] or "",
        "" if told["rows"] is None else number(told["rows"]),
        f"{told['ending']}{reason}",
        told["mandate"].replace("_", " "),
        moment(told["time"]),
    )
