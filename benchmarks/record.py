"""The record of a campaign: a line of JSON for each measurement, so that one that stops goes on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement of a campaign.

    Attributes:
        kind: ``exchange``, ``one_core`` or ``dataset``.
        contestant: its name; empty but for an exchange.
        platform, authority: the logarithms of both lists' sizes; 0 where there are none.
        turn: how often it was taken before.
    """

    kind: str
    contestant: str
    platform: int
    authority: int
    turn: int


class Record:
    """The measurements taken so far, in a file.

    Args:
        path: the file; each measurement is appended to it at once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._measured: dict[Cell, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                self._measured[Cell(**entry["cell"])] = entry["measured"]

    def __contains__(self, cell: Cell) -> bool:
        """Tell whether a cell has been measured."""
        return cell in self._measured

    def __iter__(self) -> Iterator[tuple[Cell, dict[str, Any]]]:
        """Yield every cell with what was measured, in the order in which it was."""
        return iter(self._measured.items())

    def add(self, cell: Cell, measured: dict[str, Any]) -> None:
        """Add a measurement and write it."""
        self._measured[cell] = measured
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"cell": asdict(cell), "measured": measured}) + "\n")

    def turns(
        self, contestant: str, platform: int, authority: int | None = None
    ) -> list[dict[str, Any]]:
        """Return an exchange's measurements turn by turn; of lists of one size where one is given."""
        wanted = contestant, platform, platform if authority is None else authority
        found = {
            cell.turn: measured
            for cell, measured in self
            if cell.kind == "exchange"
            and "failed" not in measured
            and (cell.contestant, cell.platform, cell.authority) == wanted
        }
        return [found[turn] for turn in sorted(found)]

    def of_kind(self, kind: str) -> list[tuple[Cell, dict[str, Any]]]:
        """Return all measurements of one kind that did not fail, in their order."""
        return [(c, m) for c, m in self if c.kind == kind and "failed" not in m]

    def failures(self) -> list[tuple[Cell, str]]:
        """Return the measurements that failed, and how."""
        return [(c, str(m["failed"])) for c, m in self if "failed" in m]

    def elapsed_s(self) -> float:
        """Return how long all measurements took together."""
        return sum(float(measured["took_s"]) for _, measured in self)
