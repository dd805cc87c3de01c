"""Which measurements a campaign takes, in which order, and how long it goes on."""

from __future__ import annotations

import compileall
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psishare
from benchmarks import dataset_life, one_core
from benchmarks.contestants import (
    CONTESTANTS,
    CURVE25519,
    ECDH,
    ELLIGATOR2,
    OPENMINED,
    OPRF,
    UNBALANCED,
    Contestant,
)
from benchmarks.lists import make_lists
from benchmarks.measure import MeasuredError
from benchmarks.peer_environment import peer_python
from benchmarks.record import Cell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.record import Record

SMALL = 10
"""The logarithm of the authority's list where the platform's is the larger one."""
PEER_TRIES = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """A campaign.

    Attributes:
        exponents: the logarithms of the sizes of two like lists.
        skewed: the logarithms of platforms' lists that a small one is compared with.
        dataset: the logarithm of the large dataset's size.
        full: whether every contestant goes as far as it can.
        minutes: after which no further turn is begun; the first is always taken.
        max_turns: the most turns.
        only: what the names of the contestants that are measured begin with.
    """

    exponents: tuple[int, ...]
    skewed: tuple[int, ...]
    dataset: int
    full: bool
    minutes: float
    max_turns: int
    only: str = ""

    @property
    def headline(self) -> tuple[tuple[Contestant, int], ...]:
        """What is repeated first, with its size: what the ratios are taken between.

        A peer that is too slow for the size in question runs at the largest that it is given.
        """
        top = min(20, max(self.exponents))
        return tuple(
            (each, min(top, each.max_exponent))
            for each in (ECDH, CURVE25519, OPRF, OPENMINED, ELLIGATOR2)
        )

    def first_turn(self) -> Iterator[Cell]:
        """Yield every cell once: the contestants take turns at each size."""
        yield Cell("one_core", "", 0, 0, 0)
        for exponent in sorted({*self.exponents, *(size for _, size in self.headline)}):
            for each in CONTESTANTS.values():
                wanted = exponent in self.exponents or (each, exponent) in self.headline
                if wanted and exponent <= self._most(each):
                    yield Cell("exchange", each.name, exponent, exponent, 0)
        for exponent in self.skewed:
            for each in (OPRF, UNBALANCED):
                yield Cell("exchange", each.name, exponent, SMALL, 0)
        yield Cell("dataset", "", self.dataset, 0, 0)

    def rounds(self, turn: int) -> Iterator[list[Cell]]:
        """Yield what a further turn consists of; a round is taken whole or not at all."""
        yield [
            *(Cell("exchange", each.name, size, size, turn) for each, size in self.headline),
            Cell("one_core", "", 0, 0, turn),
        ]
        for exponent in sorted(self.exponents, reverse=True):
            cells = [cell for cell in self.first_turn() if cell.authority == exponent]
            yield [
                Cell(cell.kind, cell.contestant, cell.platform, cell.authority, turn)
                for cell in cells
                if (CONTESTANTS[cell.contestant], exponent) not in self.headline
            ]

    def wants(self, cell: Cell) -> bool:
        """Tell whether a cell is of a contestant that is measured, or of none."""
        return not cell.contestant or cell.contestant.startswith(self.only)

    def _most(self, contestant: Contestant) -> int:
        return contestant.full_max_exponent if self.full else contestant.max_exponent


def run(plan: Plan, record: Record) -> None:
    """Take every measurement that the record does not have yet."""
    one_core.build()
    # As an installation does; otherwise every process would compile what it imports.
    compileall.compile_dir(str(Path(psishare.__file__).parent), quiet=1)
    left_out = {each.name for each in CONTESTANTS.values() if each.name.startswith("SecretFlow")}
    if peer_python() is not None:
        left_out = set()
    for cell in filter(plan.wants, plan.first_turn()):
        _take(cell, record, left_out)
    for turn in range(1, plan.max_turns):
        for cells in plan.rounds(turn):
            took = {(c.kind, c.contestant, c.platform): m["took_s"] for c, m in record}
            due = [cell for cell in cells if plan.wants(cell) and cell not in record]
            needs_s = sum(took.get((c.kind, c.contestant, c.platform), 0.0) for c in due)
            if record.elapsed_s() + needs_s <= 60 * plan.minutes:
                for cell in due:
                    _take(cell, record, left_out)


def _take(cell: Cell, record: Record, left_out: set[str]) -> None:
    if cell in record or cell.contestant in left_out:
        return
    started = time.monotonic()
    measured = _measure_with_patience(cell)
    measured["took_s"] = time.monotonic() - started
    record.add(cell, measured)
    size = f" 2^{cell.platform}" if cell.platform else ""
    small = f" x 2^{cell.authority}" if cell.authority not in {0, cell.platform} else ""
    what = f"{cell.contestant or cell.kind}{size}{small}, turn {cell.turn + 1}"
    wall = f"{measured['total']['wall_s']:.2f} s, " if "total" in measured else ""
    wall = f"{measured['failed']}, " if "failed" in measured else wall
    minutes = record.elapsed_s() / 60
    print(f"{minutes:6.1f} min  {what}: {wall}{measured['took_s']:.1f} s", file=sys.stderr)


def _measure_with_patience(cell: Cell) -> dict[str, Any]:
    """Measure; a peer that fails gets further tries, and then it is told of and the campaign goes on."""
    failures: list[str] = []
    while len(failures) < PEER_TRIES:
        try:
            return _measure(cell)
        except MeasuredError as failure:
            if not cell.contestant or cell.contestant.startswith("psishare"):
                raise
            failures.append(str(failure))
    return {"failed": f"{failures[-1]}, at each of {PEER_TRIES} tries"}


def _measure(cell: Cell) -> dict[str, Any]:
    if cell.kind == "one_core":
        return asdict(one_core.measure())
    folder = Path(tempfile.mkdtemp(prefix="psishare-bench-"))
    try:
        if cell.kind == "dataset":
            return asdict(dataset_life.live(folder, cell.platform))
        lists = make_lists(folder, 2**cell.platform, 2**cell.authority)
        work = folder / "work"
        work.mkdir()
        return asdict(CONTESTANTS[cell.contestant].run(lists, work))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
