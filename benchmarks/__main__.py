"""Measure psishare and its peers in turns, in one run, and write docs/benchmarks.md and its plot.

``python -m benchmarks`` takes at most 20 minutes on two cores; ``--full`` goes to the largest sizes and
takes hours. A campaign that was stopped goes on where it was, unless ``--fresh`` is given. ``--full --only
psishare --record F`` adds psishare's largest sizes to what F holds.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.campaign import Plan, run
from benchmarks.page import write_page
from benchmarks.peer_environment import CACHE
from benchmarks.record import Record

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
QUICK = Plan(
    exponents=(10, 12, 14, 16, 18, 20),
    skewed=(20,),
    dataset=24,
    full=False,
    minutes=17.0,
    max_turns=9,
)
FULL = Plan(
    exponents=(10, 12, 14, 16, 18, 20, 22, 24),
    skewed=(16, 18, 20, 22, 24),
    dataset=24,
    full=True,
    minutes=8 * 60.0,
    max_turns=5,
)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="to the largest sizes; hours")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument(
        "--largest", type=int, help="the logarithm of the largest size, to try it out"
    )
    parser.add_argument("--minutes", type=float, help="begin no further turn after so long")
    parser.add_argument(
        "--only", default="", help="measure the contestants alone whose names begin so"
    )
    parser.add_argument("--out", type=Path, default=PAGE, help="the page to write")
    parser.add_argument("--record", type=Path, help="where measurements are kept")
    arguments = parser.parse_args()
    plan = FULL if arguments.full else QUICK
    if arguments.largest is not None or arguments.minutes is not None:
        plan = _smaller(plan, arguments.largest or max(plan.exponents), arguments.minutes)
    plan = replace(plan, only=arguments.only)
    path = arguments.record or CACHE / ("full.jsonl" if arguments.full else "quick.jsonl")
    if arguments.fresh:
        path.unlink(missing_ok=True)
    record = Record(path)
    run(plan, record)
    write_page(arguments.out, record)
    print(f"wrote {arguments.out}", file=sys.stderr)
    # The next campaign begins anew; this one's figures stay beside it.
    path.replace(path.with_suffix(".last.jsonl"))


def _smaller(plan: Plan, largest: int, minutes: float | None) -> Plan:
    return Plan(
        exponents=tuple(e for e in plan.exponents if e <= largest),
        skewed=tuple(e for e in plan.skewed if e <= largest) or (largest,),
        dataset=min(plan.dataset, largest),
        full=plan.full,
        minutes=plan.minutes if minutes is None else minutes,
        max_turns=plan.max_turns,
    )


if __name__ == "__main__":
    main()
