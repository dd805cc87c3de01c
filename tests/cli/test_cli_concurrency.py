"""Many exchanges at once from several client processes against one ``serve``: nothing is lost.

The long form, with its figures, is ``python -m benchmarks.concurrency``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.concurrency import Plan, run

if TYPE_CHECKING:
    from pathlib import Path


def test_exchanges_beyond_every_limit_wait_and_all_end_well(tmp_path: Path) -> None:
    plan = Plan(clients=2, at_once=5, alone=1, rows=300)
    limits = ("--max-exchanges", "3", "--max-calls", "12", "--max-calls-per-authority", "6")
    figures = run(tmp_path, plan, *limits, "--workers", "2", "--max-mib", "8")
    assert figures.closed == 2 * (5 + 1) + 1
