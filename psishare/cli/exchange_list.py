"""The exchanges of a verdict as a command prints them: any number of them, in little memory.

They come in the order in which they ended and are printed in the order in which they were first logged;
until then they lie on the disk, in a file without a name.
"""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

from psishare.cli.console import moment, number, say_long_table, say_table, short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psishare.evidence.verify import ExchangeVerdict

HEADERS = ("exchange", "with", "of", "#rows", "ended", "mandate", "at (UTC)")
LONG = 1_000
"""From how many on a table is printed as it is read, and not folded to a terminal's width."""
_WRITTEN_AT_ONCE = 512


class ExchangeList:
    """Exchanges, told one by one."""

    def __init__(self) -> None:
        self._table = sqlite3.connect("", isolation_level=None)
        self._table.execute("PRAGMA journal_mode=OFF")
        self._table.execute("PRAGMA cache_size=-4096")
        self._table.execute("CREATE TABLE exchanges (place INTEGER, told TEXT)")
        self._waiting: list[tuple[int, str]] = []
        self._n = 0

    def add(self, exchange: ExchangeVerdict) -> None:
        """Add an exchange."""
        self._waiting.append((exchange.index, json.dumps(_document(exchange))))
        self._n += 1
        if len(self._waiting) >= _WRITTEN_AT_ONCE:
            self._write()

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield what ``--json`` says of each exchange, in the order in which they were first logged."""
        self._write()
        for (told,) in self._table.execute("SELECT told FROM exchanges ORDER BY place"):
            yield json.loads(told)

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
        self._table.executemany("INSERT INTO exchanges VALUES (?, ?)", self._waiting)
        self._table.execute("COMMIT")
        self._waiting.clear()

    def _rows(self) -> Iterator[tuple[str, ...]]:
        return map(_row, self.documents())


def _document(exchange: ExchangeVerdict) -> dict[str, Any]:
    return {
        "exchange_id": exchange.exchange_id,
        "peer": exchange.peer,
        "ending": exchange.ending.value,
        "protocol": exchange.protocol,
        "dataset": exchange.dataset,
        "kind": exchange.kind,
        "output": exchange.output,
        "rows": exchange.rows,
        "mandate_id": exchange.mandate_id,
        "mandate": exchange.mandate,
        "reason": exchange.reason,
        "time": exchange.time,
    }


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
